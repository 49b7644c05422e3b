"""Drawing a scene with pyvista.

It runs in a process of its own (see `volseg.view.renderer`), because VTK can crash if a graphics library is missing.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyvista as pv
from matplotlib.font_manager import findfont

from volseg.core.grid import Float
from volseg.core.mesh import Mesh
from volseg.view.scene import Scene, SlicePicture

_BOTTOM, _TOP, _TEXT = (11, 13, 16), (29, 35, 43), (232, 234, 237)
_SLICE_OPACITY = 0.5
_OPAQUE_GREY = 60.0
_LEGEND_LIMIT = 45
_NAME_LIMIT = 32
# From the front, a little from the patient's left and from above: mm RAS.
_VIEW = np.array([-0.4, 1.0, 0.45])
_HEAD = np.array([0.0, 0.0, 1.0])


def main() -> None:
    """Read a pickled (scene, size, path or None) from stdin; draw it into the file, or show it in a window."""
    # The parent process wrote it.
    scene, size, path = pickle.load(sys.stdin.buffer)  # noqa: S301
    plotter = pv.Plotter(off_screen=path is not None, window_size=size)
    draw_scene(plotter, scene)
    if path is not None:
        plotter.screenshot(path)
        return
    window = plotter.render_window
    if window is not None and window.GetClassName() in {"vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"}:
        sys.exit("VTK finds no display that it can use")
    plotter.show(title=f"volseg: {scene.title}")


def draw_scene(plotter: Any, scene: Scene) -> None:
    """Add everything in a scene to an empty plotter, and look at it from the front with the head up.

    Parameters
    ----------
    plotter : pyvista.Plotter
    scene : Scene
    """
    plotter.set_background(_BOTTOM, top=_TOP)
    for mesh in scene.meshes:
        surface = pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces)  # type: ignore[arg-type]
        plotter.add_mesh(surface, color=mesh.colour, smooth_shading=True, ambient=0.12, diffuse=0.9, specular=0.15)
    for picture in scene.slices:
        _add_slice(plotter, picture)
    # Translucent slices cross each other, so no order of drawing them is right.
    plotter.enable_depth_peeling(8)
    plotter.enable_anti_aliasing("ssaa")
    plotter.add_axes(xlabel="R", ylabel="A", zlabel="S", color=_TEXT, line_width=4, viewport=(0, 0, 0.16, 0.2))
    strip = _add_legend(plotter, scene.meshes)
    points = [mesh.vertices for mesh in scene.meshes]
    points += [picture.corners for picture in scene.slices]
    _look(plotter, np.concatenate(points), strip)


def _add_slice(plotter: Any, picture: SlicePicture) -> None:
    # The first row of a picture is the top one, which has texture coordinate 1 in VTK.
    quad = pv.PolyData.from_regular_faces(picture.corners, np.array([[0, 1, 2, 3]]))
    quad.active_texture_coordinates = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    grey = picture.grey
    # Black (air) is transparent, so that a slice shows the body and not the field of view.
    opacity = np.minimum(grey / _OPAQUE_GREY, _SLICE_OPACITY) * 255
    texture = pv.Texture(np.dstack([grey, grey, grey, opacity.astype(np.uint8)]))
    texture.interpolate, texture.repeat = True, False
    plotter.add_mesh(quad, texture=texture, lighting=False)


def _add_legend(plotter: Any, meshes: Sequence[Mesh]) -> float:
    """Write names beside squares of their colours, and return the fraction of the width that they take."""
    if not meshes:
        return 0.0
    shown, longest = [], 0
    for mesh in meshes[:_LEGEND_LIMIT]:
        name = mesh.name if len(mesh.name) <= _NAME_LIMIT else f"{mesh.name[: _NAME_LIMIT - 1]}…"
        shown.append((name, mesh.colour))
        longest = max(longest, len(name))
    if len(meshes) > _LEGEND_LIMIT:
        more = f"and {len(meshes) - _LEGEND_LIMIT} more"
        shown.append((more, _TOP))
        longest = max(longest, len(more))
    width, height = map(float, plotter.window_size)
    letter = min(height / 50, 0.6 * height / len(shown))
    strip = min(letter * (3.5 + 0.6 * longest) / width, 0.4)
    font = findfont("DejaVu Sans")
    for n, (name, colour) in enumerate(shown):
        y = 1 - letter * (2 + 1.5 * n) / height
        for text, x, paint in (("■", 0, colour), (name, 1.5, _TEXT)):
            place = (1 - strip + letter * x / width, y)
            actor = plotter.add_text(
                text, position=place, viewport=True, color=paint, font_file=font, name=f"{text}{n}"
            )
            actor.prop.font_size = round(letter)
    return strip


def _look(plotter: Any, points: Float, strip: float) -> None:
    """Fit all points into the part of the window left of the legend, in parallel projection."""
    towards = _VIEW / np.linalg.norm(_VIEW)
    right = np.cross(_HEAD, towards)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(towards, right), towards])
    seen = points @ axes.T
    low, high = seen.min(axis=0), seen.max(axis=0)
    width, height = plotter.window_size
    aspect = width / height
    scale = 1.06 * max((high[1] - low[1]) / 2, (high[0] - low[0]) / 2 / (aspect * (1 - strip)), 1e-3)
    centre = (low + high) / 2
    centre[0] += strip * aspect * scale
    distance = np.array([0, 0, high[2] - low[2] + scale])
    plotter.camera_position = [(centre + distance) @ axes, centre @ axes, axes[1]]
    plotter.camera.parallel_projection = True
    plotter.camera.parallel_scale = scale
    plotter.reset_camera_clipping_range()


if __name__ == "__main__":
    main()
