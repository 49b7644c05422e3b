"""Arrays of a training run, kept in files and mapped into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.errors import InputError
from volseg.io.atomic import atomic_path


def save_array(array: NDArray[Any], path: Path) -> None:
    """Write an array as ``.npy`` atomically."""
    with atomic_path(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def load_array(path: Path) -> NDArray[Any]:
    """Map a ``.npy`` file read-only into memory.

    Raises
    ------
    InputError
        The file is missing or damaged.
    """
    try:
        return np.asarray(np.lib.format.open_memmap(path, mode="r"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: is not a readable array ({error}); delete the folder's cache and start again"
        ) from error
