"""A choice among the structures of a file, by name or value, made before anything of the others is read or drawn."""

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
        Names, upper and lower case alike, or values, or patterns of names (``*``, ``?``, ``[ab]``). Each is the first
        of these that matches anything. None or nothing: all structures.
    table : sequence of Label, optional
        Names by value that take the place of those of the file.
    """

    only: Sequence[str] | None = None
    table: Sequence[Label] | None = None

    def of(self, labels: Sequence[Label], what: object) -> tuple[Label, ...]:
        """Return the wanted ones among labels, in their order.

        Parameters
        ----------
        labels : sequence of Label
            All that are there; two may have the same value or name.
        what : object
            Whose labels they are, for messages.

        Raises
        ------
        InputError
            Something that is wanted is not there; lists at most 20 names of what is, and the number of the others.
        """
        picked = self._places(labels, what)
        return tuple(label for place, label in enumerate(labels) if place in picked)

    def wants(self, name: str, value: int) -> bool:
        """Whether a structure that is no label, as it cannot be read, is among what is wanted; its value may be 0."""
        return not self.only or any(_matches(wanted, [self._known(name, value)]) for wanted in self.only)

    def apply(self, layers: Sequence[LabelMap], what: object) -> tuple[LabelMap, ...]:
        """Return label maps of the wanted labels alone, all else background; a map without any is left out.

        Raises as `of`.
        """
        if not self.only:
            return tuple(layers)
        owners = [(number, label) for number, layer in enumerate(layers) for label in layer.labels]
        values: dict[int, set[int]] = {}
        for place in self._places([label for _, label in owners], what):
            number, label = owners[place]
            values.setdefault(number, set()).add(label.value)
        return tuple(keep_labels(layers[number], some) for number, some in sorted(values.items()))

    def _places(self, labels: Sequence[Label], what: object) -> set[int]:
        """Return the places of the wanted ones in a list of labels."""
        if not self.only:
            return set(range(len(labels)))
        known = [self._known(label.name, label.value) for label in labels]
        picked: set[int] = set()
        for wanted in self.only:
            found = _matches(wanted, known)
            if not found:
                names = list(dict.fromkeys(name for name, _ in known))
                there = f"it has {len(names)}: {listed(names)}" if names else "it has none"
                raise InputError(f"{what}: has no label {wanted!r}; {there}")
            picked |= found
        return picked

    def _known(self, name: str, value: int) -> tuple[str, int]:
        """Return the name and value by which a structure is wanted."""
        if self.table is None:
            return name, value
        return next((label.name for label in self.table if label.value == value), f"label_{value}"), value


def keep_labels(labelmap: LabelMap, values: Collection[int]) -> LabelMap:
    """Return a label map with the labels of these values alone; all else becomes background."""
    labels = tuple(label for label in labelmap.labels if label.value in values)
    if len(labels) == len(labelmap.labels):
        return labelmap
    array = np.where(np.isin(labelmap.array, sorted(values)), labelmap.array, labelmap.array.dtype.type(0))
    return LabelMap(array, labelmap.grid, labels)


def listed(names: Sequence[str]) -> str:
    """Return names for a message: at most 20, and the number of the others."""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more


def _matches(wanted: str, known: Sequence[tuple[str, int]]) -> set[int]:
    """Return the places of the names and values that a name, else a value, else a pattern stands for."""
    text = wanted.strip()
    names = [name.strip().casefold() for name, _ in known]
    exact = {n for n, name in enumerate(names) if name == text.casefold()}
    by_value = {n for n, (_, value) in enumerate(known) if str(value) == text}
    return exact or by_value or {n for n, name in enumerate(names) if fnmatchcase(name, text.casefold())}
