"""Settings of surfaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

from volseg.errors import UsageError

_FEWEST_FACES = 4
_COARSEST = 1 / 64  # fraction of the triangles from which simplification within an error starts


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class SurfaceSettings:
    """How to make surfaces of labels or of a scan.

    Each field is an option of ``volseg mesh`` too, with the text in its metadata as help.

    Parameters
    ----------
    smooth : bool
        Remove the voxel staircase (`volseg.surface.smooth`), after interpolating the shape between thick slices
        (`volseg.surface.between_slices`). Each surface then encloses as much as the voxels of its label, or as its
        probabilities say. On thick slices it is moved by a fifth of a pixel at most to do so.
    simplify : float, optional
        Fraction of the triangles to keep, over 0 up to 1 (`volseg.surface.simplify`). By default all are kept, or with
        `max_error_mm` as few as it allows. Surfaces that keep notably more are logged.
    faces : int, optional
        Largest number of triangles of each surface, instead of a fraction.
    max_error_mm : float, optional
        How far smoothing and simplification together may move the surface, either way, from where it was extracted.
        This bound goes before the volume and the number of triangles.
    shared_walls : bool
        Labels that touch have one wall, without gap or overlap (`volseg.surface.shared_walls`); from label maps,
        without simplification.
    print_ready : bool
        All labels become one solid for a printer: one piece without cavities; see `volseg.surface.solid`.
    report : bool
        Grade each surface (`volseg.surface.quality`), in ``mesh.quality``.

    Raises
    ------
    UsageError
        A value is out of its range, or two settings contradict each other.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import sphere_labelmap
    >>> labels = sphere_labelmap(volseg.Grid.from_spacing((32, 32, 32)), radius_mm=10)
    >>> (mesh,) = volseg.extract_surfaces(labels, volseg.SurfaceSettings(faces=500))
    >>> len(mesh.faces) <= 500
    True
    """

    smooth: bool = _setting(True, "Remove the voxel staircase; the volume is kept.")
    simplify: float | None = _setting(None, "Fraction of the triangles to keep; more where a small shape would suffer.")
    faces: int | None = _setting(None, "Most triangles of each surface, instead of a fraction.")
    max_error_mm: float | None = _setting(
        None, "How far smoothing and simplification may move a surface. Alone: as few triangles as that allows."
    )
    shared_walls: bool = _setting(False, "Labels that touch get one wall, without gap or overlap.")
    print_ready: bool = _setting(False, "One solid of all: the largest piece, without cavities, watertight.")
    report: bool = _setting(
        False, "Grade each surface, into a table ..._quality.tsv and, where the format has room, the files themselves."
    )

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_combinations()

    def _check_numbers(self) -> None:
        if self.simplify is not None and not 0 < self.simplify <= 1:
            raise UsageError(f"fraction of triangles to keep is {self.simplify:g}; expected a number over 0 up to 1")
        if self.faces is not None and self.faces < _FEWEST_FACES:
            raise UsageError(f"number of triangles is {self.faces}; a closed surface has at least {_FEWEST_FACES}")
        if self.max_error_mm is not None and not 0 < self.max_error_mm < inf:
            raise UsageError(f"largest error of a surface is {self.max_error_mm:g} mm; expected a number over 0")

    def _check_combinations(self) -> None:
        if self.simplify is not None and self.faces is not None:
            raise UsageError("a fraction and a number of triangles are given; leave one out")
        if self.shared_walls and self.print_ready:
            raise UsageError("shared walls need several labels, but a print-ready solid is one label; leave one out")
        if self.shared_walls and (self.simplifies or self.max_error_mm is not None):
            raise UsageError("surfaces with shared walls cannot be simplified or bounded in error; leave one out")

    @property
    def of_labels_alone(self) -> bool:
        """Whether the surfaces are made without probabilities."""
        return self.shared_walls or self.print_ready

    @property
    def simplifies(self) -> bool:
        """Whether fewer triangles than were extracted are asked for."""
        return self.faces is not None or self.fraction(1) < 1

    def fraction(self, count: int) -> float:
        """Return the fraction of `count` triangles to keep."""
        if self.faces is not None:
            return min(1.0, self.faces / count)
        if self.simplify is not None:
            return self.simplify
        return 1.0 if self.max_error_mm is None else _COARSEST
