"""How a body ends beyond its last outline: within one slice, or cut flat where the scan ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volseg.core.grid import Float
from volseg.surface.slice_groups import Section, Stack, moved

_LONGEST = 0.98  # slices by which a body may extend beyond its last slice without reaching the next
_SHORTEST = 0.1
_SMALLEST_RIM = 0.1  # slices
_PARALLEL = 0.05  # walls that taper less than this are parallel
_BULKY = 2  # size in slices; larger bodies with parallel walls end flat: a round end would show in the slice before


@dataclass(frozen=True)
class _Profile:
    """How the squared size changes beyond the last outline, with z in slices: ``1 + slope z + bend z**2``.

    Only the part within `rim_mm` of the outline shrinks. Without a rim the end is flat, after half a slice.
    """

    rim_mm: float = 0.0
    slope: float = 0.0
    bend: float = 0.0

    def root(self, place: float) -> float:
        """Return the size relative to the last outline; negative behind the tip."""
        square = 1 + self.slope * place + self.bend * place**2
        return float(np.sign(square) * np.sqrt(abs(square)))


_FLAT = _Profile()


@dataclass(frozen=True, eq=False)
class End:
    """The field beyond the last outlines of a body.

    `by` (2,) is how far the body leans from slice to slice, in pixels. `profile` is None where the scan ends: there
    the body continues to the border.
    """

    outlines: Section
    inside_box: Float
    by: Float
    slice_mm: float
    profile: _Profile | None

    @classmethod
    def of(cls, stack: Stack, number: int, pieces: frozenset[int], step: int) -> End:
        """Return the end of some pieces of a slice, upwards (step 1) or downwards (-1)."""
        outlines = stack.section(number, pieces)
        profile = None if stack.is_cut(number, step) else _profile(stack, number, pieces, -step)
        by = -stack.lean(number, pieces, -step)
        if profile is None and np.linalg.norm(by * stack.pixel_mm) > outlines.size_mm:
            by = np.zeros(2)  # such a body may leave the scan through its side
        return cls(outlines, stack.inside_box, by, stack.slice_mm, profile)

    @property
    def square_beyond(self) -> float:
        """Squared size, mm2, to which the walls lead one slice further; negative where they meet before that."""
        size = self.outlines.size_mm
        if self.profile is None or self.profile is _FLAT:
            return size**2
        beyond = size + self.profile.rim_mm * (self.profile.root(1) - 1)
        return float(beyond * abs(beyond))

    def at(self, place: float) -> Float:
        """(I, J) field at a place from the last outline, 0 to 1 slices."""
        field = self.outlines.distance
        if self.profile is None:
            return moved(field, place * self.by)
        if self.profile is _FLAT:
            field = np.minimum(field, (0.5 - place) * self.slice_mm)
        else:
            rim = self.profile.rim_mm
            field = np.minimum(field, rim) + rim * (self.profile.root(place) - 1)
        # A leaning body does not extend beyond the box of its own pixels.
        return np.minimum(moved(field, place * self.by), self.inside_box) if self.by.any() else field


def _profile(stack: Stack, number: int, pieces: frozenset[int], inwards: int) -> _Profile:
    """Return how the last outlines of a body end, judged by them and by the two slices before them."""
    outlines = stack.section(number, pieces)
    before = [stack.section(*place) for place in stack.chain(number, pieces, inwards, 2)]
    if len(before) == 1 and (ball := _ball(outlines.size_mm, before[0].size_mm, stack.slice_mm)):
        return ball
    areas = [float(section.area) for section in (outlines, *before)]
    slope, bend = _trend(areas)
    tip = _tip(areas[0], slope, bend)
    if tip < _SHORTEST:
        return _Profile(outlines.size_mm, -1 / _SHORTEST)
    if tip <= _LONGEST:
        return _Profile(outlines.size_mm, slope / areas[0], bend / areas[0])
    # The walls would meet beyond the next slice. The body ends before it, the more bluntly the less it tapers.
    taper = _LONGEST / tip
    if taper < _PARALLEL and outlines.size_mm >= _BULKY * stack.slice_mm:
        return _FLAT
    rim, blunt = _blunt(outlines, stack.slice_mm)
    tip = blunt + (_LONGEST - blunt) * taper
    rim += (outlines.size_mm - rim) * taper
    return _Profile(rim, slope / areas[0], -(1 + slope / areas[0] * tip) / tip**2)


def _trend(areas: list[float]) -> tuple[float, float]:
    """Return slope and bend of the area beyond the first of up to three areas; an ellipsoid's area is a quadratic."""
    if len(areas) == 1:
        return 0.0, 0.0
    bend = min(0.0, (areas[0] - 2 * areas[1] + areas[2]) / 2) if len(areas) > 2 else 0.0
    return areas[0] - areas[1] + bend, bend


def _tip(area: float, slope: float, bend: float) -> float:
    """Return the place, in slices, at which the area becomes zero; infinity if it does not."""
    if not bend:
        return -area / slope if slope < 0 else np.inf
    roots = np.roots([bend, slope, area])
    return float(roots[roots > 0].min(initial=np.inf))


def _ball(size: float, before: float, slice_mm: float) -> _Profile | None:
    """Return the end of the ball that has these sizes in the last two slices, or None if it reaches the next slice."""
    centre = (before**2 - size**2 + slice_mm**2) / (2 * slice_mm)  # mm before the last slice
    tip = (np.hypot(size, centre) - centre) / slice_mm
    if tip > _LONGEST:
        return None
    return _Profile(size, -2 * centre * slice_mm / size**2, -((slice_mm / size) ** 2))


def _blunt(outlines: Section, slice_mm: float) -> tuple[float, float]:
    """Return rim (mm) and length (slices) of an end that does not taper; it has the expected volume, half a slice.

    Outlines no larger than the slices are thick end as an ellipsoid, outlines twice as large nearly flat.
    """
    rim = max(outlines.size_mm * float(np.clip(2 - outlines.size_mm / slice_mm, 0, 1)), _SMALLEST_RIM * slice_mm)
    depth = np.minimum(outlines.distance[outlines.mask] / rim, 1)
    return rim, float(0.5 / np.mean(np.sqrt(1 - (1 - depth) ** 2)))
