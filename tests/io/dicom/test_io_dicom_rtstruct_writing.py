from __future__ import annotations

import logging
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage
from scipy import ndimage
from skimage.measure import points_in_poly

from volseg import read
from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import OutputError
from volseg.io.dicom.listing import scan_dicom
from volseg.io.dicom.rtstruct_reading import read_rtstruct
from volseg.io.dicom.rtstruct_writing import write_rtstruct
from volseg.io.dicom.source import DicomSource, SourceFrame, values_on_frame
from volseg.io.dicom.storage import DicomFile
from volseg.io.dicom.writing import write_dicom_series

LABELS = (
    Label(2, "blob", (200, 60, 10), "SCT:10200004"),
    Label(5, "Kühler ring", (0, 0, 255)),
    Label(300, "corners", (7, 8, 9)),
)


def drawn(grid: Grid) -> LabelMap:
    """Blobs of several components with holes, a ring with an island, and pixels that touch by their corners."""
    noise = np.random.default_rng(4).random(grid.shape)
    array = np.where(ndimage.gaussian_filter(noise, 1) > 0.53, 2, 0).astype(np.uint16)
    middle = array[2:9, 3:10, 1:-2]
    middle[:] = 5
    middle[1:-1, 1:-1] = 0
    middle[3, 3] = 5
    array[11:17, 11:17, 3:6] = 300 * (np.indices((6, 6, 3)).sum(axis=0) % 2)
    array[0, 0, 0] = array[-1, -1, -1] = 2
    return LabelMap(array, grid, LABELS)


def scanned(grid: Grid, folder: Path) -> Volume:
    write_dicom_series(Volume(np.zeros(grid.shape, np.int16), grid, modality="CT"), folder)
    return read(folder)


def on(volume: Volume, labelmap: LabelMap) -> NDArray[Any]:
    """The labels at the volume's voxels, with axes permuted and flipped in any way."""
    ijk = np.stack(np.indices(volume.grid.shape), axis=-1)
    nearest = np.rint(labelmap.grid.to_voxel(volume.grid.to_world(ijk))).astype(int)
    return np.asarray(labelmap.array[tuple(np.moveaxis(nearest, -1, 0))])


def alone(frame: SourceFrame, source: DicomSource) -> Volume:
    """An image that is nothing but this frame."""
    grid = Grid((frame.columns, frame.rows, 1), frame.plane)
    return Volume(np.zeros(grid.shape, np.uint8), grid, source=source)


def assert_returns_on_every_frame(labelmap: LabelMap, source: DicomSource, path: Path) -> None:
    write_rtstruct(labelmap, path, source=source)
    for frame in source.frames:
        (found,) = read_rtstruct(path, image=alone(frame, source))
        np.testing.assert_array_equal(found.array[:, :, 0].T, values_on_frame(frame, labelmap.array, labelmap.grid))


def tilted_and_uneven(volume: Volume) -> DicomSource:
    """Frames as of a tilted gantry, at uneven distances, that take nothing but the patient from the volume."""
    frames = []
    for number, shift in enumerate((0.0, 3.0, 7.5, 9.0, 14.0, 20.0)):
        plane = volume.grid.affine.copy()
        tilt = np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
        plane[:3, :3] = tilt @ plane[:3, :3]
        plane[:3, 2] = np.cross(plane[:3, 0], plane[:3, 1])
        plane[:3, 2] /= np.linalg.norm(plane[:3, 2])
        plane[:3, 3] += [0, -3, shift + 3]
        first = volume.source.frames[0]
        uid = f"1.2.3.{number}" if number else first.sop_instance_uid
        frames.append(replace(first, sop_instance_uid=uid, plane=plane))
    return replace(volume.source, frames=tuple(frames))


@pytest.fixture
def scan(oblique_grid: Grid, tmp_path: Path) -> Volume:
    return scanned(oblique_grid, tmp_path / "scan")


# -------------------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("axes", ["axial", "sagittal", "coronal", "oblique"])
def test_labels_return_identical(axes: str, oblique_grid: Grid, tmp_path: Path) -> None:
    permutations = {"axial": (0, 1, 2), "sagittal": (1, 2, 0), "coronal": (0, 2, 1)}
    affine = oblique_grid.affine
    if axes != "oblique":
        affine = np.eye(4)
        affine[:3, :3] = (np.diag([-1, -1, 1]) * [0.8, 0.9, 3.0])[list(permutations[axes])]
    grid = Grid(oblique_grid.shape, affine)
    volume, labelmap = scanned(grid, tmp_path / "scan"), drawn(grid)
    write_rtstruct(labelmap, tmp_path / "rs.dcm", source=volume.source)
    (found,) = read_rtstruct(tmp_path / "rs.dcm", image=volume)
    assert found.grid is volume.grid
    assert found.labels == LABELS
    np.testing.assert_array_equal(found.array, on(volume, labelmap))


