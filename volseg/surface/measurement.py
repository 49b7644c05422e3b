"""Size and place of each label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volseg.geometry import Float
from volseg.labelmap import Label, LabelMap
from volseg.surface.extract import LabelCrop, crop_labels, extract_surface
from volseg.surface.settings import SurfaceSettings

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Measurement:
    """Size and place of one label; an absent label has no voxels, volume 0 and None for the rest.

    Parameters
    ----------
    name : str
    value : int
        The label's.
    voxels : int
    volume_ml : float
        Voxels times the volume of one; a surface cannot tell the volume of what is a voxel thin.
    area_mm2 : float, optional
        Of the smoothed surface; the staircase of the voxels has 7 to 20 % too much.
    centroid_mm : (x, y, z), optional
        Mean of the voxel centres, world RAS+.
    bounds_mm : ((x, y, z), (x, y, z)), optional
        Lowest and highest world coordinates of the voxels' outer corners, RAS+.
    """

    name: str
    value: int
    voxels: int
    volume_ml: float
    area_mm2: float | None = None
    centroid_mm: Point | None = None
    bounds_mm: tuple[Point, Point] | None = None


def measure(labels: LabelMap) -> list[Measurement]:
    """Measure every label of a label map.

    Parameters
    ----------
    labels : LabelMap

    Returns
    -------
    list of Measurement
        One for each label, in order of value, present or not.
    """
    present = {crop.label: _measure_crop(crop) for crop in crop_labels(labels)}
    return [present.get(label) or _absent(label) for label in labels.labels]


def _measure_crop(crop: LabelCrop) -> Measurement:
    centres = crop.grid.to_world(np.argwhere(crop.mask))
    reach = np.abs(crop.grid.affine[:3, :3]).sum(axis=1) / 2  # from a voxel's centre to its outermost corner
    return Measurement(
        name=crop.label.name,
        value=crop.label.value,
        voxels=len(centres),
        volume_ml=len(centres) * crop.grid.voxel_volume_mm3 / 1000,
        area_mm2=extract_surface(crop, SurfaceSettings())[0].area_mm2,
        centroid_mm=_point(centres.mean(axis=0)),
        bounds_mm=(_point(centres.min(axis=0) - reach), _point(centres.max(axis=0) + reach)),
    )


def _absent(label: Label) -> Measurement:
    return Measurement(name=label.name, value=label.value, voxels=0, volume_ml=0.0)


def _point(coordinates: Float) -> Point:
    x, y, z = coordinates.tolist()
    return x, y, z
