"""A contact sheet: many slices with label outlines in one picture. It needs no renderer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from volseg.core.labelmap import Colour, Label, LabelMap, present_values
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.files.plain_text import plain
from volseg.view.picture import png_path
from volseg.view.sheet_slices import EDGES, Sheet, SheetSlice, select_slices

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patheffects import AbstractPathEffect

_BACKGROUND, _TEXT, _FAINT = "#0b0d10", "#e8eaed", "#d8c27a"
_DPI = 100
_SHAPE = 1.5  # width : height that the arrangement of the slices aims at
_TALLEST = 1.5  # height : width of all slices together
_FILL = 0.18
_LEGEND_LIMIT = 60
PlotExtent = tuple[float, float, float, float]


def save_contact_sheet(
    volume: Volume | None,
    labels: LabelMap | Sequence[LabelMap] | None,
    path: str | Path,
    *,
    meshes: Sequence[Mesh] = (),
    slices: int = 15,
    width: int = 1600,
) -> Path:
    """Write a PNG with slices of a scan, the outlines and names of its labels, and the lines where meshes cut them.

    The slices lie across the coarse axis, evenly over the extent of the labels. They are drawn in the radiological
    display convention (the patient's right is on the left of the picture) at their physical proportions. An oblique
    scan is drawn along its own axes, with the nearest letters.

    Parameters
    ----------
    volume : Volume or None
        The scan; with None the labels are drawn on black.
    labels : LabelMap, sequence of LabelMap or None
        On the voxels of the scan. They may cover a part of it only, or reach beyond it, and several may overlap. With
        None the scan is drawn without outlines.
    path : path
        A name that ends in ``.png``.
    meshes : sequence of Mesh
        World mm RAS+, drawn as white lines where the middle of a slice cuts them.
    slices : int
        Largest number of slices.
    width : int
        Width of the picture in pixels; its height follows.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    InputError
        Neither a scan nor a label map is given.
    GeometryError
        The voxels of the label map do not coincide with those of the scan.
    UsageError
        The name does not end in ``.png``.
    OutputError
        The file cannot be written.
    """
    figure = draw_contact_sheet(volume, labels, meshes=meshes, slices=slices, width=width)
    with png_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # names in a script that the font lacks
        figure.savefig(temporary, format="png", dpi=_DPI)
    return Path(path)


def draw_contact_sheet(
    volume: Volume | None,
    labels: LabelMap | Sequence[LabelMap] | None,
    *,
    meshes: Sequence[Mesh] = (),
    slices: int = 15,
    width: int = 1600,
) -> Figure:
    """Draw what `save_contact_sheet` writes, as a matplotlib figure at 100 dpi.

    Parameters
    ----------
    volume, labels, meshes, slices, width
        As for `save_contact_sheet`.
    """
    layers = [labels] if isinstance(labels, LabelMap) else [*(labels or ())]
    sheet = select_slices(volume, layers, count=slices)
    drawn = [_occurring(layer) for layer in layers]
    shown = [*chain.from_iterable(drawn)]
    layout = _Layout.of(sheet, shown, width)
    figure, axes = _canvas(width, layout.height)
    em = layout.em
    axes.text(em / 2, 1.5 * em, _title(volume, sheet), color=_TEXT, va="center", size=_points(1.1 * em))
    for number, one in enumerate(sheet.slices):
        extent = layout.extent(number)
        _draw_slice(axes, one, drawn, extent, em)
        _draw_sections(axes, [sheet.section(mesh, one) for mesh in meshes], one.grey.shape, extent, em)
        _draw_letters(axes, one.position, EDGES[sheet.plane], extent, em)
    for number, label in enumerate(shown[:_LEGEND_LIMIT]):
        _draw_legend_entry(axes, label.name, label.colour, layout, number)
    if len(shown) > _LEGEND_LIMIT:
        _draw_legend_entry(axes, f"and {len(shown) - _LEGEND_LIMIT} more", None, layout, _LEGEND_LIMIT)
    return figure


@dataclass(frozen=True)
class _Layout:
    """Places of slices and legend, in pixels from the upper left corner. `em` is the height of a letter."""

    em: float
    across: int
    tile: tuple[float, float]  # height, width
    legend_top: float
    legend_shape: tuple[int, int]  # rows, columns
    legend_width: float

    @classmethod
    def of(cls, sheet: Sheet, shown: list[Label], width: int) -> _Layout:
        em = width / 100
        rows, columns = sheet.slices[0].grey.shape
        proportion = rows * sheet.pixel_mm[0] / (columns * sheet.pixel_mm[1])
        across = _across(len(sheet.slices), proportion)
        down = -(-len(sheet.slices) // across)
        # A single tall slice would make a picture that is too tall for a screen.
        tile_width = min((width - em / 2) / across - em / 2, _TALLEST * width / down / proportion)
        tile = (tile_width * proportion, tile_width)
        legend_top = 3 * em + down * (tile[0] + em / 2) + em / 2
        longest = max((len(label.name) for label in shown), default=0)
        legend_columns = max(1, min(int(99 / (3 + 0.6 * longest)), 8))
        entries = min(len(shown), _LEGEND_LIMIT + 1)
        legend_rows = -(-entries // legend_columns)
        return cls(em, across, tile, legend_top, (legend_rows, legend_columns), (width - em) / legend_columns)

    @property
    def height(self) -> int:
        return round(self.legend_top + (self.legend_shape[0] * 1.6 + 0.5 * bool(self.legend_shape[0])) * self.em)

    def extent(self, number: int) -> PlotExtent:
        """Return the edges of a slice: left, right, bottom, top."""
        down, right = divmod(number, self.across)
        top, left = (
            3 * self.em + down * (self.tile[0] + self.em / 2),
            self.em / 2 + right * (self.tile[1] + self.em / 2),
        )
        return left, left + self.tile[1], top + self.tile[0], top

    def legend_place(self, number: int) -> tuple[float, float]:
        """Return the middle and the left edge of a legend entry; entries run down the columns."""
        right, down = divmod(number, self.legend_shape[0])
        return self.legend_top + (down + 0.5) * 1.6 * self.em, self.em + right * self.legend_width


def _across(count: int, proportion: float) -> int:
    """Choose the number of slices in a row: near the wanted shape, with few empty places."""
    choices = np.arange(1, count + 1)
    down = -(-count // choices)
    empty = 1 - count / (down * choices)
    return int(choices[np.argmin(np.abs(np.log(choices / (down * proportion) / _SHAPE)) + 4 * empty)])


def _occurring(labels: LabelMap) -> list[Label]:
    present = present_values(labels.array)
    return [label for label in labels.labels if label.value in present]


def _title(volume: Volume | None, sheet: Sheet) -> str:
    side = "the front" if sheet.plane == "sagittal" else "the patient's right"
    name = f"{plain(volume.name)}:  " if volume and volume.name else ""
    slices = "slice" if len(sheet.slices) == 1 else "slices"
    return f"{name}{len(sheet.slices)} {sheet.plane} {slices}, {side} is on the left"


def _canvas(width: int, height: int) -> tuple[Figure, Axes]:
    # A Figure of its own, as the figures of pyplot are global.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_BACKGROUND)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    return figure, axes


def _draw_slice(axes: Axes, one: SheetSlice, drawn: list[list[Label]], extent: PlotExtent, em: float) -> None:
    axes.imshow(one.grey, cmap="gray", vmin=0, vmax=255, extent=extent, aspect="auto", interpolation="hanning")
    for values, labels in zip(one.values, drawn, strict=True):
        present = present_values(values)
        shown = [label for label in labels if label.value in present]
        axes.imshow(_filling(values, shown), extent=extent, aspect="auto", interpolation="nearest")
        _draw_outlines(axes, values, shown, extent, em)


def _draw_sections(
    axes: Axes, sections: Sequence[NDArray[np.float64]], shape: tuple[int, ...], extent: PlotExtent, em: float
) -> None:
    """Draw segments, given by row and column in pixels of a slice of this shape."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    left, right, bottom, top = extent
    pixel = np.array([(bottom - top) / shape[0], (right - left) / shape[1]])
    for section in sections:
        # Pixel (0, 0) has its centre half a pixel from the corner; x before y.
        lines = LineCollection(list(((section + 0.5) * pixel + (top, left))[:, :, ::-1]), colors="white")
        lines.set(linewidths=_points(em / 12), path_effects=_rim(em))
        drawn = axes.add_collection(lines)
        drawn.set_clip_path(Rectangle((left, top), right - left, bottom - top, transform=axes.transData))


def _filling(values: NDArray[np.integer], shown: list[Label]) -> NDArray[np.uint8]:
    picture = np.zeros((*values.shape, 4), dtype=np.uint8)
    for label in shown:
        picture[values == label.value] = (*label.colour, round(255 * _FILL))
    return picture


def _draw_outlines(axes: Axes, values: NDArray[np.integer], shown: list[Label], extent: PlotExtent, em: float) -> None:
    from matplotlib.collections import LineCollection

    left, right, bottom, top = extent
    size = np.array([(bottom - top) / values.shape[0], (right - left) / values.shape[1]])
    lines, colours = [], []
    for label in shown:
        # The padding closes outlines at the border of the slice.
        mask = np.pad(values == label.value, 1)
        for contour in find_contours(mask.astype(np.float32), 0.5) if mask.any() else ():
            # Contours are in padded pixel centres; pixel (0, 0) has its centre half a pixel from the corner.
            rows, columns = ((contour - 0.5) * size + (top, left)).T
            lines.append(np.column_stack([columns, rows]))
            colours.append(np.divide(label.colour, 255))
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=_points(em / 9), joinstyle="round"))


