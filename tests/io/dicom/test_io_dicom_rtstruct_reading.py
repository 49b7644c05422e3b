"""Structure sets of other programs, and real ones, become label maps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from structure_sets import FRAME, GRID, counts, image, roi, square, write_set

from volseg import read
from volseg.core.grid import Grid
from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import Label, default_colour
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.io.dicom.listing import scan_dicom
from volseg.io.dicom.rtstruct_reading import read_rtstruct
from volseg.io.dicom.writing import write_dicom_series


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "RS.dcm"


@pytest.mark.parametrize("explicit", [False, True])
def test_contours_land_on_the_right_voxels(path: Path, explicit: bool) -> None:
    write_set(path, roi(3, square(1.5, 4.5, 6), name="box"), explicit=explicit)
    (found,) = read_rtstruct(path, image=image())
    expected = np.zeros(GRID.shape)
    expected[2:5, 2:5, 3] = 3
    np.testing.assert_array_equal(found.array, expected)
    assert found.labels == (Label(3, "box", default_colour(3, "box")),)


def test_holes_islands_unions_and_exclusive_or(path: Path) -> None:
    rings = [square(0.5, 9.5, 2), square(2.5, 7.5, 2), square(3.5, 5.5, 2)]
    pair = [square(0.5, 4.5, 2), square(2.5, 6.5, 2)]
    keyhole = np.vstack([rings[0], rings[0][:1], rings[1], rings[1][:1], rings[0][:1]])
    write_set(
        path,
        roi(1, *rings, name="nested"),
        roi(2, *pair, name="overlapping"),
        roi(3, *pair, name="xor", kind="CLOSEDPLANAR_XOR"),
        roi(4, keyhole, name="keyhole"),
    )
    found = read_rtstruct(path, image=image())
    sizes = {name: size for layer in found for name, size in counts(layer).items()}
    assert sizes == {"nested": 81 - 25 + 4, "overlapping": 16 + 16 - 4, "xor": 16 + 16 - 8, "keyhole": 81 - 25}


def test_overlapping_structures_come_in_as_few_layers_as_the_greedy_rule_needs(path: Path) -> None:
    boxes = {1: (0.5, 9.5), 2: (1.5, 3.5), 3: (5.5, 8.5), 4: (2.5, 4.5)}
    write_set(path, *(roi(n, square(*ends, 4), name=f"s{n}") for n, ends in boxes.items()))
    layers = read_rtstruct(path, image=image())
    assert [counts(layer) for layer in layers] == [{"s1": 81}, {"s2": 4, "s3": 9}, {"s4": 4}]


def test_of_more_structures_that_overlap_than_fit_some_can_be_chosen(path: Path) -> None:
    write_set(path, *(roi(n, square(0.5, 1.5 + n % 9, 2), name=f"s{n}") for n in range(1, 121)))
    with pytest.raises(InputError, match=r"more than 100 .*overlap each other; choose .* by name \(--only NAME"):
        read_rtstruct(path, image=image())
    layers = read_rtstruct(path, image=image(), choice=LabelChoice(["S3", "s119", "5"]))
    assert [counts(layer) for layer in layers] == [{"s3": 16}, {"s5": 36}, {"s119": 9}]


def test_numbers_names_and_colours(path: Path) -> None:
    rois = [
        roi(n, square(0.5 + k, 1.5 + k, 0), name=name) for k, (n, name) in enumerate([(4, "GTV"), (0, "GTV"), (1, "")])
    ]
    for item, colour in zip(rois, ([1, 2, 3], [300, 0, 0], [5]), strict=True):
        item.drawing.ROIDisplayColor = colour
    write_set(path, *rois)
    (found,) = read_rtstruct(path, image=image())
    assert [(label.value, label.name) for label in found.labels] == [(1, "roi_1"), (2, "GTV_2"), (4, "GTV")]
    assert [label.colour for label in found.labels] == [default_colour(1), default_colour(2, "GTV_2"), (1, 2, 3)]


def test_structures_without_a_colour_have_that_of_their_name_and_none_twice(path: Path) -> None:
    rois = [roi(n, square(n, n + 0.9, 0), name=name) for n, name in enumerate(["Liver", "liver", "Spleen"], start=1)]
    rois[1].drawing.ROIDisplayColor = [201, 113, 79]
    write_set(path, *rois)
    (found,) = read_rtstruct(path, image=image())
    first, second, third = (label.colour for label in found.labels)
    assert (second, third) == (default_colour(2, "liver"), default_colour(3, "spleen")) == ((201, 113, 79), third)
    assert first not in (second, third)


def test_points_and_lines_are_left_out(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mixed = roi(2, square(0.5, 2.5, 0), square(0.5, 2.5, 2)[:2], name="mixed")
    isocentre = roi(1, square(1, 2, 0)[:1], name="isocentre", kind="POINT")
    write_set(path, isocentre, mixed)
    (found,) = read_rtstruct(path, image=image())
    assert counts(found) == {"mixed": 4}
    assert "left out: isocentre (1 contour of the type POINT)" in caplog.text
    assert "'mixed': 1 contour of fewer than 3 points left out" in caplog.text
    write_set(path, isocentre)
    with pytest.raises(InputError, match="holds no structure that can be read as a label; left out: isocentre "):
        read_rtstruct(path, image=image())


def test_planes_between_beside_and_without_slices(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heights = [-1.2, 0.0, 0.4, 0.9, 4.7, 8.0, 30.0]
    write_set(path, roi(1, *(square(0.5, 1.5 + n, z) for n, z in enumerate(heights)), name="s"))
    (found,) = read_rtstruct(path, image=image())
    assert (found.array > 0).sum(axis=(0, 1)).tolist() == [4, 0, 25, 0, 36, 0, 0, 0]
    for text in (
        "2 contours outside the image left out",
        "2 contours between slices left out, as no slice is near enough",
        "1 contour between slices put on the nearest",
        "2 slices between its first and last without a contour left empty",
    ):
        assert text in caplog.text


def test_a_structure_between_all_voxels_is_a_label_without_any(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_set(path, roi(1, square(2.2, 2.8, 0), name="speck"), roi(2, square(0.5, 1.5, 99), name="outside"))
    (found,) = read_rtstruct(path, image=image())
    assert counts(found) == {"speck": 0, "outside": 0}
    assert "'speck': no voxel centre lies inside its contours" in caplog.text


def test_another_frame_of_reference(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_set(path, roi(1, square(0.5, 2.5, 0)))
    with pytest.raises(InputError, match=rf"its frame of reference is {FRAME}, the image's 1\.9; give its own"):
        read_rtstruct(path, image=image("1.9"))
    assert not caplog.records
    read_rtstruct(path, image=replace(image(), source=None))
    assert "the image has no frame of reference, so they may not belong together" in caplog.text
    caplog.clear()
    write_set(path, roi(1, square(0.5, 2.5, 0)), frame="")
    read_rtstruct(path, image=image())
    assert "it has no frame of reference" in caplog.text


def test_structures_of_two_frames_and_a_contradicting_reference(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_set(path, roi(1, square(0.5, 2.5, 0), name="here"), roi(2, square(0.5, 2.5, 0), name="elsewhere"))
    dataset = pydicom.dcmread(path)
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.9"
    dataset.save_as(path)
    (found,) = read_rtstruct(path, image=image())
    assert counts(found) == {"here": 4}
    assert "left out, as their frame of reference is not the image's: 'elsewhere'" in caplog.text
    dataset.ReferencedFrameOfReferenceSequence = [Dataset()]
    dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence = [Dataset()]
    series = Dataset()
    series.SeriesInstanceUID = "1.3"
    dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence = [series]
    dataset.save_as(path)
    assert len(read_rtstruct(path, image=image())) == 2
    assert "has another frame of reference than the series that it refers to; read anyway" in caplog.text


def test_a_file_without_preamble(path: Path, tmp_path: Path) -> None:
    write_set(path, roi(1, square(0.5, 2.5, 0)))
    content = path.read_bytes()
    dataset = content[content.index(b"\x08\x00\x16\x00", 132) :]
    path.write_bytes(dataset)
    (found,) = read_rtstruct(path, image=image())
    assert counts(found) == {"roi": 4}


def test_what_is_no_structure_set_is_refused_by_name(tmp_path: Path) -> None:
    (scan,) = write_dicom_series(
        Volume(np.zeros((4, 4, 1), np.int16), Grid.from_spacing((4, 4, 1)), modality="CT"), tmp_path / "scan"
    )
    with pytest.raises(InputError, match=r"none\.dcm: no such file; check the path"):
        read_rtstruct(tmp_path / "none.dcm", image=image())
    with pytest.raises(
        InputError, match=r"is of class 1\.2\.840\.10008\.5\.1\.4\.1\.1\.2; expected an RT Structure Set"
    ):
        read_rtstruct(scan, image=image())
    noise = tmp_path / "noise.dcm"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError, match=r"noise\.dcm: is damaged or not an RT Structure Set"):
        read_rtstruct(noise, image=image())


# ------------------------------------------------------------------------------------------------------- real files


def reference_on(grid: Grid, file: Path) -> NDArray[np.bool_]:
    loaded = nibabel.load(file)
    mask = np.asarray(loaded.dataobj) > 0
    found = np.zeros(grid.shape, dtype=bool)
    world = nibabel.affines.apply_affine(loaded.affine, np.argwhere(mask))
    found[tuple(np.rint(grid.to_voxel(world)).astype(int).T)] = True
    assert found.sum() == mask.sum()
    return found


@pytest.mark.parametrize(
    ("structures", "series", "reference"),
    [
        ("dicom/sarcoma_ct/RTSTRUCT.dcm", "dicom/sarcoma_ct", "sarcoma/labelsTr/STS_001.nii.gz"),
        ("hard/seg/rtstruct-ibsi-ct/RS.dcm", "hard/dicom/ct-ibsi-sts002", "hard/ref/rtstruct-ibsi-ct.nii.gz"),
        (
            "hard/seg/rtstruct-ibsi-pet/RS.dcm",
            "hard/dicom/pet-ibsi-per-slice-rescale",
            "hard/ref/rtstruct-ibsi-pet.nii.gz",
        ),
    ],
)
def test_real_contours_give_exactly_the_published_masks(
    structures: str, series: str, reference: str, shared_data: Path
) -> None:
    volume = read(shared_data / series)
    (found,) = read_rtstruct(shared_data / structures, image=volume)
    np.testing.assert_array_equal(found.array > 0, reference_on(volume.grid, shared_data / reference))
    assert scan_dicom(shared_data / structures).labels[0].reference.series_uids == (volume.source.series_uid,)


def test_real_cases_as_the_manifest_has_them(shared_data: Path) -> None:
    cases = json.loads((shared_data / "hard" / "manifest.json").read_text(encoding="utf-8"))["cases"]
    images = {"rtstruct-ibsi-ct": "ct-ibsi-sts002", "rtstruct-ibsi-pet": "pet-ibsi-per-slice-rescale"}
    for case in (case for case in cases if case["id"] in images):
        volume = read(shared_data / "hard" / "dicom" / images[case["id"]])
        (found,) = read_rtstruct(shared_data / "hard" / case["path"], image=volume)
        expected = case["expected"]["volume"]
        assert list(found.grid.shape) == expected["shape"]
        assert (found.array > 0).sum() == expected["stats"]["sum"]
        for *xyz, value in expected["probes_ras_mm_value"]:
            assert found.array[tuple(np.rint(found.grid.to_voxel(xyz)).astype(int))] == value
        named = [(roi["roi"], roi["name"]) for roi in case["expected"]["rtstruct"]["rois"]]
        assert [(label.value, label.name) for label in found.labels] == named


def test_a_real_file_without_preamble_and_images(shared_data: Path) -> None:
    file = shared_data / "hard" / "seg" / "rtstruct-no-images" / "rtstruct.dcm"
    assert scan_dicom(file).labels[0].reference.series_uids == ("1.2.826.0.1.3680043.8.498.2010020400001.2.1.1",)
    with pytest.raises(InputError, match="its frame of reference is"):
        read_rtstruct(file, image=image())


@pytest.mark.parametrize(
    ("name", "expected", "texts"),
    [
        ("rtstruct-half-slice/half.dcm", 5 * 441, ("5 contours between slices put on the nearest",)),
        ("rtstruct-one-bad-roi/onebad.dcm", 441, ("left out: roi1 (5 contours across the slices",)),
        ("rtstruct-one-bad-roi/mixed.dcm", 441, ("'roi1': 1 contour across the slices",)),
        ("rtstruct-one-bad-roi/unlisted.dcm", 441, ("left out: contours of ROI 2 (no structure has that number",)),
        ("rtstruct-no-type/lower.dcm", 5 * 441, ("of the type 'closed_planar', which should be CLOSED_PLANAR",)),
    ],
)
def test_once_refused_or_read_in_part(
    name: str, expected: int, texts: tuple[str, ...], found: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (labels,) = read_rtstruct(found / name, image=read((found / name).with_name("img.nii.gz")))
    assert np.count_nonzero(labels.array) == expected
    assert np.ptp(np.flatnonzero(labels.array.any(axis=(0, 1)))) == expected // 441 - 1
    assert all(text in caplog.text for text in texts)


def test_a_missing_type_is_the_reason(found: Path) -> None:
    with pytest.raises(InputError, match=r"left out: roi1 \(5 contours without a type \(ContourGeometricType\)\)"):
        read_rtstruct(found / "rtstruct-no-type" / "notype.dcm", image=read(found / "rtstruct-no-type" / "img.nii.gz"))