def test_tilted_and_uneven_frames(scan: Volume, tmp_path: Path) -> None:
    assert_returns_on_every_frame(drawn(scan.grid), tilted_and_uneven(scan), tmp_path / "rs.dcm")


def test_the_grid_of_the_labels_may_have_other_axes_than_the_scan(scan: Volume, tmp_path: Path) -> None:
    labelmap = drawn(scan.grid)
    turn = np.array([[0, 0, -1, 9], [1, 0, 0, 0], [0, -1, 0, 23], [0, 0, 0, 1.0]])
    turned = LabelMap(
        labelmap.array.transpose(2, 0, 1)[::-1, :, ::-1],
        Grid((10, 20, 24), scan.grid.affine @ np.linalg.inv(turn)),
        LABELS,
    )
    write_rtstruct(turned, tmp_path / "rs.dcm", source=scan.source)
    (found,) = read_rtstruct(tmp_path / "rs.dcm", image=scan)
    np.testing.assert_array_equal(found.array, labelmap.array)


def test_an_image_that_lies_across_the_contours_slices(scan: Volume, tmp_path: Path) -> None:
    write_rtstruct(drawn(scan.grid), tmp_path / "rs.dcm", source=scan.source)
    (expected,) = read_rtstruct(tmp_path / "rs.dcm", image=scan)
    swap = np.eye(4)[[2, 1, 0, 3]]
    across = Volume(scan.array.transpose(2, 1, 0), Grid((10, 24, 20), scan.grid.affine @ swap), source=scan.source)
    (found,) = read_rtstruct(tmp_path / "rs.dcm", image=across)
    np.testing.assert_array_equal(found.array, expected.array.transpose(2, 1, 0))


def test_points_lie_on_the_edges_of_the_voxels_in_the_world(scan: Volume, tmp_path: Path) -> None:
    array = np.zeros(scan.grid.shape, np.uint8)
    array[4:6, 7, 3] = 1
    write_rtstruct(LabelMap.from_array(array, scan.grid), tmp_path / "rs.dcm", source=scan.source)
    (contour,) = pydicom.dcmread(tmp_path / "rs.dcm").ROIContourSequence[0].ContourSequence
    points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
    corners = scan.grid.to_world([(3.5, 6.5, 3), (5.5, 6.5, 3), (5.5, 7.5, 3), (3.5, 7.5, 3)]) @ RAS_TO_LPS[:3, :3]
    assert contour.NumberOfContourPoints == 4
    for corner in corners:
        assert np.linalg.norm(points - corner, axis=1).min() < 2e-5


