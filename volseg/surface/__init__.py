"""Label maps and scans to closed surfaces in world mm.

Stages, one a module, each a function from one type to the next: `extract` (marching cubes on a padded crop), `smooth`,
`simplify`, or `shared_walls` for all labels at once, as `settings` say; `measurement` counts voxels and measures the
smoothed surface.
"""

from volseg.surface.extract import extract_isosurface, extract_surfaces
from volseg.surface.measurement import Extent, Measurement, measure
from volseg.surface.settings import SurfaceSettings

__all__ = ["Extent", "Measurement", "SurfaceSettings", "extract_isosurface", "extract_surfaces", "measure"]
