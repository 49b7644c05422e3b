"""Volumes of one file: their names, and the choice of one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volseg.errors import AmbiguousError, InputError
from volseg.files.names import case_name
from volseg.files.plain_text import first_few


def volume_names(path: Path, *repeats: int) -> list[str]:
    """Name each volume of a file, in the file's order: ``<stem>``, ``<stem>_<t>`` or ``<stem>_<t>_<u>``.

    Parameters
    ----------
    path : Path
        The file.
    repeats : int
        Number of volumes along the fourth and fifth dimension; the first runs fastest. A single volume has no number.
    """
    sizes = () if all(size == 1 for size in repeats) else repeats
    return ["_".join([case_name(path), *map(str, index[::-1])]) for index in np.ndindex(*sizes[::-1])]


def choose_volume(names: list[str], wanted: str | None, path: Path) -> int:
    """Choose one of several volumes.

    Parameters
    ----------
    names : list of str
        As `volume_names` gives them.
    wanted : str, optional
        Name of a volume, or its number alone. Without it there must be only one.
    path : Path
        The file.

    Returns
    -------
    int
        Place in `names`.

    Raises
    ------
    AmbiguousError
        There are several volumes, and no choice is given.
    InputError
        No volume has that name.
    """
    listed = first_few(names, 3)
    if wanted is None and len(names) > 1:
        raise AmbiguousError(
            f"{path}: holds {len(names)} volumes ({listed}); choose one of them by its name or number (--series NAME)"
        )
    for place, name in enumerate(names):
        if wanted in (None, name, name.removeprefix(f"{case_name(path)}_")):
            return place
    raise InputError(f"{path}: has no volume {wanted!r}; expected one of {listed}")
