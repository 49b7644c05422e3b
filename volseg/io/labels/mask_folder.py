"""A folder of masks, as TotalSegmentator writes it: one file for each structure, with its name, is one label map.

It is told apart from a folder of several people's label maps by three signs, and all are required. More than half of
the files have the names of structures that `volseg.core.anatomy` or a table of labels knows (``liver``, ``rib_left_7``;
not ``liver_12`` or ``case_3``). All lie on one grid. The first is a mask: 0 and one other integer. There must be at
least two files, or one that the table names, and no label tables beside them.
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
from volseg.files.names import CASE_SUFFIXES, SEG_NRRD_SUFFIXES, case_name, has_suffix
from volseg.io.catalogue import Catalogue
from volseg.io.labels.layers import join_masks
from volseg.io.labels.mask_names import same_name
from volseg.io.labels.table import sidecar_path
from volseg.io.scans import read, read_grid

_LOG = logging.getLogger(__name__)


def mask_files(found: Catalogue, folder: Path | None = None, *, known: Collection[str] = ()) -> dict[str, Path]:
    """Find the masks of a folder, by the names of their structures.

    Parameters
    ----------
    found : Catalogue
        Of a path.
    folder : Path, optional
        A folder below the path; default the path itself.
    known : collection of str
        Further names of structures.

    Returns
    -------
    dict of str to Path
        In alphabetical order; empty if it is not such a folder.
    """
    folder = folder or found.path
    if not folder.is_dir():
        return {}
    shown, files = [], {}
    for file in found.files_in(folder):
        if has_suffix(file, CASE_SUFFIXES):
            shown.append(file)
            files[case_name(file)] = file
    if len(files) < len(shown) or not _are_structures(files, known):
        return {}
    if len(files) < 2 and not set(map(same_name, files)) <= set(map(same_name, known)):
        return {}
    return files if _are_masks(shown) else {}


def _are_structures(names: Collection[str], known: Collection[str]) -> bool:
    """Whether more than half of the names are those of structures."""
    further, structures = set(map(same_name, known)), 0
    for name in names:
        if same_name(name) in further or find_structure(name):
            structures += 1
    return 2 * structures > len(names)


def _are_masks(files: Sequence[Path]) -> bool:
    """Whether no file has a table of labels, the first one is a mask, and all lie on its grid."""
    for file in files:
        if has_suffix(file, SEG_NRRD_SUFFIXES) or sidecar_path(file).is_file():
            return False
    try:
        first = read(files[0])
        if len(present_values(to_label_values(first.array, files[0]))) > 1:
            return False
        others = [file for file in files[1:] if not read_grid(file).is_close(first.grid)]
    except VolsegError:
        return False
    if others:
        _LOG.warning(
            "%s: %d of %d files with names of structures lie on another grid than %s, such as %s; so each is taken for "
            "a label map of its own",
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
        The wanted labels. Its table has the values of names; labels of the table without a file have no voxels.

    Raises
    ------
    InputError
        A file cannot be read, or is not a mask.
    """
    table = choice.table or ()
    labels = name_labels(files, table)
    wanted = LabelChoice(choice.only).of(list(labels.values()), folder)
    layers = read_mask_files([(label, files[name]) for name, label in labels.items() if label in wanted])
    values = {label.value for label in labels.values()}
    absent = [] if choice.only else [label for label in table if label.value not in values]
    return (LabelMap(layers[0].array, layers[0].grid, (*layers[0].labels, *absent)), *layers[1:])


def read_mask_files(masks: Sequence[tuple[Label, Path]]) -> tuple[LabelMap, ...]:
    """Read masks that are in a file each, in layers where they overlap.

    Parameters
    ----------
    masks : sequence of (Label, Path)
        At least one.

    Raises
    ------
    InputError
        A file cannot be read, is not a mask (0 and one other integer), or lies on another grid than the first.
    """
    files = [file for _, file in masks]
    grid = read_grid(files[0])
    return join_masks([label for label, _ in masks], _read_each(files, grid), grid)


def name_labels(names: Collection[str], table: Sequence[Label] = ()) -> dict[str, Label]:
    """Return a label for each name.

    Parameters
    ----------
    names : collection of str
        Names are the same if they give the same file name, in upper or lower case.
    table : sequence of Label
        Labels by name. Other names get the next free values, from 1 on.
    """
    known = {same_name(label.name): label for label in table}
    given = [label.value for label in table]
    value = max(given, default=0)
    labels: dict[str, Label] = {}
    for name in names:
        label = known.get(same_name(name))
        if label is None:
            value += 1
            label = Label(value, name, default_colour(value, name))
        labels[name] = label
    apart = keep_colours_apart(labels.values(), given)
    return dict(zip(labels, apart, strict=True))


def _read_each(files: Sequence[Path], grid: Grid) -> Iterator[NDArray[np.bool_]]:
    for file in files:
        volume = read(file)
        if not volume.grid.is_close(grid):
            raise InputError(
                f"{file} ({volume.grid.describe()}): lies on another grid than the other masks of its case, such as "
                f"{files[0].name} ({grid.describe()}); resample it, or move it elsewhere"
            )
        if len(values := present_values(to_label_values(volume.array, file))) > 1:
            raise InputError(
                f"{file}: holds {len(values)} values beside 0, among masks; expected one, or move it out of the folder"
            )
        yield np.asarray(volume.array != 0)
