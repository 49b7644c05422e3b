"""Label maps and scans to closed surfaces in world mm.

Each stage is a module: `extract` (marching cubes on a padded crop), `smooth` and `simplify`, or `shared_walls` for all
labels at once. `settings` choose among them. `measurement` measures the voxels and the smoothed surface.

The settings are loaded at once, the other modules at first use: the command line needs only the settings, and VTK takes
time to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from volseg.surface.settings import SurfaceSettings

if TYPE_CHECKING:
    from volseg.surface.extract import extract_isosurface, extract_surfaces
    from volseg.surface.measurement import Extent, Measurement, measure

_HOMES = {
    "Extent": "measurement",
    "Measurement": "measurement",
    "extract_isosurface": "extract",
    "extract_surfaces": "extract",
    "measure": "measurement",
}

__all__ = ["Extent", "Measurement", "SurfaceSettings", "extract_isosurface", "extract_surfaces", "measure"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"volseg.surface.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'volseg.surface' has no attribute {name!r}")
