"""The labels of a dataset, and which of them the names in each case mean.

Values are the same in every case. A table (``dataset.json``, ``labels.tsv``) gives them. Without one they are those of
the label maps; structures that are matched by name (masks, and segments whose programs numbered them differently from
case to case) then get the next free values in alphabetical order of all cases.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from volseg.core.labelmap import Label
from volseg.datasets.references import numbers_its_own, pack_reference
from volseg.datasets.structures import label_structures
from volseg.datasets.types import Case
from volseg.errors import DatasetError
from volseg.files.names import CASE_SUFFIXES, has_suffix
from volseg.files.plain_text import first_few
from volseg.io import Catalogue
from volseg.io.labels import structure_name

_LOG = logging.getLogger(__name__)


def label_by_table(cases: Iterable[Case], table: Sequence[Label]) -> list[Case]:
    """Return cases whose structures have the labels of a table; masks that it does not name are left out.

    Parameters
    ----------
    cases : iterable of Case
    table : sequence of Label
    """
    found = [find_masks(case) for case in cases]
    names = [_mask_names(case) for case in found]
    meaning = label_structures(names, table, complete=True)
    if unknown := sorted({name for own in names for name in own} - meaning.keys()):
        known = first_few([label.name for label in table])
        _LOG.warning(
            "masks of %s are left out, as the table of labels does not name them; it names %s",
            *(first_few(unknown), known),
        )
    labelled = []
    for case, own in zip(found, names, strict=True):
        structures = [(name, meaning[name]) for name in own if name in meaning]
        if not case.masks and case.label is not None and numbers_its_own(case.label):
            structures = [(label.name, label) for label in table]
        labelled.append(replace(case, structures=tuple(structures)))
    return labelled


def label_by_content(cases: Iterable[Case]) -> tuple[list[Case], tuple[Label, ...]]:
    """Return cases with their structures, and all labels that occur; label maps are packed as they are read.

    Parameters
    ----------
    cases : iterable of Case

    Raises
    ------
    DatasetError
        Label maps give one value several names, or one name several values.
    """
    read = [_decoded(find_masks(case)) for case in cases]
    table, agree = _values(read)
    names = [_mask_names(case) if agree or not _has_own_values(case) else _label_names(case) for case in read]
    meaning = label_structures(names, tuple(table.values()), complete=False)
    labelled = []
    for case, own in zip(read, names, strict=True):
        if own:  # its label map has other values from now on
            case = replace(case, structures=tuple((name, meaning[name]) for name in own), packed=None)
        labelled.append(case)
    for label in meaning.values():
        table[label.value] = label
    return labelled, tuple(table[value] for value in sorted(table))


def _decoded(case: Case) -> Case:
    """Return a case with its label map packed, if it has one."""
    if case.masks or case.label is None or not case.label.exists():
        return case
    return pack_reference(case)[0]


def _values(cases: Sequence[Case]) -> tuple[dict[int, Label], bool]:
    """Return the labels of label maps by value, and whether those agree that number their labels themselves.

    If these do not agree, their labels are not among those that are returned.
    """
    table: dict[int, Label] = {}
    own = [case for case in cases if _has_own_values(case)]
    for case in cases:
        if case.packed is not None and not _has_own_values(case):
            _add(table, case.packed.labels, case.label)
    with_own = dict(table)
    try:
        for case in own:
            _add(with_own, case.packed.labels if case.packed else (), case.label)
    except DatasetError:
        return table, False
    return with_own, True


def _has_own_values(case: Case) -> bool:
    return case.packed is not None and case.label is not None and numbers_its_own(case.label)


def _mask_names(case: Case) -> list[str]:
    return [name for name, _ in case.masks]


def _label_names(case: Case) -> list[str]:
    return [] if case.packed is None else [label.name for label in case.packed.labels]


def _add(known: dict[int, Label], found: Iterable[Label], path: Path | None) -> None:
    values = {label.name: label.value for label in known.values()}
    for label in found:
        other = known.setdefault(label.value, label)
        if other.name != label.name:
            raise DatasetError(
                f"{path}: label {label.value} is {label.name!r}, elsewhere {other.name!r}; expected one name"
            )
        if (value := values.setdefault(label.name, label.value)) != label.value:
            raise DatasetError(
                f"{path}: label {label.name!r} has the value {label.value}, elsewhere {value}; expected one value"
            )


def find_masks(case: Case) -> Case:
    """Return a case with the masks of its folder, if its label is a folder of image files.

    Parameters
    ----------
    case : Case
    """
    folder = case.label
    if case.masks or folder is None or not folder.is_dir():
        return case
    masks = []
    for file in Catalogue(folder).files_in(folder):
        if is_image(file) and file not in case.images:
            masks.append((structure_name(file.name, case.name), file))
    return replace(case, masks=tuple(masks))


def is_image(file: Path) -> bool:
    """Whether a file may be a scan or mask, by its name.

    Parameters
    ----------
    file : Path
    """
    return has_suffix(file, CASE_SUFFIXES) and not file.name.startswith((".", "_"))
