"""All labels as one printable solid: one piece, without cavities, with two triangles at every edge."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.mesh import Mesh
from volseg.surface.smooth import connected_pieces

_LOG = logging.getLogger(__name__)
_NAME = "solid"


def solid_of(layers: Sequence[LabelMap]) -> LabelMap:
    """Join labels to one that is a single printable piece.

    Parameters
    ----------
    layers : sequence of LabelMap
        At least one, all on one grid; labels of different layers may overlap.

    Returns
    -------
    LabelMap
        With one label for the voxels that `solid_mask` keeps. If only one label occurs, it keeps its name; else the
        name is ``solid``. Without labels that occur the label map is empty.
    """
    mask = np.any([layer.array > 0 for layer in layers], axis=0)
    present = []
    for layer in layers:
        for label in layer.labels:
            if np.any(layer.array == label.value):
                present.append(label)
    solid = solid_mask(mask, layers[0].grid)
    name = present[0].name if len(present) == 1 else _NAME
    labels = (Label(1, name, present[0].colour),) if present else ()
    return LabelMap(solid.astype(np.uint8), layers[0].grid, labels)


def solid_mask(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Keep the largest piece of voxels that are connected by their faces, and fill its cavities.

    Two voxels that touch by an edge or a corner only form a hinge without thickness; a neighbour of theirs is filled.
    The volume that is left out is logged.

    Parameters
    ----------
    mask : (I, J, K) bool
    grid : Grid
        For the volume in the log.
    """
    piece = _largest_piece(mask)
    if lost := np.count_nonzero(mask) - np.count_nonzero(piece):
        share = lost / np.count_nonzero(mask)
        ml = lost * grid.voxel_volume_mm3 / 1000
        _LOG.warning("the solid is the largest piece only; %.3g ml (%.2g %%) are left out", ml, 100 * share)
    return _without_hinges(ndimage.binary_fill_holes(piece))


def solid_field(field: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Change the signs of a field so that it is positive in the solid of its positive voxels alone.

    The absolute values stay, so that the surface of the solid runs between voxels where the field puts it.

    Parameters
    ----------
    field : (I, J, K) float32
        Positive inside.
    grid : Grid
    """
    size = np.maximum(np.abs(field), np.finfo(np.float32).tiny)
    return np.where(solid_mask(field > 0, grid), size, -size)


def _largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, count = ndimage.label(mask)
    return mask if count < 2 else np.asarray(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)


def largest_shell(mesh: Mesh) -> Mesh:
    """Keep the connected surface of the largest volume: between thick slices a thin bridge may have been lost.

    Parameters
    ----------
    mesh : Mesh
        Closed.
    """
    piece_of_face = connected_pieces(mesh.faces, len(mesh.vertices))[mesh.faces[:, 0]]
    pieces = np.unique(piece_of_face)
    if len(pieces) < 2:
        return mesh
    parts = []
    for piece in pieces:
        used, numbers = np.unique(mesh.faces[piece_of_face == piece], return_inverse=True)
        parts.append(replace(mesh, vertices=mesh.vertices[used], faces=numbers.reshape(-1, 3)))
    largest = max(parts, key=lambda part: part.volume_mm3)
    _LOG.warning(
        "the solid comes apart between thick slices into %d pieces; the largest is kept, %.3g of %.3g ml",
        len(parts),
        largest.volume_mm3 / 1000,
        mesh.volume_mm3 / 1000,
    )
    return largest


def _without_hinges(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill voxels until no two full ones, and no two empty ones, touch by an edge or a corner alone."""
    solid = np.pad(mask, 1)
    while True:
        before = np.count_nonzero(solid)
        for axis in range(3):
            _fill_edges(np.moveaxis(solid, axis, 2))
        _fill_corners(solid)
        solid = ndimage.binary_fill_holes(solid)
        if np.count_nonzero(solid) == before:
            break
    return np.asarray(solid[1:-1, 1:-1, 1:-1])


def _fill_edges(solid: NDArray[np.bool_]) -> None:
    """In squares of 2x2 voxels across the third axis with one diagonal full and the other empty, fill a voxel."""
    a, b, c, d = solid[:-1, :-1], solid[:-1, 1:], solid[1:, :-1], solid[1:, 1:]
    rising, falling = a & d & ~b & ~c, b & c & ~a & ~d
    b |= rising
    a |= falling


def _fill_corners(solid: NDArray[np.bool_]) -> None:
    """Fill voxels in cubes of 2x2x2 where only two opposite voxels are full, or only two are empty."""
    sides = slice(None, -1), slice(1, None)
    parts = {}
    count = np.zeros(np.subtract(solid.shape, 1), dtype=np.uint8)
    for i, j, k in np.ndindex(2, 2, 2):
        parts[i, j, k] = solid[sides[i], sides[j], sides[k]]
        count += parts[i, j, k]
    for i, j, k in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)):
        one, other = parts[i, j, k], parts[1 - i, 1 - j, 1 - k]
        two_full, two_empty = one & other & (count == 2), ~one & ~other & (count == 6)
        one |= two_empty
        parts[i, j, 1 - k][two_full] = True
        parts[i, 1 - j, 1 - k][two_full] = True
