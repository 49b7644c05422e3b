"""How the axes of an array lie in memory, so that a copy can be given the same order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layout:
    """The order of the axes of an array in memory.

    Parameters
    ----------
    axes : tuple of int
        The axis of the largest steps first.
    steps : tuple of slice
        For each axis, forwards or backwards.
    """

    axes: tuple[int, ...]
    steps: tuple[slice, ...]

    @classmethod
    def of(cls, array: NDArray[Any]) -> Layout:
        """Return the layout of an array.

        Parameters
        ----------
        array : array of any shape
        """
        axes = np.argsort([-abs(stride) for stride in array.strides], kind="stable")
        steps = tuple(slice(None, None, -1 if stride < 0 else 1) for stride in array.strides)
        return cls(tuple(axes.tolist()), steps)

    def in_memory_order(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view whose axes follow each other as in memory; it is C-contiguous if the array has no gaps.

        Parameters
        ----------
        array : array
            Has this layout.
        """
        return array[self.steps].transpose(self.axes)

    def restore(self, ordered: NDArray[Any]) -> NDArray[Any]:
        """Return a view with the axes in their own order again.

        Parameters
        ----------
        ordered : array
            From `in_memory_order`, or a copy of that.
        """
        return ordered.transpose(np.argsort(self.axes))[self.steps]
