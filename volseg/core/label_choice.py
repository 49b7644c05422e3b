"""A choice among the structures of a file, by name or value. It is made before voxels are read or drawn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from volseg.core.labelmap import Label, LabelMap
from volseg.errors import InputError

_MOST_LISTED = 20


@dataclass(frozen=True)
class LabelChoice:
    """Which structures are wanted.

    Parameters
    ----------
    only : sequence of str, optional
        Each entry is tried as a name, then as a value, then as a pattern of names (``*``, ``?``, ``[ab]``); the first
        of these that matches counts. Case is ignored. None or empty: all structures.
    table : sequence of Label, optional
        Names by value that replace those of the file.
    """

    only: Sequence[str] | None = None
    table: Sequence[Label] | None = None

    def of(self, labels: Sequence[Label], what: object) -> tuple[Label, ...]:
        """Return the wanted labels, in their order.

        Parameters
        ----------
        labels : sequence of Label
            All labels to choose from; two may have the same value or name.
        what : object
            What the labels belong to, for messages.

        Raises
        ------
        InputError
            An entry of `only` matches no label; the message lists the labels, at most 20 by name.
        """
        return tuple(labels[place] for place in sorted(self._places(labels, what)))

    def wants(self, name: str, value: int) -> bool:
        """Whether one structure is wanted; for structures that cannot be read and so have no `Label`.

        Parameters
        ----------
        name : str
        value : int
            May be 0.
        """
        if not self.only:
            return True
        known = [self._known(name, value)]
        return any(_matches(wanted, known) for wanted in self.only)

    def apply(self, layers: Sequence[LabelMap], what: object) -> tuple[LabelMap, ...]:
        """Return label maps with only the wanted labels; other voxels become background, empty maps are left out.

        Parameters
        ----------
        layers : sequence of LabelMap
        what : object
            What the labels belong to, for messages.

        Raises
        ------
        InputError
            As `of`.
        """
        if not self.only:
            return tuple(layers)
        labels: list[Label] = []
        layer_numbers: list[int] = []
        for number, layer in enumerate(layers):
            labels.extend(layer.labels)
            layer_numbers.extend([number] * len(layer.labels))
        wanted: dict[int, set[int]] = {}
        for place in self._places(labels, what):
            wanted.setdefault(layer_numbers[place], set()).add(labels[place].value)
        return tuple(keep_labels(layers[number], values) for number, values in sorted(wanted.items()))

    def _places(self, labels: Sequence[Label], what: object) -> set[int]:
        """Return the places of the wanted labels in a list of labels."""
        if not self.only:
            return set(range(len(labels)))
        known = [self._known(label.name, label.value) for label in labels]
        picked: set[int] = set()
        for wanted in self.only:
            found = _matches(wanted, known)
            if not found:
                names = list(dict(known))
                there = f"it has {len(names)}: {listed(names)}" if names else "it has none"
                raise InputError(f"{what}: has no label {wanted!r}; {there}")
            picked |= found
        return picked

    def _known(self, name: str, value: int) -> tuple[str, int]:
        """Return the name and value that a structure is compared by."""
        if self.table is None:
            return name, value
        for label in self.table:
            if label.value == value:
                return label.name, value
        return f"label_{value}", value


def keep_labels(labelmap: LabelMap, values: Collection[int]) -> LabelMap:
    """Return a label map with only some of its labels; the voxels of the others become background.

    Parameters
    ----------
    labelmap : LabelMap
        Returned itself if it has no other labels.
    values : collection of int
        Values of the labels to keep.
    """
    labels = tuple(label for label in labelmap.labels if label.value in values)
    if len(labels) == len(labelmap.labels):
        return labelmap
    array = np.where(np.isin(labelmap.array, sorted(values)), labelmap.array, labelmap.array.dtype.type(0))
    return LabelMap(array, labelmap.grid, labels)


def listed(names: Sequence[str]) -> str:
    """Return a list for a message: at most 20 names, and the number of the others.

    Parameters
    ----------
    names : sequence of str
    """
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more


def _matches(wanted: str, known: Sequence[tuple[str, int]]) -> set[int]:
    """Return the places of the pairs that match by name, or failing that by value, or failing that by pattern."""
    text = wanted.strip()
    by_name, by_value, by_pattern = set(), set(), set()
    for place, (name, value) in enumerate(known):
        folded = name.strip().casefold()
        if folded == text.casefold():
            by_name.add(place)
        if str(value) == text:
            by_value.add(place)
        if fnmatchcase(folded, text.casefold()):
            by_pattern.add(place)
    return by_name or by_value or by_pattern
