from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import GeometryError, InputError, UsageError
from volseg.io import read_labels
from volseg.phantoms import Capsule, Ellipsoid, Torus, rasterise
from volseg.surface import SurfaceSettings, extract_isosurface, extract_surfaces, measure

SHEARED = np.array([[-0.7, 0.2, 0, 900], [0, 0.8, 0.9, -800], [0.1, 0, 3, 700], [0, 0, 0, 1.0]])
RIGHT_HANDED = SHEARED * np.array([-1, 1, 1, 1])
RAW = SurfaceSettings(smooth=False)


def one_label(mask: np.ndarray, affine: np.ndarray = SHEARED) -> LabelMap:
    return LabelMap.from_array(mask.astype(np.uint8), Grid(mask.shape, affine))


@pytest.mark.parametrize("affine", [SHEARED, RIGHT_HANDED], ids=["left-handed", "right-handed"])
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("simplify", [1.0, 0.2])
@given(mask=arrays(np.bool_, (5, 4, 3)).filter(np.any))
def test_any_mask_gives_a_closed_outward_surface(
    mask: np.ndarray, affine: np.ndarray, smooth: bool, simplify: float
) -> None:
    (mesh,) = extract_surfaces(one_label(mask, affine), SurfaceSettings(smooth=smooth, simplify=simplify))
    assert mesh.is_closed
    assert mesh.volume_mm3 > 0


@given(mask=arrays(np.bool_, (5, 4, 3)).filter(np.any))
def test_smoothed_surface_encloses_as_much_as_the_voxels(mask: np.ndarray) -> None:
    labels = one_label(mask, SHEARED @ np.diag([1, 1, 0.35, 1]))  # thick slices: test_surface_thick.py
    (mesh,) = extract_surfaces(labels)
    assert mesh.volume_mm3 == pytest.approx(mask.sum() * labels.grid.voxel_volume_mm3, rel=2e-3)


@given(mask=arrays(np.bool_, (5, 4, 3)).filter(np.any))
def test_unsmoothed_surface_reaches_exactly_the_outer_faces_of_the_voxels(mask: np.ndarray) -> None:
    labels = one_label(mask)
    (mesh,) = extract_surfaces(labels, RAW)
    ijk, where = labels.grid.to_voxel(mesh.vertices), np.argwhere(mask)
    np.testing.assert_allclose(ijk.min(axis=0), where.min(axis=0) - 0.5, atol=1e-9)
    np.testing.assert_allclose(ijk.max(axis=0), where.max(axis=0) + 0.5, atol=1e-9)


@pytest.mark.parametrize(
    "shape",
    [
        Ellipsoid((10, -20, 30), (20, 14, 11), (20, 30, 40)),
        Capsule((-10, -20, 20), (25, -15, 45), 7),
        Torus((10, -20, 30), 18, 6),
    ],
    ids=["ellipsoid", "capsule", "torus"],
)
def test_known_shapes_on_an_oblique_grid(shape: Ellipsoid | Capsule | Torus) -> None:
    grid = Grid((80, 80, 50), np.eye(4))
    affine = np.array([[-0.98, 0.17, 0.1, 0], [0.17, 0.97, -0.1, 0], [-0.1, 0.08, 1.48, 0], [0, 0, 0, 1.0]])
    affine[:3, 3] = np.array([10, -20, 30]) - affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2)
    (mesh,) = extract_surfaces(rasterise({"shape": shape}, Grid(grid.shape, affine)))
    assert mesh.name == "shape"
    assert mesh.volume_mm3 == pytest.approx(shape.volume_mm3, rel=0.015)
    assert mesh.area_mm2 == pytest.approx(shape.area_mm2, rel=0.04)
    distance = np.abs(shape.distance_mm(mesh.vertices))
    assert distance.mean() < 0.2
    assert distance.max() < 1.0
    np.testing.assert_allclose(mesh.bounds, shape.bounds, atol=1.0)


