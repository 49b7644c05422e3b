from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from handmade_dicom import bare_headers
from hypothesis import given, settings
from hypothesis import strategies as st

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError
from volseg.inspection import inspect
from volseg.io import read, read_all
from volseg.io.dicom.header import LOOSE_IDENTITY, STRICT_IDENTITY, FrameHeader
from volseg.io.dicom.identity import labels_of
from volseg.io.dicom.series import Series, group_frames
from volseg.io.dicom.storage import DicomFile
from volseg.io.dicom.writing import write_dicom_series

IDENTITY = {keyword: f"{keyword} a" for keyword in (*STRICT_IDENTITY, *LOOSE_IDENTITY)}
SPACING = 3.0
# Where the slices of several series lie that share a UID: one above the other, in the same places, in between.
ARRANGEMENTS: dict[str, Callable[[int, int, int], float]] = {
    "stacked": lambda series, count, _: series * count * SPACING,
    "same places": lambda series, count, _: 0.0,
    "interleaved": lambda series, count, groups: series * SPACING / groups,
}

subsets = st.sets(st.sampled_from([*STRICT_IDENTITY, *LOOSE_IDENTITY]), min_size=1, max_size=4)


def one_series(height: float, count: int, identity: dict[str, str], *, name: str) -> list[FrameHeader]:
    grid = Grid.from_spacing((6, 5, count), (1, 1, SPACING), (0, 0, height))
    frames = bare_headers(grid, identity=identity, series_uid="1.2.3")
    return [replace(frame, file=DicomFile(Path(f"{name}{k}.dcm"))) for k, frame in enumerate(frames)]


def without(frame: FrameHeader, keywords: set[str]) -> FrameHeader:
    return replace(frame, identity={key: text for key, text in frame.identity.items() if key not in keywords})


def files_of(series: Iterator[Series]) -> list[set[str]]:
    return sorted(({frame.file.name for frame in entry.frames} for entry in series), key=min)


@settings(max_examples=150)
@given(st.data())
def test_what_differs_is_never_one_volume(data: st.DataObject) -> None:
    groups, count = data.draw(st.integers(2, 3)), data.draw(st.integers(3, 6))
    arrangement = data.draw(st.sampled_from(sorted(ARRANGEMENTS)))
    differing = data.draw(subsets)
    # One of them is everywhere; the others and all that is alike may be absent in some.
    anchor = data.draw(st.sampled_from(sorted(differing)))
    frames: list[FrameHeader] = []
    for n in range(groups):
        identity = {key: f"{key} {'abc'[n]}" if key in differing else text for key, text in IDENTITY.items()}
        height = ARRANGEMENTS[arrangement](n, count, groups)
        for frame in one_series(height, count, identity, name="abc"[n]):
            frames.append(without(frame, data.draw(subsets) - {anchor}))
    order = data.draw(st.permutations(frames))
    found = list(group_frames(order))
    assert files_of(iter(found)) == [{f"{name}{k}.dcm" for k in range(count)} for name in "abc"[:groups]]
    assert len({series.name for series in found}) == groups
    assert all(f"{anchor} (" in series.notes[0] or anchor in series.notes[0] for series in found)
    for series in found:
        own = min(frame.file.name for frame in series.frames)[0]
        told = {key: text for frame in series.frames for key, text in frame.identity.items() if key in differing}
        assert set(told.values()) <= {f"{key} {own}" for key in differing}


@settings(max_examples=100)
@given(st.data())
def test_what_is_absent_or_spelled_otherwise_is_no_difference(data: st.DataObject) -> None:
    spellings = st.sampled_from([str, str.upper, str.lower, str.title, " {} ".format, lambda text: f"{text}  "])
    frames = one_series(0, data.draw(st.integers(2, 6)), IDENTITY, name="a")
    changed = []
    for frame in frames:
        spelled = {key: data.draw(spellings)(text) for key, text in frame.identity.items()}
        changed.append(without(replace(frame, identity=spelled), data.draw(st.just(set()) | subsets)))
    (series,) = group_frames(changed)
    assert not series.notes
    assert not series.label
    present = set.union(*(set(frame.identity) for frame in changed))
    assert all(set(frame.identity) == present for frame in series.frames)


