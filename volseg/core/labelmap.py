"""`LabelMap`: named integers on a grid. It is no `Volume`, so that nothing interpolates it by accident."""

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
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")  # a zero byte and lone surrogates, which no text file can hold


@dataclass(frozen=True)
class Label:
    """One structure in a label map.

    Parameters
    ----------
    value : int
        The integer in the array, at least 1; 0 is background.
    name : str
        Name of the structure.
    colour : (red, green, blue), 0 to 255
        Colour in pictures and mesh files.
    code : str, optional
        A terminology code such as ``SCT:10200004``, kept as found.
    algorithm : {"MANUAL", "SEMIAUTOMATIC"}, optional
        How it was made, if a DICOM object says that it was not made automatically; only DICOM objects store it.

    Raises
    ------
    InputError
        The value is below 1, the name is empty or cannot be written, or the colour or algorithm is invalid.

    Examples
    --------
    >>> import volseg
    >>> volseg.Label(value=1, name="liver", colour=(168, 84, 68)).name
    'liver'
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
        if _UNWRITABLE.search(self.name):
            raise InputError(f"label {self.value} has the name {self.name!r}; expected a text that files can hold")
        if self.algorithm not in (None, *OTHER_ALGORITHMS):
            raise InputError(f"algorithm of {self.name!r} is {self.algorithm!r}; expected MANUAL or SEMIAUTOMATIC")
        if len(self.colour) != 3 or min(self.colour) < 0 or max(self.colour) > 255:
            raise InputError(f"colour of label {self.name!r} is {self.colour}; expected three numbers 0 to 255")


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Integers on a grid, with a `Label` for every value that occurs.

    Parameters
    ----------
    array : (I, J, K) integers
        0 is background; negative values are refused. Values are never renumbered.
    grid : Grid
        Same shape as the array.
    labels : tuple of Label
        Stored in order of value. A label need not occur in the array, but every value in the array needs a label
        (`LabelMap.from_array` names values without one).

    Raises
    ------
    InputError
        The array is not of integers, has a negative value, a value without label or another shape than the grid; or two
        labels have the same value or name.

    Examples
    --------
    >>> import numpy as np
    >>> import volseg
    >>> array = np.zeros((8, 8, 4), np.uint8)
    >>> array[2:5, 2:5, 1:3] = 7
    >>> labels = volseg.LabelMap.from_array(array, volseg.Grid.from_spacing(array.shape))
    >>> [label.name for label in labels.labels], int(labels.mask(labels.labels[0]).sum())
    (['label_7'], 18)
    """

    array: NDArray[Any]
    grid: Grid
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        array = _as_integers(self.array)
        if array.shape != self.grid.shape:
            raise InputError(f"label map shape {array.shape} does not fit the grid's {self.grid.shape}")
        values, names = Counter[int](), Counter[str]()
        for label in self.labels:
            values[label.value] += 1
            names[label.name] += 1
        _check_unique("values", values)
        _check_unique("names", names)
        if unknown := present_values(array) - values.keys():
            raise InputError(f"label values {sorted(unknown)} have no name; name them or use LabelMap.from_array")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "labels", tuple(sorted(self.labels, key=lambda label: label.value)))

    @classmethod
    def from_array(cls, array: NDArray[Any], grid: Grid, *, labels: Iterable[Label] = ()) -> LabelMap:
        """Make a label map; values without a label are named ``label_<value>``.

        Parameters
        ----------
        array : (I, J, K) integers
            0 is background.
        grid : Grid
            Same shape as the array.
        labels : iterable of Label
            Labels that are known.
        """
        array = _as_integers(array)
        complete = list(labels)
        missing = present_values(array) - {label.value for label in complete}
        for value in sorted(missing):
            complete.append(Label(value, f"label_{value}", default_colour(value)))
        return cls(array, grid, tuple(complete))

    def mask(self, label: Label) -> NDArray[np.bool_]:
        """Return an (I, J, K) array of booleans, True where a label is.

        Parameters
        ----------
        label : Label
        """
        return np.asarray(self.array == label.value)


def _check_unique(what: str, counts: Counter[int] | Counter[str]) -> None:
    twice = sorted(entry for entry, count in counts.items() if count > 1)
    if twice:
        raise InputError(f"label {what} given twice: {twice}; each must be unique")


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
    """Return the values other than 0 that occur in an array.

    Parameters
    ----------
    array : (I, J, K) integers
    """
    return set(count_values(array))


def volumes_ml(labelmap: LabelMap, labels: Iterable[Label] | None = None) -> dict[str, float]:
    """Return the volume of each label by name; 0 where it does not occur.

    Parameters
    ----------
    labelmap : LabelMap
    labels : iterable of Label, optional
        By default those of the map.
    """
    counts, voxel_ml = count_values(labelmap.array), labelmap.grid.voxel_volume_mm3 / 1000
    return {label.name: counts[label.value] * voxel_ml for label in labels or labelmap.labels}


