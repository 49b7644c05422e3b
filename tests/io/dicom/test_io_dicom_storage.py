from __future__ import annotations

import gzip
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.io import read, read_all
from volseg.io.dicom import is_dicom
from volseg.io.dicom.storage import DicomFile, stored_files
from volseg.io.dicom.writing import write_dicom_series


@pytest.fixture
def scan() -> Volume:
    grid = Grid.from_spacing((6, 5, 4), (0.7, 0.9, 2.0), (10, -20, 30))
    return Volume(np.arange(120, dtype=np.int16).reshape(6, 5, 4), grid, modality="CT")


@pytest.fixture
def folder(scan: Volume, tmp_path: Path) -> Path:
    write_dicom_series(scan, tmp_path / "scan", description="phantom")
    return tmp_path / "scan"


def assert_is(volume: Volume, scan: Volume) -> None:
    np.testing.assert_array_equal(volume.array, scan.array)
    assert volume.grid.is_close(scan.grid)


# ------------------------------------------------------------------------------------------------------ archives


@pytest.mark.parametrize("inside", ["", "deep/er/"])
def test_zip_archive_is_read_in_place(scan: Volume, folder: Path, tmp_path: Path, inside: str) -> None:
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in folder.iterdir():
            target.write(file, f"{inside}{file.name}")
        target.writestr("__MACOSX/._0001.dcm", "resource fork")
        target.writestr("notes.txt", "not DICOM")
    before = set(tmp_path.rglob("*"))
    volume = read(archive)
    assert_is(volume, scan)
    assert set(tmp_path.rglob("*")) == before
    assert str(volume.source.frames[0].file) == str(archive / f"{inside}0001.dcm")
    shutil.rmtree(folder)
    assert list(read_all(tmp_path)) == ["phantom"]


@pytest.mark.parametrize("name", ["../evil.dcm", "/evil.dcm", "a/../../evil.dcm", "C:/evil.dcm", "..\\evil.dcm"])
def test_zip_member_outside_its_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as target:
        target.write(folder / "0001.dcm", "0001.dcm")
        target.writestr(zipfile.ZipInfo(name), (folder / "0002.dcm").read_bytes())
    with pytest.raises(InputError, match=r"lies outside its folder; not read"):
        read(tmp_path / "study.zip")
    assert not (tmp_path.parent / "evil.dcm").exists()


