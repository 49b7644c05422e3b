"""Texts of a 3D picture or window, and its colours."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pyvista as pv
from matplotlib.font_manager import findfont
from vtkmodules.vtkRenderingCore import vtkActor2D, vtkCoordinate, vtkPolyDataMapper2D

from volseg.core.grid import Float
from volseg.core.labelmap import Colour
from volseg.view.content import Structure
from volseg.view.doubt_map import doubt_colours
from volseg.view.layout import Box, Layout, short_name

BOTTOM, TOP, TEXT, DIM = (11, 13, 16), (29, 35, 43), (232, 234, 237), (150, 157, 166)
_STEPS = 32  # of the colours of doubt
_SHOWN, _HIDDEN = "■", "□"


def write(plotter: Any, text: str, place: tuple[float, float], height: float, colour: Colour = TEXT) -> Any:
    """Write into the active renderer of a plotter, and return the actor.

    Parameters
    ----------
    plotter : pyvista.Plotter
    text : str
    place : (float, float)
        The lower left corner, in fractions of the renderer.
    height : float
        Of the letters, in px.
    colour : (red, green, blue)
    """
    return _written(plotter, text, place, height, (colour, "DejaVu Sans"))


def write_block(plotter: Any, text: str, place: tuple[float, float], height: float) -> Any:
    """Write lines on a dark ground, in letters of one width, into the active renderer, and return the actor.

    Parameters
    ----------
    plotter, text, height
        As for `write`.
    place : (float, float)
        The upper left corner.
    """
    actor = _written(plotter, text, place, height, (TEXT, "DejaVu Sans Mono"))
    actor.prop.justification_vertical = "top"
    actor.prop.background_color, actor.prop.background_opacity = BOTTOM, 0.85
    actor.prop.line_spacing = 1.3
    return actor


def flat_box(plotter: Any, box: Box, colour: Colour) -> Any:
    """Draw a rectangle into the active renderer, and return its corners as a surface, to move it.

    Parameters
    ----------
    plotter : pyvista.Plotter
    box : Box
        In fractions of the renderer.
    colour : (red, green, blue)
    """
    return _flat_actor(plotter, box, colour)[0]


def _flat_actor(plotter: Any, box: Box, colour: Colour) -> tuple[Any, Any]:
    """Draw a rectangle, and return its corners as a surface and its actor."""
    surface = pv.PolyData.from_regular_faces(box_points(box), np.array([[0, 1, 2, 3]]))
    place = vtkCoordinate()
    place.SetCoordinateSystemToNormalizedViewport()
    mapper = vtkPolyDataMapper2D()
    mapper.SetInputData(surface)
    mapper.SetTransformCoordinate(place)
    actor = vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*np.divide(colour, 255))
    plotter.renderer.AddViewProp(actor)
    return surface, actor


def box_points(box: Box) -> Float:
    """(4, 3) the corners of a rectangle in its plane.

    Parameters
    ----------
    box : Box
    """
    left, bottom, right, top = box.corners
    return np.array([(left, bottom, 0.0), (right, bottom, 0.0), (right, top, 0.0), (left, top, 0.0)])


def draw_scale(plotter: Any, layout: Layout, texts: tuple[str, str]) -> list[Any]:
    """Draw the colours of doubt with their meaning at the foot of the active pane, and return the actors.

    Parameters
    ----------
    plotter : pyvista.Plotter
    layout : Layout
    texts : (str, str)
        What the lower and the upper end mean.
    """
    box, colours = layout.scale(), doubt_colours()[:: 256 // _STEPS]
    # On black, which the opacity darkens them towards.
    shades = np.round(colours[:, :3] * (colours[:, 3:] / 255)).astype(np.uint8)
    edges, actors = np.linspace(box.left, box.right, len(shades) + 1), []
    for left, right, shade in zip(edges, edges[1:], shades, strict=False):
        actors.append(_flat_actor(plotter, Box(left, box.bottom, right, box.top), tuple(shade.tolist()))[1])
    height = layout.bar_letter
    below = box.bottom - 1.5 * (box.top - box.bottom) / 0.7
    actors.append(write(plotter, texts[0], (box.left, below), height, DIM))
    actors.append(write(plotter, texts[1], (box.right, below), height, DIM))
    actors[-1].prop.justification_horizontal = "right"
    return actors


def _written(plotter: Any, text: str, place: tuple[float, float], height: float, style: tuple[Colour, str]) -> Any:
    colour, font = style
    actor = plotter.add_text(text, position=place, viewport=True, color=colour, font_file=_font(font), render=False)
    actor.prop.font_size = round(height)
    return actor


def draw_legend(
    plotter: Any,
    layout: Layout,
    structures: tuple[Structure, ...],
    hidden: frozenset[int] = frozenset(),
    first: int = 0,
) -> list[Any]:
    """Write names beside squares of their colours into the active renderer, and return the actors.

    Parameters
    ----------
    plotter : pyvista.Plotter
    layout : Layout
    structures : tuple of Structure
    hidden : frozenset of int
        Rows whose squares are hollow and whose names are dim.
    first : int
        The row that is at the top.
    """
    texts = []
    for n, structure in enumerate(structures[first : first + layout.rows]):
        off = first + n in hidden
        texts.append((n, 0.0, _HIDDEN if off else _SHOWN, structure.colour))
        texts.append((n, 1.5, short_name(structure.name), DIM if off else TEXT))
    if first + layout.rows < len(structures):
        texts.append((layout.rows, 1.5, f"and {len(structures) - first - layout.rows} more", DIM))
    actors = []
    for n, letters, text, colour in texts:
        row = layout.row(n)
        x = row.left + layout.letter * letters / layout.size[0]
        place = layout.legend.place(x, row.bottom + 0.2 * layout.letter / layout.size[1])
        actors.append(write(plotter, text, place, layout.letter, colour))
    return actors


@cache
def _font(name: str) -> str:
    return str(findfont(name))
