"""Objects written by volseg, through a real server and back. Skipped where Orthanc is not installed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.io import read, read_labels, write
from volseg.io.dicom.writing import write_dicom_series

LABELS = (Label(1, "liver", (221, 130, 101), "SCT:10200004"), Label(7, "lesion", (0, 151, 206)))
STARTING_SECONDS = 60

Send = Callable[[str, bytes | None], bytes]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Send]:
    """An Orthanc on loopback that ends with the tests; gives a function that asks it."""
    program = shutil.which("Orthanc")
    if program is None:
        pytest.skip("Orthanc is not installed (Debian: orthanc)")
    folder = tmp_path_factory.mktemp("orthanc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": port,
        "HttpBindAddresses": ["127.0.0.1"],
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "Plugins": [],
    }
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    log = (folder / "log").open("wb")
    process = subprocess.Popen([program, str(folder / "settings.json")], stdout=log, stderr=log)

    def ask(path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    try:
        _wait_for(ask, process)
        yield ask
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def _wait_for(ask: Send, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            ask("/system", None)
            return
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, "Orthanc ended"
            assert time.monotonic() < end, "Orthanc does not answer"
            time.sleep(0.2)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    angle = 0.3
    affine = np.eye(4)
    affine[:3, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    affine[:3, :3] *= [0.8, 0.9, 3.0]
    volume = Volume(np.arange(16 * 12 * 6, dtype=np.int16).reshape(16, 12, 6), Grid((16, 12, 6), affine), modality="CT")
    folder = tmp_path_factory.mktemp("scan")
    write_dicom_series(volume, folder)
    return read(folder)


@pytest.mark.parametrize("form", ["seg", "labelmap", "rtstruct"])
def test_what_is_stored_comes_back_identical(server: Send, scan: Volume, tmp_path: Path, form: str) -> None:
    array = np.zeros(scan.grid.shape, np.uint8)
    array[3:11, 2:9, 1:5], array[5:7, 4:6, 2:4] = 1, 7
    labels = LabelMap(array, scan.grid, LABELS)
    (path,) = write(labels, tmp_path / "labels.dcm", image=scan, form=form)
    for file in (*(file.path for file in scan.source.files), path):
        stored = json.loads(server("/instances", file.read_bytes()))
        assert stored["Status"] in ("Success", "AlreadyStored")
    back = tmp_path / "back" / "labels.dcm"
    back.parent.mkdir()
    back.write_bytes(server(f"/instances/{stored['ID']}/file", None))
    assert back.read_bytes() == path.read_bytes()
    # The server files it with the scan's study, under a series of its own.
    study = json.loads(server(f"/instances/{stored['ID']}/study", None))
    assert study["MainDicomTags"]["StudyInstanceUID"] == scan.source.study_uid
    assert len(study["Series"]) >= 2
    assert pydicom.dcmread(back).SeriesInstanceUID != scan.source.series_uid
    found = read_labels(back, image=scan)
    np.testing.assert_array_equal(found.array, labels.array)
    assert found.grid.is_close(scan.grid)
    assert [(label.value, label.name) for label in found.labels] == [(1, "liver"), (7, "lesion")]
