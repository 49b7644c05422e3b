"""The parts of a window that a state changes: slices, surfaces, volume, sliders, legend and texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyvista as pv
from vtkmodules.vtkCommonDataModel import vtkPlane

from volseg.core.grid import Grid
from volseg.view.drawing import SLICE_OPACITY, Drawn, texture_of
from volseg.view.grey_block import PLANES, SIDES, GreyBlock, slice_corners
from volseg.view.keys import help_text
from volseg.view.layout import Box
from volseg.view.lettering import DIM, TEXT, box_points, draw_legend, draw_scale, flat_box, write, write_block
from volseg.view.window_state import OPACITIES, WindowState

_TRACK, _HANDLE = (70, 77, 87), (122, 176, 235)
_TRACK_PX, _HANDLE_PX = 3, (9, 18)
_CUT_OPACITY = 0.9  # of the slice at which surfaces are cut: it shows what is inside them
_SLIDERS = (2, 1, 0)  # the planes, from the left


class Space:
    """Slices, surfaces and volume: what is drawn in the panes.

    Parameters
    ----------
    drawn : Drawn
    grid : Grid
        Its voxel layers are the places of the planes.
    """

    def __init__(self, drawn: Drawn, grid: Grid) -> None:
        self._drawn, self._grid, self._block = drawn, grid, drawn.scene.block
        self._volumes: list[Any] = []
        self._plane = vtkPlane()

    def show_slices(self, state: WindowState) -> None:
        """Cut the slices anew, and show those that are wanted."""
        if self._block is None:
            return
        window = window_of(self._block, state)
        for axis in range(3):
            actors = [actors[axis] for actors in self._drawn.slices]
            for actor in actors:
                actor.visibility = axis in state.slices
            if axis in state.slices:
                picture = self._block.cut(axis, state.at[axis], window)
                most = _CUT_OPACITY if state.cut and axis == state.plane else SLICE_OPACITY
                texture = texture_of(picture, most, unsure=state.unsure)
                for actor in actors:
                    actor.mapper.dataset.points = picture.corners
                    actor.texture = texture

    def show_surfaces(self, state: WindowState) -> None:
        """Set which surfaces are seen, and how transparent they are."""
        opacity = OPACITIES[state.opacity]
        for row, _, actor in self._drawn.surfaces:
            actor.visibility = row not in state.hidden and opacity > 0
            actor.prop.opacity = opacity

    def cut(self, state: WindowState) -> None:
        """Cut surfaces and volume away on a side of the chosen plane."""
        corners = slice_corners(self._grid, state.plane, state.at[state.plane])
        normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
        along = self._grid.affine[:3, state.plane]
        normal *= -state.cut * np.sign(normal @ along) / np.linalg.norm(normal)
        self._plane.SetOrigin(*corners.mean(axis=0))
        if state.cut:
            self._plane.SetNormal(*normal)
        for actor in [*(actor for *_, actor in self._drawn.surfaces), *self._volumes]:
            actor.mapper.RemoveAllClippingPlanes()
            if state.cut:
                actor.mapper.AddClippingPlane(self._plane)

    def show_volume(self, state: WindowState) -> None:
        """Draw the scan as a volume, or take it away."""
        if self._block is None:
            return
        if state.volume and not self._volumes:
            self._volumes = [_add_volume(self._drawn.plotter, number, self._block) for number in self._panes]
            self.cut(state)
        table = pv.LookupTable()
        table.values = np.round(self._block.volume_colours(window_of(self._block, state)) * 255).astype(np.uint8)
        table.scalar_range = (0, 255)
        for volume in self._volumes:
            volume.SetVisibility(state.volume)
            volume.prop.apply_lookup_table(table)
        for number in self._panes:
            # VTK draws no volume where it smooths edges by supersampling.
            renderer = self._drawn.plotter.renderers[number]
            if state.volume:
                renderer.disable_anti_aliasing()
            else:
                renderer.enable_anti_aliasing("ssaa")

    @property
    def _panes(self) -> range:
        return range(len(self._drawn.layout.panes))


class Panel:
    """Legend, sliders and texts: what is written around the panes.

    Parameters
    ----------
    drawn : Drawn
    grid : Grid
        Its voxel layers are the places of the planes.
    """

    def __init__(self, drawn: Drawn, grid: Grid) -> None:
        self._drawn, self._grid = drawn, grid
        self._legend: list[Any] = []
        self._texts: list[Any] = []
        self._handles: dict[int, Any] = {}
        self._tracks: dict[int, Any] = {}
        self._scale: list[Any] = []

    def show_legend(self, state: WindowState) -> None:
        """Write the rows of the legend that fit, as they are shown or hidden."""
        plotter, layout, structures = self._drawn.plotter, self._drawn.layout, self._drawn.scene.structures
        if structures:
            plotter.subplot(0, len(layout.panes))
            plotter.remove_actor(self._legend, reset_camera=False, render=False)
            self._legend = draw_legend(plotter, layout, structures, state.hidden, state.first)
            plotter.subplot(0, 0)

    def show_texts(self, state: WindowState) -> None:
        """Write the state, the places of the planes and the help."""
        plotter, layout, block = self._drawn.plotter, self._drawn.layout, self._drawn.scene.block
        for actor in self._texts:
            plotter.remove_actor(actor, reset_camera=False, render=False)
        plotter.subplot(0, len(layout.boxes) - 1)
        small, width, height = layout.bar_letter, *layout.size
        self._texts = []
        for number, line in enumerate(layout.help):
            self._texts.append(write(plotter, line, layout.help_place(number), small, DIM))
        for slider, plane in enumerate(_SLIDERS):
            track = layout.track(slider)
            x, y = layout.bar.place(
                slider / len(_SLIDERS) + 0.012, (track.bottom + track.top) / 2 - 0.4 * small / height
            )
            colour = TEXT if plane == state.plane else DIM
            self._texts.append(write(plotter, self._place_of(plane, state), (x, y), small, colour))
        plotter.subplot(0, 0)
        window = None if block is None else window_of(block, state)
        top = 1 - (3.4 if self._drawn.scene.panes[0].title else 1.6) * max(layout.letter, small) / height
        told = state.describe(window, "" if block is None else block.unit)
        if told:
            self._texts.append(write(plotter, told, (14 / width, top), small, DIM))
        if state.help:
            place = (14 / width, top - 1.5 * layout.letter / height)
            self._texts.append(write_block(plotter, help_text(state.limits), place, small))

    def show_sliders(self, state: WindowState) -> None:
        """Draw the sliders, with their handles where the planes are."""
        plotter, layout = self._drawn.plotter, self._drawn.layout
        plotter.subplot(0, len(layout.boxes) - 1)
        for slider, plane in enumerate(_SLIDERS):
            box = layout.track(slider)
            share = state.at[plane] / max(state.limits.shape[plane] - 1, 1)
            x, y = box.left + share * (box.right - box.left), (box.bottom + box.top) / 2
            handle = self._in_bar(x, y, _HANDLE_PX)
            line = self._in_bar((box.left + box.right) / 2, y, (layout.size[0] * (box.right - box.left), _TRACK_PX))
            if plane not in self._handles:
                self._tracks[plane] = flat_box(plotter, line, _TRACK)
                self._handles[plane] = flat_box(plotter, handle, _HANDLE)
            self._tracks[plane].points = box_points(line)
            self._handles[plane].points = box_points(handle)
        plotter.subplot(0, 0)

    def show_scale(self, state: WindowState) -> None:
        """Draw the colours of doubt with their meaning, or take them away."""
        plotter, texts = self._drawn.plotter, self._drawn.scene.doubt_texts
        plotter.subplot(0, 0)
        for actor in self._scale:
            plotter.renderer.RemoveViewProp(actor)
        self._scale = draw_scale(plotter, self._drawn.layout, texts) if state.unsure and texts else []

    def _in_bar(self, x: float, y: float, size_px: tuple[float, float]) -> Box:
        """Return a rectangle around a point of the window, in fractions of the bar."""
        layout = self._drawn.layout
        half_x, half_y = size_px[0] / layout.size[0] / 2, size_px[1] / layout.size[1] / 2
        return Box(*layout.bar.place(x - half_x, y - half_y), *layout.bar.place(x + half_x, y + half_y))

    def _place_of(self, plane: int, state: WindowState) -> str:
        middle = (np.array(self._grid.shape) - 1) / 2
        middle[plane] = state.at[plane]
        mm = float(self._grid.to_world(middle)[plane])
        return f"{PLANES[plane]}  {SIDES[plane][int(mm >= 0)]} {abs(mm):.0f} mm"


def plane_at(slider: int) -> int:
    """Return the plane that a slider moves.

    Parameters
    ----------
    slider : int
        From the left.
    """
    return _SLIDERS[slider]


def window_of(block: GreyBlock, state: WindowState) -> tuple[float, float]:
    """Return the values that are black and white.

    Parameters
    ----------
    block : GreyBlock
    state : WindowState
    """
    return block.windows[state.limits.windows[state.window]]


def _add_volume(plotter: Any, pane: int, block: GreyBlock) -> Any:
    """Add the scan as a volume to a pane, placed by its whole affine: an oblique or sheared scan stays so."""
    image = pv.ImageData(dimensions=block.numbers.shape)
    image.point_data["level"] = block.numbers.ravel(order="F")
    plotter.subplot(0, pane)
    volume = plotter.add_volume(image, opacity="linear", show_scalar_bar=False, render=False, reset_camera=False)
    volume.user_matrix = block.grid.affine
    plotter.subplot(0, 0)
    return volume
