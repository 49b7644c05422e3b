"""A disk that is full at any byte of a file, also its last: the writer says so, and the old file stays."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from full_disk import at_most

import volseg
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import OutputError
from volseg.files.atomic import reason_of
from volseg.io.dicom.writing import write_dicom_series
from volseg.surface import extract_surfaces

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits the size of files as Linux and macOS do")

GRID = Grid.from_spacing((20, 18, 16))
RANDOM = np.random.default_rng(0)
SCAN = Volume(RANDOM.integers(0, 1000, GRID.shape).astype(np.int16), GRID, modality="MR")
LABELS = LabelMap((RANDOM.random(GRID.shape) > 0.5).astype(np.uint8), GRID, (Label(1, "a", (1, 2, 3)),))
FORMS = {
    "a.nii.gz": SCAN,
    "a.nii": SCAN,
    "a.nrrd": SCAN,
    "a.mha": SCAN,
    "labels.nii.gz": LABELS,
    "a.seg.nrrd": LABELS,
    "seg.dcm": "seg",
    "labelmap.dcm": "labelmap",
    "rtstruct.dcm": "rtstruct",
    "a.stl": "mesh",
    "a.ply": "mesh",
    "a.obj": "mesh",
    "a.vtp": "mesh",
    "a.glb": "mesh",
    "a.3mf": "mesh",
    "sheet.png": "picture",
}


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    folder = tmp_path_factory.mktemp("slices")
    write_dicom_series(SCAN, folder)
    return volseg.read(folder)


def writer(path: Path, slices: Volume) -> Callable[[], object]:
    thing = FORMS[path.name]
    if thing == "mesh":
        meshes = extract_surfaces(
            LabelMap.from_array(np.pad(np.ones((9, 8, 7), np.uint8), 2), Grid.from_spacing((13, 12, 11)))
        )
        return lambda: volseg.write_mesh(meshes, path)
    if thing == "picture":
        from volseg.view import save_contact_sheet

        return lambda: save_contact_sheet(SCAN, LABELS, path)
    if isinstance(thing, str):
        return lambda: volseg.write(LABELS, path, image=slices, form=thing)
    return lambda: volseg.write(thing, path)


@pytest.mark.parametrize("name", FORMS)
def test_no_writer_takes_a_cut_file_for_whole(name: str, tmp_path: Path, slices: Volume) -> None:
    path = tmp_path / name
    write = writer(path, slices)
    write()
    path.unlink()
    write()
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    old = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    size = sizes[name]
    # In a child: once C++ could not print a message, as this limit is also that of what takes it, it prints no more.
    child = os.fork()
    if child == 0:
        try:
            check_all(write, path, old, size)
            os._exit(0)
        except BaseException:  # noqa: BLE001 (a child must not go on with the tests)
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def check_all(write: Callable[[], object], path: Path, old: dict[str, bytes], size: int) -> None:
    # DICOM's identifiers are of other lengths each time.
    name = path.name
    least = 200 if name.endswith(".dcm") else 1
    for missing in sorted({1, 2, 7, 8, 9, 64, 500, size // 2, size - 1} & set(range(least, size))):
        with (
            at_most(size - missing),
            pytest.raises(OutputError, match=r"a\.mtl: cannot be written|" + f"{name}: cannot be"),
        ):
            write()
        assert path.read_bytes() == old[name]
        assert {file.name for file in path.parent.iterdir()} == old.keys()


def test_the_reason_is_that_of_the_system_in_one_line() -> None:
    cause = OSError(28, "No space left on device")
    error = OSError("With tag (7fe0,0010) got exception: ...\nTraceback (most recent call last):\n  File ...")
    error.__cause__ = cause
    assert reason_of(error) == "No space left on device"
    assert reason_of(OSError("first\nsecond")) == "first"
    assert reason_of(OSError()) == "OSError"
