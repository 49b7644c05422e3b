"""`Volume`: numbers on a grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Grid
from volseg.errors import InputError

# Modalities of scans that can be written as a DICOM series.
MODALITIES = ("CT", "MR")


@dataclass(frozen=True, eq=False)
class Volume:
    """One scan: an array of numbers on a grid.

    Parameters
    ----------
    array : (I, J, K) real numbers
        Any integer or float dtype. Several sequences of a patient are several volumes on one grid.
    grid : Grid
        Same shape as the array.
    name : str, optional
        File stem or series description.
    modality : str, optional
        DICOM code, such as ``CT``, ``MR`` or ``PT``.
    unit : str, optional
        ``HU`` or ``BQML``; None if the numbers have no unit.
    source : picklable, optional
        Reference to the files that it was read from; only `volseg.io` uses it.

    Raises
    ------
    InputError
        The array is not three-dimensional real numbers, or does not fit the grid.

    Examples
    --------
    >>> import numpy as np
    >>> import volseg
    >>> grid = volseg.Grid.from_spacing((64, 64, 20), spacing=(1, 1, 5))
    >>> scan = volseg.Volume(np.zeros((64, 64, 20), np.int16), grid, modality="CT", unit="HU")
    >>> brighter = scan.with_array(scan.array + 40)
    >>> int(brighter.array.max()), brighter.unit
    (40, 'HU')
    """

    array: NDArray[Any]
    grid: Grid
    name: str | None = None
    modality: str | None = None
    unit: str | None = None
    source: Any = None

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.dtype.kind not in "iufb":
            raise InputError(f"voxel type is {array.dtype}; expected real numbers")
        if array.shape != self.grid.shape:
            raise InputError(f"array shape {array.shape} does not fit the grid's {self.grid.shape}")
        object.__setattr__(self, "array", array)

    def with_array(self, array: NDArray[Any]) -> Volume:
        """Return the same volume with other voxel values.

        Parameters
        ----------
        array : (I, J, K) real numbers
            Same shape as the grid.
        """
        return replace(self, array=array)
