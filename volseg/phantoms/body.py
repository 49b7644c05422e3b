"""Scans of an abdomen made of shapes, with the labels and the exact volumes of the organs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from volseg.core.grid import Grid
from volseg.core.labelmap import Colour, LabelMap
from volseg.core.volume import Volume
from volseg.phantoms.shapes import Capsule, Ellipsoid, Float, Point, Shape, coverage, rasterise, touched_box


@dataclass(frozen=True)
class Phantom:
    """A scan, its reference label map on the same grid, and the exact shape of every label by name."""

    volume: Volume
    labels: LabelMap
    shapes: dict[str, Shape]


def make_ct_phantom(*, seed: int, grid: Grid | None = None, noise_hu: float = 20.0) -> Phantom:
    """Make a CT scan of an abdomen in the portal-venous phase, and its labels.

    Place, size, rotation and attenuation of the organs differ with the seed. Liver and spleen have nearly the same
    attenuation, and so have spine and aorta. The stomach is in the scan but has no label. Partial volume (by
    supersampling), blur and slightly correlated noise are like a scanner's.

    Parameters
    ----------
    seed : int
        The same seed gives the same anatomy on every grid, and the same scan on the same grid.
    grid : Grid, optional
        Default: 96 x 96 x 24 voxels of 3 x 3 x 6 mm. The body is centred in the grid and has its true size: about
        290 mm wide and 220 mm deep; the labelled organs span 140 mm along z.
    noise_hu : float
        Standard deviation of the noise.

    Returns
    -------
    Phantom
        An int16 Volume in HU, labels 1 to 6 (uint8) and the six organs' shapes, which do not overlap.
    """
    return _scan(_CT, seed, grid or default_grid(), noise_hu)


def make_mr_phantom(*, seed: int, grid: Grid | None = None, noise: float = 20.0) -> Phantom:
    """Make an MR scan of the same anatomy: no unit, an unknown scale, and a smooth receive-coil bias of about 30 %.

    Parameters
    ----------
    seed, grid
        As for `make_ct_phantom`, and so is the result.
    noise : float
        Standard deviation of the noise; fat has about 700 before scaling.
    """
    phantom = _scan(_MR, seed, grid or default_grid(), noise)
    random = np.random.default_rng([seed, 2])
    ramp = np.zeros(phantom.volume.grid.shape)
    for axis, size in enumerate(ramp.shape):
        line = random.uniform(-0.15, 0.15) * np.linspace(-1, 1, size) ** random.integers(1, 3)
        ramp += np.expand_dims(line, tuple({0, 1, 2} - {axis}))
    signal = phantom.volume.array.clip(0) * (1 + ramp) * random.uniform(0.5, 5)
    return Phantom(phantom.volume.with_array(np.round(signal).astype(np.int16)), phantom.labels, phantom.shapes)


def default_grid() -> Grid:
    """Return the thick-slice grid of the phantoms: 96 x 96 x 24 voxels of 3 x 3 x 6 mm, centred at the origin."""
    return Grid.from_spacing((96, 96, 24), (3, 3, 6), (-142.5, -142.5, -69))


# Organs in mm from the middle of the body, painted in this order. The stomach gets no label.
_ORGANS: dict[str, Ellipsoid | Capsule] = {
    "stomach": Ellipsoid((-52, 34, 22), (34, 26, 36)),
    "liver": Ellipsoid((50, 22, 20), (54, 42, 38), (0, 0, -12)),
    "right_kidney": Ellipsoid((51, -50, -22), (20, 22, 36), (0, 8, 0)),
    "left_kidney": Ellipsoid((-47, -50, -18), (20, 22, 36), (0, -8, 0)),
    "spleen": Ellipsoid((-90, -10, 18), (19, 26, 32), (0, 0, 20)),
    "spine": Capsule((0, -58, -43), (0, -58, 43), 17),
    "aorta": Capsule((-10, -24, -53), (-3, -24, 53), 9.5),
}
_COLOURS: dict[str, Colour] = {
    "liver": (168, 84, 68),
    "right_kidney": (214, 138, 58),
    "left_kidney": (232, 180, 82),
    "spleen": (142, 82, 140),
    "spine": (236, 226, 198),
    "aorta": (212, 60, 60),
}


@dataclass(frozen=True)
class _Scanner:
    """How a modality shows the body: the value of each material, and how far it varies between people."""

    modality: str
    unit: str | None
    values: Mapping[str, float]
    spread: float


_CT = _Scanner(
    "CT",
    "HU",
    {"air": -1000, "fat": -100, "muscle": 55, "stomach": 30, "liver": 110, "spleen": 120}
    | {"right_kidney": 170, "left_kidney": 170, "spine": 210, "aorta": 190},
    spread=8.0,
)
_MR = _Scanner(
    "MR",
    None,
    {"air": 0, "fat": 700, "muscle": 260, "stomach": 150, "liver": 420, "spleen": 330}
    | {"right_kidney": 350, "left_kidney": 350, "spine": 560, "aorta": 90},
    spread=15.0,
)


def _scan(scanner: _Scanner, seed: int, grid: Grid, noise: float) -> Phantom:
    """Draw an anatomy at random, paint it, and add the blur and the noise of the scanner."""
    random = np.random.default_rng([seed, 0])
    middle = grid.corners().mean(axis=0) + random.uniform(-5, 5, 3)
    scale = random.uniform(0.92, 1.04)
    organs, labelled = {}, {}
    for name, mean_shape in _ORGANS.items():
        organs[name] = _vary(mean_shape, middle, scale, random)
        if name != "stomach":
            labelled[name] = organs[name]
    body = {"fat": _trunk(middle, 138 * scale, 104 * scale), "muscle": _trunk(middle, 125 * scale, 91 * scale)}
    image = np.full(grid.shape, scanner.values["air"], dtype=np.float32)
    for name, shape in (body | organs).items():
        box = touched_box(shape, grid)
        value = scanner.values[name] + random.uniform(-scanner.spread, scanner.spread)
        image[box] += coverage(shape, grid, box) * (np.float32(value) - image[box])
    image = _blur_and_noise(image, grid, noise, np.random.default_rng([seed, 1]))
    array = np.round(image).clip(-1024, 3071).astype(np.int16)
    volume = Volume(array, grid, f"phantom_{seed:03d}", scanner.modality, scanner.unit)

    return Phantom(volume, rasterise(labelled, grid, colours=_COLOURS), labelled)


def _trunk(middle: Float, half_width_mm: float, half_depth_mm: float) -> Shape:
    """Return an ellipsoid so long that it is nearly a cylinder within the picture."""
    x, y, z = middle.tolist()
    return Ellipsoid((x, y, z), (half_width_mm, half_depth_mm, 900))


def _vary(shape: Ellipsoid | Capsule, middle: Float, scale: float, random: np.random.Generator) -> Shape:
    """Return the shape at its place in this body, moved, resized and turned a little at random."""
    shift, resize, turn = random.uniform(-2.5, 2.5, 3), random.uniform(0.9, 1.06, 3), random.uniform(-8, 8, 3)

    def place(point: Point) -> Point:
        x, y, z = middle + scale * np.asarray(point) + shift
        return float(x), float(y), float(z)

    if isinstance(shape, Capsule):
        return Capsule(place(shape.start_mm), place(shape.end_mm), float(scale * resize[0] * shape.radius_mm))
    a, b, c = (scale * resize * shape.radii_mm).tolist()
    x, y, z = (shape.rotation_deg + turn).tolist()
    return Ellipsoid(place(shape.centre_mm), (a, b, c), (x, y, z))


def _blur_and_noise(
    image: NDArray[np.float32], grid: Grid, noise: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """Blur by a 1.2 mm point spread within the finest plane, and add noise correlated over about a voxel in it."""
    spacing = np.asarray(grid.spacing)
    in_plane = spacing < 1.5 * spacing.min()
    blurred = ndimage.gaussian_filter(image, np.where(in_plane, 1.2 / spacing, 0), mode="nearest")
    grain = random.standard_normal(image.shape, dtype=np.float32)
    grain = ndimage.gaussian_filter(grain, np.where(in_plane, 0.5, 0), mode="wrap")
    return np.asarray(blurred + grain * np.float32(noise / max(float(grain.std()), 1e-6)))
