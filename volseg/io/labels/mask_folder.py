"""A folder of masks, one file a structure and called like it, as TotalSegmentator writes it: one label map.

It is told apart from a folder of several people's label maps by three signs, all of which must be there: more than half
of the files are called like structures, which `volseg.core.anatomy` or a table of labels knows (``liver``,
``rib_left_7``; not ``liver_12`` or ``case_3``); all lie on one grid; and the first is a mask, 0 and one other integer.
Two files at least, and none with a label table beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from volseg.core.anatomy import find_structure
from volseg.core.grid import Grid
from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import Label, LabelMap, default_colour, keep_colours_apart, present_values
from volseg.core.voxels import to_label_values
from volseg.errors import InputError, VolsegError
from volseg.files.names import CASE_SUFFIXES, SEG_NRRD_SUFFIXES, case_name, has_suffix, portable_name
from volseg.io.catalogue import Catalogue
from volseg.io.labels.layers import join_masks
from volseg.io.labels.table import sidecar_path
from volseg.io.scans import read, read_grid

_LOG = logging.getLogger(__name__)


def mask_files(found: Catalogue, folder: Path | None = None, *, known: Collection[str] = ()) -> dict[str, Path]:
    """Find the masks of a folder, by the names of their structures.

    Parameters
    ----------
    found : Catalogue
        What lies at a path.
    folder : Path, optional
        A folder in it; without it, the path itself.
    known : collection of str
        Names of structures besides those that everybody knows.

    Returns
    -------
    dict of str to Path
        In alphabetical order; empty if it is not such a folder.
    """
    folder = folder or found.path
    if not folder.is_dir():
        return {}
    shown = [file for file in found.files_in(folder) if has_suffix(file, CASE_SUFFIXES)]
    files = {case_name(file): file for file in shown}
    names = set(map(_key, known))
    structures = [name for name in files if _key(name) in names or find_structure(name)]
    if len(files) < 2 or len(files) < len(shown) or 2 * len(structures) <= len(files):
        return {}
    if any(has_suffix(file, SEG_NRRD_SUFFIXES) or sidecar_path(file).is_file() for file in shown):
        return {}
    return files if _are_masks(shown) else {}


def _are_masks(files: Sequence[Path]) -> bool:
    """Whether the first of several files is a mask, and all lie on its grid."""
    try:
        first = read(files[0])
        if len(present_values(to_label_values(first.array, files[0]))) > 1:
            return False
        others = [file for file in files[1:] if not read_grid(file).is_close(first.grid)]
    except VolsegError:
        return False
    if others:
        _LOG.warning(
            "%s: %d of %d files, which are called like structures, lie on another grid than %s, such as %s; so each is "
            "taken for a label map of its own",
            *(files[0].parent, len(others), len(files), files[0].name, others[0].name),
        )
    return not others


def read_masks(files: Mapping[str, Path], folder: Path, choice: LabelChoice) -> tuple[LabelMap, ...]:
    """Read the masks of a folder, in layers where they overlap.

    Parameters
    ----------
    files : mapping of str to Path
        As `mask_files` finds them.
    folder : Path
        For messages.
    choice : LabelChoice
        Which are wanted; its table has the values of names, and labels that have no file are absent.

    Raises
    ------
    InputError
        One of the files cannot be read, or is no mask.
    """
    labels = name_labels(files, choice.table or ())
    wanted = LabelChoice(choice.only).of(list(labels.values()), folder)
    paths = [files[name] for name, label in labels.items() if label in wanted]
    grid = read_grid(next(iter(files.values())))
    layers = join_masks(wanted, _read_each(paths, grid), grid)
    there = {label.value for label in labels.values()}
    absent = [label for label in choice.table or () if not choice.only and label.value not in there]
    return (LabelMap(layers[0].array, grid, (*layers[0].labels, *absent)), *layers[1:])


def name_labels(names: Collection[str], table: Sequence[Label] = ()) -> dict[str, Label]:
    """Return a label for each name: that of the table, else with the next value that is free, from 1 on.

    Names are alike where they make the same file name, in upper or lower case.
    """
    known = {_key(label.name): label for label in table}
    value = max((label.value for label in table), default=0)
    labels: dict[str, Label] = {}
    for name in names:
        label = known.get(_key(name))
        if label is None:
            value += 1
            label = Label(value, name, default_colour(value, name))
        labels[name] = label
    apart = keep_colours_apart(labels.values(), {label.value for label in table})
    return dict(zip(labels, apart, strict=True))


def _read_each(files: Sequence[Path], grid: Grid) -> Iterator[NDArray[np.bool_]]:
    for file in files:
        volume = read(file)
        if not volume.grid.is_close(grid):
            raise InputError(f"{file}: lies on another grid than the other masks of its folder; move it elsewhere")
        if len(values := present_values(to_label_values(volume.array, file))) > 1:
            raise InputError(
                f"{file}: holds {len(values)} values beside 0, among masks; expected one, or move it out of the folder"
            )
        yield np.asarray(volume.array != 0)


def _key(name: str) -> str:
    return portable_name(name).casefold()