@settings(max_examples=100)
@given(st.data())
def test_a_text_that_varies_from_slice_to_slice_tears_nothing(data: st.DataObject) -> None:
    keyword = data.draw(st.sampled_from([*LOOSE_IDENTITY, "StudyInstanceUID", "FrameOfReferenceUID"]))
    frames = one_series(0, data.draw(st.integers(4, 9)), IDENTITY, name="a")
    edited = set(range(len(frames)))
    if keyword in LOOSE_IDENTITY:  # also one slice alone, or one in the middle and its neighbour
        some = st.sampled_from([{0}, {len(frames) - 1}, {1, 2}, {1}])
        edited = data.draw(some | st.just(edited))
    changed = [
        replace(frame, identity={**frame.identity, keyword: f"edited {k if len(edited) > 2 else ''}"})
        if k in edited
        else frame
        for k, frame in enumerate(frames)
    ]
    if data.draw(st.booleans()) and len(edited) > 2:
        del changed[data.draw(st.integers(1, len(changed) - 2))]
    (series,) = group_frames(changed)
    assert len(series.frames) == len(changed)
    assert keyword in series.notes[0]
    assert "varies from slice to slice" in series.notes[0]


def test_a_text_that_varies_from_slice_to_slice_leaves_time_points_whole() -> None:
    frames = [
        replace(frame, traits={"time": time}, identity={"SeriesDescription": f"slice {k}"})
        for time in "12"
        for k, frame in enumerate(one_series(0, 5, {}, name=time))
    ]
    assert [(series.label, len(series.frames)) for series in group_frames(frames)] == [("time1", 5), ("time2", 5)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Doe^John", "DOE^JOHN^^"),
        ("Yamada^Tarou=山田^太郎", "yamada^tarou"),
        ("Doe^John", "Doe^John^^^"),
        ("MÜLLER^Jörg", "Mu\u0308ller^Jo\u0308rg"),
    ],
)
def test_names_of_one_patient(one: str, other: str) -> None:
    frames = one_series(0, 4, {"PatientName": one}, name="a")
    frames[2] = replace(frames[2], identity={"PatientName": other})
    assert len(list(group_frames(frames))) == 1


@pytest.mark.parametrize(("other", "count"), [("100000.000", 1), ("100000.0", 1), ("100000.1", 2), ("10", 2)])
def test_parts_of_a_second_may_be_left_out(other: str, count: int) -> None:
    frames = [
        frame
        for name, time, height in (("a", "100000", 0), ("b", other, 1.5))
        for frame in one_series(height, 4, {"SeriesTime": time}, name=name)
    ]
    assert len(list(group_frames(frames))) == count


def test_frames_that_may_be_of_either_are_put_to_neither() -> None:
    frames = [*one_series(0, 4, {"SeriesNumber": "3"}, name="a"), *one_series(30, 4, {"SeriesNumber": "4"}, name="b")]
    frames[3] = without(frames[3], {"SeriesNumber"})
    found = list(group_frames(frames))
    assert [(series.label, len(series.frames)) for series in found] == [
        ("series3", 3),
        ("series4", 4),
        ("series_none", 1),
    ]
    assert all("differ in SeriesNumber (3, 4, none)" in series.notes[0] for series in found)


def test_several_attributes_together_name_volumes() -> None:
    told = [("p1", "3"), ("p1", "4"), ("p2", "3")]
    frames = [
        frame
        for n, (patient, number) in enumerate(told)
        for frame in one_series(30.0 * n, 4, {"PatientID": patient, "SeriesNumber": number}, name="abc"[n])
    ]
    names = [series.name for series in group_frames(frames)]
    assert names == ["patient1_series3", "patient1_series4", "patient2_series3"]


# ------------------------------------------------------------------------------------------------------- in files

GRID = Grid.from_spacing((6, 5, 4), (0.7, 0.9, 3.0), (10, -20, 30))


def write_series(folder: Path, start: int, height: float, **values: object) -> Volume:
    """Write a series that has the UIDs of all the others, as some anonymisers make them."""
    grid = Grid.from_spacing(GRID.shape, GRID.spacing, (10, -20, 30 + height))
    array = np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape) + np.int16(start)
    scan = Volume(array, grid, modality="CT")
    uids = dict.fromkeys(("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"), "1.2.3")
    for path in write_dicom_series(scan, folder / str(start), description="scan"):
        dataset = pydicom.dcmread(path)
        for keyword, value in (uids | values).items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    return scan


def test_patients_of_one_uid_are_told_and_chosen(tmp_path: Path) -> None:
    scans = [write_series(tmp_path, 200 * n, 12.0 * n, PatientID=f"P{n}", PatientName="X") for n in (1, 2)]
    with pytest.raises(AmbiguousError, match=r"2 volumes in 1 DICOM series; .*'scan_patient1' CT .*'scan_patient2'"):
        read(tmp_path)
    assert list(read_all(tmp_path)) == ["scan_patient1", "scan_patient2"]
    for entry in inspect(tmp_path).entries:
        assert "but differ in PatientID" in entry.notes[0]
        assert "P1" not in entry.notes[0]  # notes are kept in records and reports
    for n, scan in enumerate(scans, start=1):
        for wanted in (f"P{n}", f"patient{n}", f"scan_patient{n}", f"1.2.3#{n}"):
            volume = read(tmp_path, series=wanted)
            np.testing.assert_array_equal(volume.array, scan.array)
            assert volume.grid.is_close(scan.grid)