def count_values(array: NDArray[Any]) -> Counter[int]:
    """Count the voxels of each value other than 0 in one pass, slab by slab, to save memory.

    Parameters
    ----------
    array : (I, J, K) integers
    """
    array = np.asarray(array)
    # Slabs are contiguous in memory. Small integers are counted, which is 10 times as fast as sorting.
    slabs = np.moveaxis(array, int(np.argmax(np.abs(array.strides))), 0)
    small = array.dtype.kind == "u" and array.dtype.itemsize <= 2
    counts: Counter[int] = Counter()
    for slab in slabs:
        if small:
            per_value = np.bincount(slab.ravel(order="K"))
            values = np.flatnonzero(per_value)
            sizes = per_value[values]
        else:
            values, sizes = np.unique(slab, return_counts=True)
        for value, size in zip(values.tolist(), sizes.tolist(), strict=True):
            counts[value] += size
    del counts[0]
    return counts


def label_boxes(array: NDArray[Any]) -> dict[int, tuple[slice, ...]]:
    """Return the bounding box of every value that occurs in an array, except 0.

    Parameters
    ----------
    array : (I, J, K) integers of at least 0

    Returns
    -------
    dict of int to tuple of slice
        One slice for each axis, by value.
    """
    from scipy import ndimage

    # SciPy reads an array in C order, which is eight times slower if that is not the order in memory.
    order = np.argsort(np.negative(np.abs(array.strides)), kind="stable")
    turned, back = array.transpose(order), np.argsort(order)
    values: Sequence[int]
    if array.max() <= _LARGEST_LISTED_VALUE:
        found = ndimage.find_objects(turned)
        values = range(1, len(found) + 1)
    else:
        # `find_objects` makes a list up to the largest value, so large values are numbered 1, 2, 3 ... first.
        values = sorted(present_values(array))
        found = ndimage.find_objects(np.searchsorted(np.array([0, *values], dtype=array.dtype), turned))
    boxes = {}
    for value, box in zip(values, found, strict=True):
        if box is not None:
            boxes[value] = tuple(box[axis] for axis in back)
    return boxes


def default_colour(value: int, name: str = "") -> Colour:
    """Return the colour of a label for which no colour was chosen.

    Parameters
    ----------
    value : int
        Sets the colour of labels without a name; neighbouring values differ clearly (golden-angle hues).
    name : str
        Sets the colour (`volseg.core.anatomy.colour_of`), unless it is empty or generic, such as ``label_7``.
    """
    if name.strip() and not _UNNAMED.fullmatch(name.strip()):
        return colour_of(name)
    hue = (0.02 + 0.618034 * (value - 1)) % 1.0
    saturation = (0.70, 0.50, 0.85)[value % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 0.92)
    return round(255 * red), round(255 * green), round(255 * blue)


def keep_colours_apart(labels: Iterable[Label], given: Collection[int] = ()) -> tuple[Label, ...]:
    """Change default colours slightly if another label of the same map has the same one.

    Parameters
    ----------
    labels : iterable of Label
        All labels of one map. The first of several labels with one colour keeps it.
    given : collection of int
        Values of the labels whose colour was chosen; they keep it, and so do labels without a name.

    Returns
    -------
    tuple of Label
        In the same order. The same labels always give the same result.
    """
    labels = tuple(labels)
    taken = {label.colour for label in labels if _keeps_colour(label, given)}
    apart = []
    for label in labels:
        colour = label.colour if _keeps_colour(label, given) else _free_colour(label.colour, taken)
        taken.add(colour)
        apart.append(replace(label, colour=colour))
    return tuple(apart)


def label_extent(layers: Sequence[LabelMap], image: Grid) -> tuple[VoxelRange | None, float | None]:
    """Measure where the labelled voxels of label maps lie in an image.

    Parameters
    ----------
    layers : sequence of LabelMap
        On any grids.
    image : Grid
        Grid of the image.

    Returns
    -------
    extent : 3 pairs of (first, last), optional
        Image voxel coordinates of labelled voxels' centres along each axis; None if nothing is labelled.
    outside : float, optional
        Fraction of the labelled voxels whose centre lies outside the image, 0 to 1; None if nothing is labelled.
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
    pairs = np.stack([lowest, highest], axis=1).round(2) + 0.0  # turns -0.0 into 0.0
    return tuple((low, high) for low, high in pairs.tolist()), outside / labelled


def _keeps_colour(label: Label, given: Collection[int]) -> bool:
    return label.value in given or _UNNAMED.fullmatch(label.name) is not None


def _free_colour(colour: Colour, taken: Collection[Colour]) -> Colour:
    """Return the colour nearest to one that is not taken; the colour itself if all near ones are taken."""
    for near in _nearby(colour):
        if near not in taken:
            return near
    return colour


def _nearby(colour: Colour) -> Iterator[Colour]:
    """Yield a colour and then others, less and less like it."""
    yield colour
    for change in range(16, 128, 16):
        for step in (-change, change):
            for moved in ((0, 1, 2), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
                red, green, blue = (min(max(c + step * (n in moved), 24), 240) for n, c in enumerate(colour))
                yield red, green, blue
