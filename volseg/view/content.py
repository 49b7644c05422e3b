"""The content of a 3D picture or window: coloured meshes and slices of a scan, all in world millimetres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from volseg.core.grid import Float
from volseg.core.labelmap import Colour
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import InputError, UsageError
from volseg.view.doubt_map import DoubtMap
from volseg.view.grey_block import GreyBlock, SlicePicture, slice_corners
from volseg.view.greyscale import display_window, to_grey
from volseg.view.shown_voxels import Shown

Meshes = Sequence[Mesh] | Mapping[str, Sequence[Mesh]]
_MARGIN_MM = 20.0
_MARGIN_FRACTION = 0.4


@dataclass(frozen=True)
class Structure:
    """A row of the legend: meshes of one name."""

    name: str
    colour: Colour


@dataclass(frozen=True)
class Pane:
    """Meshes that are seen together, and the row of the legend that each belongs to."""

    title: str
    meshes: tuple[Mesh, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Scene:
    """Meshes and slices to draw. The data can be pickled, so that another process can draw it.

    Parameters
    ----------
    panes : tuple of Pane
        Side by side; several are compared.
    structures : tuple of Structure
        The rows of the legend.
    slices : tuple of SlicePicture
        Of the planes through the middle: sagittal, coronal, axial.
    title : str
    start : (int, int, int)
        The voxel layers of the slices in the block.
    block : GreyBlock, optional
        The part of the scan that slices which move are cut from.
    doubt_texts : (str, str), optional
        What the ends of the colours of doubt mean; None without doubt.
    """

    panes: tuple[Pane, ...]
    structures: tuple[Structure, ...]
    slices: tuple[SlicePicture, ...]
    title: str
    start: tuple[int, int, int] = (0, 0, 0)
    block: GreyBlock | None = None
    doubt_texts: tuple[str, str] | None = None

    @property
    def meshes(self) -> tuple[Mesh, ...]:
        """The meshes of all panes."""
        return tuple(mesh for pane in self.panes for mesh in pane.meshes)


def make_scene(
    *, meshes: Meshes = (), volume: Volume | None = None, movable: bool = False, doubt: Volume | None = None
) -> Scene:
    """Put meshes and three orthogonal slices of a scan together.

    The slices run along the scan's own voxel axes through the middle of the meshes, and reach a little beyond them.
    They are placed by the scan's affine, so an oblique or sheared scan is drawn where it lies.

    Parameters
    ----------
    meshes : sequence of Mesh, or dict of such sequences by title
        World mm RAS+. Meshes without faces are left out. The sequences of a dict are drawn side by side; a structure
        has the colour of the first that has it.
    volume : Volume, optional
    movable : bool
        Whether the scene has the block of the scan that slices are cut from.
    doubt : Volume, optional
        How unsure each voxel is; placed by its affine.

    Raises
    ------
    InputError
        Neither a mesh with faces nor a scan is given.
    UsageError
        Doubt is given without a scan.
    GeometryError
        The doubt lies beside the scan.
    """
    if doubt is not None and volume is None:
        raise UsageError("doubt is drawn on the slices of a scan, and there is none; give the scan too")
    panes, structures = _panes(meshes if isinstance(meshes, Mapping) else {"": meshes})
    scene = Scene(panes, structures, (), "")
    if not scene.meshes and volume is None:
        raise InputError("nothing to draw; a 3D picture needs a mesh or a scan")
    title = (volume.name if volume else None) or ", ".join(structure.name for structure in structures[:3])
    if volume is None:
        return replace(scene, title=title)
    shown, middle = _part(volume, bounds_of(scene.meshes))
    # A scene knows no label maps, so the doubt may lie on any voxels that meet the scan.
    unsure = None if doubt is None else DoubtMap.on(volume.grid, doubt, [doubt.grid])
    texts = None if unsure is None else unsure.texts
    scene = replace(scene, title=title, slices=_slices(volume, shown, middle, unsure), doubt_texts=texts)
    if not movable:
        return scene
    block = GreyBlock.of(volume, shown, unsure)
    at = np.rint(block.grid.to_voxel(shown.grid.to_world(middle))).astype(int)
    i, j, k = at.clip(0, np.subtract(block.grid.shape, 1)).tolist()
    return replace(scene, block=block, start=(i, j, k))


def bounds_of(meshes: Sequence[Mesh]) -> Float | None:
    """(2, 3) lowest and highest world coordinates of all meshes; None if there is none.

    Parameters
    ----------
    meshes : sequence of Mesh
    """
    if not meshes:
        return None
    bounds = np.stack([mesh.bounds for mesh in meshes])
    return np.stack([bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)])


def _panes(given: Mapping[str, Sequence[Mesh]]) -> tuple[tuple[Pane, ...], tuple[Structure, ...]]:
    """Give each mesh its row: the same name is the same structure, but within a pane each mesh has a row of its own."""
    rows: dict[tuple[str, int], int] = {}
    structures: list[Structure] = []
    panes = []
    for title, meshes in given.items():
        drawn, own = [], []
        names: list[str] = []
        for mesh in meshes:
            if not len(mesh.faces):
                continue
            key = (mesh.name, names.count(mesh.name))
            names.append(mesh.name)
            if key not in rows:
                rows[key] = len(structures)
                structures.append(Structure(mesh.name, mesh.colour))
            drawn.append(replace(mesh, colour=structures[rows[key]].colour))
            own.append(rows[key])
        panes.append(Pane(title, tuple(drawn), tuple(own)))
    return tuple(panes), tuple(structures)


def _part(volume: Volume, bounds: Float | None) -> tuple[Shown, tuple[int, int, int]]:
    """Return the part of the scan around the meshes, and its voxel in their middle."""
    if bounds is None:
        shown = Shown.all_of(volume.grid)
        at = np.array(shown.grid.shape) // 2
    else:
        shown = Shown.around(volume.grid, bounds, _MARGIN_MM + _MARGIN_FRACTION * (bounds[1] - bounds[0]))
        at = np.rint(shown.grid.to_voxel(bounds.mean(axis=0))).astype(int)
    i, j, k = at.clip(0, np.subtract(shown.grid.shape, 1)).tolist()
    return shown, (i, j, k)


def _slices(
    volume: Volume, shown: Shown, middle: tuple[int, int, int], unsure: DoubtMap | None
) -> tuple[SlicePicture, ...]:
    array, window = shown.voxels_of(volume), display_window(volume)
    pictures = []
    for axis, index in enumerate(middle):
        grey = to_grey(array.take(index, axis), window)
        doubt = None if unsure is None else unsure.numbers(shown.voxels_of(unsure.volume).take(index, axis))
        pictures.append(SlicePicture(grey, slice_corners(shown.grid, axis, index), doubt))
    return tuple(pictures)
