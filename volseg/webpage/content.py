"""What a page holds, as one JSON object: ``assets/scene.js`` reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid
from volseg.core.labelmap import LabelMap, label_extent
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.prediction.shown_doubt import ShownDoubt
from volseg.view.doubt_map import DoubtMap
from volseg.view.greyscale import display_window, grey_levels, window_presets
from volseg.view.sheet_slices import common_grid
from volseg.view.shown_voxels import ORIENTATION, Shown
from volseg.webpage.blocks import packed
from volseg.webpage.comparison import Comparison
from volseg.webpage.doubt_layer import packed_doubt, slices_to_see
from volseg.webpage.shown import choose_shown
from volseg.webpage.structures import lighter, numbered, packed_mesh, structures_of

_STRAIGHT_DEGREES = 1.0
_LAYER_BYTES = 250_000  # kept free for each label map
_NO_VOXELS: dict[str, Any] = {"grid": None, "scan": None, "layers": [], "start": None, "doubt": None, "first": []}


@dataclass(frozen=True)
class Content:
    """The JSON object of a page, and the texts of its head.

    Parameters
    ----------
    values : dict
        As ``assets/scene.js`` reads it.
    facts : tuple of str
        What is shown, in a few words each.
    warnings : tuple of str
        What is wrong with it; the page says it too.
    """

    values: dict[str, Any]
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def gather(
    volume: Volume | None,
    layers: Sequence[LabelMap],
    meshes: Sequence[Mesh],
    *,
    most_bytes: int,
    comparison: Comparison | None = None,
    doubt: ShownDoubt | None = None,
) -> Content:
    """Gather what a page holds.

    Parameters
    ----------
    volume : Volume or None
    layers : sequence of LabelMap
    meshes : sequence of Mesh
        With faces.
    most_bytes : int
        Of the whole object; scan and doubt are cropped and halved until they fit.
    comparison : Comparison, optional
        Its agreement takes the place of the layers, and its surfaces that of the meshes.
    doubt : ShownDoubt, optional
    """
    colours: Mapping[int, NDArray[np.uint8]] = {}
    if comparison is not None:
        layers, meshes, colours = [comparison.agreement], comparison.meshes, comparison.colours
    notes: list[str] = []
    light = meshes if comparison is not None else lighter(meshes)
    if sum(len(mesh.faces) for mesh in light) < sum(len(mesh.faces) for mesh in meshes):
        notes.append("The surfaces are drawn with fewer triangles than they have.")
    surfaces = [packed_mesh(mesh, colours.get(number)) for number, mesh in enumerate(light)]
    on_voxels = _OnVoxels()
    if volume is not None or layers:
        room = most_bytes - len(json.dumps(surfaces)) - _LAYER_BYTES * len(layers)
        on_voxels = _gather_voxels(volume, layers, doubt, room)
    structures = structures_of(layers, meshes, on_voxels.numbers)
    values = on_voxels.values | {"meshes": surfaces}
    values["structures"] = [asdict(structure) for structure in structures]
    values["notes"] = [*notes, *on_voxels.notes, *on_voxels.warnings]
    values["table"] = comparison.table if comparison is not None else None
    values["legend"] = comparison.legend if comparison is not None and colours else None
    facts = [*on_voxels.facts]
    if structures:
        facts.append(f"{len(structures)} structure{'s' if len(structures) > 1 else ''}")
    return Content(values, tuple(facts), on_voxels.warnings)


@dataclass(frozen=True)
class _OnVoxels:
    """The part of a page's content that lies on voxels; `numbers` are those of `numbered` for each label map."""

    values: dict[str, Any] = field(default_factory=lambda: dict(_NO_VOXELS))
    numbers: tuple[NDArray[Any], ...] = ()
    facts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _gather_voxels(volume: Volume | None, layers: Sequence[LabelMap], doubt: ShownDoubt | None, room: int) -> _OnVoxels:
    grid = volume.grid if volume is not None else common_grid(layers, ORIENTATION)
    scanned = None if volume is None else (volume, grey_levels(volume))
    unsure = None
    if doubt is not None and doubt.voxels is not None:
        unsure = DoubtMap.on(grid, doubt.voxels, [layer.grid for layer in layers])
    coloured = None if unsure is None else (unsure.volume, unsure.levels)
    shown = choose_shown(grid, [*filter(None, (scanned, coloured))], layers, room)
    numbers = tuple(numbered(layer, shown) for layer in layers)
    values = {
        "grid": {"shape": shown.grid.shape, "affine": shown.grid.affine[:3].tolist()},
        "scan": None if scanned is None else _scan(*scanned, shown),
        "layers": [packed(layer) for layer in numbers],
        "start": _middle_of(numbers),
        "doubt": None if unsure is None else packed_doubt(unsure, shown),
        "first": [] if doubt is None else slices_to_see(doubt, shown),
    }
    warnings = tuple(_notes_outside(layers, grid))
    return _OnVoxels(values, numbers, tuple(_facts(volume, grid)), tuple(_notes_on(shown)), warnings)


