"""The labels of a dataset, and which of them the names in each case mean.

Values are the same in every case. A table (``dataset.json``, ``labels.tsv``) gives them. Without one they are those of
the label maps; structures that are matched by name (masks, and segments whose programs numbered them differently from
case to case) then get the next free values in alphabetical order of all cases.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from volseg.core.labelmap import Label
from volseg.datasets.references import numbers_its_own, pack_reference
from volseg.datasets.structures import label_structures
from volseg.datasets.types import Case
from volseg.errors import DatasetError
from volseg.files.names import CASE_SUFFIXES, case_name, has_suffix
from volseg.files.plain_text import first_few
from volseg.io import Catalogue

_SEPARATORS = " _-."

_LOG = logging.getLogger(__name__)


def label_by_table(cases: Iterable[Case], table: Sequence[Label]) -> list[Case]:
    """Return cases whose structures have the labels of a table; masks that it does not name are left out.

    Parameters
    ----------
    cases : iterable of Case
    table : sequence of Label
    """
    found = [find_masks(case) for case in cases]
    meaning = label_structures([_names(case) for case in found], table, complete=True)
    unknown = sorted({name for case in found for name in _names(case)} - meaning.keys())
    if unknown:
        known = first_few([label.name for label in table])
        _LOG.warning(
            "masks of %s are left out, as the table of labels does not name them; it names %s",
            *(first_few(unknown), known),
        )
    labelled = []
    for case in found:
        structures = [(name, meaning[name]) for name in _names(case) if name in meaning]
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
        Label maps give one value several names.
    """
    read: list[Case] = []
    names: list[Collection[str]] = []
    found: list[tuple[Label, ...]] = []
    for case in map(find_masks, cases):
        labels: tuple[Label, ...] = ()
        if not case.masks and case.label is not None and case.label.exists():
            case, label_map = pack_reference(case)
            labels = label_map.labels
        read.append(case)
        names.append(_names(case))
        found.append(labels)
    table, by_name = _join(read, found)
    for place in by_name:
        names[place] = [label.name for label in found[place]]
    meaning = label_structures(names, tuple(table.values()), complete=False)
    for place, own in enumerate(names):
        if own:
            structures = tuple((name, meaning[name]) for name in own)
            packed = None if place in by_name else read[place].packed  # it is read with other values from now on
            read[place] = replace(read[place], structures=structures, packed=packed)
    for label in meaning.values():
        table[label.value] = label
    return read, tuple(table[value] for value in sorted(table))


def _join(cases: Sequence[Case], found: Sequence[tuple[Label, ...]]) -> tuple[dict[int, Label], list[int]]:
    """Return the labels of label maps by value, and the places of cases that are matched by name, as values differ."""
    table: dict[int, Label] = {}
    own: dict[int, Label] = {}
    numbered = []
    for place, (case, labels) in enumerate(zip(cases, found, strict=True)):
        if case.label is not None and numbers_its_own(case.label):
            numbered.append(place)
        else:
            _add(table, labels, case.label)
    own |= table
    try:
        for place in numbered:
            _add(own, found[place], cases[place].label)
    except DatasetError:
        return table, [place for place in numbered if found[place]]
    return own, []


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


def structure_name(file: str, case: str) -> str:
    """Return the name of the structure of a mask: that of its file without the name of its case.

    Parameters
    ----------
    file : str
    case : str
        ``case_1`` in ``case_1_liver.nii.gz``.
    """
    name = case_name(file)
    for rest, beside in ((name.removeprefix(case), 0), (name.removesuffix(case), -1)):
        if rest and rest != name and rest[beside] in _SEPARATORS and rest.strip(_SEPARATORS):
            return rest.strip(_SEPARATORS)
    return name


def _names(case: Case) -> list[str]:
    return [name for name, _ in case.masks]
