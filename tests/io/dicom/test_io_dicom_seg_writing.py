from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    VLWholeSlideMicroscopyImageStorage,
    generate_uid,
)

from volseg.core.anatomy import colour_of
from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import InputError, OutputError, UsageError
from volseg.inspection import inspect
from volseg.io import read, read_labels
from volseg.io.dicom.attributes import quiet_pydicom
from volseg.io.dicom.codes import describe_segment
from volseg.io.dicom.seg_reading import read_dicom_probabilities, read_dicom_seg
from volseg.io.dicom.seg_writing import write_dicom_probabilities, write_dicom_seg
from volseg.io.dicom.source import DicomSource, SourceFrame
from volseg.io.dicom.storage import DicomFile
from volseg.io.dicom.writing import write_dicom_series

SPINE, LIVER, ABSENT = (
    Label(3, "Wirbelsäule", (255, 0, 10), "SCT:421060004"),
    Label(300, "liver", (1, 2, 3), "SCT:10200004"),
    Label(301, "gone", (9, 9, 9)),
)
KINDS = [("binary", None), ("labelmap", None), ("labelmap", "jpeg-ls"), ("labelmap", "none"), ("fractional", None)]
ORIENTATIONS = {
    "axial": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "sagittal": [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
    "coronal": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
    "left-handed": [[-1, 0, 0], [0, 1, 0], [0, 0, 1]],
}


def edit(path: Path, change: Callable[[Any], object]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def plane(position: Sequence[float], orientation: Sequence[float], spacing: Sequence[float]) -> NDArray[Any]:
    """(column, row, mm along the normal, 1) -> RAS+ mm, from DICOM's attributes."""
    column, row = np.reshape(np.array(orientation, dtype=float), (2, 3))
    lps = np.eye(4)
    lps[:3, :3] = np.stack([column * spacing[1], row * spacing[0], np.cross(column, row)], axis=1)
    lps[:3, 3] = position
    return np.asarray(RAS_TO_LPS @ lps)


def source_of(files: Sequence[Path]) -> DicomSource:
    source = read(files[0].parent).source
    assert isinstance(source, DicomSource)
    return source


def grid_of(source: DicomSource) -> Grid:
    """The straight and even grid from the first to the last frame."""
    first, last = source.frames[0], source.frames[-1]
    affine = first.plane.copy()
    if len(source.frames) > 1:
        affine[:3, 2] = (last.plane[:3, 3] - first.plane[:3, 3]) / (len(source.frames) - 1)
    return Grid((first.columns, first.rows, len(source.frames)), affine)


def series(grid: Grid, folder: Path) -> list[Path]:
    return write_dicom_series(Volume(np.zeros(grid.shape, np.int16), grid, modality="CT"), folder)


def box_grid(orientation: str) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.array(ORIENTATIONS[orientation]).T * [0.7, 0.9, 2.5]
    affine[:3, 3] = [10, -20, 30]
    return Grid((13, 11, 8), affine)


def phantom(grid: Grid) -> LabelMap:
    """Two structures without any symmetry, which leave the first and last slices and one in between empty."""
    array = np.zeros(grid.shape, np.int32)
    array[2:5, 3, 1:7] = SPINE.value
    array[3, 4:6, 2:4] = SPINE.value
    array[grid.shape[0] - 1, grid.shape[1] - 1, 5] = LIVER.value
    array[:, :, 4] = 0
    return LabelMap(array, grid, (SPINE, LIVER, ABSENT))


def write(kind: str, labelmap: LabelMap, path: Path, source: DicomSource, compression: Any = None) -> None:
    if kind == "fractional":
        maps = [np.where(labelmap.mask(label), 0.8, 0.2).astype(np.float32) for label in labelmap.labels]
        write_dicom_probabilities(maps, path, grid=labelmap.grid, labels=labelmap.labels, source=source)
    else:
        write_dicom_seg(labelmap, path, source=source, kind=kind, compression=compression)  # type: ignore[arg-type]


def marked(labelmap: LabelMap) -> dict[int, set[tuple[float, ...]]]:
    """World mm of the voxels of every label."""
    places = {v: labelmap.grid.to_world(np.argwhere(labelmap.array == v)) for v in np.unique(labelmap.array) if v}
    return {int(v): {tuple(xyz) for xyz in (places[v].round(3) + 0.0)} for v in places}


def assert_same_in_world(found: LabelMap, expected: LabelMap) -> None:
    assert marked(found) == marked(expected)


def test_round_trip_of_every_kind_and_orientation(tmp_path, oblique_grid):
    for number, grid in enumerate([*map(box_grid, ORIENTATIONS), oblique_grid]):
        expected = phantom(grid)
        source = source_of(series(grid, tmp_path / str(number)))
        for kind, compression in KINDS:
            path = tmp_path / f"{number}_{kind}_{compression}.dcm"
            write(kind, expected, path, source, compression)
            (found,) = read_dicom_seg(path)
            assert_same_in_world(found, expected)
            assert found.labels == (SPINE, LIVER, Label(301, "gone", (9, 9, 9)))
            assert found.grid.spacing == pytest.approx(grid.spacing)
            np.testing.assert_allclose(found.grid.affine[:3, :3], grid_of(source).affine[:3, :3], atol=1e-6)
            (on_image,) = read_dicom_seg(path, image=grid)
            np.testing.assert_array_equal(on_image.array, expected.array)
            assert on_image.grid is grid


@pytest.fixture
def axial(tmp_path) -> DicomSource:
    return source_of(series(box_grid("axial"), tmp_path / "axial"))


@pytest.fixture
def binary(axial, tmp_path) -> Path:
    path = tmp_path / "binary.dcm"
    write_dicom_seg(phantom(box_grid("axial")), path, source=axial)
    return path


# ----------------------------------------------------------------------------------------------------- where frames lie


def test_a_marked_voxel_lies_where_other_readers_see_it(oblique_grid, tmp_path):
    source = source_of(series(oblique_grid, tmp_path / "scan"))
    array = np.zeros(oblique_grid.shape, np.uint8)
    array[4, 7, 2:6] = 1
    path = tmp_path / "one.dcm"
    write_dicom_seg(LabelMap.from_array(array, oblique_grid), path, source=source)
    expected = {tuple(xyz) for xyz in oblique_grid.to_world([[4, 7, k] for k in range(2, 6)]).round(3)}
    (found,) = read_dicom_seg(path)
    assert marked(found) == {1: expected}

    image = sitk.ReadImage(str(path))
    marks = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1].tolist()
    places = [image.TransformIndexToPhysicalPoint(ijk) for ijk in marks]
    assert {(round(-x, 3), round(-y, 3), round(z, 3)) for x, y, z in places} == expected

    volume = hd.seg.segread(path).get_volume(combine_segments=True)
    xyz = volume.map_indices_to_reference(np.argwhere(volume.array)) * RAS_TO_LPS.diagonal()[:3]
    assert {tuple(p) for p in xyz.round(3)} == expected


@pytest.mark.parametrize(("kind", "compression"), KINDS)
def test_highdicom_reads_the_same_pixels_of_every_source_instance(axial, tmp_path, kind, compression):
    expected = phantom(grid_of(axial))
    path = tmp_path / "seg.dcm"
    write(kind, expected, path, axial, compression)
    uids = [frame.sop_instance_uid for frame in axial.frames]
    segmentation = hd.seg.segread(path)
    if kind == "labelmap":
        pixels = segmentation.get_pixels_by_source_instance(uids, combine_segments=True)
        np.testing.assert_array_equal(pixels, expected.array.transpose(2, 1, 0))
        return
    pixels = segmentation.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    for channel, label in enumerate([SPINE, LIVER]):
        mask = expected.mask(label).transpose(2, 1, 0)
        values = np.where(mask, 204, 51) / 255 if kind == "fractional" else mask
        np.testing.assert_allclose(pixels[..., channel], values)


def test_bits_are_packed_as_the_standard_says(binary, axial):
    dataset = pydicom.dcmread(binary)
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    frames = bits[: dataset.NumberOfFrames * 11 * 13].reshape(-1, 11, 13)
    expected = phantom(grid_of(axial)).array.transpose(2, 1, 0)
    for frame, item in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        k = round((float(item.PlanePositionSequence[0].ImagePositionPatient[2]) - 30) / 2.5)
        value = [3, 300, 301][item.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        np.testing.assert_array_equal(frame, expected[k] == value)


@pytest.mark.parametrize("kind", ["binary", "labelmap", "fractional"])
def test_every_frame_refers_to_its_instance_and_lies_there(oblique_grid, tmp_path, kind):
    source = source_of(series(oblique_grid, tmp_path / "scan"))
    write(kind, phantom(grid_of(source)), tmp_path / "seg.dcm", source)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    by_uid = {frame.sop_instance_uid: frame for frame in source.frames}
    assert len(dataset.PerFrameFunctionalGroupsSequence) == {"binary": 6, "labelmap": 10, "fractional": 30}[kind]
    for item in dataset.PerFrameFunctionalGroupsSequence:
        (image,) = item.DerivationImageSequence[0].SourceImageSequence
        frame = by_uid[image.ReferencedSOPInstanceUID]
        assert image.ReferencedSOPClassUID == frame.sop_class_uid
        assert "ReferencedFrameNumber" not in image
        assert image.SpatialLocationsPreserved == "YES"
        position = np.array(item.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        np.testing.assert_allclose(position, (RAS_TO_LPS @ frame.plane)[:3, 3], atol=1e-6)
    (reference,) = dataset.ReferencedSeriesSequence
    assert reference.SeriesInstanceUID == source.series_uid
    assert [i.ReferencedSOPInstanceUID for i in reference.ReferencedInstanceSequence] == list(by_uid)
    assert (dataset.StudyInstanceUID, dataset.FrameOfReferenceUID) == (source.study_uid, source.frame_of_reference_uid)


def moved(tmp_path: Path, positions: Sequence[Sequence[float]]) -> DicomSource:
    files = series(Grid((9, 7, len(positions)), np.diag([0.7, 0.9, 2.5, 1])), tmp_path / "moved")
    for path, position in zip(files, positions, strict=True):
        edit(path, lambda dataset, position=position: setattr(dataset, "ImagePositionPatient", list(position)))
    return source_of(files)


@pytest.mark.parametrize("kind", ["binary", "labelmap", "fractional"])
def test_tilted_frames_keep_their_places(tmp_path, kind):
    source = moved(tmp_path, [[0, 0.5 * k, 2.0 * k] for k in range(6)])
    expected = phantom_on(grid_of(source))
    assert expected.grid.is_sheared
    write(kind, expected, tmp_path / "seg.dcm", source)
    (found,) = read_dicom_seg(tmp_path / "seg.dcm")
    assert_same_in_world(found, expected)
    np.testing.assert_allclose(found.grid.affine[:3, 2], [0, -0.5, 2], atol=1e-9)
    # A straight grid over the same place: every frame takes what lies at its own position.
    straight = Grid.from_spacing((9, 10, 6), (0.7, 0.9, 2), (0, -2.7, 0))
    array = np.zeros(straight.shape, np.uint8)
    array[3, 6:8, :] = 3
    write(kind, LabelMap(array, straight, (SPINE,)), tmp_path / "seg.dcm", source)
    (found,) = read_dicom_seg(tmp_path / "seg.dcm")
    for k in range(6):
        # 0.2 and 0.8 are blended to more than a half up to half a voxel outside.
        rows = [j for j in range(7) if abs(j + 3 - 0.5 * k / 0.9 - 6.5) < 1]
        np.testing.assert_array_equal(np.flatnonzero(found.array[3, :, k]), rows)


def phantom_on(grid: Grid) -> LabelMap:
    array = np.zeros(grid.shape, np.uint8)
    array[2:5, 3, 1:4] = 3
    array[8, 6, 2:5] = 4
    return LabelMap(array, grid, (SPINE, Label(4, "blob", (4, 5, 6))))


@pytest.mark.parametrize("kind", ["binary", "labelmap", "fractional"])
def test_uneven_frames_keep_their_places(tmp_path, kind):
    heights = [0.0, 2.0, 4.5, 6.0, 10.0, 12.0]
    source = moved(tmp_path, [[1, 2, z] for z in heights])
    # The image door resamples such a series; here to 1 mm.
    grid = Grid.from_spacing((9, 7, 13), (0.7, 0.9, 1), (-1, -2, 0))
    array = np.zeros(grid.shape, np.uint8)
    array[2:5, 3, 2:12] = 3
    path = tmp_path / "seg.dcm"
    write(kind, LabelMap(array, grid, (SPINE,)), path, source)
    dataset = pydicom.dcmread(path)
    assert "SpacingBetweenSlices" not in dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    (found,) = read_dicom_seg(path, image=Volume(np.zeros(grid.shape), grid, source=source))
    assert found.grid is grid
    # The slices nearest to the frames at 2, 4.5, 6 and 10 mm; those at 0 and 12 mm are empty.
    assert set(np.unique(found.array[2:5, 3])) == {0, 3}
    np.testing.assert_array_equal(np.flatnonzero(found.array[3, 3]), range(2, 12))
    assert found.array.sum() == 3 * 3 * 10
    with pytest.raises(InputError, match=r"unevenly spaced \(1.5, 2.*4 mm\); give the image"):
        read_dicom_seg(path)


def test_uneven_frames_on_a_grid_without_its_source_reach_half_a_slice(tmp_path):
    source = moved(tmp_path, [[1, 2, z] for z in (0.0, 1.0, 2.5, 6.5)])
    labels = (SPINE,)
    path = tmp_path / "seg.dcm"
    array = np.full((9, 7, 8), 3, np.uint8)
    write_dicom_seg(
        LabelMap(array, Grid.from_spacing(array.shape, (0.7, 0.9, 1), (-1, -2, 0)), labels), path, source=source
    )
    grid = Grid.from_spacing((9, 7, 40), (0.7, 0.9, 0.25), (-1, -2, 0))
    (found,) = read_dicom_seg(path, image=grid)
    z = 0.25 * np.arange(40)
    # The file says 2.5 mm thick.
    expected = np.abs(z[:, None] - [0.0, 1.0, 2.5, 6.5]).min(axis=1) <= 1.3
    np.testing.assert_array_equal(found.array[3, 3] == 3, expected)
    turned = Grid(grid.shape, np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]))
    with pytest.raises(InputError, match="not parallel to the image's"):
        read_dicom_seg(path, image=turned)


def enhanced(tmp_path: Path, *, frames: int = 6) -> tuple[DicomSource, Dataset]:
    """A multi-frame MR with all geometry frame by frame, two time points and frames out of order."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedMRImageStorage, generate_uid(prefix=None)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(prefix=None), generate_uid(prefix=None)
    dataset.FrameOfReferenceUID = generate_uid(prefix=None)
    dataset.PatientID, dataset.PatientName, dataset.Modality = "p", "Q^R", "MR"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 7, 9, 2 * frames
    orientation, spacing = [0, 1, 0, 0, 0, -1], [0.9, 0.7]
    found, items = [], []
    for number in range(1, 2 * frames + 1):
        k = (5 * (number - 1)) % frames
        measures, orientations, position = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = spacing, 3
        orientations.ImageOrientationPatient, position.ImagePositionPatient = orientation, [3.0 * k, 4, 5]
        item = Dataset()
        item.PixelMeasuresSequence, item.PlaneOrientationSequence = [measures], [orientations]
        item.PlanePositionSequence = [position]
        items.append(item)
        place = plane(position.ImagePositionPatient, orientation, spacing)
        file = DicomFile(tmp_path / "enhanced.dcm")
        # The second time point is meant.
        if number > frames:
            found.append(SourceFrame(file, dataset.SOPClassUID, dataset.SOPInstanceUID, number, 9, 7, place))
    dataset.PerFrameFunctionalGroupsSequence = items
    dataset.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    normal = found[0].plane[:3, 2]
    found.sort(key=lambda frame: frame.plane[:3, 3] @ normal)
    uids = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID
    return DicomSource(*uids, tuple(found)), dataset


@pytest.mark.parametrize("kind", ["binary", "labelmap", "fractional"])
def test_frames_of_a_multi_frame_image(tmp_path, kind):
    source, image = enhanced(tmp_path)
    expected = phantom_on(grid_of(source))
    path = tmp_path / "seg.dcm"
    write(kind, expected, path, source)
    (found,) = read_dicom_seg(path)
    assert_same_in_world(found, expected)
    dataset = pydicom.dcmread(path)
    assert [i.ReferencedSOPInstanceUID for i in dataset.SourceImageSequence] == [image.SOPInstanceUID]
    for item in dataset.PerFrameFunctionalGroupsSequence:
        (reference,) = item.DerivationImageSequence[0].SourceImageSequence
        assert reference.ReferencedSOPClassUID == EnhancedMRImageStorage
        assert reference.ReferencedSOPInstanceUID == image.SOPInstanceUID
        assert reference.ReferencedFrameNumber > 6
        there = image.PerFrameFunctionalGroupsSequence[reference.ReferencedFrameNumber - 1].PlanePositionSequence[0]
        assert there.ImagePositionPatient == item.PlanePositionSequence[0].ImagePositionPatient
    assert dataset.PatientID == "p"


@pytest.mark.parametrize("kind", ["binary", "labelmap", "fractional"])
def test_a_single_slice(tmp_path, kind):
    grid = Grid.from_spacing((9, 7, 1), (0.7, 0.9, 2.5), (1, 2, 3))
    source = source_of(series(grid, tmp_path / "scan"))
    expected = LabelMap.from_array(np.eye(9, 7, dtype=np.uint8)[:, :, None], grid)
    write(kind, expected, tmp_path / "seg.dcm", source)
    (found,) = read_dicom_seg(tmp_path / "seg.dcm")
    assert_same_in_world(found, expected)
    assert found.grid.is_close(grid)


# ------------------------------------------------------------------------------------------ contents of the file


@pytest.mark.parametrize("kind", ["binary", "labelmap", "fractional"])
def test_segments_say_what_the_labels_are(axial, tmp_path, kind):
    write(kind, phantom(grid_of(axial)), tmp_path / "seg.dcm", axial)
    dataset = hd.seg.segread(tmp_path / "seg.dcm")
    assert dataset.segment_numbers == ([3, 300, 301] if kind == "labelmap" else [1, 2, 3])
    spine, liver, gone = (dataset.get_segment_description(number) for number in dataset.segment_numbers)
    assert (spine.segment_label, spine.tracking_id, liver.segment_label) == ("Wirbelsäule", "Wirbelsäule", "liver")
    assert spine.segmented_property_type == hd.sr.CodedConcept("421060004", "SCT", "Vertebral column")
    assert liver.segmented_property_category == hd.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    assert gone.segmented_property_type.scheme_designator == "99VOLSEG"
    assert hd.color.CIELabColor.from_dicom_value(spine.RecommendedDisplayCIELabValue).to_rgb() == (255, 0, 10)
    assert spine.algorithm_type.value == "AUTOMATIC"
    assert spine.algorithm_identification.name == "volseg"
    assert len({spine.tracking_uid, liver.tracking_uid, gone.tracking_uid}) == 3
    assert dataset.SegmentsOverlap == ("UNDEFINED" if kind == "fractional" else "NO")
    assert dataset.Manufacturer == "volseg"


def test_patient_and_study_are_taken_over_as_they_are(axial, tmp_path, caplog):
    def odd(dataset: Any) -> None:
        dataset.StudyID = "IBSI_1_STS_001_CT"
        dataset.PatientSex = "X"
        dataset.PatientBirthDate = "around 1970"
        dataset.StudyTime = "25:99"
        dataset.PatientName = "Müller^Jörg"
        dataset.AccessionNumber = "x" * 30
        dataset.ReferringPhysicianName = "y" * 100
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.SeriesNumber = 7
        dataset.Manufacturer = "z" * 80

    with quiet_pydicom():
        edit(axial.frames[0].file.path, odd)
    for label, charset in ((LIVER, "ISO_IR 100"), (SPINE, "ISO_IR 192")):
        grid = grid_of(axial)
        array = np.full(grid.shape, label.value, np.uint16)
        write_dicom_seg(LabelMap(array, grid, (label,)), tmp_path / "seg.dcm", source=axial)
        with quiet_pydicom():
            dataset = pydicom.dcmread(tmp_path / "seg.dcm")
            assert dataset.SpecificCharacterSet == charset
            assert dataset.StudyID == "IBSI_1_STS_001_CT"
            assert (dataset.PatientSex, dataset.PatientBirthDate) == ("X", "around 1970")
            assert dataset.StudyTime == "25:99"
            assert str(dataset.PatientName) == "Müller^Jörg"
            assert (dataset.AccessionNumber, str(dataset.ReferringPhysicianName)) == ("x" * 30, "y" * 100)
        assert dataset.SeriesNumber == 1007
        (found,) = read_dicom_seg(tmp_path / "seg.dcm")
        assert found.labels == (label,)
    assert "taken over" not in caplog.text


def test_a_damaged_value_is_left_out(axial, tmp_path, caplog):
    path = axial.frames[0].file.path

    def odd(dataset: Any) -> None:
        dataset.AcquisitionMatrix, dataset.PatientID, dataset.PatientSex = [1, 2], "P7", "XYZW"

    edit(path, odd)
    data = path.read_bytes()
    # Three bytes are no whole number of shorts.
    for header in (b"\x18\x00\x10\x13US", b"\x10\x00\x40\x00CS"):
        at = data.index(header)
        data = data[: at + 4] + b"US\x03\x00" + data[at + 8 : at + 11] + data[at + 12 :]
    path.write_bytes(data)
    write_dicom_seg(phantom(grid_of(axial)), tmp_path / "seg.dcm", source=axial)
    assert "(0010,0040) is damaged and not copied" in caplog.text
    # Attributes that are not copied do not matter.
    assert "(0018,1310)" not in caplog.text
    assert pydicom.dcmread(tmp_path / "seg.dcm").PatientID == "P7"


def test_an_empty_label_map_has_one_empty_frame_a_label(axial, tmp_path):
    grid = grid_of(axial)
    empty = LabelMap(np.zeros(grid.shape, np.uint8), grid, (SPINE, LIVER))
    for kind, frames in (("binary", 2), ("labelmap", 8), ("fractional", 2)):
        path = tmp_path / f"{kind}.dcm"
        if kind == "fractional":
            write_dicom_probabilities(np.zeros((2, *grid.shape)), path, grid=grid, labels=empty.labels, source=axial)
        else:
            write(kind, empty, path, axial)
        assert pydicom.dcmread(path).NumberOfFrames == frames
        (found,) = read_dicom_seg(path, image=grid)
        assert not found.array.any()
        assert found.labels == empty.labels


@pytest.mark.parametrize("value", [255, 256, 65535])
def test_label_maps_hold_large_values(axial, tmp_path, value):
    grid = grid_of(axial)
    labels = (Label(1, "a", (1, 2, 3)), Label(value, "b", (1, 2, 3)))
    array = np.ones(grid.shape, np.int64)
    array[3:, 2] = value
    write_dicom_seg(LabelMap(array, grid, labels), tmp_path / "seg.dcm", source=axial, kind="labelmap")
    assert pydicom.dcmread(tmp_path / "seg.dcm").BitsAllocated == (8 if value < 256 else 16)
    (found,) = read_dicom_seg(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(found.array, array)
    assert found.labels == labels


def test_names_that_dicom_cannot_hold_come_back(axial, tmp_path):
    grid = grid_of(axial)
    labels = (Label(1, "a\\b" * 40, (1, 2, 3)), Label(2, "a\\b" * 40 + "!", (1, 2, 3)))
    array = np.ones(grid.shape, np.uint8)
    array[0] = 2
    write_dicom_seg(LabelMap(array, grid, labels), tmp_path / "seg.dcm", source=axial)
    (found,) = read_dicom_seg(tmp_path / "seg.dcm")
    assert found.labels == labels


# ------------------------------------------------------------------------------------------------------- probabilities


def test_probabilities_come_back_within_a_step(oblique_grid, tmp_path):
    source = source_of(series(oblique_grid, tmp_path / "scan"))
    maps = np.random.default_rng(3).random((2, *oblique_grid.shape))
    maps[0, :, :, :3] = 0
    for compression in (None, "jpeg-ls", "none"):
        path = tmp_path / "p.dcm"
        options: dict[str, Any] = {"grid": oblique_grid, "labels": (SPINE, LIVER), "compression": compression}
        write_dicom_probabilities(maps, path, source=source, **options)
        found = read_dicom_probabilities(path, image=oblique_grid)
        assert list(found) == ["Wirbelsäule", "liver"]
        for volume, expected in zip(found.values(), maps, strict=True):
            assert volume.array.dtype == np.float32
            assert volume.grid is oblique_grid
            np.testing.assert_allclose(volume.array, expected, atol=0.5 / 255 + 1e-6)
    own = read_dicom_probabilities(path)["liver"]
    np.testing.assert_allclose(own.array, maps[1, :, :, ::-1], atol=0.5 / 255 + 1e-6)


def test_probabilities_between_voxels_are_interpolated(tmp_path):
    source = source_of(series(Grid.from_spacing((9, 7, 3)), tmp_path / "scan"))
    coarse = Grid.from_spacing((5, 4, 3), (2, 2, 1))
    ramp = np.broadcast_to(np.linspace(0, 1, 5)[:, None, None], coarse.shape)
    write_dicom_probabilities([ramp], tmp_path / "p.dcm", grid=coarse, labels=[SPINE], source=source)
    volume = read_dicom_probabilities(tmp_path / "p.dcm")["Wirbelsäule"]
    np.testing.assert_allclose(volume.array[:, 3, 1], np.linspace(0, 1, 9), atol=0.5 / 255 + 1e-6)


def test_fractional_labels_are_what_is_at_least_half(axial, tmp_path, caplog):
    grid = grid_of(axial)
    ramp = np.broadcast_to(np.linspace(0, 1, 13)[:, None, None], grid.shape)
    write_dicom_probabilities([ramp], tmp_path / "p.dcm", grid=grid, labels=[SPINE], source=axial)
    (found,) = read_dicom_seg(tmp_path / "p.dcm")
    np.testing.assert_array_equal(found.array[:, 0, 0], 3 * (np.rint(np.linspace(0, 1, 13) * 255) >= 127.5))
    assert "is fractional" in caplog.text


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (np.zeros((1, 13, 11, 8)), r"shapes \[\(13, 11, 8\)\]; expected 2 of"),
        ([np.zeros((13, 11, 8)), np.zeros((13, 11, 7))], r"expected 2 of \(13, 11, 8\)"),
        (np.full((2, 13, 11, 8), 2.0), "go from 2 to 2; expected 0 to 1"),
        (np.full((2, 13, 11, 8), np.nan), "go from nan to nan"),
    ],
)
def test_what_are_no_probabilities(axial, tmp_path, maps, message):
    with pytest.raises(OutputError, match=message):
        write_dicom_probabilities(maps, tmp_path / "p.dcm", grid=grid_of(axial), labels=(SPINE, LIVER), source=axial)
    assert not (tmp_path / "p.dcm").exists()


# ------------------------------------------------------------------------------------------------------------- reading


def foreign(axial: DicomSource, path: Path, pixels: NDArray[Any], **options: Any) -> Dataset:
    """A file as from another program: (F, rows, columns, S) pixels, segments called A, B, A ..."""
    sources = [pydicom.dcmread(frame.file.path) for frame in axial.frames]
    for dataset in sources:
        dataset.PatientBirthDate = dataset.StudyDate = dataset.StudyTime = None
        dataset.PatientName = "A^B"
    organ = hd.sr.CodedConcept("91772007", "SCT", "Organ")
    segments = [
        hd.seg.SegmentDescription(number, "AB"[(number - 1) % 2], organ, organ, "MANUAL")
        for number in range(1, pixels.shape[-1] + 1)
    ]
    dataset = hd.seg.Segmentation(
        sources,
        pixels,
        options.pop("kind", "BINARY"),
        segments,
        series_instance_uid=generate_uid(prefix=None),
        series_number=1,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer="m",
        manufacturer_model_name="m",
        software_versions="1",
        device_serial_number="1",
        **options,
    )
    dataset.save_as(path)
    return dataset


def test_overlapping_segments_give_the_fewest_layers(axial, tmp_path):
    pixels = np.zeros((8, 11, 13, 4), np.uint8)
    pixels[2, 1:5, 1:5, 0] = 1
    pixels[2, 4:8, 4:8, 1] = 1
    pixels[3, 1:5, 1:5, 2] = 1
    pixels[2, 6:9, 6:9, 3] = 1
    foreign(axial, tmp_path / "seg.dcm", pixels)
    first, second = read_dicom_seg(tmp_path / "seg.dcm", image=grid_of(axial))
    assert [label.value for label in first.labels] == [1, 3, 4]
    assert [label.value for label in second.labels] == [2]
    assert [label.name for label in first.labels] == ["A_1", "A_3", "B_4"]
    assert [label.name for label in second.labels] == ["B_2"]
    assert {label.code for label in first.labels} == {"SCT:91772007"}
    for layer in (first, second):
        for label in layer.labels:
            expected = pixels[..., label.value - 1].transpose(2, 1, 0) == 1
            np.testing.assert_array_equal(layer.mask(label), expected)


def test_gaps_are_background(axial, tmp_path):
    pixels = np.zeros((8, 11, 13, 1), np.uint8)
    pixels[[1, 4, 6], 2, 3] = 1
    foreign(axial, tmp_path / "seg.dcm", pixels)
    (found,) = read_dicom_seg(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(found.array[3, 2], [1, 0, 0, 1, 0, 1])
    np.testing.assert_allclose(found.grid.to_world([0, 0, 0]), grid_of(axial).to_world([0, 0, 1]))
    assert found.grid.spacing == pytest.approx((0.7, 0.9, 2.5))

    def unspaced(dataset: Any) -> None:
        del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices

    edit(tmp_path / "seg.dcm", unspaced)
    # Without the spacing only the positions are left: 3 and 2 slices apart, and one may be at every common step.
    with pytest.raises(InputError, match=r"unevenly spaced \(5, 7.5 mm\)"):
        read_dicom_seg(tmp_path / "seg.dcm")
    (on_image,) = read_dicom_seg(tmp_path / "seg.dcm", image=grid_of(axial))
    np.testing.assert_array_equal(on_image.array[3, 2], [0, 1, 0, 0, 1, 0, 1, 0])


def test_another_grid_takes_the_nearest_pixel(binary, axial):
    fine = Grid.from_spacing((30, 25, 40), (0.35, 0.45, 0.5), (9, -21, 28))
    (found,) = read_dicom_seg(binary, image=fine)
    expected = phantom(grid_of(axial))
    ijk = np.argwhere(np.ones(fine.shape))
    nearest = np.rint(expected.grid.to_voxel(fine.to_world(ijk) + 1e-9)).astype(int)
    inside = ((nearest >= 0) & (nearest < expected.grid.shape)).all(axis=1)
    values = np.where(inside, expected.array[tuple(np.clip(nearest, 0, np.array(expected.grid.shape) - 1).T)], 0)
    differ = found.array[tuple(ijk.T)] != values
    # Half-way between two pixels either is nearest.
    exact = expected.grid.to_voxel(fine.to_world(ijk[differ]))
    assert (np.abs(np.abs(exact - np.floor(exact)) - 0.5) < 1e-6).any(axis=1).all()
    with pytest.raises(InputError, match="no segment lies in the image"):
        read_dicom_seg(binary, image=Grid.from_spacing((3, 3, 3), (1, 1, 1), (500, 0, 0)))


def test_values_come_from_segment_numbers_where_notes_contradict(binary):
    def same(dataset: Any) -> None:
        for segment in dataset.SegmentSequence:
            segment.SegmentDescription = "volseg label 5"

    edit(binary, same)
    (found,) = read_dicom_seg(binary)
    assert [label.value for label in found.labels] == [1, 2, 3]
    assert set(np.unique(found.array)) == {0, 1, 2}


def test_segments_without_a_colour_have_that_of_their_name_and_none_twice(binary):
    def plain(dataset: Any) -> None:
        for segment, name in zip(dataset.SegmentSequence, ("liver", "Liver", "spleen"), strict=True):
            segment.SegmentLabel = segment.TrackingID = name
        for segment in dataset.SegmentSequence[:2]:
            del segment.RecommendedDisplayCIELabValue

    chosen = read_dicom_seg(binary)[0].labels[2].colour
    edit(binary, plain)
    first, second, third = (label.colour for label in read_dicom_seg(binary)[0].labels)
    assert (first, third) == (colour_of("liver"), chosen)
    assert second not in (first, third)


def test_an_undescribed_segment_is_named_by_its_number(binary):
    edit(binary, lambda dataset: dataset.SegmentSequence.pop(1))
    (found,) = read_dicom_seg(binary)
    assert [(label.value, label.name) for label in found.labels] == [
        (2, "segment_2"),
        (3, "Wirbelsäule"),
        (301, "gone"),
    ]


def test_background_of_a_label_map_may_have_another_value(axial, tmp_path):
    path = tmp_path / "seg.dcm"
    write_dicom_seg(phantom_on(grid_of(axial)), path, source=axial, kind="labelmap", compression="none")

    def padded(dataset: Any) -> None:
        pixels = dataset.pixel_array
        dataset.PixelData = np.where(pixels == 0, 99, pixels).astype(np.uint8).tobytes()
        dataset.PixelPaddingValue = 99
        dataset.SegmentSequence[0].SegmentNumber = 99

    edit(path, padded)
    (found,) = read_dicom_seg(path)
    np.testing.assert_array_equal(found.array, phantom_on(grid_of(axial)).array)
    edit(path, lambda dataset: setattr(dataset.SegmentSequence[1], "SegmentNumber", 0))
    with pytest.raises(InputError, match="segment 0 is 'Wirbelsäule'; expected background"):
        read_dicom_seg(path)


def test_objects_in_an_archive_are_read(binary, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(binary, "x/seg.dcm")
    (found,) = read_dicom_seg(DicomFile(tmp_path / "a.zip", "x/seg.dcm"))
    assert [label.value for label in found.labels] == [3, 300, 301]


def test_another_frame_of_reference_is_said(binary, axial, caplog):
    grid = grid_of(axial)
    other = DicomSource(axial.study_uid, axial.series_uid, "1.2.3", axial.frames)
    read_dicom_seg(binary, image=Volume(np.zeros(grid.shape), grid, source=axial))
    assert not caplog.records
    read_dicom_seg(binary, image=Volume(np.zeros(grid.shape), grid, source=other))
    assert "another frame of reference" in caplog.text


def no_position(dataset: Any) -> None:
    for item in dataset.PerFrameFunctionalGroupsSequence:
        del item.PlanePositionSequence


def two_orientations(dataset: Any) -> None:
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for number, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        item.PlaneOrientationSequence = [Dataset()]
        item.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0] if number else [0, 1, 0, 0, 0, 1]
    del shared.PlaneOrientationSequence


def set_orientation(dataset: Any) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


def set_spacing(dataset: Any) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [0, 1]


def same_place(dataset: Any) -> None:
    first, second = dataset.PerFrameFunctionalGroupsSequence[:2]
    second.PlanePositionSequence = first.PlanePositionSequence


def no_number(dataset: Any) -> None:
    dataset.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0].ImagePositionPatient[0] = float("nan")


def shifted(dataset: Any) -> None:
    dataset.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0].ImagePositionPatient[0] += 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_position, r"\(frame 1\): ImagePositionPatient is missing"),
        (two_orientations, "several orientations"),
        (set_orientation, "expected two perpendicular unit vectors"),
        (set_spacing, "expected two numbers above 0"),
        (no_number, r"ImagePositionPatient is \[nan, .*expected 3 finite"),
        (same_place, "segment 1 has two frames at one position"),
        (shifted, "shifted against each other"),
        (
            lambda dataset: setattr(dataset, "NumberOfFrames", 3),
            "NumberOfFrames is 3, but PerFrameFunctionalGroupsSequence has 6 items",
        ),
        (lambda dataset: setattr(dataset, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "is CT Image Storage; expected"),
        (lambda dataset: dataset.__delattr__("PixelData"), "PixelData"),
        (lambda dataset: dataset.__delattr__("SegmentSequence"), "SegmentSequence"),
        (
            lambda dataset: setattr(dataset, "PixelData", dataset.PixelData[:20]),
            "PixelData holds 20 bytes, fewer than 6 frames",
        ),
    ],
)
def test_what_cannot_be_read_says_why(binary, change, message):
    edit(binary, change)
    with pytest.raises(InputError, match=message) as caught:
        read_dicom_seg(binary)
    assert str(caught.value).startswith(str(binary))


def test_cut_off_and_other_files(binary, tmp_path):
    data = binary.read_bytes()
    for size in (0, 100, 1000, 3000, len(data) - 100):
        (tmp_path / "cut.dcm").write_bytes(data[:size])
        with pytest.raises(InputError, match=r"cut\.dcm: "):
            read_dicom_seg(tmp_path / "cut.dcm")
    with pytest.raises(InputError, match=r"none\.dcm: cannot be read"):
        read_dicom_seg(tmp_path / "none.dcm")
    with pytest.raises(InputError, match="is a BINARY Segmentation; expected a FRACTIONAL one"):
        read_dicom_probabilities(binary)


# ----------------------------------------------------------------------------------------------------- refusals


def changed(source: DicomSource, **values: Any) -> DicomSource:
    fields = {name: getattr(source, name) for name in ("study_uid", "series_uid", "frame_of_reference_uid", "frames")}
    return DicomSource(**{**fields, **values})


def changed_frame(frame: SourceFrame, **values: Any) -> SourceFrame:
    names = ("file", "sop_class_uid", "sop_instance_uid", "frame", "columns", "rows", "plane")
    return SourceFrame(**{**{name: getattr(frame, name) for name in names}, **values})


def turned(frame: SourceFrame) -> SourceFrame:
    return changed_frame(frame, plane=frame.plane[:, [1, 0, 2, 3]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda source: None, "the image is not from DICOM"),
        (lambda source: changed(source, frames=()), "the image is not from DICOM"),
        (lambda source: changed(source, frame_of_reference_uid=""), "has no FrameOfReferenceUID, but"),
        (
            lambda source: changed(source, study_uid="", series_uid=""),
            "has no StudyInstanceUID, SeriesInstanceUID,",
        ),
        (
            lambda source: changed(source, frames=(changed_frame(source.frames[0], sop_instance_uid=""),)),
            "has no SOPInstanceUID, but",
        ),
        (
            lambda source: changed(
                source, frames=tuple(changed_frame(f, sop_instance_uid="1.2") for f in source.frames)
            ),
            "tiles of one image",
        ),
        (
            lambda source: changed(source, frames=(changed_frame(source.frames[0], rows=5), *source.frames[1:])),
            "the frames have 2 sizes",
        ),
        (lambda source: changed(source, frames=(turned(source.frames[0]), *source.frames[1:])), "are not parallel"),
        (
            lambda source: changed(
                source, frames=(changed_frame(source.frames[0], plane=source.frames[1].plane), *source.frames[1:])
            ),
            "several frames lie at one position",
        ),
        (
            lambda source: changed(
                source, frames=(changed_frame(source.frames[0], file=DicomFile(Path("gone.dcm"))), *source.frames[1:])
            ),
            "gone.dcm: the image's file can no longer be read",
        ),
        (
            lambda source: changed(
                source, frames=(changed_frame(source.frames[0], file=source.frames[1].file), *source.frames[1:])
            ),
            "is now the instance",
        ),
    ],
)
def test_sources_that_a_segmentation_cannot_refer_to(axial, tmp_path, change, message):
    with pytest.raises(OutputError, match=message):
        write_dicom_seg(phantom(grid_of(axial)), tmp_path / "seg.dcm", source=change(axial))
    assert not (tmp_path / "seg.dcm").exists()


def test_label_maps_that_do_not_fit(axial, tmp_path):
    grid, path = grid_of(axial), tmp_path / "seg.dcm"
    with pytest.raises(OutputError, match="there are no labels"):
        write_dicom_seg(LabelMap(np.zeros(grid.shape, np.uint8), grid, ()), path, source=axial)
    large = LabelMap(np.full(grid.shape, 70000), grid, (Label(70000, "a", (1, 2, 3)),))
    with pytest.raises(OutputError, match="segment number 70000; expected at most 65535"):
        write_dicom_seg(large, path, source=axial, kind="labelmap")
    write_dicom_seg(large, path, source=axial)
    (found,) = read_dicom_seg(path)
    assert found.labels == large.labels
    np.testing.assert_array_equal(found.array, large.array)
    elsewhere = Grid.from_spacing(grid.shape, origin=(500, 0, 0))
    with pytest.raises(OutputError, match="no label lies on a frame"):
        write_dicom_seg(phantom(elsewhere), path, source=axial)
    with pytest.raises(OutputError, match="no values lie on a frame"):
        write("fractional", phantom(elsewhere), path, axial)


def test_wrong_arguments(axial, tmp_path):
    labelmap, path = phantom(grid_of(axial)), tmp_path / "seg.dcm"
    with pytest.raises(UsageError, match="kind='surface'"):
        write("surface", labelmap, path, axial)
    with pytest.raises(UsageError, match="kind='binary', compression='rle'"):
        write("binary", labelmap, path, axial, "rle")
    with pytest.raises(UsageError, match="compression is 'zip'; expected one of rle, jpeg-ls, none"):
        write("labelmap", labelmap, path, axial, "zip")


def test_a_failed_write_leaves_the_old_file(axial, tmp_path, monkeypatch):
    path = tmp_path / "seg.dcm"
    path.write_text("old")

    def fail(*args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hd.seg.Segmentation, "save_as", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_dicom_seg(phantom(grid_of(axial)), path, source=axial)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["seg.dcm"]
    assert path.read_text() == "old"


# ------------------------------------------------------------------------------------------------------------ real data


@pytest.mark.parametrize(
    "name",
    [
        "seg-nonbyte-aligned/liver_nonbyte_aligned.dcm",
        "seg-hd-fractional/seg_image_ct_true_fractional.dcm",
        "seg-hd-overlap/seg_image_ct_binary_overlap.dcm",
    ],
)
def test_published_segmentations_are_as_expected(shared_data, name):
    path = shared_data / "hard" / "seg" / name
    cases = json.loads((shared_data / "hard" / "manifest.json").read_text(encoding="utf-8"))["cases"]
    (expected,) = (case["expected"]["seg"] for case in cases if case["path"] == f"seg/{name}")
    layers = read_dicom_seg(path)
    found = {label.value: (layer, label) for layer in layers for label in layer.labels}
    assert sorted(found) == [segment["number"] for segment in expected["segments"]]
    fractional = expected["segmentation_type"] == "FRACTIONAL"
    for segment in expected["segments"]:
        layer, label = found[segment["number"]]
        assert label.name == segment["label"]
        total = 255 * read_dicom_probabilities(path)[label.name].array.sum() if fractional else layer.mask(label).sum()
        assert total == segment["sum"]
    # Expected are (slice, row, column), slices downwards, to LPS.
    slices, rows, columns = expected["volume_geometry"]["shape"]
    assert layers[0].grid.shape == (columns, rows, slices)
    ijk = np.argwhere(np.ones((2, 2, 2))) * [columns - 1, rows - 1, slices - 1]
    kji = np.column_stack([slices - 1 - ijk[:, 2], ijk[:, 1], ijk[:, 0], np.ones(8)])
    lps = kji @ np.array(expected["volume_geometry"]["affine_lps"]).T
    world = (lps @ RAS_TO_LPS.T)[:, :3]
    np.testing.assert_allclose(layers[0].grid.to_world(ijk), world, atol=0.01)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("seg-liver/liver.dcm", "seg-liver-nrrd/liver_seg.nrrd"),
        ("seg-23cols/label.seg", "seg-23cols/label.nrrd"),
        ("seg-sparse-labelmap/sparse-labelmap-ppv5.dcm", "seg-sparse-labelmap/sparse_labelmap_ppv5_seg.nrrd"),
        ("seg-partial-overlaps/partial_overlaps.dcm", "seg-liver-nrrd/partial_overlaps-1.nrrd"),
    ],
)
def test_published_segmentations_equal_their_conversions(shared_data, name, reference):
    layers = read_dicom_seg(shared_data / "hard" / "seg" / name)
    image = sitk.ReadImage(str(shared_data / "hard" / "seg" / reference))
    expected = sitk.GetArrayFromImage(image).T
    np.testing.assert_array_equal(layers[0].mask(layers[0].labels[0]), expected == 1)
    np.testing.assert_allclose(layers[0].grid.spacing, image.GetSpacing(), atol=1e-5)
    np.testing.assert_allclose(layers[0].grid.origin, np.array(image.GetOrigin()) * [-1, -1, 1], atol=1e-5)
    if len(layers) > 1:
        assert [[label.name for label in layer.labels] for layer in layers] == [
            ["GREEN", "LIGHT_BLUE", "DARK_BLUE"],
            ["ORANGE"],
            ["PURPLE"],
        ]


def errors_of(path: Path) -> set[str]:
    """The errors that David Clunie's validator finds."""
    command = shutil.which("dciodvfy")
    if command is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    done = subprocess.run([command, str(path)], capture_output=True, check=False)
    lines = (done.stdout + done.stderr).decode("utf-8", errors="replace").splitlines()
    return {line for line in lines if line.startswith("Error")}


@pytest.mark.parametrize("kind", ["binary", "labelmap", "fractional"])
@pytest.mark.parametrize("folder", ["brain_mr_t1post_oblique", "sarcoma_ct"])
def test_real_series_give_valid_objects(shared_data, tmp_path, folder, kind):
    image = read(shared_data / "dicom" / folder)
    source, expected = image.source, phantom(image.grid)
    path = tmp_path / "seg.dcm"
    write(kind, expected, path, source)
    with quiet_pydicom():
        (found,) = read_dicom_seg(path, image=image)
    np.testing.assert_array_equal(found.array, expected.array)
    assert found.labels == expected.labels
    with quiet_pydicom():
        original, written = (pydicom.dcmread(p) for p in (source.frames[0].file.path, path))
        for keyword in ("StudyInstanceUID", "StudyID", "PatientName", "PatientBirthDate", "StudyTime"):
            assert written[keyword].value == original[keyword].value
    # The validator knows no label map segmentation, and so expects segments from 1 on.
    unknown = {
        "Error - Information Object Not found",
        "Error - SegmentNumber not monotonically increasing from one by one"
        " - have SegmentSequence item number 1 (from one) with SegmentNumber of 0",
    }
    allowed = errors_of(source.frames[0].file.path) | (unknown if kind == "labelmap" else set())
    assert errors_of(path) <= allowed


# ------------------------------------------------------------------------------- frames without a position in a patient


def slide_segmentation(kind: str, *, full: bool) -> Any:
    """A segmentation of four tiles of a whole-slide image, as highdicom makes it."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = VLWholeSlideMicroscopyImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.FrameOfReferenceUID, image.ContainerIdentifier, image.Modality = generate_uid(), "1", "SM"
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(image, keyword, "")
    image.StudyDate = image.StudyTime = image.PositionReferenceIndicator = ""
    image.Rows = image.Columns = 8
    image.TotalPixelMatrixRows = image.TotalPixelMatrixColumns = 16
    image.NumberOfFrames, image.ImageType = 4, ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    image.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 1, 1
    image.TotalPixelMatrixOriginSequence = [origin]
    image.DimensionOrganizationType, image.TotalPixelMatrixFocalPlanes, image.NumberOfOpticalPaths = "TILED_FULL", 1, 1
    image.SpecimenDescriptionSequence, image.OpticalPathSequence = [], [Dataset()]
    image.OpticalPathSequence[0].OpticalPathIdentifier = "1"
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.01, 0.01], 0.001
    image.SharedFunctionalGroupsSequence = [Dataset()]
    image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [measures]
    pixels = np.ones((4, 8, 8), np.uint8)
    organisation = "TILED_FULL" if full else "TILED_SPARSE"
    return made_by_highdicom([image], pixels, kind, dimension_organization_type=organisation, omit_empty_frames=False)


def projection_segmentation(kind: str) -> Any:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID, image.Modality = ComputedRadiographyImageStorage, generate_uid(), "CR"
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(image, keyword, "")
    image.StudyDate = image.StudyTime = ""
    image.Rows, image.Columns = 6, 9
    return made_by_highdicom([image], np.ones((6, 9), np.uint8), kind)


def made_by_highdicom(images: list[Dataset], pixels: NDArray[Any], kind: str, **options: Any) -> Any:
    return hd.seg.Segmentation(
        images,
        pixels,
        kind,
        [describe_segment(SPINE, 1)],
        series_instance_uid=generate_uid(),
        series_number=1,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        **options,
    )


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize("full", [False, True])
def test_segmentations_of_slides_are_said_to_be_sound(kind, full, tmp_path):
    slide_segmentation(kind, full=full).save_as(tmp_path / "seg.dcm")
    assert_said_to_be_sound(tmp_path / "seg.dcm", "a whole-slide image, which has tiles")


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_segmentations_of_projections_are_said_to_be_sound(kind, tmp_path):
    segmentation = projection_segmentation(kind)
    segmentation.save_as(tmp_path / "seg.dcm")
    place = r"a projection or other image without a position in the patient \(Computed Radiography Image Storage\)"
    assert_said_to_be_sound(tmp_path / "seg.dcm", place)
    # Some have a frame of reference nevertheless, and some do not name their images.
    segmentation.FrameOfReferenceUID = generate_uid()
    segmentation.save_as(tmp_path / "seg.dcm")
    assert_said_to_be_sound(tmp_path / "seg.dcm", place)
    del segmentation.SourceImageSequence, segmentation.ReferencedSeriesSequence, segmentation.FrameOfReferenceUID
    segmentation.save_as(tmp_path / "seg.dcm")
    assert_said_to_be_sound(
        tmp_path / "seg.dcm", r"a projection or other image without a position in the patient \(unknown\)"
    )


def assert_said_to_be_sound(path: Path, place: str) -> None:
    for reader in (read_dicom_seg, read_dicom_probabilities, read_labels):
        with pytest.raises(InputError, match=rf"seg\.dcm: is a valid segmentation of {place}.*; not read, as volseg"):
            reader(path)
    (entry,) = inspect(path).entries
    assert re.search(f"is a valid segmentation of {place}", entry.problem)


def test_segmentations_of_slices_without_their_place_are_damaged(binary):
    def misplaced(dataset: Any) -> None:
        for item in (*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence):
            for keyword in ("PlanePositionSequence", "PlaneOrientationSequence"):
                item.pop(keyword, None)

    edit(binary, misplaced)
    with pytest.raises(
        InputError, match="ImagePositionPatient, ImageOrientationPatient is missing, so the slice has no position"
    ):
        read_dicom_seg(binary)


# ------------------------------------------------------------------------------------------------------- odd segments


def odd_segment(change: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda dataset: change(dataset.SegmentSequence[0])


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (
            lambda s: setattr(s, "RecommendedDisplayCIELabValue", [1, 2]),
            "Wirbelsäule",
            "'Wirbelsäule': its colour cannot be read",
        ),
        (
            lambda s: setattr(s, "RecommendedDisplayCIELabValue", 7),
            "Wirbelsäule",
            "'Wirbelsäule': its colour cannot be read and is left out",
        ),
        (lambda s: delattr(s, "SegmentNumber"), "segment_1", "left out, as their segments are ambiguous: Wirbelsäule"),
        (
            lambda s: setattr(s, "SegmentNumber", 3),
            "segment_1",
            "Wirbelsäule (number 3 is given twice), gone (number 3",
        ),
        (lambda s: delattr(s, "SegmentLabel"), "Spine", ""),
        (lambda s: delattr(s, "SegmentedPropertyTypeCodeSequence"), "Wirbelsäule", ""),
        (lambda s: setattr(s, "SegmentLabel", "a\x1b[31m\nb\0c"), "a?[31m b?c", ""),
    ],
)
def test_an_odd_segment_harms_no_other(binary, caplog, change, name, said):
    (expected,) = read_dicom_seg(binary)
    with quiet_pydicom():
        edit(binary, odd_segment(change))
        (found,) = read_dicom_seg(binary)
    by_value = {label.value: label for label in found.labels}
    assert by_value[300] == LIVER
    assert [label.name for label in found.labels if label.value in (1, 3)] == [name]
    np.testing.assert_array_equal(found.array != 0, expected.array != 0)
    np.testing.assert_array_equal(found.array == 300, expected.array == 300)
    assert said in caplog.text