def test_link_bomb_and_encrypted_member_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volseg.files.zip_archive.most_unpacked", lambda there: 1 << 24)
    link = zipfile.ZipInfo("link.dcm")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as target:
        target.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match=r"'link.dcm' is a link; expected files only"):
        read(tmp_path / "link.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros.dcm", bytes(1 << 25))
    with pytest.raises(
        InputError, match=r"unpacks from \d+ to 33554432 bytes, as a decompression bomb does; if that is"
    ):
        read(tmp_path / "bomb.zip")
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as target:
        target.write(folder / "0001.dcm", "0001.dcm")
    data = bytearray((tmp_path / "plain.zip").read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    (tmp_path / "secret.zip").write_bytes(data)
    with pytest.raises(InputError, match=r"'0001.dcm' is encrypted"):
        read(tmp_path / "secret.zip")


def test_damaged_archive_and_member_are_named(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in folder.iterdir():
            target.write(file, file.name)
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"study.zip: is a damaged zip archive"):
        read(archive)
    broken = bytearray(data)
    broken[data.index(b"DICM") + 900] ^= 255
    archive.write_bytes(broken)
    with pytest.raises(InputError, match=r"study.zip/000\d.dcm: .*(CRC|damaged)"):
        read(archive)


def test_archive_without_dicom_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as target:
        target.writestr("notes.txt", "not DICOM")
    assert not is_dicom(tmp_path / "study.zip")
    with pytest.raises(InputError, match=r"study.zip: no DICOM files in this archive"):
        read(tmp_path / "study.zip")


# ---------------------------------------------------------------------------------------------- how files are stored


def test_gzip_under_a_plain_name_is_read(scan: Volume, folder: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    assert_is(read(folder), scan)


def test_gzip_bomb_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volseg.io.dicom.storage.ALWAYS_UNPACKED", 1 << 24)
    content = (folder / "0002.dcm").read_bytes()
    start = content.index(b"\x20\x00\x0d\x00UI")
    with gzip.open(folder / "0002.dcm", "wb", 9) as stream:
        stream.write(content[:start] + b"\x19\x00\x10\x10OB\0\0" + (1 << 25).to_bytes(4, "little") + bytes(1 << 25))
        stream.write(content[start:])
    with pytest.raises(InputError, match=r"0002.dcm: .* as a decompression bomb does"):
        read(folder)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_files_without_preamble_and_meta_are_read(scan: Volume, folder: Path, syntax: str, suffix: str) -> None:
    for file in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(file)
        dataset.file_meta, dataset.preamble = FileMetaDataset(), None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.save_as(
                file.with_suffix(suffix),
                implicit_vr=syntax == ImplicitVRLittleEndian,
                little_endian=True,
                enforce_file_format=False,
            )
        if not suffix:
            file.unlink()
    assert (folder / "0001").with_suffix(suffix).read_bytes()[:2] == b"\x08\x00"
    assert_is(read(folder), scan)


def test_junk_beside_the_slices_is_left_out_with_a_note(
    scan: Volume, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "random.dcm").write_bytes(bytes(np.random.default_rng(5).integers(9, 256, 900, dtype=np.uint8)))
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(300))
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (folder / "loop").symlink_to(".")
    (folder / "dangling.dcm").symlink_to("/nonexistent")
    assert_is(read(folder), scan)
    assert "skipped 1 file(s) with a DICOM file name that are not DICOM: " in caplog.text


def test_dicomdir_stands_for_the_files_that_it_lists(scan: Volume, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "strangers").mkdir()
    for file in write_dicom_series(scan, tmp_path / "other", description="not listed"):
        file.rename(tmp_path / "strangers" / file.name)
    folder = folder.rename(tmp_path / "SCAN")
    records = []
    for number, file in enumerate(sorted(folder.iterdir())):
        record = pydicom.Dataset()
        file.rename(folder / f"IM{number}")
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", ["SCAN", f"IM{number}"]
        records.append(record)
    directory = pydicom.Dataset()
    directory.SOPClassUID, directory.SOPInstanceUID = "1.2.840.10008.1.3.10", generate_uid()
    directory.DirectoryRecordSequence = records
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert list(read_all(tmp_path / "DICOMDIR")) == ["phantom"]
    assert len(read_all(tmp_path)) == 2
    (folder / "IM2").unlink()
    with pytest.raises(InputError, match=r"DICOMDIR: lists 4 files, of which 1 are missing \(.*IM2\)"):
        read(tmp_path / "DICOMDIR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records[0].ReferencedFileID = ["..", "SECRET"]
    directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    with pytest.raises(InputError, match=r"lies outside its folder; not read"):
        read(tmp_path / "DICOMDIR")


def test_files_are_listed_in_order_and_named(folder: Path) -> None:
    files = list(stored_files(folder))
    assert [file.name for file in files] == ["0001.dcm", "0002.dcm", "0003.dcm", "0004.dcm"]
    assert files[0].folder == str(folder)
    assert DicomFile(folder / "a.zip", "x/y.dcm").name == "y.dcm"


def test_gzip_with_a_long_name_inside_is_read(scan: Volume, folder: Path) -> None:
    for file in list(folder.iterdir()):
        with file.with_suffix(".dcm.gz").open("wb") as target, gzip.GzipFile("x" * 300, "wb", 9, target) as stream:
            stream.write(file.read_bytes())
        file.unlink()
    assert_is(read(folder), scan)


def test_a_member_listed_twice_is_refused(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as target:
        target.write(folder / "0001.dcm", "0001.dcm")
        with pytest.warns(UserWarning, match="Duplicate name"):
            target.write(folder / "0002.dcm", "0001.dcm")
    with pytest.raises(InputError, match=r"holds '0001.dcm' 2 times"):
        read(tmp_path / "study.zip")


@pytest.mark.parametrize("content", [b"", bytes(5000), bytes(100)])
def test_a_slice_that_was_not_copied_is_missed(folder: Path, content: bytes) -> None:
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"IM{number:04d}")
    (folder / "IM0003").write_bytes(content)
    (folder / "LOCKFILE").write_bytes(b"")
    with pytest.raises(InputError, match="IM0003: damaged DICOM file: has no DICOM content"):
        read(folder)


def test_deflated_bomb_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volseg.io.dicom.dataset.ALWAYS_UNPACKED", 1 << 24)
    dataset = pydicom.dcmread(folder / "0002.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.add_new(0x00091010, "OB", bytes(1 << 25))
    dataset.save_as(folder / "0002.dcm")
    assert (folder / "0002.dcm").stat().st_size < 1 << 18
    with pytest.raises(InputError, match=r"0002.dcm: .* as a decompression bomb does"):
        read(folder)


def test_links_are_followed_but_not_in_circles(scan: Volume, folder: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (study / "linked").symlink_to(folder)
    (folder / "up").symlink_to(study)
    assert_is(read(study), scan)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names on this system")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is a pipe or device"):
        read(tmp_path / "pipe")
