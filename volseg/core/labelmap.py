"""`LabelMap`: named integers on a grid. Not a Volume, so that nothing interpolates it by accident."""

from __future__ import annotations

import colorsys
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.anatomy import colour_of
from volseg.core.grid import TO_EDGE, Grid
from volseg.errors import InputError

Colour = tuple[int, int, int]
VoxelRange = tuple[tuple[float, float], ...]
OTHER_ALGORITHMS = ("MANUAL", "SEMIAUTOMATIC")
_LARGEST_LISTED_VALUE = 65535
_UNNAMED = re.compile(r"(label|segment|roi)[ _]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Label:
    """One structure in a label map.

    Parameters
    ----------
    value : int
        The integer in the array, at least 1; 0 is background.
    name : str
        What it is.
    colour : (red, green, blue), 0 to 255
        How to draw it.
    code : str, optional
        A terminology code such as ``SCT:10200004``, kept as found.
    algorithm : {"MANUAL", "SEMIAUTOMATIC"}, optional
        How it was made, where a DICOM object says that it was not automatically; only DICOM objects keep it.
    """

    value: int
    name: str
    colour: Colour
    code: str | None = None
    algorithm: str | None = None

    def __post_init__(self) -> None:
        if self.value < 1:
            raise InputError(f"label {self.name!r} has value {self.value}; expected at least 1, as 0 is background")
        if not self.name.strip():
            raise InputError(f"label {self.value} has an empty name; give it one")
        if not self.name.isprintable() and ("\0" in self.name or not _is_encodable(self.name)):
            raise InputError(f"label {self.value} has the name {self.name!r}; expected a text that files can hold")
        if self.algorithm not in (None, *OTHER_ALGORITHMS):
            raise InputError(f"algorithm of {self.name!r} is {self.algorithm!r}; expected MANUAL or SEMIAUTOMATIC")
        if len(self.colour) != 3 or not all(0 <= c <= 255 for c in self.colour):
            raise InputError(f"colour of label {self.name!r} is {self.colour}; expected three numbers 0 to 255")


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Integers on a grid, with a `Label` for every value that occurs.

    Parameters
    ----------
    array : (I, J, K) integers
        0 is background, none is negative. Values are kept as they are, never renumbered.
    grid : Grid
        Same shape as the array.
    labels : tuple of Label
        Sorted by value; a label may be absent from the array, an array value may not be absent from the labels
        (`LabelMap.from_array` names unnamed values).

    Raises
    ------
    InputError
        Not integers, a negative value, wrong shape, a value or name given twice, or a value in the array without label.
    """

    array: NDArray[Any]
    grid: Grid
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        array = _as_integers(self.array)
        if array.shape != self.grid.shape:
            raise InputError(f"label map shape {array.shape} does not fit the grid's {self.grid.shape}")
        for field in ("value", "name"):
            entries = [getattr(label, field) for label in self.labels]
            if twice := {entry for entry, count in Counter(entries).items() if count > 1}:
                raise InputError(f"label {field}s given twice: {sorted(twice)}; each must be unique")
        if unknown := present_values(array) - {label.value for label in self.labels}:
            raise InputError(f"label values {sorted(unknown)} have no name; name them or use LabelMap.from_array")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "labels", tuple(sorted(self.labels, key=lambda label: label.value)))

    @classmethod
    def from_array(cls, array: NDArray[Any], grid: Grid, *, labels: Iterable[Label] = ()) -> LabelMap:
        """Make a label map, naming values without a label ``label_<value>``."""
        array = _as_integers(array)
        known = tuple(labels)
        missing = present_values(array) - {label.value for label in known}
        extra = (Label(v, f"label_{v}", default_colour(v)) for v in sorted(missing))
        return cls(array, grid, (*known, *extra))

    def mask(self, label: Label) -> NDArray[np.bool_]:
        """(I, J, K) bool: where the label is."""
        return np.asarray(self.array == label.value)


def _as_integers(array: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(array)
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "iu":
        raise InputError(f"label map has voxel type {array.dtype}; expected integers")
    if (lowest := int(array.min(initial=0))) < 0:
        raise InputError(f"label map has the value {lowest}; expected 0 for background and positive integers")
    return array


def present_values(array: NDArray[Any]) -> set[int]:
    """Values other than 0 that occur in an integer array; slab by slab, so that memory stays small."""
    array = np.asarray(array)
    # Along memory, and by counting where the range is small: 10x faster than sorting.
    slabs = np.moveaxis(array, int(np.argmax(np.abs(array.strides))), 0)
    small = array.dtype.kind == "u" and array.dtype.itemsize <= 2
    values: set[int] = set()
    for slab in slabs:
        found = np.flatnonzero(np.bincount(slab.ravel(order="K"))) if small else np.unique(slab)
        values.update(found.tolist())
    return values - {0}


def label_boxes(array: NDArray[Any]) -> dict[int, tuple[slice, ...]]:
    """Return the bounding box of every value that occurs in an array of integers >= 0, by value; not of 0."""
    from scipy import ndimage

    # SciPy goes over an array in C order, eight times slower where that is not the order in memory.
    order = np.argsort([-abs(stride) for stride in array.strides], kind="stable")
    turned, back = array.transpose(order), np.argsort(order)
    if array.max() <= _LARGEST_LISTED_VALUE:
        found = {n: box for n, box in enumerate(ndimage.find_objects(turned), start=1) if box is not None}
    else:
        # It makes a list up to the largest value: number such values 1, 2, 3 ... first.
        values = sorted(present_values(array))
        numbers = np.searchsorted(np.array([0, *values], dtype=array.dtype), turned)
        found = dict(zip(values, ndimage.find_objects(numbers), strict=True))
    return {value: tuple(box[axis] for axis in back) for value, box in found.items()}


def default_colour(value: int, name: str = "") -> Colour:
    """Return the colour of a label that was given none.

    Parameters
    ----------
    value : int
        Decides for labels without a name: neighbouring values differ clearly (golden-angle hues).
    name : str
        Decides unless it is empty or only a number, such as ``label_7`` (`volseg.core.anatomy.colour_of`).
    """
    if name.strip() and not _UNNAMED.fullmatch(name.strip()):
        return colour_of(name)
    hue = (0.02 + 0.618034 * (value - 1)) % 1.0
    saturation = (0.70, 0.50, 0.85)[value % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 0.92)
    return round(255 * red), round(255 * green), round(255 * blue)


def keep_colours_apart(labels: Iterable[Label], given: Collection[int] = ()) -> tuple[Label, ...]:
    """Change colours that nobody has chosen slightly where another label of the same map has them.

    Parameters
    ----------
    labels : iterable of Label
        Those of one map. Of two equal colours that of the first stays.
    given : collection of int
        Values of the labels whose colour was chosen; it stays, as does that of labels without a name.

    Returns
    -------
    tuple of Label
        In the same order; always the same for the same labels.
    """
    labels = tuple(labels)
    fixed = [label.value in given or _UNNAMED.fullmatch(label.name) is not None for label in labels]
    taken = {label.colour for label, stays in zip(labels, fixed, strict=True) if stays}
    apart = []
    for label, stays in zip(labels, fixed, strict=True):
        colour = label.colour if stays else next((c for c in _nearby(label.colour) if c not in taken), label.colour)
        taken.add(colour)
        apart.append(replace(label, colour=colour))
    return tuple(apart)


def label_extent(layers: Sequence[LabelMap], image: Grid) -> tuple[VoxelRange | None, float | None]:
    """Say where in an image the labelled voxels of label maps on any grid lie.

    Returns
    -------
    extent : 3 pairs of (first, last), optional
        Image voxel coordinates of labelled voxels' centres along each axis; None where nothing is labelled.
    outside : float, optional
        Fraction of the labelled voxels whose centre lies outside the image, 0 to 1; None where nothing is labelled.
    """
    lowest, highest, labelled, outside = np.full(3, np.inf), np.full(3, -np.inf), 0, 0
    last = np.array(image.shape) - 1
    for layer in layers:
        to_image = np.linalg.solve(image.affine, layer.grid.affine)[:3]
        for k in range(layer.grid.shape[2]):
            places = np.argwhere(layer.array[:, :, k]) @ to_image[:, :2].T + to_image[:, 2] * k + to_image[:, 3]
            if len(places):
                lowest, highest = np.minimum(lowest, places.min(axis=0)), np.maximum(highest, places.max(axis=0))
                beyond = (places < -TO_EDGE) | (places > last + TO_EDGE)
                labelled, outside = labelled + len(places), outside + int(beyond.any(axis=1).sum())
    if not labelled:
        return None, None
    pairs = zip((lowest.round(2) + 0.0).tolist(), (highest.round(2) + 0.0).tolist(), strict=True)  # no -0.0
    return tuple((low, high) for low, high in pairs), outside / labelled


def _nearby(colour: Colour) -> Iterator[Colour]:
    """Yield a colour and then others, ever less like it."""
    yield colour
    for change in range(16, 128, 16):
        for step in (-change, change):
            for moved in ((0, 1, 2), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
                red, green, blue = (min(max(c + step * (n in moved), 24), 240) for n, c in enumerate(colour))
                yield red, green, blue
