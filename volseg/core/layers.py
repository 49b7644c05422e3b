"""Structures that may lie over each other, in as few arrays of label values as that needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from volseg.core.labelmap import Label

Parts = Callable[[NDArray[Any]], Iterable[tuple[NDArray[Any], NDArray[np.bool_]]]]


@dataclass(eq=False)
class Layers:
    """Arrays of label values; each structure lies in the first in which it meets no other.

    Parameters
    ----------
    shape : tuple of int
        Of each array.
    dtype : integer type
        Holds all values.
    order : str
        How the arrays lie in memory: ``C``, or ``F``, where slices across the last axis lie together.
    most : int, optional
        How many arrays there may be.
    filled : list of (array, list of Label)
        The arrays, and the labels in each.
    """

    shape: tuple[int, ...]
    dtype: DTypeLike
    order: Literal["C", "F"] = "C"
    most: int | None = None
    filled: list[tuple[NDArray[Any], list[Label]]] = field(default_factory=list)

    def add(self, label: Label, parts: Parts) -> None:
        """Lay a structure into the first array where nothing is in its place, else into a new one.

        Parameters
        ----------
        label : Label
        parts : function
            Gives views of an array, each with a mask of the same shape that is true where the structure is.

        Raises
        ------
        OverflowError
            It would need more arrays than there may be.
        """
        free = (layer for layer in self.filled if not any(view[mask].any() for view, mask in parts(layer[0])))
        array, members = next(free, (None, []))
        if array is None:
            if len(self.filled) == self.most:
                raise OverflowError(f"structures overlap in more than {self.most} layers")
            array = np.zeros(self.shape, self.dtype, order=self.order)
            self.filled.append((array, members))
        for view, mask in parts(array):
            view[mask] = label.value
        members.append(label)
