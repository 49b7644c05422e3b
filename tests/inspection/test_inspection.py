from __future__ import annotations

import json
import logging
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from handmade_dicom import write_enhanced, write_mosaic
from nifti_files import nifti_bytes, saved
from pydicom.uid import RLELossless

import volseg
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.inspection import Entry, Slices, inspect
from volseg.io import read, write
from volseg.io.dicom.writing import write_dicom_series

GRID = Grid.from_spacing((6, 5, 4), (0.5, 0.5, 2.0))
VOLUME = Volume(np.arange(120, dtype=np.int16).reshape(GRID.shape), GRID, modality="CT")
LABELS = (Label(1, "liver", (200, 0, 0)), Label(4, "spleen", (0, 0, 200)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A readable series, one that is repaired, one that is refused, a dose, a NIfTI image and a truncated one."""
    good = write_dicom_series(VOLUME, tmp_path / "a", description="good [1] series")
    write_dicom_series(VOLUME, tmp_path / "b", description="gappy")[2].unlink()
    twice = write_dicom_series(VOLUME, tmp_path / "c", description="twice")
    change(twice[1], lambda d: setattr(d, "ImagePositionPatient", pydicom.dcmread(twice[2]).ImagePositionPatient))
    change(good[0], as_object("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE"), tmp_path / "a" / "dose.dcm")
    (tmp_path / "deep").mkdir()
    image = nibabel.Nifti1Image(VOLUME.array.astype(np.float32) / 4, GRID.affine)
    image.to_filename(tmp_path / "deep" / "scan.nii.gz")
    whole = (tmp_path / "deep" / "scan.nii.gz").read_bytes()
    (tmp_path / "deep" / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "readme.txt").write_text("not an image", encoding="utf-8")
    return tmp_path


def change(file: Path, how: Callable[[Any], object], target: Path | None = None) -> None:
    dataset = pydicom.dcmread(file)
    how(dataset)
    dataset.save_as(target or file)


def as_object(sop_class: str, modality: str) -> Callable[[Any], None]:
    def how(dataset: Any) -> None:
        dataset.SOPClassUID, dataset.Modality = sop_class, modality

    return how


def only(path: Path, **options: bool) -> Entry:
    (entry,) = inspect(path, **options).entries
    return entry


def test_everything_is_listed_with_what_it_is(folder: Path) -> None:
    found = inspect(folder)
    entries = {entry.name: entry for entry in found.entries}
    scan_name, cut_name = str(Path("deep", "scan.nii.gz")), str(Path("deep", "cut.nii.gz"))
    dose_name = str(Path("a", "dose.dcm"))
    assert set(entries) == {"good [1] series", "gappy", "twice", dose_name, scan_name, cut_name}
    good, scan, gappy = entries["good [1] series"], entries[scan_name], entries["gappy"]
    assert set(found.readable) == {good, gappy, scan}
    assert (good.kind, good.modality, good.shape, good.files) == ("DICOM series", "CT", (6, 5, 4), 4)
    assert (good.spacing_mm, good.orientation, good.dtype) == ((0.5, 0.5, 2.0), "RAS", "int16")
    assert (good.value_range, good.unit, good.compression) == ((0, 119), "HU", "uncompressed")
    assert good.slices == Slices("positions along the normal", 2.0, 2.0, 0.0)
    assert (good.repair, good.displacement_mm, good.copies, good.notes, good.inverted) == (None, None, 0, (), False)
    assert (scan.kind, scan.shape, scan.dtype, scan.value_range) == ("NIfTI", (6, 5, 4), "float32", (0, 29.75))
    assert "two slices at the same position" in str(entries["twice"].problem)
    assert entries["twice"].shape == (6, 5, 4)
    assert "RT Dose is not an image" in str(entries[dose_name].problem)
    assert cut_name in str(entries[cut_name].problem)


def test_an_inspection_gives_its_entries_one_by_one(folder: Path) -> None:
    found = inspect(folder, headers=True)
    assert tuple(found) == found.entries


def test_affine_is_the_readers(folder: Path) -> None:
    for entry, path in ((only(folder / "b"), folder / "b"), (only(folder / "deep" / "scan.nii.gz"), None)):
        expected = read(path or folder / "deep" / "scan.nii.gz").grid
        np.testing.assert_array_equal(np.array(entry.affine), expected.affine)
        assert (entry.shape, entry.right_handed, entry.sheared) == (expected.shape, True, False)


def test_a_repair_is_told_with_its_cost(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    entry = only(folder / "b")
    assert entry.slices is not None
    assert (entry.slices.usual_gap_mm, entry.slices.widest_gap_mm) == (2.0, 4.0)
    assert "slices are missing (1): 4 mm from z = 2.00 mm" in str(entry.repair)
    assert "onto 4 straight slices 2 mm apart" in str(entry.repair)
    assert entry.displacement_mm == pytest.approx(1.0)  # stacked evenly, 3 mm apart, the middle one would be 1 mm off
    assert (entry.shape, entry.problem, entry.notes) == ((6, 5, 4), None, ())
    assert not caplog.records  # it is an answer here, no warning


def test_tilt_is_measured(tmp_path: Path) -> None:
    for number, file in enumerate(write_dicom_series(VOLUME, tmp_path)):
        x, y, z = pydicom.dcmread(file).ImagePositionPatient
        place = [x, y + 2 * number * np.tan(np.radians(20)), z]
        change(file, lambda d, place=place: setattr(d, "ImagePositionPatient", [round(mm, 6) for mm in place]))
    entry = only(tmp_path)
    assert entry.slices is not None
    assert entry.slices.tilt_degrees == pytest.approx(20, abs=1e-3)
    assert "the stack is tilted by 20 degrees" in str(entry.repair)
    assert entry.sheared is False  # as it is read


def test_copies_inverted_and_padded(tmp_path: Path) -> None:
    files = write_dicom_series(VOLUME, tmp_path)
    for file in files:
        change(file, lambda d: d.update({"PhotometricInterpretation": "MONOCHROME1"}))
        change(file, lambda d: d.add_new(0x00280120, "SS", 7))
    shutil.copy(files[1], tmp_path / "again.dcm")
    for headers in (False, True):
        entry = only(tmp_path, headers=headers)
        assert (entry.copies, entry.inverted, entry.files, entry.shape) == (1, True, 5, (6, 5, 4))
        assert sum("again.dcm: a copy of another file" in note for note in entry.notes) == 1
        assert sum("MONOCHROME1" in note for note in entry.notes) == 1
        assert entry.padding_value == 7
        assert entry.padding_fraction == (None if headers else 1 / 120)


def test_padding_is_rescaled_as_the_values_are(tmp_path: Path) -> None:
    for file in write_dicom_series(VOLUME, tmp_path):
        change(file, lambda d: d.update({"RescaleSlope": "0.1", "RescaleIntercept": "-5"}))
        change(file, lambda d: d.add_new(0x00280120, "SS", 3))
    entry = only(tmp_path)
    assert entry.padding_value == pytest.approx(-4.7)
    assert entry.padding_fraction == 1 / 120


def test_where_the_order_comes_from_and_how_pixels_are_stored(tmp_path: Path) -> None:
    scan = Volume(np.random.default_rng(0).integers(0, 99, (11, 9, 7)).astype(np.int16), Grid.from_spacing((11, 9, 7)))
    write_enhanced([scan], tmp_path / "enhanced.dcm")
    write_mosaic(scan, tmp_path / "mosaic.dcm")
    for file in write_dicom_series(scan, tmp_path / "rle"):
        change(file, lambda d: d.compress(RLELossless))
    orders = {name: only(tmp_path / name).slices for name in ("enhanced.dcm", "mosaic.dcm", "rle")}
    assert {name: slices and slices.order for name, slices in orders.items()} == {
        "enhanced.dcm": "functional groups",
        "mosaic.dcm": "tiles of a mosaic",
        "rle": "positions along the normal",
    }
    assert only(tmp_path / "rle").compression == "RLE lossless"


def test_volumes_of_a_series_are_named(tmp_path: Path) -> None:
    scans = [Volume(np.full((4, 3, 2), n, np.int16), Grid.from_spacing((4, 3, 2))) for n in (1, 2)]
    write_enhanced(scans, tmp_path / "time.dcm")
    entries = inspect(tmp_path).entries
    assert len({entry.volume for entry in entries}) == 2
    assert [str(entry.series).rpartition("#")[2] for entry in entries] == ["1", "2"]
    for entry in entries:  # what the table shows is what --series takes
        for series in (entry.series, entry.series_name):
            found = read(tmp_path, series=series)
            assert (found.array.min(), found.array.max()) == entry.value_range


def test_headers_alone_say_the_same_but_for_values(folder: Path) -> None:
    whole, quick = inspect(folder).entries, inspect(folder, headers=True).entries
    assert {entry.name: entry.shape for entry in whole if entry.problem is None}.items() <= {
        entry.name: entry.shape for entry in quick
    }.items()
    assert all(entry.value_range is None for entry in quick)
    good = next(entry for entry in quick if entry.name == "good [1] series")
    assert (good.dtype, good.orientation, good.spacing_mm) == ("int16", "RAS", (0.5, 0.5, 2.0))


def test_headers_alone_do_not_look_at_pixels(folder: Path) -> None:
    change(folder / "a" / "0001.dcm", lambda d: setattr(d, "PixelData", d.PixelData[:-8] + bytes(8)))
    change(folder / "a" / "0001.dcm", lambda d: d.compress(RLELossless))
    blob = (folder / "a" / "0001.dcm").read_bytes()
    (folder / "a" / "0001.dcm").write_bytes(blob[:-40] + b"\xff" * 40)
    shutil.rmtree(folder / "b")
    assert any(entry.problem and "decoded" in entry.problem for entry in inspect(folder / "a").entries)
    assert not any(
        entry.problem and "decoded" in entry.problem for entry in inspect(folder / "a", headers=True).entries
    )


def test_damaged_file_and_stranger_are_entries(folder: Path) -> None:
    (folder / "a" / "0002.dcm").write_bytes(b"")
    (folder / "a" / "page.dcm").write_text("<html>" * 100, encoding="utf-8")
    damaged, stranger = [entry for entry in inspect(folder / "a").entries if entry.kind == "DICOM file"]
    assert damaged.name == "0002.dcm"
    assert "damaged" in str(damaged.problem)
    assert stranger.name == "page.dcm"
    assert "has a DICOM file name but is not DICOM" in str(stranger.problem)


def test_a_hostile_archive_does_not_hide_the_rest(folder: Path) -> None:
    with zipfile.ZipFile(folder / "deep" / "evil.zip", "w") as archive:
        archive.writestr("../../out.dcm", b"x")
    entries = inspect(folder / "deep").entries
    assert any("lies outside its folder" in str(entry.problem) for entry in entries)
    assert any(entry.kind == "NIfTI" and entry.problem is None for entry in entries)


def test_archives_are_looked_into(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for file in sorted((folder / "c").iterdir())[:1]:
            archive.write(file, f"x/{file.name}")
    assert only(tmp_path / "scan.zip").shape == (6, 5, 1)


def test_what_an_archive_leaves_out_is_said(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        for file in sorted((folder / "b").iterdir()):
            archive.write(file, f"x/{file.name}")
        for name in ("readme.txt", "deep/scan.nii.gz"):
            archive.write(folder / name, f"y/{name}")
    _, left = inspect(tmp_path / "scan.zip").entries
    assert (left.kind, left.name, left.files) == ("archive", "scan.zip", 2)
    assert "skipped 2 member(s) that are not DICOM: scan.nii.gz, readme.txt; NIfTI" in str(left.problem)
    (only_left,) = [entry for entry in inspect(tmp_path).entries if entry.kind == "archive"]
    assert only_left.problem == left.problem


def test_a_damaged_file_blocks_its_folder_alone(folder: Path) -> None:
    (folder / "a" / "0002.dcm").write_bytes(b"")
    entries = {entry.name: entry for entry in inspect(folder).entries}
    damaged = entries[str(Path("a", "0002.dcm"))]
    assert damaged.blocks
    assert "move it away to read the series of its folder" in str(damaged.problem)
    assert "0002.dcm: damaged DICOM file" in str(entries["good [1] series"].problem)
    assert entries["gappy"].problem is None


def test_segmentations_tell_what_they_hold(tmp_path: Path) -> None:
    write_dicom_series(VOLUME, tmp_path / "scan", description="abdomen")
    image = read(tmp_path / "scan")
    array = np.zeros(GRID.shape, np.uint8)
    array[1:3, 1:3, 1:3], array[4, 2:4, 1:3] = 1, 4
    for form in ("seg", "labelmap", "rtstruct"):
        write(LabelMap(array, GRID, LABELS), tmp_path / f"{form}.dcm", image=image, form=form)
    write(LabelMap(array, GRID, LABELS), tmp_path / "a.seg.nrrd")
    write(LabelMap(array, GRID, LABELS), tmp_path / "b.nii.gz")
    scan, *entries = inspect(tmp_path).entries
    assert [entry.name for entry in entries] == ["labelmap.dcm", "rtstruct.dcm", "seg.dcm", "a.seg.nrrd", "b.nii.gz"]
    assert {entry.contents for entry in entries} == {("liver", "spleen")}
    assert not any(entry.problem for entry in entries)
    assert {entry.refers_to for entry in entries[:3]} == {(scan.series,)}
    assert {entry.frame_of_reference for entry in entries[:3]} == {scan.frame_of_reference}
    assert entries[3].value_range == (0, 4)


def test_what_the_reader_warns_of_is_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def moved(header: Any) -> None:
        header.set_qform(np.diag([2.0, 2, 2, 1]), 1)

    entry = only(saved(tmp_path, nifti_bytes(change=moved)))
    assert len(entry.notes) == 1
    assert "sform" in entry.notes[0]
    assert (entry.right_handed, entry.orientation) == (False, "LAS")
    array = np.ones((3, 3, 3), np.float32)
    array[0, 0, 0] = np.nan
    (note,) = only(saved(tmp_path, nifti_bytes(array), "nan.nii")).notes
    assert "1 of 27 voxels are NaN" in note
    assert not caplog.records
    logging.getLogger("volseg.test").warning("still heard")
    assert caplog.messages == ["still heard"]


def test_volumes_of_a_4d_file(tmp_path: Path) -> None:
    path = saved(tmp_path, nifti_bytes(np.arange(5 * 4 * 3 * 2, dtype=np.int16).reshape(5, 4, 3, 2)), "film.nii")
    for headers in (False, True):
        entries = inspect(path, headers=headers).entries
        assert [(entry.name, entry.volume, entry.series) for entry in entries] == [
            ("film.nii", "film_0", "film_0"),
            ("film.nii", "film_1", "film_1"),
        ]
        assert entries[0].dtype == "int16"


def test_single_files(folder: Path) -> None:
    entry = only(folder / "a" / "0001.dcm")
    assert (entry.shape, entry.files, entry.slices) == ((6, 5, 1), 1, None)
    entry = only(folder / "deep" / "scan.nii.gz")
    assert (entry.name, entry.files) == ("scan.nii.gz", 1)


def test_absent_or_empty_paths_are_errors(folder: Path) -> None:
    with pytest.raises(InputError, match="absent: no such file or folder"):
        inspect(folder / "absent")
    with pytest.raises(InputError, match=r"readme.txt: nothing to read; expected NIfTI .* and DICOM"):
        inspect(folder / "readme.txt")
    (folder / "else").mkdir()
    for name in ("brain.minc", "brain.mnc"):
        (folder / "else" / name).write_bytes(b"x" * 200)
    with pytest.raises(InputError, match=r"nothing to read among its 2 files \(brain.minc, brain.mnc\); expected"):
        inspect(folder / "else")


def test_the_patient_is_not_shown(tmp_path: Path) -> None:
    for file in write_dicom_series(VOLUME, tmp_path, description="head"):
        change(file, lambda d: d.update({"PatientName": "Doe^Jane", "PatientID": "MRN-4711", "SeriesInstanceUID": ""}))
    found = inspect(tmp_path)
    text = json.dumps(found.to_dict())
    assert "4711" not in text
    assert "Doe" not in text
    assert read(tmp_path, series=found.entries[0].series).grid.shape == (6, 5, 4)


def test_json_has_the_documented_keys(folder: Path) -> None:
    content = json.loads(json.dumps(inspect(folder).to_dict(), allow_nan=False))
    documented = str(Entry.__doc__)
    for entry in content["entries"]:
        assert all(key in documented for key in entry)
    assert all(key in str(Slices.__doc__) for key in content["entries"][0]["slices"])


def test_progress_reaches_its_end(folder: Path) -> None:
    steps: list[tuple[int, int]] = []
    inspect(folder, progress=lambda what, done, total: steps.append((done, total)))
    assert steps[0][0] == 0
    assert steps[-1] == (steps[-1][1], steps[-1][1])


def test_it_is_public() -> None:
    assert volseg.inspect is inspect


def test_paths_in_json_say_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    for name in ("cut.nii.gz", "cut.dcm"):
        (tmp_path / "data" / name).write_bytes(
            b"\x1f\x8b" + bytes(300) if name.endswith("gz") else bytes(128) + b"DICM"
        )
    for working, shown in ((tmp_path, "data"), (tmp_path / "data", "data"), (Path("/"), None)):
        monkeypatch.chdir(working)
        found = inspect(tmp_path / "data")
        text = json.dumps(found.to_dict())
        assert "cut.nii.gz" in text
        if shown is not None:
            assert found.to_dict()["path"] == shown
            assert str(tmp_path) not in text
        assert str(tmp_path / "data") in json.dumps(found.to_dict(full_paths=True))
    one = inspect(tmp_path / "data" / "cut.nii.gz").to_dict()
    assert one["entries"][0]["problem"].startswith(f"{one['path']}: ")
