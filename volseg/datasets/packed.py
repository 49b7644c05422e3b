"""Label maps of a dataset that were decoded, packed in memory until they are needed again."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.layout import Layout
from volseg.core.merging import Loss

_LEVEL = 1  # 0.07 s for a map of 52 million voxels that takes 0.18 s to decode; half a megabyte remains of it


@dataclass(frozen=True, eq=False)
class PackedLabels:
    """A label map, deflated: about a hundredth of its voxels.

    Parameters
    ----------
    deflated : bytes
        The voxels in memory order.
    dtype : numpy.dtype
    shape : tuple of int
        In memory order.
    layout : Layout
    grid : Grid
    labels : tuple of Label
    state : str
        `volseg.io.scan_files.file_state` of its files just before they were read.
    losses : tuple of Loss
        What its labels lost where they overlap.
    """

    deflated: bytes
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    layout: Layout
    grid: Grid
    labels: tuple[Label, ...]
    state: str
    losses: tuple[Loss, ...] = ()

    @classmethod
    def pack(cls, labels: LabelMap, state: str, losses: tuple[Loss, ...] = ()) -> PackedLabels:
        """Pack a label map.

        Parameters
        ----------
        labels : LabelMap
        state : str
            Of its files.
        losses : tuple of Loss
            What its labels lost where they overlap.
        """
        layout = Layout.of(labels.array)
        ordered = np.ascontiguousarray(layout.in_memory_order(labels.array))
        deflated = zlib.compress(ordered.reshape(-1).view(np.uint8).data, _LEVEL)
        return cls(deflated, ordered.dtype, ordered.shape, layout, labels.grid, labels.labels, state, losses)

    def unpack(self) -> LabelMap:
        """Return the label map; its voxels are read-only."""
        ordered = np.frombuffer(zlib.decompress(self.deflated), self.dtype).reshape(self.shape)
        return LabelMap(self.layout.restore(ordered), self.grid, self.labels)