@pytest.mark.parametrize("headers", [True, False])
def test_phases_of_one_uid_are_listed_with_what_differs(tmp_path: Path, headers: bool) -> None:
    for n, name in enumerate(("native", "arterial", "venous")):
        write_series(tmp_path, 200 * n, float(n), SeriesNumber=3 + n, SeriesDescription=name)
    entries = inspect(tmp_path, headers=headers).entries
    assert [(entry.name, entry.shape) for entry in entries] == [
        ("native", (6, 5, 4)),
        ("arterial", (6, 5, 4)),
        ("venous", (6, 5, 4)),
    ]
    assert [entry.spacing_mm[2] for entry in entries if entry.spacing_mm] == pytest.approx([3, 3, 3])
    for entry, number in zip(entries, (3, 4, 5), strict=True):
        assert "but differ in SeriesNumber (3, 4, 5) and SeriesDescription" in entry.notes[0]
        assert f"this one has SeriesNumber {number}" in entry.notes[0]
    assert read(tmp_path, series="4").array.min() == 200


@pytest.mark.parametrize(
    ("keyword", "values", "names"),
    [
        ("TemporalPositionIdentifier", ["1", "2"], ["scan_time1", "scan_time2"]),
        ("NominalPercentageOfCardiacPhase", [30.0, 75.0], ["scan_phase30", "scan_phase75"]),
        ("ConvolutionKernel", ["B30f", "B70f"], ["scan_kernel1", "scan_kernel2"]),
        ("EchoTime", [30.0, 80.0], ["scan_echo30", "scan_echo80"]),
        ("InversionTime", [400.0, 900.0], ["scan_inversion400", "scan_inversion900"]),
        ("FlipAngle", [4.0, 18.0], ["scan_flip4", "scan_flip18"]),
    ],
)
def test_interleaved_phases_kernels_and_contrasts_are_volumes(
    tmp_path: Path, keyword: str, values: list[Any], names: list[str]
) -> None:
    for n, value in enumerate(values):
        write_series(tmp_path, 200 * n, 1.5 * n, **{keyword: value})
    assert {name: int(volume.array.min()) for name, volume in read_all(tmp_path).items()} == {
        names[0]: 0,
        names[1]: 200,
    }


def test_an_absent_frame_of_reference_is_not_another(tmp_path: Path) -> None:
    scan = write_series(tmp_path, 0, 0.0)
    for path in sorted(tmp_path.rglob("*.dcm"))[:2]:
        dataset = pydicom.dcmread(path)
        del dataset.FrameOfReferenceUID
        dataset.save_as(path)
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, scan.array)
    assert volume.source.frame_of_reference_uid == "1.2.3"


def test_texts_that_cannot_be_read_are_absent(tmp_path: Path) -> None:
    scan = write_series(tmp_path, 0, 0.0, PatientSex="M")
    path = min(tmp_path.rglob("*.dcm"))
    path.write_bytes(path.read_bytes().replace(b"\x10\x00\x40\x00CS", b"\x10\x00\x40\x00FD"))
    np.testing.assert_array_equal(read(tmp_path).array, scan.array)


@pytest.mark.parametrize("name", ["two-patients-one-series-uid", "two-series-one-uid-interleaved"])
def test_the_given_series_of_one_uid(found: Path, name: str) -> None:
    volumes = list(read_all(found / name).values())
    assert [volume.array.shape for volume in volumes] == [(16, 12, 8)] * 2
    i, j, k = np.indices((16, 12, 8))
    for n, volume in enumerate(volumes):
        np.testing.assert_array_equal(volume.array, 3 * i + 50 * j + 700 * k + 20000 * n)
        assert volume.grid.spacing == pytest.approx((2, 2, 3))


def test_long_numbers_have_one_order() -> None:
    (header,) = bare_headers(Grid.from_spacing((2, 2, 1), (1, 1, 1)))
    uids = [f"2.25.1768461488687653946706540700371573699{number}" for number in range(10, 30)]
    parts = [("", [replace(header, identity={"FrameOfReferenceUID": uid})]) for uid in uids]
    assert labels_of(parts) == [f"space{number}" for number in range(1, 21)]
