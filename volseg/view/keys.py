"""The keys of a window. One table says what a key does and how the help explains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from volseg.view.window_state import Limits, WindowState

Change = Callable[[WindowState], WindowState]


@dataclass(frozen=True)
class Help:
    """A row of the help.

    Parameters
    ----------
    label : str
        The keys or the movement of the mouse.
    short : str
        For the line that is always seen; empty if the row is not in it.
    long : str
    needs : str
        What there must be for it: a scan, structures, doubt, or nothing.
    changes : dict of str to function
        What each key does, by VTK's name of the key. Empty for the mouse.
    """

    label: str
    short: str
    long: str
    needs: Literal["", "scan", "structures", "doubt"] = ""
    changes: Mapping[str, Change] = field(default_factory=dict)

    def fits(self, limits: Limits) -> bool:
        """Whether there is what it needs."""
        there = {"": True, "scan": limits.has_scan, "structures": limits.structures > 0, "doubt": limits.has_doubt}
        return there[self.needs]


HELP = (
    Help(
        "1 2 3",
        "plane",
        "choose the axial (1), coronal (2) or sagittal (3) plane",
        changes={
            "1": lambda state: state.with_plane(2),
            "2": lambda state: state.with_plane(1),
            "3": lambda state: state.with_plane(0),
        },
    ),
    Help(
        "↑ ↓",
        "move",
        "move the chosen plane; or drag its slider, or turn the wheel with Shift or Ctrl",
        changes={"Up": lambda state: state.moved(1), "Down": lambda state: state.moved(-1)},
    ),
    Help(
        "Page ↑ ↓",
        "",
        "move it by ten",
        changes={"Prior": lambda state: state.moved(10), "Next": lambda state: state.moved(-10)},
    ),
    Help(
        "s",
        "slice",
        "hide the chosen slice, or show it; S: all slices",
        "scan",
        {"s": WindowState.slice_switched, "S": WindowState.slices_switched},
    ),
    Help(
        "w",
        "window",
        "next window of grey values; W: the one before",
        "scan",
        {"w": lambda state: state.window_changed(1), "W": lambda state: state.window_changed(-1)},
    ),
    Help(
        "d",
        "doubt",
        "lay how unsure the model is in colour over the slices, or take it away",
        "doubt",
        {"d": WindowState.doubt_switched},
    ),
    Help("v", "volume", "draw the scan as a volume, or not", "scan", {"v": WindowState.volume_switched}),
    Help("click a name", "hide", "hide a structure, or show it; with the right button: it alone", "structures"),
    Help(
        "a n",
        "all, none",
        "show all structures (a) or none (n)",
        "structures",
        {"a": WindowState.all_shown, "n": WindowState.none_shown},
    ),
    Help(
        "t",
        "transparency",
        "make surfaces more transparent; T: less",
        "structures",
        {"t": lambda state: state.clearer(1), "T": lambda state: state.clearer(-1)},
    ),
    Help(
        "c",
        "cut",
        "cut away one side of the chosen plane, then the other, then none",
        "",
        {"c": WindowState.cut_changed},
    ),
    Help(
        "f",
        "view",
        "look from the front, left, back, right, head, feet; F: the one before",
        changes={"f": lambda state: state.looked(1), "F": lambda state: state.looked(-1)},
    ),
    Help("r", "reset", "look as at the start", changes={"r": lambda state: state.looked(0)}),
    Help("drag", "", "turn; with the middle button or Shift: move; wheel or right button: larger, smaller"),
    Help("h", "help", "show this help, or hide it", changes={"h": WindowState.help_switched}),
    Help("q", "close", "close the window", changes={"q": WindowState.ended, "Escape": WindowState.ended}),
)


def press(state: WindowState, key: str) -> WindowState:
    """Return the state after a key; a key that does nothing here returns the same state.

    Parameters
    ----------
    state : WindowState
    key : str
        VTK's name of it, such as ``Up``. With Caps Lock a letter that has no capital of its own counts as small.
    """
    for row in HELP:
        if not row.fits(state.limits):
            continue
        change = row.changes.get(key)
        if change is not None:
            return change(state)
    return press(state, key.lower()) if len(key) == 1 and key.lower() != key else state


def help_entries(limits: Limits) -> list[str]:
    """Return the keys that are always named, each with a word or two.

    Parameters
    ----------
    limits : Limits
    """
    return [f"{row.label} {row.short}" for row in HELP if row.short and row.fits(limits)]


def help_text(limits: Limits) -> str:
    """Return the help in full, a line a row; the labels are as wide as the widest.

    Parameters
    ----------
    limits : Limits
    """
    rows = [row for row in HELP if row.fits(limits)]
    width = max(len(row.label) for row in rows)
    return "\n".join(f"{row.label:{width}}   {row.long}" for row in rows)
