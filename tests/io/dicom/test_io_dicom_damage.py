from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from world import assert_same_in_world

from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError
from volseg.inspection import inspect
from volseg.io import read, read_all
from volseg.io.dicom.damage import DamagedFile
from volseg.io.dicom.storage import DicomFile
from volseg.io.dicom.writing import write_dicom_series

GRID = Grid.from_spacing((6, 5, 4), (0.7, 0.9, 2.0), (10, -20, 30))
SCAN = Volume(np.arange(120, dtype=np.int16).reshape(GRID.shape), GRID, modality="CT")
SERIES_TAG, ROWS_TAG, NEXT_TAG = b"\x20\x00\x0e\x00", b"\x28\x00\x10\x00", 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series in one folder: files a1.dcm ... of `thorax`, and b1.dcm ... of `other`."""
    folder = tmp_path_factory.mktemp("two")
    for letter, name in (("a", "thorax"), ("b", "other")):
        for number, path in enumerate(write_dicom_series(SCAN, folder / name, description=name)):
            path.rename(folder / f"{letter}{number}.dcm")
        (folder / name).rmdir()
    return folder


def rewritten(path: Path, syntax: str) -> bytes:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True, enforce_file_format=True)
    return stream.getvalue()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("syntax", ["", ImplicitVRLittleEndian])
def test_a_cut_file_blocks_its_own_series_alone_where_its_uid_is_whole(
    folder: Path, syntax: str, data: st.DataObject
) -> None:
    path = folder / "b2.dcm"
    whole = path.read_bytes()
    content = rewritten(path, syntax) if syntax else whole
    cut = data.draw(st.integers(0, len(content) - 1))
    uid = content.index(SERIES_TAG)
    known = uid + 8 + len(pydicom.dcmread(path).SeriesInstanceUID) + 1 + NEXT_TAG
    try:
        path.write_bytes(content[:cut])
        if cut >= known:
            assert_same_in_world(read(folder, series="thorax"), SCAN)
        elif cut <= uid:
            with pytest.raises(InputError, match=r"b2.dcm: damaged DICOM file"):
                read(folder, series="thorax")
        with pytest.raises(InputError, match=r"b2.dcm"):
            read(folder, series="other")
    finally:
        path.write_bytes(whole)


def test_the_series_of_a_damaged_file_is_told(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    cut = tmp_path / "b2.dcm"
    uid = pydicom.dcmread(cut).SeriesInstanceUID
    cut.write_bytes(cut.read_bytes().partition(ROWS_TAG)[0])
    assert list(read_all(tmp_path)) == ["thorax"]
    assert "b2.dcm: damaged DICOM file: " in caplog.text
    with pytest.raises(InputError, match=r"b2.dcm: .*; its SeriesInstanceUID is that of the series; copy it again"):
        read(tmp_path, series="other")
    thorax, other, damaged = inspect(tmp_path, headers=True).entries
    assert thorax.problem is None
    assert "b2.dcm" in str(other.problem)
    assert f"move it away to read series [...{uid[-12:]}]" in str(damaged.problem)
    assert damaged.blocks
    for path in tmp_path.glob("b[013].dcm"):
        path.unlink()
    thorax, damaged = inspect(tmp_path, headers=True).entries
    assert thorax.problem is None
    assert not damaged.blocks


@pytest.mark.parametrize(("gone", "is_read"), [([], True), (["a0.dcm"], False)], ids=["more", "as many"])
def test_the_only_sound_series_is_the_one_that_is_meant_if_it_has_more_images(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, gone: list[str], is_read: bool
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    cut = tmp_path / "b2.dcm"
    cut.write_bytes(cut.read_bytes().partition(ROWS_TAG)[0])
    for name in gone:
        (tmp_path / name).unlink()
    told = r"'other' CT 6x5x3 \[...\d{12}\] \(not read, as one of its files is damaged\)"
    if is_read:
        assert_same_in_world(read(tmp_path), SCAN)
        assert "b2.dcm: damaged DICOM file: " in caplog.text
        assert re.search(f"left out, beside the series that is read: .*{told}", caplog.text)
    else:
        with pytest.raises(AmbiguousError, match=told):
            read(tmp_path)


@pytest.mark.parametrize("wrong", [b"1.2.x", b"", b"\0" * 12])
def test_a_file_without_sound_series_uid_blocks_its_folder(folder: Path, tmp_path: Path, wrong: bytes) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    dataset = pydicom.dcmread(tmp_path / "b2.dcm")
    dataset.Rows = 0
    uid = dataset.SeriesInstanceUID.encode()
    dataset.save_as(tmp_path / "b2.dcm")
    content = (tmp_path / "b2.dcm").read_bytes()
    (tmp_path / "b2.dcm").write_bytes(content.replace(uid, wrong.ljust(len(uid), b"\0")))
    with pytest.raises(InputError, match=r"b2.dcm: damaged DICOM file: Rows is 0 .*; copy it again"):
        read(tmp_path, series="thorax")


def test_a_cut_deflated_file_blocks_its_folder(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    content = rewritten(tmp_path / "b2.dcm", DeflatedExplicitVRLittleEndian)
    (tmp_path / "b2.dcm").write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"b2.dcm: damaged DICOM file"):
        read(tmp_path, series="thorax")


def test_the_given_cut_file(found: Path) -> None:
    assert read(found / "cut-file-of-other-series").array.shape == (64, 64, 8)
    volumes = read_all(found / "cut-file-of-other-series")
    assert {name: volume.array.shape for name, volume in volumes.items()} == {"thorax": (64, 64, 8)}


def test_an_empty_file_is_not_parsed_for_its_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive may have a hundred thousand of them, and a parse takes half a millisecond."""
    (tmp_path / "a.dcm").touch()
    monkeypatch.setattr("volseg.io.dicom.damage.read_partial", lambda *_, **__: pytest.fail("it was parsed"))
    damaged = DamagedFile.after(EOFError("it is empty"), DicomFile(tmp_path / "a.dcm"))
    assert (damaged.reason, damaged.series_uid) == ("it is empty", "")
