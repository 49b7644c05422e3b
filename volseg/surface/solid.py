"""All labels as one solid that can be printed: one piece, without cavities, with two triangles at every edge."""

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
        With one label, of the voxels that `solid_mask` keeps. Its name is the one of the only label that occurs, or
        ``solid``.
    """
    mask = np.any([layer.array > 0 for layer in layers], axis=0)
    present = [label for layer in layers for label in layer.labels if np.any(layer.array == label.value)]
    solid = solid_mask(mask, layers[0].grid)
    name = present[0].name if len(present) == 1 else _NAME
    labels = (Label(1, name, present[0].colour),) if present else ()
    return LabelMap(solid.astype(np.uint8), layers[0].grid, labels)


def solid_mask(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Keep the largest piece of voxels that are connected by their faces, with its cavities filled.

    Where two voxels would touch by an edge or a corner only, which leaves a hinge without thickness, a neighbour is
    filled in. What is left out is logged.
    """
    piece = _largest_piece(mask)
    if lost := np.count_nonzero(mask) - np.count_nonzero(piece):
        share = lost / np.count_nonzero(mask)
        ml = lost * grid.voxel_volume_mm3 / 1000
        _LOG.warning("the solid is the largest piece only; %.3g ml (%.2g %%) are left out", ml, 100 * share)
    return _without_hinges(ndimage.binary_fill_holes(piece))


def solid_field(field: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Return a field (I, J, K) that is positive in the solid of its positive voxels; elsewhere as far from 0 as it was.

    So the surface of the solid runs between the voxels where the field says.
    """
    size = np.maximum(np.abs(field), np.finfo(np.float32).tiny)
    return np.where(solid_mask(field > 0, grid), size, -size)


def _largest_piece(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, count = ndimage.label(mask)
    return mask if count < 2 else np.asarray(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)


def largest_shell(mesh: Mesh) -> Mesh:
    """Keep the connected surface that encloses most: between thick slices a thin bridge may have been lost."""
    pieces = connected_pieces(mesh.faces, len(mesh.vertices))[mesh.faces[:, 0]]
    shells = [mesh.faces[pieces == n] for n in np.unique(pieces)]
    if len(shells) < 2:
        return mesh
    parts = []
    for shell in shells:
        used, numbers = np.unique(shell, return_inverse=True)
        parts.append(replace(mesh, vertices=mesh.vertices[used], faces=numbers.reshape(-1, 3)))
    largest = max(parts, key=lambda part: part.volume_mm3)
    _LOG.warning(
        "the solid comes apart between thick slices; of %d pieces the largest is kept, %.3g of %.3g ml",
        len(parts),
        largest.volume_mm3 / 1000,
        mesh.volume_mm3 / 1000,
    )
    return largest


def _without_hinges(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill voxels until no two that are full, nor two that are empty, touch by an edge or a corner alone."""
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
    """In 2x2 voxels across the third axis of which a diagonal is full and the other empty, fill one of the other."""
    a, b, c, d = solid[:-1, :-1], solid[:-1, 1:], solid[1:, :-1], solid[1:, 1:]
    rising, falling = a & d & ~b & ~c, b & c & ~a & ~d
    b |= rising
    a |= falling


def _fill_corners(solid: NDArray[np.bool_]) -> None:
    """In 2x2x2 voxels of which two opposite ones alone are full, or alone are empty, fill."""
    parts = {
        (i, j, k): solid[i : i - 1 or None, j : j - 1 or None, k : k - 1 or None] for i, j, k in np.ndindex(2, 2, 2)
    }
    count = sum(part.astype(np.uint8) for part in parts.values())
    for i, j, k in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)):
        one, other = parts[i, j, k], parts[1 - i, 1 - j, 1 - k]
        two_full, two_empty = one & other & (count == 2), ~one & ~other & (count == 6)
        one |= two_empty
        parts[i, j, 1 - k][two_full] = True
        parts[i, 1 - j, 1 - k][two_full] = True
