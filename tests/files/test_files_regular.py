from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

import volseg
from volseg.datasets import read_dataset
from volseg.datasets.public import get_dataset
from volseg.errors import InputError
from volseg.files.regular import read_bytes, read_json, read_text, regular_file
from volseg.io import read_grid
from volseg.io.labels.table import read_label_table

NAMES = ("scan.nii", "scan.nii.gz", "scan.hdr", "scan.nrrd", "scan.mha", "scan.dcm", "scan.zip", "scan", "DICOMDIR")


def make_pipe(path: Path) -> Path:
    """A pipe without a writer: opening it would wait for ever."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(path)
    return path


def test_a_regular_file_or_a_link_to_one_is_one(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\ntwo", encoding="utf-8")
    assert regular_file(str(file)) == file
    (tmp_path / "b.txt").symlink_to(file)
    assert read_text(tmp_path / "b.txt") == "one\ntwo"


def test_what_is_no_regular_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt: no such file or folder"):
        regular_file(tmp_path / "none.txt")
    with pytest.raises(InputError, match="is a folder; expected a file"):
        regular_file(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        regular_file("a\0b")
    with pytest.raises(InputError, match="cannot be read"):
        regular_file(tmp_path / ("n" * 5000))
    for special in (make_pipe(tmp_path / "pipe"), Path("/dev/zero"), Path(os.devnull)):
        with pytest.raises(InputError, match=r"is a pipe or device; expected a regular file"):
            regular_file(special)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no sockets in the file system")
def test_a_socket_is_no_regular_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(InputError, match="is a pipe or device"):
            regular_file("s")


def test_texts_are_read_up_to_a_length(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree")
    assert read_text(file) == "one\ntwo\nthree"
    assert len(read_bytes(file, most=17)) == 17
    with pytest.raises(InputError, match="has 17 bytes; expected at most 16"):
        read_text(file, most=16)
    file.write_bytes(b"a\xff")
    with pytest.raises(InputError, match=r"is not UTF-8 text \(at byte 1\)"):
        read_text(file)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "9" * 5000, '{"a": \udcff}'])
def test_what_is_not_json_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(InputError, match="is not JSON"):
        read_json(file)
    file.write_text('{"a": 1}', encoding="utf-8")
    assert read_json(file) == {"a": 1}


@pytest.mark.parametrize("name", NAMES)
def test_no_scan_door_waits_for_a_pipe(tmp_path: Path, name: str) -> None:
    pipe = make_pipe(tmp_path / name)
    for read in (volseg.read, volseg.read_all, read_grid, volseg.read_labels):
        with pytest.raises(InputError, match="pipe or device"):
            read(pipe)
    # With and without a look at the voxels, given itself and found in a folder.
    for headers in (False, True):
        (entry,) = volseg.inspect(pipe, headers=headers).entries
        assert "pipe or device" in str(entry.problem)
    if not name.startswith("scan.") or name.endswith((".dcm", ".zip")):
        with pytest.raises(InputError, match=r"no DICOM|nothing"):
            volseg.read(tmp_path)
    else:
        (entry,) = volseg.inspect(tmp_path, headers=True).entries
        assert "pipe or device" in str(entry.problem)


def test_no_device_behind_a_header_is_read(tmp_path: Path) -> None:
    scan = volseg.Volume(np.zeros((2, 3, 4), np.int16), volseg.Grid((2, 3, 4), np.eye(4)))
    volseg.write(scan, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes()[:348])
    content[344:347] = b"ni1"
    (tmp_path / "b.hdr").write_bytes(content)
    (tmp_path / "b.img").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"b\.img: is a pipe or device"):
        volseg.read(tmp_path / "b.hdr")


@pytest.mark.parametrize("name", ["labels.tsv", "labels.json"])
def test_no_table_waits_for_a_pipe(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="pipe or device"):
        read_label_table(make_pipe(tmp_path / name))


def test_no_dataset_waits_for_a_pipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pipe or device"):
        get_dataset("msd:Task04_Hippocampus", tmp_path / "new", archive=make_pipe(tmp_path / "a.tar"))
    make_pipe(tmp_path / "dataset.json")
    with pytest.raises(volseg.errors.VolsegError, match="no dataset"):
        read_dataset(tmp_path)


def test_a_table_of_too_many_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("index\tname\n" + "1\t\n" * 200_001, encoding="utf-8")
    with pytest.raises(InputError, match="more than 200000 rows"):
        read_label_table(tmp_path / "labels.tsv")
