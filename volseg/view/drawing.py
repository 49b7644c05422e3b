"""Drawing a scene with pyvista."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyvista as pv

from volseg.core.grid import Float
from volseg.view.camera import axes_towards, best_direction
from volseg.view.content import Scene
from volseg.view.doubt_map import doubt_colours
from volseg.view.grey_block import SlicePicture
from volseg.view.layout import Layout, short_name
from volseg.view.lettering import BOTTOM, TEXT, TOP, draw_legend, draw_scale, write

SLICE_OPACITY = 0.5
_OPAQUE_GREY = 60.0
_FITTED_PIXELS = 100  # along a slice


@dataclass
class Drawn:
    """What was drawn: the actors, to change them.

    Parameters
    ----------
    plotter : pyvista.Plotter
        Its renderers are the panes, then the legend, then the bar of a window.
    layout : Layout
    scene : Scene
    surfaces : list of (row of the legend, pane, actor)
    slices : list of list of actors
        Of each pane: sagittal, coronal, axial.
    points : (P, 3) float
        World mm of what has to be seen.
    towards : (3,) float
        The direction towards the viewer at the start.
    titles : list of actors
        Of the panes.
    entries : tuple of str
        Of the help of a window.
    """

    plotter: Any
    layout: Layout
    scene: Scene
    points: Float
    towards: Float
    surfaces: list[tuple[int, int, Any]] = field(default_factory=list)
    slices: list[list[Any]] = field(default_factory=list)
    titles: list[Any] = field(default_factory=list)
    entries: tuple[str, ...] = ()

    def layout_of(self, size: tuple[int, int]) -> Layout:
        """Return where the parts lie in a window of another size.

        Parameters
        ----------
        size : (int, int)
        """
        names = [structure.name for structure in self.scene.structures]
        panes, old = len(self.scene.panes), self.layout
        return Layout.of(size, names, panes=panes, sliders=old.sliders, entries=self.entries)


def draw_scene(
    scene: Scene,
    size: tuple[int, int],
    *,
    off_screen: bool | None = None,
    sliders: int = 0,
    entries: Sequence[str] = (),
) -> Drawn:
    """Draw a scene: the meshes in their panes, the slices in each pane, and the legend; seen from near the front.

    Parameters
    ----------
    scene : Scene
    size : (int, int)
        Width and height in pixels.
    off_screen : bool, optional
        Default: as pyvista decides.
    sliders : int
        Of a window, in a bar below the panes.
    entries : sequence of str
        Of the help of a window.
    """
    names = [structure.name for structure in scene.structures]
    layout = Layout.of(size, names, panes=len(scene.panes), sliders=sliders, entries=entries)
    shape = (1, len(layout.boxes))
    plotter: Any = pv.Plotter(shape=shape, border=False, off_screen=off_screen, window_size=list(size))
    drawn = Drawn(plotter, layout, scene, _points(scene), _direction(scene), entries=tuple(entries))
    divide(drawn, layout)
    for number, pane in enumerate(scene.panes):
        plotter.subplot(0, number)
        for mesh, row in zip(pane.meshes, pane.rows, strict=True):
            surface = pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces)  # type: ignore[arg-type]
            actor = plotter.add_mesh(
                surface, color=mesh.colour, smooth_shading=True, ambient=0.12, diffuse=0.9, specular=0.15
            )
            drawn.surfaces.append((row, number, actor))
        drawn.slices.append([_add_slice(plotter, picture) for picture in scene.slices])
        plotter.enable_anti_aliasing("ssaa")
        # Translucent slices cross each other, so no order of drawing them is right.
        plotter.enable_depth_peeling(8)
        plotter.add_axes(xlabel="R", ylabel="A", zlabel="S", color=TEXT, line_width=4, viewport=(0, 0, 0.16, 0.2))
        if scene.doubt_texts and not sliders:
            draw_scale(plotter, layout, scene.doubt_texts)
    write_titles(drawn)
    look(drawn, drawn.towards)
    if scene.structures and not sliders:
        plotter.subplot(0, len(layout.panes))
        draw_legend(plotter, layout, scene.structures)
    plotter.subplot(0, 0)
    return drawn


def look(drawn: Drawn, towards: Float, points: Float | None = None) -> None:
    """Look at everything from a direction, in parallel projection, with the head up; all panes alike.

    Parameters
    ----------
    drawn : Drawn
    towards : (3,) float
        Towards the viewer.
    points : (P, 3) float, optional
        World mm of what has to fit. Default: everything.
    """
    axes = axes_towards(towards)
    seen = (drawn.points if points is None else points) @ axes.T
    low, high = seen.min(axis=0), seen.max(axis=0)
    box, (width, height) = drawn.layout.panes[0], drawn.layout.size
    aspect = (box.right - box.left) * width / ((box.top - box.bottom) * height)
    scale = 1.06 * max((high[1] - low[1]) / 2, (high[0] - low[0]) / 2 / aspect, 1e-3)
    centre = (low + high) / 2
    distance = np.array([0, 0, high[2] - low[2] + scale])
    plotter = drawn.plotter
    for number in range(len(drawn.layout.panes)):
        renderer = plotter.renderers[number]
        renderer.camera = plotter.renderers[0].camera
        renderer.camera_set = True
    plotter.subplot(0, 0)
    plotter.camera_position = [(centre + distance) @ axes, centre @ axes, axes[1]]
    plotter.camera.parallel_projection = True
    plotter.camera.parallel_scale = scale
    plotter.renderers[0].reset_camera_clipping_range()


def write_titles(drawn: Drawn) -> None:
    """Write the titles of the panes, in place of those before.

    Parameters
    ----------
    drawn : Drawn
    """
    plotter, layout = drawn.plotter, drawn.layout
    plotter.remove_actor(drawn.titles, reset_camera=False, render=False)
    drawn.titles = []
    for number, pane in enumerate(drawn.scene.panes):
        if pane.title:
            plotter.subplot(0, number)
            place = (0.02, 1 - 1.6 * layout.letter / layout.size[1])
            drawn.titles.append(write(plotter, short_name(pane.title), place, 1.1 * layout.letter))
    plotter.subplot(0, 0)


def texture_of(picture: SlicePicture, most_opaque: float = SLICE_OPACITY, *, unsure: bool = True) -> Any:
    """Return a slice as a texture. Black (air) is transparent, so that it shows the body and not the field of view.

    Parameters
    ----------
    picture : SlicePicture
    most_opaque : float
        Of what is not dark.
    unsure : bool
        Whether the doubt of the slice, if it is known, is laid over it.
    """
    colours = np.repeat(picture.grey[..., None], 3, axis=-1)
    opacity = np.minimum(picture.grey / _OPAQUE_GREY, most_opaque)
    if unsure and picture.doubt is not None:
        over = doubt_colours()[picture.doubt] / 255
        share = over[..., 3:]
        colours = np.round(colours * (1 - share) + 255 * over[..., :3] * share).astype(np.uint8)
        opacity = np.maximum(opacity, over[..., 3])
    texture = pv.Texture(np.dstack([colours, (opacity * 255).astype(np.uint8)]))
    texture.interpolate, texture.repeat = True, False
    return texture


def _points(scene: Scene) -> Float:
    """Return the points to fit into the picture: vertices, and what is not air in the slices."""
    points = [mesh.vertices for mesh in scene.meshes]
    for picture in scene.slices:
        points += [_bright_points(picture), picture.corners.mean(axis=0, keepdims=True)]
    return np.concatenate(points)


def _bright_points(picture: SlicePicture) -> Float:
    height, width = picture.grey.shape
    every = max(1, max(height, width) // _FITTED_PIXELS)
    rows, columns = np.nonzero(picture.grey[::every, ::every] > _OPAQUE_GREY / 2)
    down, right = picture.corners[3] - picture.corners[0], picture.corners[1] - picture.corners[0]
    down, right = np.outer((rows * every + 0.5) / height, down), np.outer((columns * every + 0.5) / width, right)
    return np.asarray(picture.corners[0] + down + right)


def _direction(scene: Scene) -> Float:
    """Choose by the pane with most meshes, as the others show the same structures."""
    fullest = max(scene.panes, key=lambda pane: len(pane.meshes))
    return best_direction(fullest.meshes)


def divide(drawn: Drawn, layout: Layout) -> None:
    """Give each renderer its place; legend and bar do not turn.

    Parameters
    ----------
    drawn : Drawn
    layout : Layout
        The one to have from now on.
    """
    drawn.layout = layout
    for renderer, box in zip(drawn.plotter.renderers, layout.boxes, strict=True):
        renderer.SetViewport(*box.corners)
        renderer.SetInteractive(box in layout.panes)
        renderer.set_background(BOTTOM, top=None if box == layout.bar else TOP)


def _add_slice(plotter: Any, picture: SlicePicture) -> Any:
    # The first row of a picture is the top one, which has texture coordinate 1 in VTK.
    quad = pv.PolyData.from_regular_faces(picture.corners, np.array([[0, 1, 2, 3]]))
    quad.active_texture_coordinates = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    return plotter.add_mesh(quad, texture=texture_of(picture), lighting=False)