def _draw_letters(axes: Axes, position: str, edges: str, extent: PlotExtent, em: float) -> None:
    left, right, bottom, top = extent
    middle, centre, gap = (top + bottom) / 2, (left + right) / 2, 0.4 * em
    places = [
        (left + gap, middle, "left", "center"),
        (right - gap, middle, "right", "center"),
        (centre, top + gap, "center", "top"),
        (centre, bottom - gap, "center", "bottom"),
    ]
    for letter, (x, y, horizontal, vertical) in zip(edges, places, strict=True):
        _write(axes, letter, (x, y), horizontal, vertical, em)
    _write(axes, position, (left + gap, top + gap), "left", "top", em)


def _write(axes: Axes, text: str, place: tuple[float, float], horizontal: str, vertical: str, em: float) -> None:
    axes.text(*place, text, color=_FAINT, ha=horizontal, va=vertical, size=_points(0.85 * em), path_effects=_rim(em))


def _rim(em: float) -> list[AbstractPathEffect]:
    """Return a dark rim, so that lines and letters are seen on bright tissue too."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=_points(em / 5), foreground=_BACKGROUND)]


def _draw_legend_entry(axes: Axes, name: str, colour: Colour | None, layout: _Layout, number: int) -> None:
    from matplotlib.patches import Rectangle

    middle, left = layout.legend_place(number)
    em = layout.em
    if colour is not None:
        axes.add_patch(Rectangle((left, middle - em / 2), em, em, facecolor=np.divide(colour, 255)))
    # A "$" in a name does not start a formula.
    axes.text(left + 1.5 * em, middle, plain(name), color=_TEXT, va="center", size=_points(em), parse_math=False)


def _points(pixels: float) -> float:
    return pixels * 72 / _DPI
