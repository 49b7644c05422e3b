"""Where the parts of a 3D picture or window lie: panes, legend, and the bar with sliders and help. No VTK."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_LEGEND_LIMIT = 45  # rows of a picture
_NAME_LIMIT = 32
_LETTERS = 9.0, 15.0  # px, of a window but for its legend
_LEAST_LEGEND = 11.0  # px, of a letter of the legend
_MOST_LEGEND = 1.3  # times the other letters
_ROW = 1.5  # letters
_WIDEST_LEGEND = 0.4
_LETTER = 0.6  # mean width of a letter by its height
_BAR_LINES = 3.6  # of the sliders; the lines of help come below
_TRACK_LINE, _TRACK_REACH = 1.5, 0.9  # lines below the top of the bar, and above and below the middle of a track
_MOST_BAR = 0.4  # of the height
_SCALE_WIDTH, _SCALE_LETTERS = 0.3, 22  # of the colours of doubt: share of a pane, and letters that have room below
_SCALE_MOST, _SCALE_RIGHT = 0.78, 0.98
_HELP_LINE, _GAP = 1.4, "   "
_TRACK_LEFT, _TRACK_MOST_LEFT, _TRACK_RIGHT = 0.42, 0.75, 0.95  # of a slider's share of the bar
_TRACK_LETTERS = 18.0  # that have room before a track


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
    help : tuple of str
        Lines at the foot of the bar.
    """

    size: tuple[int, int]
    letter: float
    bar_letter: float
    panes: tuple[Box, ...]
    legend: Box
    bar: Box
    rows: int
    sliders: int = 0
    help: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        size: tuple[int, int],
        names: Sequence[str],
        *,
        panes: int = 1,
        sliders: int = 0,
        entries: Sequence[str] = (),
    ) -> Layout:
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
        entries : sequence of str
            Of the help; in as many lines as they need.
        """
        width, height = size
        shown = names[:_LEGEND_LIMIT]
        letter = min(height / 50, 0.6 * height / max(len(shown), 1))
        bar_letter = min(max(width / 75, _LETTERS[0]), _LETTERS[1])
        if sliders:
            letter = max(min(letter, _MOST_LEGEND * bar_letter), _LEAST_LEGEND)
        longest = max((len(short_name(name)) for name in names), default=0)
        strip = min(letter * (3.5 + _LETTER * longest) / width, _WIDEST_LEGEND) if names else 0.0
        lines = _in_lines(entries, int(0.976 * width / (_LETTER * bar_letter)))
        bar = min((_BAR_LINES + _HELP_LINE * len(lines)) * bar_letter / height, _MOST_BAR) if sliders else 0.0
        step = (1 - strip) / panes
        boxes = tuple(Box(step * n, bar, step * (n + 1), 1.0) for n in range(panes))
        rows = int((height * (1 - bar) / letter - 3) / _ROW) if sliders else _LEGEND_LIMIT
        legend, below = Box(1 - strip, bar, 1.0, 1.0), Box(0.0, 0.0, 1.0, bar)
        return cls(size, letter, bar_letter, boxes, legend, below, max(rows, 1), sliders, tuple(lines))

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
        line = self.bar_letter / self.size[1]
        middle, half = max(self.bar.top - _TRACK_LINE * line, 0.0), _TRACK_REACH * line
        text = _TRACK_LETTERS * _LETTER * self.bar_letter / self.size[0] / step
        start = min(max(_TRACK_LEFT, text), _TRACK_MOST_LEFT)
        return Box(left + start * step, middle - half, left + _TRACK_RIGHT * step, middle + half)

    def help_place(self, line: int) -> tuple[float, float]:
        """Return the lower left corner of a line of help, in fractions of the bar.

        Parameters
        ----------
        line : int
            From the top.
        """
        below = len(self.help) - 1 - line
        return 0.012, (0.5 + _HELP_LINE * below) * self.bar_letter / (self.size[1] * self.bar.top)

    def scale(self) -> Box:
        """Return the place of the colours of doubt in a pane, at its foot, in fractions of the pane."""
        pane = self.panes[0]
        width, height = (pane.right - pane.left) * self.size[0], (pane.top - pane.bottom) * self.size[1]
        share = min(max(_SCALE_WIDTH, _SCALE_LETTERS * self.bar_letter / width), _SCALE_MOST)
        bottom = 2.2 * self.bar_letter / height
        return Box(_SCALE_RIGHT - share, bottom, _SCALE_RIGHT, bottom + 0.7 * self.bar_letter / height)

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


def _in_lines(entries: Sequence[str], letters: int) -> list[str]:
    """Put entries into lines of a number of letters at most; an entry is never divided."""
    lines: list[str] = []
    for entry in entries:
        if lines and len(lines[-1]) + len(_GAP) + len(entry) <= letters:
            lines[-1] += _GAP + entry
        else:
            lines.append(entry)
    return lines


def short_name(name: str) -> str:
    """Return a name that fits into the legend.

    Parameters
    ----------
    name : str
    """
    return name if len(name) <= _NAME_LIMIT else f"{name[: _NAME_LIMIT - 1]}…"