def test_one_voxel_is_closed_and_in_place(oblique_grid: Grid) -> None:
    array = np.zeros(oblique_grid.shape, dtype=np.uint8)
    array[3, 4, 5] = 1
    (mesh,) = extract_surfaces(LabelMap.from_array(array, oblique_grid))
    assert mesh.is_closed
    assert mesh.volume_mm3 == pytest.approx(oblique_grid.voxel_volume_mm3, rel=0.15)  # on thick slices
    # Triangles are no mirror images of each other, which after smoothing is a tenth of a pixel.
    np.testing.assert_allclose(mesh.bounds.mean(axis=0), oblique_grid.to_world([3, 4, 5]), atol=0.08)
    assert np.abs(oblique_grid.to_voxel(mesh.vertices) - [3, 4, 5]).max() < 1


def test_label_that_fills_the_volume_is_closed_at_its_border() -> None:
    grid = Grid.from_spacing((4, 5, 6), (1, 2, 3), (7, 8, 9))
    (mesh,) = extract_surfaces(LabelMap.from_array(np.ones(grid.shape, np.uint8), grid), RAW)
    assert mesh.is_closed
    np.testing.assert_allclose(mesh.bounds, [[6.5, 7, 7.5], [10.5, 17, 25.5]])


@pytest.mark.parametrize("values", [(3, 5, 70000), (1, 2, 3), (2, 40, 2**40)])
def test_every_label_is_found_whatever_its_value(values: tuple[int, ...]) -> None:
    array = np.zeros((8, 4, 4), dtype=np.int64)
    for n, value in enumerate(values):
        array[2 * n : 2 * n + 2, 1:3, 1:3] = value
    meshes = extract_surfaces(LabelMap.from_array(array, Grid.from_spacing(array.shape)), RAW)
    assert [mesh.name for mesh in meshes] == [f"label_{value}" for value in values]
    assert [mesh.bounds[0, 0] for mesh in meshes] == [-0.5, 1.5, 3.5]


@pytest.mark.parametrize(
    ("spacing", "settings"),
    [
        ((1, 1, 1), SurfaceSettings()),
        ((1, 1, 4), SurfaceSettings()),
        ((1, 1, 1), SurfaceSettings(simplify=0.3)),
        ((1, 1, 1), SurfaceSettings(simplify=0.3, print_ready=True, report=True)),
    ],
)
def test_surfaces_are_the_same_on_any_number_of_cores(
    spacing: tuple[float, ...], settings: SurfaceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid.from_spacing((60, 60, 20), spacing)
    array = np.zeros(grid.shape, dtype=np.uint8)
    for value in range(1, 10):
        across, along = divmod(value - 1, 3)
        array[across * 20 + 1 : across * 20 + 10 + value, along * 20 + 1 : along * 20 + 15, 2:18] = value
    labels = LabelMap(array, grid, tuple(Label(value, f"part {value}", (9, 9, 9)) for value in range(1, 10)))
    found = []
    for cores in (1, 4):
        monkeypatch.setattr("volseg.surface.extract.count_cores", lambda cores=cores: cores)
        found.append(extract_surfaces(labels, settings))
    for alone, together in zip(*found, strict=True):
        assert alone.name == together.name
        assert np.array_equal(alone.faces, together.faces)
        assert np.array_equal(alone.vertices, together.vertices)


def test_absent_label_has_no_mesh_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    labels = (Label(1, "liver", (1, 2, 3)), Label(2, "spleen", (4, 5, 6)))
    array = np.zeros((3, 3, 3), dtype=np.uint8)
    array[1, 1, 1] = 2
    with caplog.at_level(logging.INFO):
        meshes = extract_surfaces(LabelMap(array, Grid.from_spacing(array.shape), labels))
    assert [(mesh.name, mesh.colour) for mesh in meshes] == [("spleen", (4, 5, 6))]
    assert "liver" in caplog.text
    assert "spleen" not in caplog.text


@pytest.mark.parametrize("axis", range(3))
def test_single_slice_is_refused(axis: int) -> None:
    shape = [5, 5, 5]
    shape[axis] = 1
    grid = Grid.from_spacing((shape[0], shape[1], shape[2]))
    with pytest.raises(GeometryError, match="at least 2 slices"):
        extract_surfaces(LabelMap.from_array(np.ones(grid.shape, np.uint8), grid))
    with pytest.raises(GeometryError, match="at least 2 slices"):
        extract_isosurface(Volume(np.ones(grid.shape), grid), 0.5)


@pytest.mark.parametrize("fraction", [0, -1, 1.5, float("nan")])
def test_what_is_no_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="expected a number over 0 up to 1"):
        SurfaceSettings(simplify=fraction)


