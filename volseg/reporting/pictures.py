"""Slices as small pictures, with outlines that stay lines: a page can be zoomed, and the outlines switched off."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from volseg.core.labelmap import Colour, Label, LabelMap, label_boxes
from volseg.core.planes import Plane
from volseg.core.resample import Reorientation, reorient
from volseg.core.slices import NORMAL_AXIS
from volseg.prediction.doubt import SliceDoubt
from volseg.prediction.shown_doubt import APART_MM, FIRST_SLICES, first_slices
from volseg.view.doubt_map import DoubtMap, doubt_colours
from volseg.view.sheet_slices import DISPLAYED, EDGES, Display, SheetSlice, spread_slices

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_SLICES = 60
_LARGE, _SMALL = 640, 256  # pixels along the longer side
_QUALITY = 90


@dataclass(frozen=True)
class Outline:
    """The outline of a label: its name, its colour as CSS has it, and its path in half pixels, as SVG has it."""

    name: str
    colour: str
    path: str


@dataclass(frozen=True)
class Picture:
    """A slice as people look at it.

    Parameters
    ----------
    plane : {"axial", "coronal", "sagittal"}
    number, count : int
        Counted from 1 in the order of the stored labels, and how many there are.
    position : str
        As in ``S 43.5 mm``.
    note : str
        What is to be said of it.
    width, height : int
        Pixels of the slice.
    proportion : float
        Width over height in mm.
    data : str
        A JPEG in base64; empty without a scan.
    outlines : tuple of Outline
    doubt : str
        A PNG in base64 of the colours of doubt, clear where the model is sure; empty without doubt.
    """

    plane: Plane
    number: int
    count: int
    position: str
    note: str
    width: int
    height: int
    proportion: float
    data: str
    outlines: tuple[Outline, ...]
    doubt: str = ""

    @property
    def letters(self) -> str:
        """The sides at its left, right, upper and lower edge."""
        return EDGES[self.plane]


@dataclass(frozen=True)
class Chosen:
    """Slices that are chosen, and why, as a sentence."""

    pictures: tuple[Picture, ...]
    why: str


class Pictures:
    """The pictures of one case.

    Parameters
    ----------
    display : Display
        Scan and labels.
    labels : LabelMap
        The same labels as stored.
    unsure : DoubtMap, optional
        On the voxels of the display; the slices to check first have it.
    """

    def __init__(self, display: Display, labels: LabelMap, unsure: DoubtMap | None = None) -> None:
        self.display, self.labels = display, labels
        self._doubt = None if unsure is None else _as_display(unsure, display)
        self.by_value = {label.value: label for label in labels.labels}

    def checked(self, ranked: Sequence[SliceDoubt]) -> Chosen:
        """Choose slices to check first: those that the doubt ranks first, else some spread over the labels.

        Parameters
        ----------
        ranked : sequence of SliceDoubt
        """
        if ranked:
            chosen = first_slices([one for one in ranked if self._is_displayed(one)], self.labels.grid)
            notes = [f"agreement {one.agreement:.2f}" for one in chosen]
            places = [(one.plane, self._on_display(one.plane, one.index)) for one in chosen]
            pictures = []
            for (plane, n), note in zip(places, notes, strict=True):
                pictures.append(self._with_doubt(self.draw(plane, n, _LARGE, note=note), n))
            why = f"the least sure first; slices within {APART_MM:g} mm of one that is shown are left out"
            return Chosen(tuple(pictures), why)
        plane = self.display.plane
        spread = spread_slices(self.display.extent(plane), FIRST_SLICES)
        why = "no slice is known to be more doubtful than others, so these are spread evenly over the labels"
        return Chosen(tuple(self._with_doubt(self.draw(plane, n, _LARGE), n) for n in spread), why)

    def every(self) -> Chosen:
        """Return all slices with labels in the plane of the scan, thinned out where they are many."""
        plane = self.display.plane
        first, stop = self.display.extent(plane)
        step = -(-(stop - first) // _MOST_SLICES)
        pictures = tuple(self.draw(plane, n, _SMALL) for n in range(first, stop, step))
        side = "the front" if plane == "sagittal" else "the patient's right"
        which = "every slice with labels" if step == 1 else f"one of every {step} slices with labels"
        return Chosen(pictures, f"{plane}, {which}; {side} is on the left")

    def thumbnail(self) -> Picture:
        """Return the slice in the plane of the scan that has the most of the labels."""
        plane = self.display.plane
        others = tuple({0, 1, 2} - {NORMAL_AXIS[plane]})
        counts = np.sum([np.count_nonzero(values, axis=others) for values in self.display.values], axis=0)
        return self.draw(plane, int(counts.argmax()), _SMALL)

    def draw(self, plane: Plane, index: int, pixels: int, *, note: str = "") -> Picture:
        """Draw a slice, cropped around the labels.

        Parameters
        ----------
        plane : {"axial", "coronal", "sagittal"}
        index : int
            In the order of display.
        pixels : int
            Most along its longer side; the outlines are of all pixels.
        note : str
        """
        sheet = self.display.sheet(plane, [index])
        (one,), (row_mm, column_mm) = sheet.slices, sheet.pixel_mm
        height, width = one.grey.shape
        return Picture(
            plane=plane,
            number=self._stored(plane, index) + 1,
            count=self.display.grid.shape[NORMAL_AXIS[plane]],
            position=one.position,
            note=note,
            width=width,
            height=height,
            proportion=width * column_mm / (height * row_mm),
            data=_jpeg(one.grey, pixels) if self.display.array is not None else "",
            outlines=tuple(self._outlines(one)),
        )

    def _with_doubt(self, picture: Picture, index: int) -> Picture:
        """Add the colours of doubt to the picture of a slice."""
        if self._doubt is None:
            return picture
        levels = self._doubt.sheet(picture.plane, [index]).slices[0].grey
        return replace(picture, doubt=_png(levels, _LARGE))

    def _outlines(self, one: SheetSlice) -> list[Outline]:
        outlines = []
        for values in one.values:
            for value, box in label_boxes(values).items():
                label: Label = self.by_value[value]
                path = _path(values[box] == value, box[0].start, box[1].start)
                outlines.append(Outline(label.name, css(label.colour), path))
        return outlines

    def _is_displayed(self, one: SliceDoubt) -> bool:
        return 0 <= self._on_display(one.plane, one.index) < self.display.grid.shape[NORMAL_AXIS[one.plane]]

    def _on_display(self, plane: Plane, index: int) -> int:
        """Return the number of a slice of the stored labels in the order of display."""
        axis = NORMAL_AXIS[plane]
        place = (np.array(self.labels.grid.shape) - 1) / 2
        place[Reorientation.between(self.labels.grid, DISPLAYED).axes[axis]] = index
        return round(float(self.display.grid.to_voxel(self.labels.grid.to_world(place))[axis]))

    def _stored(self, plane: Plane, index: int) -> int:
        """Return the number of a slice of the display in the order of the stored labels."""
        axis = NORMAL_AXIS[plane]
        place = (np.array(self.display.grid.shape) - 1) / 2
        place[axis] = index
        stored = Reorientation.between(self.labels.grid, DISPLAYED).axes[axis]
        return round(float(self.labels.grid.to_voxel(self.display.grid.to_world(place))[stored]))


def css(colour: Colour) -> str:
    """Return a colour as CSS has it.

    Parameters
    ----------
    colour : (red, green, blue)
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _as_display(unsure: DoubtMap, display: Display) -> Display:
    """Return a display whose grey values are levels of doubt, so that slices are cut and cropped in the same way."""
    array, _ = reorient(unsure.volume.array, unsure.volume.grid, DISPLAYED)
    return replace(display, array=array, window=(0.0, unsure.limit))


