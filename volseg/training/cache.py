"""Arrays of a training run, kept in files and mapped into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from volseg.errors import InputError
from volseg.files.atomic import atomic_path


def save_array(array: NDArray[Any], path: Path) -> None:
    """Write an array as ``.npy`` atomically.

    Parameters
    ----------
    array : array of any shape
    path : Path
    """
    with atomic_path(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def load_array(path: Path) -> NDArray[Any]:
    """Map a ``.npy`` file read-only into memory, without keeping it open: systems allow about 1000 open files.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        The file is missing or damaged.
    """
    try:
        with path.open("rb") as stream:
            npy.read_magic(stream)
            shape, by_column, dtype = npy.read_array_header_1_0(stream)
            start = stream.tell()
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        stored = path.stat().st_size
        if stored != start + dtype.itemsize * int(np.prod(shape)):
            raise ValueError(f"it has {stored} bytes, which do not fit the shape {shape}")
        # numpy's own mapping keeps a file descriptor for each array.
        everything = torch.from_file(str(path), shared=False, size=stored, dtype=torch.uint8).numpy()
        array = everything[start:].view(dtype).reshape(shape, order="F" if by_column else "C")
        array.flags.writeable = False
        return array
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path}: is not a readable array ({error}); delete the folder's cache and start again"
        ) from error