def _scan(volume: Volume, levels: Float, shown: Shown) -> dict[str, Any]:
    presets = []
    for name, (low, high) in window_presets(volume).items():
        presets.append({"name": name, "low": low, "high": high})
    return {
        "block": packed(shown.levels_of(volume, levels)),
        # As many digits as tell neighbouring levels apart.
        "levels": [float(f"{level:.8g}") for level in levels],
        "window": list(display_window(volume)),
        "presets": presets,
        "unit": volume.unit or ("HU" if "lung" in window_presets(volume) else None),
    }


def _middle_of(numbers: Sequence[Any]) -> list[int] | None:
    """Return the voxel in the middle of all labels; None where nothing is labelled."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for values in numbers:
        for axis in range(3):
            where = np.flatnonzero(values.any(axis=tuple({0, 1, 2} - {axis})))
            if where.size:
                low[axis], high[axis] = min(low[axis], where[0]), max(high[axis], where[-1])
    return None if np.isinf(low).any() else np.rint((low + high) / 2).astype(int).tolist()


def _facts(volume: Volume | None, grid: Grid) -> list[str]:
    size = "×".join(map(str, grid.shape))
    spacing = "×".join(f"{mm:.3g}" for mm in grid.spacing)
    modality = [volume.modality] if volume is not None and volume.modality else []
    return [*modality, f"{size} voxels", f"{spacing} mm"]


def _notes_on(shown: Shown) -> list[str]:
    notes = []
    if shown.is_cropped:
        part = "×".join(str(part.stop - part.start) for part in shown.box)
        notes.append(f"Only {part} voxels of the scan around the structures are in this page, to keep it small.")
    if max(shown.factors) > 1:
        factors = "×".join(map(str, shown.factors))
        notes.append(
            f"{factors} voxels of the scan became one, to keep the page small. Volumes and surfaces are of all voxels."
        )
    turned = _degrees_off(shown.grid)
    if turned > _STRAIGHT_DEGREES:
        notes.append(
            f"The scan is oblique, by {turned:.0f}°: slices lie along its own axes, and letters name the nearest side."
        )
    return notes


def _degrees_off(grid: Grid) -> float:
    """Return the largest angle between an axis of a grid and the nearest axis of the patient, degrees."""
    axes, _ = grid.world_axes
    cosines = np.abs(grid.direction[list(axes), [0, 1, 2]])
    return float(np.degrees(np.arccos(np.clip(cosines.min(), 0, 1))))


def _notes_outside(layers: Sequence[LabelMap], grid: Grid) -> list[str]:
    _, outside = label_extent(layers, grid)
    if not outside:
        return []
    return [
        f"{outside:.1%} of the labelled voxels lie outside the scan and are in no slice. Do the labels belong to it?"
    ]