def test_another_reader_finds_the_voxels_by_the_headers_alone(scan: Volume, tmp_path: Path) -> None:
    labelmap = drawn(scan.grid)
    write_rtstruct(labelmap, tmp_path / "rs.dcm", source=scan.source)
    files = (pydicom.dcmread(file) for file in (tmp_path / "scan").iterdir())
    instances = {file.SOPInstanceUID: file for file in files}
    found = {uid: np.zeros((24, 20), int) for uid in instances}
    for roi in pydicom.dcmread(tmp_path / "rs.dcm").ROIContourSequence:
        for contour in roi.ContourSequence:
            image = instances[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
            offsets = np.array(contour.ContourData, float).reshape(-1, 3) - np.array(image.ImagePositionPatient, float)
            along = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
            assert np.abs(offsets @ np.cross(*along)).max() < 1e-4
            pixels = offsets @ along.T / image.PixelSpacing[::-1]
            row, column = np.indices((24, 20))
            inside = points_in_poly(np.column_stack([column.ravel(), row.ravel()]), pixels).reshape(24, 20)
            assert not found[image.SOPInstanceUID][inside].any(), "contours overlap, which some readers add up"
            found[image.SOPInstanceUID] += int(roi.ReferencedROINumber) * inside
    for frame in scan.source.frames:
        expected = values_on_frame(frame, labelmap.array, scan.grid)
        np.testing.assert_array_equal(found[frame.sop_instance_uid], expected)


def test_frames_of_one_instance_are_referred_to_by_number(scan: Volume, tmp_path: Path) -> None:
    frames = (replace(f, sop_instance_uid="1.2.3", frame=n + 1) for n, f in enumerate(scan.source.frames))
    source = replace(scan.source, frames=tuple(frames))
    first = pydicom.dcmread(source.frames[0].file.path)
    first.SOPInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    first.save_as(source.frames[0].file.path)
    array = np.zeros(scan.grid.shape, np.uint8)
    array[3:6, 3:6, 4] = 1
    assert_returns_on_every_frame(LabelMap.from_array(array, scan.grid), source, tmp_path / "rs.dcm")
    dataset = pydicom.dcmread(tmp_path / "rs.dcm")
    (contour,) = dataset.ROIContourSequence[0].ContourSequence
    assert contour.ContourImageSequence[0].ReferencedFrameNumber == 5
    (study,) = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence
    (instance,) = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert instance.ReferencedSOPInstanceUID == "1.2.3"
    assert "ReferencedFrameNumber" not in instance


def test_contours_of_more_than_64_kilobytes(tmp_path: Path) -> None:
    grid = Grid.from_spacing((200, 100, 1))
    volume = scanned(grid, tmp_path / "scan")
    comb = np.zeros(grid.shape, np.uint8)
    comb[::2, 1:] = comb[:, 0] = 1
    write_rtstruct(LabelMap.from_array(comb, grid), tmp_path / "rs.dcm", source=volume.source)
    (found,) = read_rtstruct(tmp_path / "rs.dcm", image=volume)
    np.testing.assert_array_equal(found.array, on(volume, LabelMap.from_array(comb, grid)))
    values = pydicom.dcmread(tmp_path / "rs.dcm").ROIContourSequence[0].ContourSequence[0].get_item("ContourData").value
    assert max(map(len, values.split(b"\\"))) <= 16


# ------------------------------------------------------------------------------------------------------- the file


def test_patient_and_study_are_the_scans_in_any_character_set(scan: Volume, tmp_path: Path) -> None:
    file = scan.source.frames[0].file
    dataset = pydicom.dcmread(file.path)
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName, dataset.OperatorsName = "Müller^Jürgen", "not inherited"
    dataset.DeidentificationMethodCodeSequence = [Dataset()]
    dataset.DeidentificationMethodCodeSequence[0].CodeMeaning = "größer"
    with pytest.warns(UserWarning, match="exceeds the maximum length of 16"):
        dataset.StudyID = "IBSI_1_STS_001_CT"
    dataset.save_as(file.path)
    write_rtstruct(drawn(scan.grid), tmp_path / "rs.dcm", source=scan.source, description="Übersicht")
    found = pydicom.dcmread(tmp_path / "rs.dcm")
    with pytest.warns(UserWarning, match="exceeds the maximum length of 16"):
        assert found.StudyID == "IBSI_1_STS_001_CT"
    assert found.PatientName == "Müller^Jürgen"
    assert found.DeidentificationMethodCodeSequence[0].CodeMeaning == "größer"
    assert (found.SeriesDescription, found.OperatorsName) == ("Übersicht", "")
    for keyword in ("PatientID", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID", "AccessionNumber"):
        assert found[keyword].value == dataset[keyword].value


def test_what_the_file_says_of_itself(scan: Volume, tmp_path: Path) -> None:
    labelmap = drawn(scan.grid)
    for name in ("a.dcm", "b.dcm"):
        write_rtstruct(labelmap, tmp_path / name, source=scan.source)
    first, second = (pydicom.dcmread(tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert first.SOPInstanceUID not in (second.SOPInstanceUID, first.SeriesInstanceUID)
    assert first.SeriesInstanceUID not in (second.SeriesInstanceUID, scan.source.series_uid)
    assert (first.SOPClassUID, first.Modality, first.ApprovalStatus) == (
        RTStructureSetStorage,
        "RTSTRUCT",
        "UNAPPROVED",
    )
    (reference,) = first.ReferencedFrameOfReferenceSequence
    (series,) = reference.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    instances = [item.ReferencedSOPInstanceUID for item in series.ContourImageSequence]
    assert instances == [frame.sop_instance_uid for frame in scan.source.frames]
    rois = first.StructureSetROISequence
    assert [(roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm) for roi in rois] == [
        (label.value, label.name, "AUTOMATIC") for label in LABELS
    ]
    assert [tuple(roi.ROIDisplayColor) for roi in first.ROIContourSequence] == [label.colour for label in LABELS]
    (code,) = first.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == ("10200004", "SCT", "blob")
    reference = scan_dicom(tmp_path / "a.dcm").labels[0].reference
    assert reference.series_uids == (scan.source.series_uid,)
    assert reference.frame_of_reference_uid == scan.source.frame_of_reference_uid


def test_a_label_without_voxels_is_kept(scan: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labelmap = LabelMap(np.zeros(scan.grid.shape, np.uint8), scan.grid, LABELS)
    write_rtstruct(labelmap, tmp_path / "rs.dcm", source=scan.source)
    assert "label 'blob' has no voxel on a slice of the scan; written without contours" in caplog.text
    (found,) = read_rtstruct(tmp_path / "rs.dcm", image=scan)
    assert found.labels == LABELS
    assert not found.array.any()


def test_names_that_do_not_fit_are_cut(scan: Volume, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    array = np.zeros(scan.grid.shape, np.uint8)
    array[0, 0, 0], array[5, 5, 5] = 1, 2
    labels = (Label(1, "x" * 70, (1, 2, 3), "no code"), Label(2, "a\\b\nc", (1, 2, 3), "FMA:" + "9" * 20))
    write_rtstruct(LabelMap(array, scan.grid, labels), tmp_path / "rs.dcm", source=scan.source)
    assert "does not fit DICOM's 64 characters without backslash; written as 'a_b_c'" in caplog.text
    (found,) = read_rtstruct(tmp_path / "rs.dcm", image=scan)
    assert [(label.name, label.code) for label in found.labels] == [("x" * 64, None), ("a_b_c", "FMA:" + "9" * 20)]


def test_what_cannot_be_written_is_said(scan: Volume, tmp_path: Path) -> None:
    target, source, labelmap = tmp_path / "rs.dcm", scan.source, drawn(scan.grid)
    with pytest.raises(OutputError, match="has no FrameOfReferenceUID, but an RT Structure Set refers to it"):
        write_rtstruct(labelmap, target, source=replace(source, frame_of_reference_uid=""))
    nameless = replace(source, frames=(replace(source.frames[0], sop_instance_uid=""),), study_uid="")
    with pytest.raises(OutputError, match="has no StudyInstanceUID, SOPInstanceUID, but"):
        write_rtstruct(labelmap, target, source=nameless)
    with pytest.raises(OutputError, match="the label map has no labels"):
        write_rtstruct(LabelMap(np.zeros_like(labelmap.array), scan.grid, ()), target, source=source)
    large = LabelMap.from_array(labelmap.array.astype(np.int64) * 2**31, scan.grid)
    with pytest.raises(OutputError, match="does not fit DICOM; expected at most 2147483647"):
        write_rtstruct(large, target, source=source)
    far = replace(source.frames[0], plane=source.frames[0].plane * [[1, 1, 1, 1e9]] + np.diag([0, 0, 0, 1 - 1e9]))
    grid = Grid(scan.grid.shape, far.plane @ np.diag([1, 1, 3.0, 1]))
    with pytest.raises(OutputError, match="mm away; DICOM cannot hold that"):
        write_rtstruct(drawn(grid), target, source=replace(source, frames=(far,)))
    gone = replace(source.frames[0], file=DicomFile(tmp_path / "gone.dcm"))
    with pytest.raises(OutputError, match=r"gone\.dcm: the image's file can no longer be read"):
        write_rtstruct(labelmap, target, source=replace(source, frames=(gone,)))
    assert not target.exists()
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        write_rtstruct(labelmap, tmp_path / "file" / "rs.dcm", source=source)


# ------------------------------------------------------------------------------------------------------- real files


def real_labels(volume: Volume) -> LabelMap:
    """A ring, a body along the volume and an empty label on a real grid."""
    i, j, k = (index / size for index, size in zip(np.indices(volume.grid.shape), volume.grid.shape, strict=True))
    radius = (i - 0.5) ** 2 + (j - 0.5) ** 2
    ring = (radius < 0.09) & (radius > 0.02) & (abs(k - 0.5) < 0.3)
    return LabelMap(
        np.where(ring, 2, radius < 0.004).astype(np.uint8), volume.grid, (*LABELS, Label(1, "rod", (9, 9, 9)))
    )


@pytest.mark.parametrize("series", ["brain_mr_t1post_oblique", "sarcoma_ct"])
def test_a_validator_finds_no_error_that_the_scan_has_not(series: str, shared_data: Path, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools), which checks DICOM files, is not installed")
    volume = read(shared_data / "dicom" / series)
    write_rtstruct(real_labels(volume), tmp_path / "rs.dcm", source=volume.source)

    def errors(file: Path) -> set[str]:
        run = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, errors="replace", check=False)
        lines = (run.stdout + run.stderr).splitlines()
        assert lines
        return {line for line in lines if line.startswith("Error")}

    assert not errors(tmp_path / "rs.dcm") - errors(volume.source.frames[0].file.path)


@pytest.mark.parametrize(
    "series",
    [
        "dicom/brain_mr_t1post_oblique",
        "hard/dicom/mr-hfp-unordered-names",
        "hard/dicom/ct-ge-tilt-variable-spacing",
        "hard/dicom/ct-enhanced-2frames",
    ],
)
def test_labels_return_on_every_frame_of_real_series(
    series: str, shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    volume = read(shared_data / series)
    assert_returns_on_every_frame(real_labels(volume), volume.source, tmp_path / "rs.dcm")
