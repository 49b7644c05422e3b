"""Bodies made of shapes whose volume and area are known exactly: for tests, the demo and benchmarks.

Shapes live in world millimetres, so that the same body can be put on any grid. `rasterise` makes a label map of
shapes; `make_ct_phantom` and `make_mr_phantom` make a scan of an abdomen and its reference label map.
"""

from volseg.phantoms.body import Phantom, default_grid, make_ct_phantom, make_mr_phantom
from volseg.phantoms.shapes import Capsule, Ellipsoid, Shape, Torus, rasterise, sphere_labelmap

__all__ = [
    "Capsule",
    "Ellipsoid",
    "Phantom",
    "Shape",
    "Torus",
    "default_grid",
    "make_ct_phantom",
    "make_mr_phantom",
    "rasterise",
    "sphere_labelmap",
]
