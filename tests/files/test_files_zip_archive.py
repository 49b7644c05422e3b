"""Archives that unpack to more than they should, and sound ones that must still be read."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import volseg
from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import InputError, VolsegError
from volseg.files.zip_archive import archive_members
from volseg.io import read
from volseg.io.dicom.storage import DicomFile, stored_files
from volseg.io.dicom.writing import write_dicom_series


@pytest.fixture
def scan() -> Volume:
    grid = Grid.from_spacing((40, 30, 5), (0.7, 0.9, 2.0), (10, -20, 30))
    return Volume(np.arange(6000, dtype=np.int16).reshape(40, 30, 5), grid, modality="CT")


@pytest.fixture
def archive(scan: Volume, tmp_path: Path) -> Path:
    files = write_dicom_series(scan, tmp_path / "scan")
    return pack(tmp_path / "study.zip", {file.name: file.read_bytes() for file in files})


def pack(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused_before_they_are_unpacked(tmp_path: Path, kind: int) -> None:
    pack(tmp_path / "a.zip", {"a.dcm": bytes(10**6)}, kind)
    with pytest.raises(InputError, match=r"'a.dcm' is compressed by method \d+, not deflated; unpack it"):
        read(tmp_path / "a.zip")


def test_overlapping_members_are_refused(archive: Path) -> None:
    content, count = archive.read_bytes(), 500
    start = content.index(b"PK\x01\x02")
    entry = content[start : content.index(b"PK\x01\x02", start + 1)]
    entries = b"".join(entry.replace(b"0001.dcm", b"%04d.dcm" % n) for n in range(count))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(entries), start, 0)
    archive.write_bytes(content[:start] + entries + tail)
    with pytest.raises(InputError, match="its members overlap, as those of a decompression bomb do; not read"):
        read(archive)


def test_a_list_of_members_that_is_too_long_is_not_read(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volseg.files.zip_archive._LONGEST_LIST", 200)
    monkeypatch.setattr(zipfile.ZipFile, "__init__", None)
    with pytest.raises(InputError, match=r"its list of members has \d+ bytes; unpack it and read the folder"):
        read(archive)


def test_too_many_members_are_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volseg.files.zip_archive._MOST_MEMBERS", 4)
    with pytest.raises(InputError, match=r"unpacks to 5 files of \d+ bytes; unpack it and read the folder"):
        read(archive)


def test_a_long_header_is_read_a_long_picture_is_not_unpacked(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members that expand a lot are listed by their header; only to read it is refused."""
    monkeypatch.setattr("volseg.io.dicom.storage.ALWAYS_UNPACKED", 1 << 20)
    with zipfile.ZipFile(archive) as source, source.open("0001.dcm") as member:
        dataset = pydicom.dcmread(member)
    dataset.Rows = dataset.Columns = 2048
    dataset.PixelData = bytes(2 * 2048 * 2048)
    dataset.save_as(tmp_path / "a.dcm")
    pack(tmp_path / "a.zip", {"a.dcm": (tmp_path / "a.dcm").read_bytes()})
    (entry,) = volseg.inspect(tmp_path / "a.zip", headers=True).entries
    assert entry.shape == (2048, 2048, 1)
    assert entry.problem is None
    with pytest.raises(InputError, match=r"a.dcm: unpacks to more than \d+ bytes, .* unpack it first"):
        read(tmp_path / "a.zip")
    assert read(tmp_path / "a.dcm").array.shape == (2048, 2048, 1)


def test_slices_that_together_become_far_larger_are_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volseg.io.dicom.pixels.most_unpacked", lambda there: 1000)
    with pytest.raises(InputError, match=r"\d+ bytes would unpack to 12000, as a decompression bomb does"):
        read(archive)


def test_members_are_unpacked_as_far_as_they_are_read(archive: Path) -> None:
    (first, *_) = stored_files(archive)
    assert first == DicomFile(archive, "0001.dcm")
    assert first.size() > first.stored_size()
    with first.open() as stream:
        assert stream.read(132)[128:] == b"DICM"
        stream.seek(0)
        assert len(stream.read()) == first.size()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.binary(min_size=1, max_size=6))
def test_overwritten_archives_are_read_right_or_refused(
    archive: Path, scan: Volume, place: float, value: bytes
) -> None:
    content = bytearray(archive.read_bytes())
    start = int(place * (len(content) - len(value)))
    content[start : start + len(value)] = value
    changed = archive.with_name("changed.zip")
    changed.write_bytes(content)
    try:
        volume = read(changed)
    except VolsegError:
        return
    assert np.isin(volume.array, scan.array).all()


def test_a_changed_archive_is_listed_anew(archive: Path) -> None:
    assert len(archive_members(archive)) == 5
    pack(archive, {"a.dcm": b"x", ".hidden": b"", "folder/": b""})
    assert [member.filename for member in archive_members(archive)] == ["a.dcm"]


def test_many_nearly_empty_slices_are_read(tmp_path: Path) -> None:
    """As of a scan of which all but one organ was cleared."""
    array = np.zeros((256, 256, 40), np.int16)
    array[100:104, 100:104] = 7
    scan = Volume(array, Grid.from_spacing(array.shape, (1, 1, 1), (0, 0, 0)), modality="CT")
    files = write_dicom_series(scan, tmp_path / "scan")
    path = pack(tmp_path / "a.zip", {file.name: file.read_bytes() for file in files})
    assert path.stat().st_size < array.nbytes / 50
    np.testing.assert_array_equal(read(path).array, array)
