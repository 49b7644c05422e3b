"""Where the parts of a 3D picture or window lie: panes, legend, and the bar with sliders and help. No VTK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_LEGEND_LIMIT = 45  # rows of a picture
_NAME_LIMIT = 32
_LEAST_LETTER = 11.0  # px, of a window's legend
_ROW = 1.5  # letters
_WIDEST_LEGEND = 0.4
_LETTER = 0.6  # mean width of a letter by its height
_BAR_LINES = 4.6
_TRACK_LEFT, _TRACK_RIGHT = 0.42, 0.95  # of a slider's share of the bar


@dataclass(frozen=True)
class Box:
    """A rectangle in fractions of a window, from its lower left corner."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top."""
        return self.left, self.bottom, self.right, self.top

    def holds(self, x: float, y: float) -> bool:
        """Whether a point is inside."""
        return self.left <= x < self.right and self.bottom <= y < self.top

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return a point of the window in fractions of the box."""
        return (x - self.left) / (self.right - self.left), (y - self.bottom) / (self.top - self.bottom)


@dataclass(frozen=True)
class Layout:
    """The parts of a window.

    Parameters
    ----------
    size : (int, int)
        Width and height in pixels.
    letter, bar_letter : float
        Height of letters in px: in the legend, and elsewhere.
    panes : tuple of Box
    legend, bar : Box
    rows : int
        Of the legend, that fit.
    sliders : int
    """

    size: tuple[int, int]
    letter: float
    bar_letter: float
    panes: tuple[Box, ...]
    legend: Box
    bar: Box
    rows: int
    sliders: int = 0

    @classmethod
    def of(cls, size: tuple[int, int], names: Sequence[str], *, panes: int = 1, sliders: int = 0) -> Layout:
        """Divide a window.

        Parameters
        ----------
        size : (int, int)
        names : sequence of str
            Rows of the legend.
        panes : int
            Side by side.
        sliders : int
            In a bar below the panes; with 0 there is no bar, as in a picture.
        """
        width, height = size
        shown = names[:_LEGEND_LIMIT]
        letter = min(height / 50, 0.6 * height / max(len(shown), 1))
        if sliders:
            letter = max(letter, _LEAST_LETTER)
        longest = max((len(short_name(name)) for name in names), default=0)
        strip = min(letter * (3.5 + _LETTER * longest) / width, _WIDEST_LEGEND) if names else 0.0
        bar_letter = min(max(width / 88, 9.0), 15.0)
        bar = min(_BAR_LINES * bar_letter / height, 0.3) if sliders else 0.0
        step = (1 - strip) / panes
        boxes = tuple(Box(step * n, bar, step * (n + 1), 1.0) for n in range(panes))
        rows = int((height * (1 - bar) / letter - 3) / _ROW) if sliders else _LEGEND_LIMIT
        legend, below = Box(1 - strip, bar, 1.0, 1.0), Box(0.0, 0.0, 1.0, bar)
        return cls(size, letter, bar_letter, boxes, legend, below, max(rows, 1), sliders)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The panes, then what there is of legend and bar."""
        return (*self.panes, *(box for box in (self.legend, self.bar) if box.right > box.left and box.top > box.bottom))

    def row(self, n: int) -> Box:
        """Return the place of a row of the legend, counted from the first one that is seen.

        Parameters
        ----------
        n : int
        """
        top = 1 - self.letter * (0.7 + _ROW * n) / self.size[1]
        return Box(self.legend.left, top - _ROW * self.letter / self.size[1], self.legend.right, top)

    def row_at(self, x: float, y: float) -> int | None:
        """Return the row of the legend at a point of the window.

        Parameters
        ----------
        x, y : float
            Fractions of the window.
        """
        for n in range(self.rows):
            if self.row(n).holds(x, y):
                return n
        return None

    def track(self, slider: int) -> Box:
        """Return the line that the handle of a slider runs along, as high as one may miss it.

        Parameters
        ----------
        slider : int
        """
        step = (self.bar.right - self.bar.left) / max(self.sliders, 1)
        left = self.bar.left + step * slider
        middle, half = 0.68 * self.bar.top, 0.2 * self.bar.top
        return Box(left + _TRACK_LEFT * step, middle - half, left + _TRACK_RIGHT * step, middle + half)

    def slider_at(self, x: float, y: float) -> int | None:
        """Return the slider at a point of the window.

        Parameters
        ----------
        x, y : float
            Fractions of the window.
        """
        for n in range(self.sliders):
            track = self.track(n)
            reach = 0.04 * (track.right - track.left)
            if Box(track.left - reach, track.bottom, track.right + reach, track.top).holds(x, y):
                return n
        return None


def short_name(name: str) -> str:
    """Return a name that fits into the legend.

    Parameters
    ----------
    name : str
    """
    return name if len(name) <= _NAME_LIMIT else f"{name[: _NAME_LIMIT - 1]}…"
