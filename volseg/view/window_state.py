"""What a window shows, and how keys and the mouse change it. No VTK, so that it can be tested without a display."""

from __future__ import annotations

from dataclasses import dataclass, replace

from volseg.view.grey_block import PLANES, SIDES

OPACITIES = (1.0, 0.6, 0.3, 0.1, 0.0)  # of surfaces
# Names and directions to look from: azimuth and elevation, as for `camera.direction`; None is that of the start.
VIEWS: tuple[tuple[str, tuple[float, float] | None], ...] = (
    ("start", None),
    ("front", (0.0, 0.0)),
    ("left", (90.0, 0.0)),
    ("back", (180.0, 0.0)),
    ("right", (-90.0, 0.0)),
    ("head", (180.0, 89.0)),
    ("feet", (0.0, -89.0)),
)


@dataclass(frozen=True)
class Limits:
    """What there is to show.

    Parameters
    ----------
    shape : (int, int, int)
        Places of the three planes: sagittal, coronal, axial.
    structures : int
        Rows of the legend.
    windows : tuple of str
        Grey-value windows; none without a scan.
    has_doubt : bool
        Whether it is known how unsure each voxel is.
    """

    shape: tuple[int, int, int]
    structures: int = 0
    windows: tuple[str, ...] = ()
    has_doubt: bool = False

    @property
    def has_scan(self) -> bool:
        """Whether there are slices to see."""
        return bool(self.windows)


@dataclass(frozen=True)
class WindowState:
    """Everything about a window that changes. Each change gives a new state.

    Parameters
    ----------
    limits : Limits
    at : (int, int, int)
        The places of the planes.
    plane : int
        The plane that keys and the wheel move: 0 sagittal, 1 coronal, 2 axial.
    slices : frozenset of int
        Planes whose slices are shown.
    hidden : frozenset of int
        Rows of the legend that are not shown.
    first : int
        The row at the top of the legend.
    opacity : int
        Index in `OPACITIES`.
    cut : int
        The side of the plane on which surfaces are cut away: 1 or -1 along its axis; 0 is none.
    volume : bool
        Whether the scan is drawn as a volume.
    window : int
        Index of the grey-value window.
    unsure : bool
        Whether doubt is laid over the slices.
    view : int
        Index in `VIEWS` of the last direction that was asked for.
    looks : int
        How often one was asked for; each time the camera goes there.
    help : bool
        Whether all keys are explained.
    closed : bool
    """

    limits: Limits
    at: tuple[int, int, int]
    plane: int = 2
    slices: frozenset[int] = frozenset({0, 1, 2})
    hidden: frozenset[int] = frozenset()
    first: int = 0
    opacity: int = 0
    cut: int = 0
    volume: bool = False
    window: int = 0
    unsure: bool = False
    view: int = 0
    looks: int = 0
    help: bool = False
    closed: bool = False

    def moved(self, steps: int) -> WindowState:
        """Move the chosen plane by some voxels; towards right, front or head if above 0."""
        return self.moved_to(self.plane, self.at[self.plane] + steps)

    def moved_to(self, plane: int, place: int) -> WindowState:
        """Move a plane to a place, as near as there is one, and choose it."""
        at = list(self.at)
        at[plane] = min(max(place, 0), self.limits.shape[plane] - 1)
        return replace(self, plane=plane, at=(at[0], at[1], at[2]))

    def with_plane(self, plane: int) -> WindowState:
        """Choose the plane that keys and the wheel move."""
        return replace(self, plane=plane)

    def slice_switched(self) -> WindowState:
        """Show or hide the slice of the chosen plane."""
        return replace(self, slices=self.slices ^ {self.plane})

    def slices_switched(self) -> WindowState:
        """Hide all slices, or if none is shown, show all."""
        return replace(self, slices=frozenset() if self.slices else frozenset({0, 1, 2}))

    def switched(self, row: int) -> WindowState:
        """Show or hide a structure; a row that is not there changes nothing."""
        return replace(self, hidden=self.hidden ^ {row}) if 0 <= row < self.limits.structures else self

    def only(self, row: int) -> WindowState:
        """Show one structure alone, or if it is alone, all; a row that is not there changes nothing."""
        if not 0 <= row < self.limits.structures:
            return self
        others = frozenset(range(self.limits.structures)) - {row}
        return replace(self, hidden=frozenset() if self.hidden == others else others)

    def all_shown(self) -> WindowState:
        """Show all structures."""
        return replace(self, hidden=frozenset())

    def none_shown(self) -> WindowState:
        """Hide all structures."""
        return replace(self, hidden=frozenset(range(self.limits.structures)))

    def scrolled(self, rows: int, fitting: int) -> WindowState:
        """Scroll the legend, of which a number of rows fit."""
        last = max(self.limits.structures - fitting, 0)
        return replace(self, first=min(max(self.first + rows, 0), last))

    def clearer(self, steps: int) -> WindowState:
        """Make surfaces more transparent, or with steps below 0 less."""
        return replace(self, opacity=min(max(self.opacity + steps, 0), len(OPACITIES) - 1))

    def cut_changed(self) -> WindowState:
        """Cut surfaces away on one side of the chosen plane, then on the other, then not at all."""
        return replace(self, cut={0: 1, 1: -1, -1: 0}[self.cut])

    def volume_switched(self) -> WindowState:
        """Draw the scan as a volume, or not."""
        return replace(self, volume=not self.volume)

    def window_changed(self, steps: int) -> WindowState:
        """Take another grey-value window."""
        return replace(self, window=(self.window + steps) % max(len(self.limits.windows), 1))

    def doubt_switched(self) -> WindowState:
        """Lay doubt over the slices, or not."""
        return replace(self, unsure=not self.unsure)

    def looked(self, steps: int) -> WindowState:
        """Look from the next direction; with 0 from that of the start."""
        return replace(self, view=(self.view + steps) % len(VIEWS) if steps else 0, looks=self.looks + 1)

    def help_switched(self) -> WindowState:
        """Explain all keys, or not."""
        return replace(self, help=not self.help)

    def ended(self) -> WindowState:
        """Close the window."""
        return replace(self, closed=True)

    def describe(self, window: tuple[float, float] | None = None, unit: str = "") -> str:
        """Say in a line what cannot be seen at once: grey values, transparency, cut and direction.

        Parameters
        ----------
        window : (low, high), optional
            The values that are black and white.
        unit : str
        """
        parts = []
        if window is not None:
            name = self.limits.windows[self.window]
            parts.append(f"window: {name}, {window[0]:.4g} to {window[1]:.4g} {unit}".rstrip())
        if self.opacity:
            parts.append(f"surfaces: {OPACITIES[self.opacity]:.0%}")
        if self.cut:
            side = SIDES[self.plane][(self.cut + 1) // 2]
            parts.append(f"cut: side {side} of the {PLANES[self.plane]} plane")
        if self.limits.structures and len(self.hidden):
            parts.append(f"{len(self.hidden)} of {self.limits.structures} hidden")
        return "   ".join(parts)
