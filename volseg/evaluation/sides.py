"""The two sides of a case: the label maps of prediction and reference; several layers if labels overlap."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.core.label_choice import keep_labels
from volseg.core.labelmap import Label, LabelMap, label_boxes
from volseg.core.noise import check_no_noise
from volseg.core.resample import Reorientation
from volseg.errors import AmbiguousError, InputError, at
from volseg.evaluation.pairing import Pair
from volseg.io import Catalogue, count_volumes, read_label_layers
from volseg.io.labels import check_labels, mask_files, name_labels, names_volume

Box = tuple[slice, ...]


class Reading(TypedDict, total=False):
    """How label maps are read; the parameters are described at `volseg.evaluate`."""

    labels: str | Path | None
    only: Sequence[str] | None
    series: str | None


@dataclass(frozen=True, eq=False)
class Side:
    """Prediction or reference of one case.

    Parameters
    ----------
    layers : tuple of LabelMap
        At least one; all on one grid, each value in one layer only.
    """

    layers: tuple[LabelMap, ...]

    @property
    def grid(self) -> Grid:
        """Grid of all layers."""
        return self.layers[0].grid

    @property
    def labels(self) -> tuple[Label, ...]:
        """Labels of all layers."""
        labels: list[Label] = []
        for layer in self.layers:
            labels.extend(layer.labels)
        return tuple(labels)

    @property
    def values(self) -> set[int]:
        """Values of all labels."""
        return set(self._layer_of)

    @cached_property
    def boxes(self) -> dict[int, Box]:
        """Bounding box of each value that occurs, by value."""
        boxes: dict[int, Box] = {}
        for layer in self.layers:
            boxes.update(label_boxes(layer.array))
        return boxes

    @cached_property
    def _layer_of(self) -> dict[int, LabelMap]:
        """The layer of each label, by its value."""
        found: dict[int, LabelMap] = {}
        for layer in self.layers:
            for label in layer.labels:
                found[label.value] = layer
        return found

    def mask(self, value: int, box: Box) -> NDArray[np.bool_]:
        """Return where a label is within a box, as booleans of the box's shape.

        Parameters
        ----------
        value : int
            Value of the label; may be absent.
        box : tuple of slice
            One slice for each array axis.
        """
        layer = self._layer_of.get(value, self.layers[0])
        return np.asarray(layer.array[box] == value)

    def check_no_noise(self, values: Collection[int], source: Path | LabelMap) -> None:
        """Refuse labels whose surfaces are those of noise; see `volseg.core.noise`.

        Parameters
        ----------
        values : collection of int
            Values of the labels to check.
        source : Path or LabelMap
            What the labels were read from, for messages.
        """
        for layer in self.layers:
            with at(source) if isinstance(source, Path) else nullcontext():
                check_no_noise(keep_labels(layer, values))

    def moved(self, change: Reorientation) -> Side:
        """Return the same voxels with other axes.

        Parameters
        ----------
        change : Reorientation
            From the axes of this side to the new ones.
        """
        layers = []
        for layer in self.layers:
            layers.append(LabelMap(change.array(layer.array), change.grid(layer.grid), layer.labels))
        return Side(tuple(layers))


def read_sides(pair: Pair, reading: Reading, named: Collection[int]) -> tuple[Side, Side]:
    """Read prediction and reference.

    Labels of a folder of masks have no values of their own. Without a table each takes the value of the label with the
    same name on the other side.

    Parameters
    ----------
    pair : (Path or LabelMap, Path or LabelMap)
        Prediction and reference.
    reading : Reading
        The user's table and series.
    named : collection of int
        Values that a table or dataset names.

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
    """Read a folder that may be one of masks, whose labels take the values of those of the other side."""
    names = [label.name for label in other.labels]
    masks = mask_files(Catalogue(source), known=names) if isinstance(source, Path) else {}
    if not masks:
        return _read(source, None, None, named)
    labels = name_labels(masks, other.labels)
    if names and other.values.isdisjoint(label.value for label in labels.values()):
        raise InputError(
            f"{source}: is a folder of masks, which are matched by name, and no mask has the name of a label of the "
            f"other side ({', '.join(names[:5])}); give a table of names and values (--labels)"
        )
    return _read(source, other.labels, None, named)


def _read(
    source: Path | LabelMap, table: str | Path | Sequence[Label] | None, series: str | None, named: Collection[int]
) -> Side:
    if isinstance(source, LabelMap):
        return Side((source,))
    side = Side(read_label_layers(source, labels=table, series=_volume(source, series)))
    check_labels(side.layers, source, named)
    names: dict[int, list[str]] = {}
    for label in side.labels:
        names.setdefault(label.value, []).append(label.name)
    for sharing in names.values():
        if len(sharing) > 1:
            raise AmbiguousError(
                f"{source}: several labels have one value ({', '.join(sharing[:5])}), and labels are matched by value; "
                "write each to a file of its own with `volseg convert`"
            )
    return side


def _volume(path: Path, series: str | None) -> str | None:
    """Return the choice of a volume if this file has several, and the choice is no name in another file."""
    if series is None or count_volumes(path) < 2:
        return None
    return series if names_volume(path, series) or series.strip().replace("_", "").isdigit() else None
