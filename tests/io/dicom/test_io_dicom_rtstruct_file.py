"""Faults in a structure set harm the structure that they are in, and are named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from structure_sets import counts, image, roi, square, write_set

from volseg.core.label_choice import LabelChoice
from volseg.errors import InputError
from volseg.io.dicom.attributes import quiet_pydicom
from volseg.io.dicom.rtstruct_file import read_structure_set
from volseg.io.dicom.rtstruct_reading import read_rtstruct
from volseg.io.dicom.storage import DicomFile


def coordinates(text: str) -> Callable[[Dataset, Dataset], None]:
    def change(listing: Dataset, drawing: Dataset) -> None:
        for contour in drawing.ContourSequence:
            data = text.encode() + b" " * (len(text) % 2)
            contour[0x30060050] = pydicom.DataElement(0x30060050, "OB", data)

    return change


def kind(value: str | None) -> Callable[[Dataset, Dataset], None]:
    def change(listing: Dataset, drawing: Dataset) -> None:
        for contour in drawing.ContourSequence:
            contour.ContourGeometricType = value
            if value is None:
                del contour.ContourGeometricType

    return change


def slanted(listing: Dataset, drawing: Dataset) -> None:
    for contour in drawing.ContourSequence:
        points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
        points[2:, 2] += 3
        contour.ContourData = [f"{x:.6g}" for x in points.ravel()]


def without_number(listing: Dataset, drawing: Dataset) -> None:
    del listing.ROINumber


# Faults of a structure, and the warning for each.
FAULTS = {
    "uneven coordinates": (coordinates("1\\2"), "with damaged coordinates"),
    "no numbers": (coordinates("x\\1\\2\\3\\4\\5\\6\\7\\8"), "with damaged coordinates"),
    "not finite": (coordinates("nan\\0\\0\\1\\0\\0\\1\\1\\0"), "with damaged coordinates"),
    "huge": (coordinates("1e300\\0\\0\\1\\0\\0\\1\\1\\0"), "with damaged coordinates"),
    "not ascii": (coordinates("\u00b5\\0\\0\\1\\0\\0\\1\\1\\0"), "with damaged coordinates"),
    "slanted": (slanted, r"across the slices \(by up to 3 mm; give the image that it was drawn on\)"),
    "no type": (kind(None), r"without a type \(ContourGeometricType\)"),
    "empty type": (kind(""), r"without a type \(ContourGeometricType\)"),
    "unknown type": (kind("CLOSED"), "of the unknown type 'CLOSED'"),
    "points": (kind("POINT"), "of the type POINT"),
    "open lines": (kind("OPEN_PLANAR"), "of the type OPEN_PLANAR"),
    "no number": (without_number, "it has no ROI number"),
}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    faults=st.lists(st.sampled_from([None, None, *FAULTS]), min_size=1, max_size=8),
    explicit=st.booleans(),
    undefined=st.booleans(),
)
def test_what_is_sound_is_read_as_if_it_were_alone(
    faults: list[str | None], explicit: bool, undefined: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, sound, alone = tmp_path / "RS.dcm", [], []
    rois = []
    for number, fault in enumerate(faults, start=1):
        box = [square(number + 0.1, number + 0.9 + k, 2.0 * k) for k in range(3)]
        item = roi(number, *box, name=f"name{number}")
        if fault:
            FAULTS[fault][0](item, item.drawing)
        else:
            sound.append(number)
            alone.append(roi(number, *box, name=f"name{number}"))
        rois.append(item)
    write_set(path, *rois, explicit=explicit, undefined=undefined)
    caplog.clear()
    if not sound:
        reason = FAULTS[faults[0] or ""][1]
        with pytest.raises(InputError, match=rf"holds no structure that can be read as a label; left out: .*{reason}"):
            read_rtstruct(path, image=image())
        return
    found = read_rtstruct(path, image=image())
    for number, fault in enumerate(faults, start=1):
        assert (f"name{number} (" in caplog.text) == bool(fault)
    write_set(path, *alone)
    for layer, expected in zip(found, read_rtstruct(path, image=image()), strict=True):
        np.testing.assert_array_equal(layer.array, expected.array)
        assert layer.labels == expected.labels


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_with_its_reason(fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = roi(1, square(0.5, 2.5, 0), name="good"), roi(2, square(0.5, 2.5, 2), name="bad")
    FAULTS[fault][0](bad, bad.drawing)
    write_set(tmp_path / "RS.dcm", good, bad)
    (found,) = read_rtstruct(tmp_path / "RS.dcm", image=image())
    assert counts(found) == {"good": 4}
    assert re.search(rf"left out: bad \((1 contour )?{FAULTS[fault][1]}\)", caplog.text)


def test_contours_of_one_structure_are_read_each_for_itself(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    item = roi(1, *(square(0.5, 2.5, 2.0 * k) for k in range(5)), name="mixed")
    contours = item.drawing.ContourSequence
    contours[1].ContourGeometricType = "POINT"
    with quiet_pydicom():
        contours[2].ContourGeometricType = "closed_planar"
    contours[3].ContourData = ["1", "2"]
    write_set(path, item)
    (found,) = read_rtstruct(path, image=image())
    assert (found.array > 0).sum(axis=(0, 1)).tolist() == [4, 0, 4, 0, 4, 0, 0, 0]
    for text in (
        "1 contour of the type POINT left out",
        "1 contour with damaged coordinates left out",
        "1 contour of the type 'closed_planar', which should be CLOSED_PLANAR",
        "2 slices between its first and last without a contour left empty",
    ):
        assert text in caplog.text


def test_contours_of_no_structure_and_numbers_given_twice(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stranger = roi(2, square(0.5, 2.5, 0), name="undrawn")
    stranger.drawing.ReferencedROINumber = 7
    write_set(path, stranger)
    with pytest.raises(InputError, match=r"left out: contours of ROI 7 \(no structure has that number\)"):
        read_rtstruct(path, image=image())
    twins = [roi(3, square(0.5, 2.5, 0), name=name) for name in ("twin", "brother")]
    write_set(path, roi(1, square(4.5, 6.5, 0), name="good"), stranger, *twins)
    (found,) = read_rtstruct(path, image=image())
    assert counts(found) == {"good": 4, "undrawn": 0}
    assert "twin (ROI 3 is listed twice, so its contours are ambiguous), brother (ROI 3" in caplog.text
    dataset = pydicom.dcmread(path)
    dataset.StructureSetROISequence[3].ROINumber = 4
    del dataset.ROIContourSequence[1].ReferencedROINumber
    dataset.save_as(path)
    (found,) = read_rtstruct(path, image=image())
    assert counts(found) == {"good": 4, "undrawn": 0, "brother": 0}
    assert "twin (ROI 3 is drawn twice" in caplog.text
    assert "contours (no structure has that number)" in caplog.text


def test_only_what_is_wanted_is_complained_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = [roi(n, square(0.5, 2.5, 0), name=f"bad {n}", kind="POINT") for n in (2, 3)]
    write_set(path, roi(1, square(0.5, 2.5, 0), name="good"), *bad)
    assert counts(read_rtstruct(path, image=image(), choice=LabelChoice(["good"]))[0]) == {"good": 4}
    assert not caplog.records
    read_rtstruct(path, image=image(), choice=LabelChoice(["good", "*"]))
    assert "left out: bad 2 (1 contour of the type POINT), bad 3 (1" in caplog.text
    caplog.clear()
    with pytest.raises(InputError, match="has no label 'bad 2'; it has 1: good"):
        read_rtstruct(path, image=image(), choice=LabelChoice(["bad 2"]))
    assert "left out: bad 2 (1 contour of the type POINT)" in caplog.text


@pytest.mark.parametrize("colour", [["x", "1", "2"], [1, 2], [1, 2, 300], [-1, 2, 3]])
def test_a_damaged_colour_or_code_is_none(path: Path, colour: list[object]) -> None:
    item = roi(1, square(0.5, 2.5, 0), name="good")
    text = "\\".join(map(str, colour)).encode()
    item.drawing[0x3006002A] = pydicom.DataElement(0x3006002A, "OB", text + b" " * (len(text) % 2))
    write_set(path, item)
    (found,) = read_rtstruct(path, image=image())
    assert counts(found) == {"good": 4}


def test_names_are_one_plain_line(path: Path) -> None:
    write_set(path, roi(1, square(0.5, 2.5, 0), name="a\x1b[31mb\nc\0d"), roi(2, square(3.5, 4.5, 0), name="\x07"))
    (found,) = read_rtstruct(path, image=image())
    assert [label.name for label in found.labels] == ["a?[31mb c?d", "?"]


def test_all_closed_contours_are_in_the_world(path: Path) -> None:
    write_set(path, roi(1, square(0.5, 4.5, 2), square(1, 2, 4)), roi(2, square(1, 2, 0), kind="POINT"))
    contours = read_structure_set(DicomFile(path)).contours
    assert len(contours) == 2
    np.testing.assert_allclose(np.concatenate(contours).max(axis=0), [4.5, 4.5, 4])


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("explicit", [False, True])
def test_cut_off_files_are_refused(path: Path, explicit: bool, undefined: bool) -> None:
    items = roi(1, square(0.5, 2.5, 0), square(0.5, 3.5, 2)), roi(2, square(0.5, 2.5, 4))
    write_set(path, *items, explicit=explicit, undefined=undefined)
    content = path.read_bytes()
    for size in range(132, len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"RS\.dcm: "):
            read_rtstruct(path, image=image())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "RS.dcm"