@pytest.mark.parametrize("affine", [SHEARED, RIGHT_HANDED], ids=["left-handed", "right-handed"])
@given(values=arrays(np.int16, (5, 4, 3), elements=st.integers(-3, 3)).filter(lambda v: v.min() <= 0 < v.max()))
def test_isosurface_of_anything_is_closed_outward_and_inside_the_voxels(values: np.ndarray, affine: np.ndarray) -> None:
    grid = Grid(values.shape, affine)
    mesh = extract_isosurface(Volume(values, grid), 0, RAW)
    assert mesh.is_closed
    assert mesh.volume_mm3 > 0
    ijk = grid.to_voxel(mesh.vertices)
    assert ijk.min() >= -0.5 - 1e-9
    assert (ijk.max(axis=0) <= np.array(grid.shape) - 0.5 + 1e-9).all()


@given(values=arrays(np.int16, (5, 4, 3), elements=st.integers(-3, 3)).filter(lambda v: v.min() <= 0 < v.max()))
def test_isosurface_of_anything_can_be_smoothed_and_simplified(values: np.ndarray) -> None:
    mesh = extract_isosurface(Volume(values, Grid(values.shape, SHEARED)), 0, SurfaceSettings(simplify=0.3))
    assert mesh.is_closed
    assert mesh.volume_mm3 > 0


def test_isosurface_of_a_ramp_lies_where_the_ramp_has_the_value(oblique_grid: Grid) -> None:
    ijk = np.moveaxis(np.indices(oblique_grid.shape), 0, -1)
    heights = oblique_grid.to_world(ijk)[..., 2]
    mesh = extract_isosurface(Volume(heights, oblique_grid, name="ramp"), 65.25, RAW)
    voxels = oblique_grid.to_voxel(mesh.vertices)
    interior = (voxels > 0).all(axis=1) & (voxels < np.array(oblique_grid.shape) - 1).all(axis=1)
    assert interior.sum() > 100
    np.testing.assert_allclose(mesh.vertices[interior, 2], 65.25, atol=1e-4)
    assert mesh.name == "ramp"


@pytest.mark.parametrize("threshold", [-2000, 500, 10**6])
def test_threshold_outside_the_values_names_their_range(threshold: float, oblique_grid: Grid) -> None:
    array = np.linspace(-1000, 500, np.prod(oblique_grid.shape)).reshape(oblique_grid.shape)
    with pytest.raises(InputError, match=r"the values are -1000 to 500"):
        extract_isosurface(Volume(array, oblique_grid), threshold)


def test_41_organs_of_a_real_ct(shared_data: Path) -> None:
    labels = read_labels(shared_data / "ct" / "example_seg.nii.gz")
    meshes, sizes = extract_surfaces(labels), measure(labels)
    assert len(meshes) == len(sizes) == 41
    for mesh, size in zip(meshes, sizes, strict=True):
        assert mesh.is_closed
        assert size.by_voxels is not None
        # 3 mm voxels; smoothing may move a corner by half of one.
        # Tips that are a voxel thin are smoothed down by up to two thirds of its 3 mm.
        np.testing.assert_allclose(mesh.bounds, size.by_voxels.bounds_mm, atol=2, err_msg=mesh.name)
        assert mesh.volume_mm3 == pytest.approx(1000 * size.by_voxels.volume_ml, rel=2e-3)
    for mesh, size in zip(extract_surfaces(labels, RAW), sizes, strict=True):
        assert size.by_voxels is not None
        np.testing.assert_allclose(mesh.bounds, np.array(size.by_voxels.bounds_mm), atol=1e-3)
        assert size.voxels < 50 or mesh.volume_mm3 == pytest.approx(1000 * size.by_voxels.volume_ml, rel=0.2)
