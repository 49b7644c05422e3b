"""Structures that may overlap, in as few arrays of label values as possible."""

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
    """Arrays of label values; each structure is put into the first array in which it does not overlap another.

    Parameters
    ----------
    shape : tuple of int
        Shape of each array.
    dtype : integer type
        Can hold all values.
    order : {"C", "F"}
        Order of the arrays in memory; with ``F`` slices across the last axis are contiguous.
    most : int, optional
        Largest number of arrays.
    filled : list of (array, list of Label)
        The arrays, and the labels in each.
    """

    shape: tuple[int, ...]
    dtype: DTypeLike
    order: Literal["C", "F"] = "C"
    most: int | None = None
    filled: list[tuple[NDArray[Any], list[Label]]] = field(default_factory=list)

    def add(self, label: Label, parts: Parts) -> None:
        """Put a structure into the first array in which its voxels are free, or into a new one.

        Parameters
        ----------
        label : Label
        parts : callable
            Takes an array; returns views of it, each with a mask of the same shape that is True in the structure.

        Raises
        ------
        OverflowError
            It would need more than `most` arrays.
        """
        array, members = self._free_layer(parts)
        for view, mask in parts(array):
            view[mask] = label.value
        members.append(label)

    def _free_layer(self, parts: Parts) -> tuple[NDArray[Any], list[Label]]:
        """Return the first array, and its labels, in which the voxels of a structure are free, or a new one."""
        for array, members in self.filled:
            if not any(view[mask].any() for view, mask in parts(array)):
                return array, members
        if len(self.filled) == self.most:
            raise OverflowError(f"structures overlap in more than {self.most} layers")
        self.filled.append((np.zeros(self.shape, self.dtype, order=self.order), []))
        return self.filled[-1]
