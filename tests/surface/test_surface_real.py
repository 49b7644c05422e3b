"""Surfaces of real DICOM series, judged by SimpleITK's reading of the files and by the headers alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from volseg.core.grid import RAS_TO_LPS, Float
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.io import read
from volseg.surface import SurfaceSettings, extract_isosurface

SERIES = {"brain_mr_t1post_oblique": 2500.0, "sarcoma_ct": 200.0}
SAMPLES = 3000


@dataclass(frozen=True)
class Scan:
    folder: Path
    threshold: float
    volume: Volume
    mesh: Mesh


@pytest.fixture(scope="module", params=SERIES)
def scan(request: pytest.FixtureRequest, shared_data: Path) -> Scan:
    folder, threshold = shared_data / "dicom" / request.param, SERIES[request.param]
    volume = read(folder)
    return Scan(folder, threshold, volume, extract_isosurface(volume, threshold, SurfaceSettings(smooth=False)))


def some_vertices(mesh: Mesh) -> Float:
    chosen = np.random.default_rng(0).choice(len(mesh.vertices), SAMPLES, replace=False)
    return mesh.vertices[chosen]


def median_difference(folder: Path, points: Float, threshold: float) -> float:
    """Median distance from the threshold of the image at the points (mm RAS+), as part of the image's range."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = SimpleITK.Cast(reader.Execute(), SimpleITK.sitkFloat32)
    lps = points @ RAS_TO_LPS[:3, :3]
    size = np.array(image.GetSize())
    indices = np.array([image.TransformPhysicalPointToContinuousIndex(p) for p in lps.tolist()])
    inside = lps[((indices >= 0) & (indices <= size - 1)).all(axis=1)].tolist()
    assert len(inside) > len(points) / 2  # the others close the mesh outside the first and last voxel centres
    values = np.array([image.EvaluateAtPhysicalPoint(p) for p in inside])
    array = SimpleITK.GetArrayViewFromImage(image)
    return float(np.median(np.abs(values - threshold)) / (array.max() - array.min()))


def test_the_image_has_the_threshold_at_the_vertices(scan: Scan) -> None:
    assert scan.mesh.is_closed
    assert scan.mesh.volume_mm3 > 0
    assert median_difference(scan.folder, some_vertices(scan.mesh), scan.threshold) < 0.001


@pytest.mark.parametrize("axis", range(3))
def test_it_has_another_value_at_mirrored_vertices(scan: Scan, axis: int) -> None:
    ijk = scan.volume.grid.to_voxel(some_vertices(scan.mesh))
    ijk[:, axis] = scan.volume.grid.shape[axis] - 1 - ijk[:, axis]
    assert median_difference(scan.folder, scan.volume.grid.to_world(ijk), scan.threshold) > 0.05


def test_the_mesh_is_inside_the_corners_that_the_headers_give(scan: Scan) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in scan.folder.iterdir() if path.is_file()]
    headers = [header for header in headers if "ImagePositionPatient" in header]
    across, down = np.array(headers[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(across, down)
    down_mm, across_mm = map(float, headers[0].PixelSpacing)
    origins = np.array([header.ImagePositionPatient for header in headers], dtype=float)
    heights = np.sort(origins @ normal)
    half_gap = np.diff(heights).mean() / 2
    lps = scan.mesh.vertices @ RAS_TO_LPS[:3, :3]
    for direction, spacing, count in ((across, across_mm, headers[0].Columns), (down, down_mm, headers[0].Rows)):
        along = (lps - origins[0]) @ direction / spacing
        assert along.min() >= -0.5 - 1e-3
        assert along.max() <= count - 0.5 + 1e-3
    assert (lps @ normal).min() >= heights[0] - half_gap - 1e-3
    assert (lps @ normal).max() <= heights[-1] + half_gap + 1e-3
