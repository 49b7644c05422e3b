"""The structures of a page: labels and surfaces by name, with their volumes and places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import Colour, LabelMap, count_values, label_boxes
from volseg.core.mesh import Mesh
from volseg.files.plain_text import plain
from volseg.surface import extract_surfaces
from volseg.surface.simplify import simplify_mesh
from volseg.view.shown_voxels import Shown
from volseg.webpage.blocks import Block, packed

_MOST_FACES = 250_000
_LARGEST_STEP = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Structure:
    """A row of the page's list: a label, a surface, or both.

    Parameters
    ----------
    name : str
    colour : (red, green, blue)
    volume : str
        With its unit; empty if it is not known.
    layer, index : int, optional
        Its label map, and its value in the page.
    mesh : int, optional
        Number of its surface.
    at : (i, j, k), optional
        A voxel of it near its centre.
    shown : bool
        Whether it is switched on at first.
    """

    name: str
    colour: Colour
    volume: str = ""
    layer: int | None = None
    index: int = 0
    mesh: int | None = None
    at: tuple[int, int, int] | None = None
    shown: bool = True


def structures_of(
    layers: Sequence[LabelMap], meshes: Sequence[Mesh], values: Sequence[NDArray[Any]]
) -> list[Structure]:
    """List the labels that occur, each with the surface of its name, and then the other surfaces.

    Parameters
    ----------
    layers : sequence of LabelMap
    meshes : sequence of Mesh
    values : sequence of (I, J, K) integers
        Of each label map on the voxels that are shown, from `numbered`.
    """
    of_name: dict[str, int] = {}
    for number, mesh in enumerate(meshes):
        of_name.setdefault(mesh.name, number)
    found, taken = [], set()
    for number, (layer, shown) in enumerate(zip(layers, values, strict=True)):
        counts, places = count_values(layer.array), _places(shown)
        for index, label in enumerate(layer.labels, start=1):
            if counts[label.value]:
                ml = counts[label.value] * layer.grid.voxel_volume_mm3 / 1000
                mesh_number = of_name.get(label.name)
                taken.add(mesh_number)
                found.append(
                    Structure(
                        plain(label.name), label.colour, volume_text(ml), number, index, mesh_number, places.get(index)
                    )
                )
    for number, mesh in enumerate(meshes):
        if number not in taken:
            volume = volume_text(mesh.volume_mm3 / 1000) if len(mesh.faces) and mesh.is_closed else ""
            found.append(Structure(plain(mesh.name), mesh.colour, volume, mesh=number))
    return found


def numbered(labels: LabelMap, shown: Shown) -> NDArray[Any]:
    """(I, J, K) number of the label at each voxel that is shown, 1 for the first in ``labels.labels``; 0 is background.

    Parameters
    ----------
    labels : LabelMap
    shown : Shown
    """
    kind = np.uint8 if len(labels.labels) < 256 else np.uint16
    known = np.array([0, *(label.value for label in labels.labels)])
    return np.searchsorted(known, shown.values_of(labels)).astype(kind)


def volume_text(ml: float) -> str:
    """Return a volume in ml with about three digits."""
    digits = 1 if ml >= 10 else 2 if ml >= 1 else 3
    return f"{ml:,.{digits}f} ml"


def _places(values: NDArray[Any]) -> dict[int, tuple[int, int, int]]:
    """Return for each number a voxel of it, the nearest to the centre of all its voxels."""
    places = {}
    for number, box in label_boxes(values).items():
        voxels = np.argwhere(values[box] == number)
        nearest = voxels[((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1).argmin()]
        i, j, k = (int(part.start + step) for part, step in zip(box, nearest, strict=True))
        places[number] = (i, j, k)
    return places


def label_surfaces(labels: LabelMap) -> list[Mesh]:
    """Return the surfaces of labels; none on a single slice.

    Parameters
    ----------
    labels : LabelMap
    """
    if 1 in labels.grid.shape or not labels.array.any():
        return []
    return [mesh for mesh in extract_surfaces(labels) if len(mesh.faces)]


def lighter(meshes: Sequence[Mesh]) -> list[Mesh]:
    """Simplify closed surfaces if all together have more triangles than a page should hold.

    Parameters
    ----------
    meshes : sequence of Mesh
    """
    total = sum(len(mesh.faces) for mesh in meshes)
    if total <= _MOST_FACES:
        return list(meshes)
    keep, simpler = _MOST_FACES / total, []
    for mesh in meshes:
        can_be_simpler = len(mesh.faces) and mesh.is_closed
        simpler.append(simplify_mesh(replace(mesh, point_data={}), keep=keep) if can_be_simpler else mesh)
    return simpler


def packed_mesh(mesh: Mesh, colours: NDArray[np.uint8] | None = None) -> dict[str, Any]:
    """Pack a surface: vertices in steps of its longest side over 65535, from its lowest corner on.

    Parameters
    ----------
    mesh : Mesh
        With faces.
    colours : (V, 4) uint8, optional
        Red, green, blue and opacity of each vertex.
    """
    low, high = mesh.bounds
    step = float((high - low).max()) / _LARGEST_STEP or 1.0
    steps = np.rint((mesh.vertices - low) / step).astype(np.uint16)
    faces: Block = packed(mesh.faces.astype(np.uint32).ravel(), differences=True)
    return {
        "low": low.tolist(),
        "step": step,
        "vertices": packed(steps, differences=True),
        "faces": faces,
        "colours": None if colours is None else packed(colours.ravel()),
    }
