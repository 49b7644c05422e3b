from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volseg
from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import DAMAGE, InputError
from volseg.files.door import door
from volseg.io import read_grid
from volseg.io.dicom.writing import write_dicom_series

DEPTHS = {
    "a.nii": "volseg.io.images.nifti.read_header",
    "a.nrrd": "volseg.io.images.itk.ItkHeader",
    "a.mha": "volseg.io.images.itk.ItkHeader",
    "scan": "volseg.io.dicom.reading.read_values",
}
CAUSES = [
    MemoryError(),
    OverflowError("too large"),
    RecursionError("too deep"),
    TypeError("NoneType"),
    struct.error("x"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scan = Volume(np.zeros((4, 5, 3), np.int16), Grid.from_spacing((4, 5, 3), (1, 1, 2), (0, 0, 0)), modality="CT")
    write_dicom_series(scan, tmp_path / "scan")
    for name in ("a.nii", "a.nrrd", "a.mha"):
        volseg.write(scan, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: type(cause).__name__)
@pytest.mark.parametrize("name", DEPTHS)
def test_every_door_names_the_file(folder: Path, name: str, cause: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise cause

    monkeypatch.setattr(DEPTHS[name], fail)
    expected = (
        "needs more memory than there is" if isinstance(cause, MemoryError) else "cannot be read, damaged or of an"
    )
    readers: list[Callable[[Path], object]] = [volseg.read, volseg.read_all]
    if name != "scan":  # of DICOM, headers alone give the grid
        readers.append(read_grid)
    for read in readers:
        with pytest.raises(InputError, match=rf"{name}: {expected}") as told:
            read(folder / name)
        assert told.value.__cause__ is cause
    if name != "scan":
        with pytest.raises(InputError, match=rf"{name}: "):
            volseg.read_labels(folder / name)
    assert all(entry.problem for entry in volseg.inspect(folder / name).entries)


def test_volsegs_own_errors_and_interrupts_pass() -> None:
    @door
    def read(path: Path, error: BaseException) -> None:
        raise error

    for error in (InputError("its own words"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as told:
            read(Path("a"), error)
        assert told.value is error
    with pytest.raises(InputError, match="a: cannot be read"):
        read(path=Path("a"), error=DAMAGE[0]())
    assert read.__name__ == "read"