def _jpeg(grey: NDArray[np.uint8], pixels: int) -> str:
    return _encoded(_reduced(grey, pixels), format="jpeg", quality=_QUALITY)


def _png(levels: NDArray[np.uint8], pixels: int) -> str:
    """Return levels of doubt in their colours."""
    image, colours = _reduced(levels, pixels), doubt_colours()
    image.putpalette(colours[:, :3].tobytes())
    return _encoded(image, format="png", optimize=True, transparency=colours[:, 3].tobytes())


def _reduced(grey: NDArray[np.uint8], pixels: int) -> Image:
    from PIL.Image import fromarray

    image = fromarray(grey)
    step = -(-max(grey.shape) // pixels)
    return image.reduce(step) if step > 1 else image


def _encoded(image: Image, **options: Any) -> str:
    buffer = BytesIO()
    image.save(buffer, **options)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _path(mask: NDArray[np.bool_], row: int, column: int) -> str:
    """Return the outline of a mask as an SVG path in half pixels: all its corners lie on them.

    Parameters
    ----------
    mask : (H, W) bool
    row, column : int
        Where it lies in the slice.
    """
    parts = []
    for contour in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        # A contour is in padded pixel centres, and the centre of a pixel is half a pixel from its corner.
        points = np.rint((contour - 0.5 + (row, column)) * 2).astype(int)
        turns = np.any(
            np.diff(points, axis=0, append=points[1:2]) != np.diff(points, axis=0, prepend=points[-2:-1]), axis=1
        )
        kept = points[:-1][turns[:-1]]
        moves = np.diff(kept, axis=0)
        told = " ".join(f"{x} {y}" for y, x in moves.tolist())
        parts.append(f"M{kept[0][1]} {kept[0][0]}l{told}z")
    return "".join(parts)
