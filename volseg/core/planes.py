"""The planes in which slices are cut, and their names."""

from __future__ import annotations

from typing import Literal

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
