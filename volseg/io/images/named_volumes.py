"""Volumes of one file: how they are called, and which of them is meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volseg.errors import AmbiguousError, InputError
from volseg.files.names import case_name


def volume_names(path: Path, *repeats: int) -> list[str]:
    """Name each volume of a file, in the file's order: ``<stem>``, ``<stem>_<t>`` or ``<stem>_<t>_<u>``.

    Parameters
    ----------
    path : Path
        The file.
    repeats : int
        How many volumes along the fourth and fifth dimension; the first runs fastest. One volume has no number.
    """
    sizes = () if all(size == 1 for size in repeats) else repeats
    return ["_".join([case_name(path), *map(str, index[::-1])]) for index in np.ndindex(*sizes[::-1])]


def choose_volume(names: list[str], wanted: str | None, path: Path) -> int:
    """Return which of several volumes is meant, by its name or its number alone.

    Raises
    ------
    AmbiguousError
        None is chosen, and there are several.
    InputError
        There is none of that name.
    """
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    if wanted is None and len(names) > 1:
        raise AmbiguousError(
            f"{path}: holds {len(names)} volumes ({listed}); choose one of them by its name or number (--series NAME)"
        )
    numbers = [name.removeprefix(f"{case_name(path)}_") for name in names]
    found = [n for n, name in enumerate(names) if wanted in (None, name, numbers[n])]
    if not found:
        raise InputError(f"{path}: has no volume {wanted!r}; expected one of {listed}")
    return found[0]
