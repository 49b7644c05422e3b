"""Surfaces from probabilities, against bodies that are known exactly."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

import volseg
from tests.world import voxel_centres
from volseg.cases.surfaces import surfaces_of_labels
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.mesh import Mesh
from volseg.errors import InputError
from volseg.io.images.nifti import write_nifti
from volseg.phantoms import Capsule, Ellipsoid
from volseg.phantoms.shapes import Shape
from volseg.surface import SurfaceSettings, extract_surfaces

RED, BLUE = (200, 0, 0), (0, 0, 200)
BALL = Ellipsoid((3, -2, 5), (8, 8, 8))
OVAL = Ellipsoid((3, -2, 5), (26, 18, 14), (20, 35, 10))
TUBE = Capsule((-20, 0, 0), (20, 5, 10), 4)


def grid_around(shape: Shape, spacing: tuple[float, float, float], sign: float) -> Grid:
    affine = np.diag([*spacing, 1.0])
    affine[0, 0] *= sign
    affine[:3, :3] = affine[:3, :3] @ np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])  # oblique in the plane
    half = np.ceil(np.ptp(shape.bounds, axis=0).max() / 2 / np.array(spacing)).astype(int) + 3
    affine[:3, 3] = shape.bounds.mean(axis=0) - affine[:3, :3] @ (half + np.array([0.3, 0.1, 0.4]))
    return Grid(tuple(int(n) for n in 2 * half + 1), affine)


def shares_of(shape: Shape, grid: Grid) -> np.ndarray:
    """Return how much of each voxel a body fills, from 4 x 4 x 4 points a voxel."""
    offsets = (np.array(o) for o in product(np.array([-3, -1, 1, 3]) / 8, repeat=3))
    steps = (grid.affine[:3, :3] @ offset for offset in offsets)
    shares = np.mean([shape.distance_mm(voxel_centres(grid) + step) < 0 for step in steps], axis=0)
    return np.asarray(shares.reshape(grid.shape))


def surface_of(shares: np.ndarray, grid: Grid, *, sharp: bool, smooth: bool = True) -> Mesh:
    labels = LabelMap((shares > 0.5).astype(np.uint8), grid, (Label(1, "body", RED),))
    (mesh,) = extract_surfaces(labels, SurfaceSettings(smooth=smooth), probabilities=[shares] if sharp else None)
    return mesh


@pytest.mark.parametrize("sign", [1, -1], ids=["right-handed", "left-handed"])
@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("shape", [BALL, OVAL, TUBE], ids=["ball", "oval", "tube"])
def test_shares_of_voxels_give_the_body_better_than_the_voxels(shape: Shape, smooth: bool, sign: float) -> None:
    grid = grid_around(shape, (1, 1, 1), sign)
    shares = shares_of(shape, grid)
    sharp, voxels = (surface_of(shares, grid, sharp=sharp, smooth=smooth) for sharp in (True, False))
    assert sharp.is_closed
    assert sharp.volume_mm3 > 0
    assert sharp.area_mm2 == pytest.approx(shape.area_mm2, rel=0.03)
    away, of_voxels = (np.abs(shape.distance_mm(mesh.vertices)).mean() for mesh in (sharp, voxels))
    # Smoothing, which both share, moves strongly curved places more than the voxels do.
    assert away < of_voxels * (0.75 if smooth else 0.5)
    if smooth:
        assert sharp.volume_mm3 == pytest.approx(shape.volume_mm3, rel=0.01)


def test_thick_slices_take_the_volume_of_the_probabilities() -> None:
    grid = grid_around(OVAL, (0.8, 0.8, 5), 1)
    shares = shares_of(OVAL, grid)
    mesh = surface_of(shares, grid, sharp=True)
    assert mesh.volume_mm3 == pytest.approx(OVAL.volume_mm3, rel=0.01)
    assert np.abs(OVAL.distance_mm(mesh.vertices)).mean() < 0.2


def two_labels(left: np.ndarray, right: np.ndarray) -> LabelMap:
    classes = np.argmax([1 - left - right, left, right], axis=0).astype(np.uint8)
    return LabelMap(classes, Grid(left.shape, np.eye(4)), (Label(1, "left", RED), Label(2, "right", BLUE)))


def test_labels_that_touch_have_the_same_wall() -> None:
    share = np.zeros((12, 8, 8))
    share[2:10, 2:6, 2:6] = 1
    towards_right = share * np.clip((np.arange(12)[:, None, None] - 4.3) / 3, 0, 1)  # even at 5.8
    left, right = share - towards_right, towards_right
    meshes = extract_surfaces(two_labels(left, right), SurfaceSettings(smooth=False), probabilities=[left, right])
    assert [mesh.bounds[end, 0] for mesh, end in zip(meshes, (1, 0), strict=True)] == pytest.approx(
        [5.8, 5.8], abs=1e-4
    )


def test_the_label_map_has_the_last_word() -> None:
    shares = np.zeros((14, 9, 9))
    shares[2:5, 2:7, 2:7] = shares[8:12, 2:7, 2:7] = 0.9
    cleaned = np.zeros(shares.shape, np.uint8)
    cleaned[8:12, 2:7, 2:7] = 1  # the other body was taken away
    cleaned[9, 4, 4] = 1
    shares[9, 4, 4] = 0.1  # and a hole filled
    labels = LabelMap(cleaned, Grid(shares.shape, np.eye(4)), (Label(1, "body", RED),))
    (mesh,) = extract_surfaces(labels, probabilities=[shares])
    assert mesh.bounds[0, 0] > 7
    assert mesh.volume_mm3 == pytest.approx(0.9 * (4 * 5 * 5 - 1) + 1, rel=0.01)


@pytest.mark.parametrize("shapes", [[], [(4, 4, 4)], [(5, 4, 4), (5, 4, 4), (5, 4, 5)], [(4, 5, 4), (5, 4, 4)]])
def test_probabilities_of_something_else_are_refused(shapes: list[tuple[int, int, int]]) -> None:
    labels = two_labels(np.ones((5, 4, 4)), np.zeros((5, 4, 4)))
    with pytest.raises(InputError, match=r"expected one of \(5, 4, 4\) for each of the 2 labels"):
        extract_surfaces(labels, probabilities=[np.zeros(shape) for shape in shapes])


def test_probabilities_beside_the_labels_of_a_prediction_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grid = grid_around(BALL, (1, 1, 1), 1)
    shares = shares_of(BALL, grid)
    volseg.write(LabelMap((shares > 0.5).astype(np.uint8), grid, (Label(1, "ball", RED),)), tmp_path / "labels.nii.gz")
    (plain,) = surfaces_of_labels(tmp_path / "labels.nii.gz")
    write_nifti(shares[..., None].astype(np.float32), grid, tmp_path / "probabilities.nii.gz")
    (sharp,) = surfaces_of_labels(tmp_path / "labels.nii.gz")
    away, of_voxels = (np.abs(BALL.distance_mm(mesh.vertices)).mean() for mesh in (sharp, plain))
    assert away < 0.75 * of_voxels
    assert not caplog.records
    write_nifti(np.stack([shares, 1 - shares], axis=-1).astype(np.float32), grid, tmp_path / "probabilities.nii.gz")
    (again,) = surfaces_of_labels(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(again.vertices, plain.vertices)
    assert "probabilities.nii.gz: is not of the labels beside it; the surfaces are made without it" in caplog.text


def test_further_classes_compete_as_those_with_a_label_do() -> None:
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.ones(4), (12, 10, 8)).astype(np.float32).transpose(3, 0, 1, 2)
    grid = Grid.from_spacing((12, 10, 8))
    labels = LabelMap.from_array(shares.argmax(axis=0), grid)
    one = LabelMap(np.where(labels.array == 2, 2, 0), grid, labels.labels[1:2])
    settings = SurfaceSettings(smooth=False)
    (mesh,) = extract_surfaces(one, settings, probabilities=[shares[2], shares[1], shares[3]])
    expected = next(m for m in extract_surfaces(labels, settings, probabilities=shares[1:]) if m.name == "label_2")
    np.testing.assert_array_equal(mesh.vertices, expected.vertices)
