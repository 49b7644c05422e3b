"""Labels of several files in one picture: names and colours by which they are told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from volseg.core.labelmap import Colour, LabelMap, default_colour
from volseg.io.labels import case_of


def tell_apart(files: Sequence[tuple[Path, Sequence[LabelMap]]]) -> tuple[LabelMap, ...]:
    """Give labels of several files names of their own, and colours that no other file has.

    Parameters
    ----------
    files : sequence of (Path, layers)
        What each file holds.

    Returns
    -------
    tuple of LabelMap
        All layers. A name that several files have is followed by that of its file, ``liver (reference)``; of equal
        colours the first stays.
    """
    labels_of = [[label for layer in layers for label in layer.labels] for _, layers in files]
    owners: Counter[str] = Counter()
    for labels in labels_of:
        owners.update({label.name for label in labels})
    given = {label.colour for labels in labels_of for label in labels}
    fresh = (colour for colour in map(default_colour, count(1)) if colour not in given)
    taken: set[Colour] = set()  # by the files before
    shown: list[LabelMap] = []
    for (_, layers), title in zip(files, _titles([path for path, _ in files]), strict=True):
        used: set[Colour] = set()
        for layer in layers:
            labels = []
            for label in layer.labels:
                name = f"{label.name} ({title})" if owners[label.name] > 1 else label.name
                colour = next(fresh) if label.colour in taken else label.colour
                labels.append(replace(label, name=name, colour=colour))
                used.add(colour)
            shown.append(LabelMap(layer.array, layer.grid, tuple(labels)))
        taken |= used
    return tuple(shown)


def _titles(paths: Sequence[Path]) -> list[str]:
    """Return the case of each file, with its folder where two have the same."""
    cases = [case_of(path) for path in paths]
    return [
        f"{path.resolve().parent.name}/{case}" if cases.count(case) > 1 else case
        for path, case in zip(paths, cases, strict=True)
    ]
