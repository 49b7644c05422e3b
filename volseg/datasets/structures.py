"""Which names of structures mean the same label, over all cases of a dataset.

Upper and lower case never make a difference, nor do characters that file names cannot have. Of names that
`volseg.core.anatomy` knows, neither do the order of words, singular and plural, or ``L`` for ``left``. Only names that
stand side by side in one case are different structures even then: ``GTV`` beside ``GTVp``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from volseg.core.anatomy import find_structure
from volseg.core.labelmap import Label
from volseg.files.plain_text import first_few
from volseg.io.labels import name_labels, same_name

_LOG = logging.getLogger(__name__)


def label_structures(cases: Sequence[Collection[str]], table: Sequence[Label], *, complete: bool) -> dict[str, Label]:
    """Return the label of each name; a warning says which names are one label though they are spelt differently.

    Parameters
    ----------
    cases : sequence of collection of str
        The names in each case.
    table : sequence of Label
        Labels that are known.
    complete : bool
        Names that the table does not know are left out. Otherwise they get the next free values in alphabetical order.
    """
    by_key = {same_name(label.name): label for label in table}
    by_meaning = {_meaning(label.name): label for label in table}
    labels: dict[str, Label] = {}
    new: list[list[str]] = []
    for group in _groups(cases):
        known = [by_key[same_name(name)] for name in group if same_name(name) in by_key]
        label = known[0] if known else by_meaning.get(_meaning(group[0]))
        if label is not None:
            labels |= dict.fromkeys(group, label)
            if other := [name for name in group if same_name(name) != same_name(label.name)]:
                _LOG.warning("%s is taken for another spelling of the label %s", first_few(other), label.name)
        elif not complete:
            new.append(group)
    named = name_labels([group[0] for group in new], table)
    for group in new:
        labels |= dict.fromkeys(group, named[group[0]])
        if len(group) > 1:
            _LOG.warning(
                "%s are taken for names of one structure, as they differ only in spelling; its label is %s",
                *(first_few(group), group[0]),
            )
    return labels


def _groups(cases: Sequence[Collection[str]]) -> list[list[str]]:
    """Return the names that mean the same together; groups and names in alphabetical order."""
    groups: dict[object, list[str]] = {}
    for name in sorted({name for case in cases for name in case}):
        groups.setdefault(_meaning(name), []).append(name)
    apart: dict[object, list[str]] = {}
    for meaning, group in groups.items():
        side_by_side = len(group) > 1 and any(
            len({same_name(name) for name in case if name in group}) > 1 for case in cases
        )
        for name in group:
            apart.setdefault(same_name(name) if side_by_side else meaning, []).append(name)
    return sorted(apart.values())


def _meaning(name: str) -> object:
    structure = find_structure(name)
    return same_name(name) if structure is None else (structure.name, structure.side)
