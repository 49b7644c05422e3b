"""Labels of several files in one picture, told apart by their names and colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from volseg.core.labelmap import Colour, LabelMap, default_colour
from volseg.io.labels import case_of


def tell_apart(files: Sequence[tuple[Path, Sequence[LabelMap]]]) -> tuple[LabelMap, ...]:
    """Give the labels of several files unique names, and each file colours that no other file has.

    Parameters
    ----------
    files : sequence of (Path, layers)
        Each file and the label maps in it.

    Returns
    -------
    tuple of LabelMap
        All layers. If several files have the same label name, the name of the file follows it, as in
        ``liver (reference)``. If several files have the same colour, the first file keeps it.
    """
    owners: Counter[str] = Counter()
    given: set[Colour] = set()
    for _, layers in files:
        names: set[str] = set()
        for layer in layers:
            names.update(label.name for label in layer.labels)
            given.update(label.colour for label in layer.labels)
        owners.update(names)
    fresh = _colours_without(given)
    taken: set[Colour] = set()  # by the files before
    shown: list[LabelMap] = []
    titles = titles_of([path for path, _ in files])
    for title, (_, layers) in zip(titles, files, strict=True):
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


def _colours_without(given: set[Colour]) -> Iterator[Colour]:
    """Yield default colours that are not among those given."""
    for value in count(1):
        colour = default_colour(value)
        if colour not in given:
            yield colour


def titles_of(paths: Sequence[Path]) -> list[str]:
    """Return the case of each file, with its folder if another file has the same case.

    Parameters
    ----------
    paths : sequence of Path
    """
    cases = [case_of(path) for path in paths]
    titles = []
    for path, case in zip(paths, cases, strict=True):
        titles.append(f"{path.resolve().parent.name}/{case}" if cases.count(case) > 1 else case)
    return titles
