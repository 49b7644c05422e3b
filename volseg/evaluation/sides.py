"""The two sides of a case: label maps of prediction and reference, in layers where labels overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap, label_boxes
from volseg.core.noise import check_no_noise
from volseg.core.resample import Reorientation
from volseg.errors import AmbiguousError, InputError
from volseg.evaluation.pairing import Pair
from volseg.io import count_volumes, read_label_layers
from volseg.io.labels import check_labels, mask_files, name_labels, names_volume

Box = tuple[slice, ...]


class Reading(TypedDict, total=False):
    """How `evaluate` reads label maps; it says what the arguments mean."""

    labels: str | Path | None
    only: Sequence[str] | None
    series: str | None


@dataclass(frozen=True, eq=False)
class Side:
    """Layers of one grid; each value is of one label."""

    layers: tuple[LabelMap, ...]

    @property
    def grid(self) -> Grid:
        """Of all layers."""
        return self.layers[0].grid

    @property
    def labels(self) -> tuple[Label, ...]:
        """Of all layers."""
        return tuple(label for layer in self.layers for label in layer.labels)

    @cached_property
    def boxes(self) -> dict[int, Box]:
        """Where each value occurs."""
        return {value: box for layer in self.layers for value, box in label_boxes(layer.array).items()}

    def mask(self, value: int, box: Box) -> NDArray[np.bool_]:
        """Where a value is, within a box."""
        home = next((layer for layer in self.layers if any(label.value == value for label in layer.labels)), None)
        return np.asarray((self.layers[0] if home is None else home).array[box] == value)

    def check_no_noise(self, values: Collection[int], source: Path | LabelMap) -> None:
        """Refuse labels with these values whose surfaces are those of noise; see `volseg.core.noise`."""
        for layer in self.layers:
            array, chosen = layer.array, tuple(label for label in layer.labels if label.value in values)
            if len(chosen) < len(layer.labels):
                array = np.where(np.isin(array, [label.value for label in chosen]), array, 0)
            try:
                check_no_noise(LabelMap(array, layer.grid, chosen))
            except InputError as error:
                raise InputError(f"{source}: {error}" if isinstance(source, Path) else str(error)) from error

    def moved(self, change: Reorientation) -> Side:
        """Return the same voxels in another order."""
        return Side(tuple(LabelMap(change.array(x.array), change.grid(x.grid), x.labels) for x in self.layers))


def read_sides(pair: Pair, reading: Reading, named: Collection[int]) -> tuple[Side, Side]:
    """Read prediction and reference; `named` are values with names elsewhere.

    Labels of a folder of masks have no values of their own: without a table they take those that labels of their names
    have on the other side.

    Raises
    ------
    AmbiguousError
        Two labels of one side have the same value.
    InputError
        One of the two cannot be read, or a folder of masks has no name that the other side has.
    """
    table, series = reading.get("labels"), reading.get("series")
    ours, theirs = pair
    if table is None and _is_folder(theirs):
        prediction = _read(ours, None, series, named)
        return prediction, _read_masks(theirs, prediction, named)
    reference = _read(theirs, table, series, named)
    if table is None and _is_folder(ours):
        return _read_masks(ours, reference, named), reference
    return _read(ours, table, series, named), reference


def _is_folder(source: Path | LabelMap) -> bool:
    return isinstance(source, Path) and source.is_dir()


def _read_masks(source: Path | LabelMap, other: Side, named: Collection[int]) -> Side:
    masks = mask_files(source, known=[label.name for label in other.labels]) if isinstance(source, Path) else {}
    values = {label.value for label in other.labels}
    if masks and values and not values & {label.value for label in name_labels(masks, other.labels).values()}:
        names = ", ".join(label.name for label in other.labels[:5])
        raise InputError(
            f"{source}: is a folder of masks, which are matched by name, and none is called like a label of the other "
            f"side ({names}); give a table of names and values (--labels)"
        )
    return _read(source, other.labels if masks else None, None, named)


def _read(
    source: Path | LabelMap, table: str | Path | Sequence[Label] | None, series: str | None, named: Collection[int]
) -> Side:
    if isinstance(source, LabelMap):
        return Side((source,))
    layers = read_label_layers(source, labels=table, series=_volume(source, series))
    check_labels(layers, source, named)
    labels = [label for layer in layers for label in layer.labels]
    counts = Counter(label.value for label in labels)
    if twice := [label.name for label in labels if counts[label.value] > 1]:
        raise AmbiguousError(
            f"{source}: several labels have one value ({', '.join(twice[:5])}), and labels are matched by value; write "
            "them to a file each by `volseg convert`"
        )
    return Side(layers)


def _volume(path: Path, series: str | None) -> str | None:
    """Return the choice of a volume where this file has several, and it is none of another file's by name."""
    if series is None or count_volumes(path) < 2:
        return None
    return series if names_volume(path, series) or series.strip().replace("_", "").isdigit() else None
