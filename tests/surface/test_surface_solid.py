from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import UsageError
from volseg.phantoms import Ellipsoid, rasterise
from volseg.surface import SurfaceSettings, extract_isosurface, extract_surfaces
from volseg.surface.intersections import count_self_intersections, without_crossings
from volseg.surface.march import march
from volseg.surface.smooth import connected_pieces, smooth_mesh
from volseg.surface.solid import solid_of

PRINT = SurfaceSettings(print_ready=True)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 1, 4)])
@given(mask=arrays(np.bool_, (6, 5, 4)).filter(np.any))
def test_any_labels_become_one_manifold_solid(spacing: tuple[float, float, float], mask: np.ndarray) -> None:
    array = mask * (1 + np.arange(6, dtype=np.uint8)[:, None, None] % 2)
    (mesh,) = extract_surfaces(LabelMap.from_array(array, Grid.from_spacing(array.shape, spacing)), PRINT)
    assert mesh.is_manifold
    assert mesh.volume_mm3 > 0
    assert count_self_intersections(mesh) == 0


def test_cavities_and_specks_go_and_the_volume_is_that_of_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    array = np.zeros((20, 20, 20), dtype=np.uint8)
    array[2:10, 2:16, 2:16], array[10:16, 2:16, 2:16] = 1, 2
    array[6, 6, 6] = array[12, 5, 5] = 0
    array[18, 18, 18] = 3
    labels = LabelMap.from_array(array, Grid.from_spacing(array.shape))
    (mesh,) = extract_surfaces(labels, SurfaceSettings(print_ready=True, report=True))
    assert mesh.name == "solid"
    assert "the solid is the largest piece only; 0.001 ml" in caplog.text
    assert mesh.quality is not None
    assert (mesh.quality.pieces, mesh.quality.euler_number) == (1, 2)
    assert mesh.volume_mm3 == pytest.approx(14**3, rel=2e-3)


@pytest.mark.parametrize("other", [(3, 3, 2), (3, 2, 3), (2, 3, 3), (3, 3, 3)])
def test_hinges_are_filled(other: tuple[int, int, int]) -> None:
    array = np.zeros((6, 6, 6), dtype=np.uint8)
    array[2, 2, 2] = array[other] = 1
    # Joined by a way round, so that both are of one piece.
    array[2, 2, 0:2] = array[2, 0:2, 0] = array[2:5, 0, 0] = array[4, 0:5, 0] = array[4, 4, 0:5] = 1
    array[other[0] : 5, 4, other[2]] = array[other[0], other[1] : 5, other[2]] = 1
    solid = solid_of([LabelMap.from_array(array, Grid.from_spacing(array.shape))])
    assert solid.array[array > 0].all()
    (mesh,) = extract_surfaces(solid, PRINT)
    assert mesh.is_manifold


def test_single_label_keeps_its_name_and_layers_may_overlap() -> None:
    grid = Grid.from_spacing((8, 8, 8))
    layers = []
    for value, start in ((1, 1), (2, 3)):
        array = np.zeros(grid.shape, dtype=np.uint8)
        array[start : start + 4, 2:6, 2:6] = value
        layers.append(LabelMap(array, grid, (Label(value, f"part {value}", (1, 2, value)),)))
    assert [label.name for label in solid_of(layers[:1]).labels] == ["part 1"]
    joined = solid_of(layers)
    assert [label.name for label in joined.labels] == ["solid"]
    assert np.count_nonzero(joined.array) == 6 * 4 * 4


def test_simplified_solid_stays_manifold() -> None:
    grid = Grid.from_spacing((40, 30, 30))
    labels = rasterise({"a": Ellipsoid((15, 15, 15), (12, 8, 9)), "b": Ellipsoid((26, 15, 15), (9, 10, 7))}, grid)
    (mesh,) = extract_surfaces(labels, SurfaceSettings(print_ready=True, faces=300))
    assert len(mesh.faces) <= 300
    assert mesh.is_manifold
    assert count_self_intersections(mesh) == 0


def test_solid_and_shared_walls_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="leave one out"):
        SurfaceSettings(print_ready=True, shared_walls=True)


def test_thick_slices_give_one_piece_too() -> None:
    array = np.zeros((60, 24, 9), dtype=np.uint8)
    array[2:14, 4:20, 0:3], array[46:58, 4:20, 6:9] = 1, 1
    for n, k in enumerate((2, 3, 4, 5, 6)):
        array[13 + 7 * n : 21 + 7 * n, 11:13, k] = 1
    labels = LabelMap.from_array(array, Grid.from_spacing(array.shape, (1, 1, 4)))
    (mesh,) = extract_surfaces(labels, PRINT)
    assert mesh.is_manifold
    assert len(np.unique(connected_pieces(mesh.faces, len(mesh.vertices)))) == 1


def test_nothing_there_gives_nothing(caplog: pytest.LogCaptureFixture) -> None:
    empty = LabelMap(np.zeros((4, 4, 4), np.uint8), Grid.from_spacing((4, 4, 4)), (Label(1, "liver", (1, 2, 3)),))
    assert extract_surfaces(empty, PRINT) == []
    assert extract_surfaces(empty, SurfaceSettings(shared_walls=True)) == []
    assert caplog.text.count("no voxels, so no surface: liver") == 1


@pytest.mark.parametrize("smooth", [True, False])
@given(values=arrays(np.int16, (6, 5, 4), elements=st.integers(-3, 3)).filter(lambda a: 0 < np.sum(a > 0) < a.size))
def test_any_scan_becomes_one_manifold_solid_at_any_threshold(smooth: bool, values: np.ndarray) -> None:
    scan = Volume(values, Grid.from_spacing(values.shape, (1, 1, 1.2)), "scan")
    mesh = extract_isosurface(scan, 0.0, SurfaceSettings(smooth=smooth, print_ready=True))
    assert mesh.is_manifold
    assert len(np.unique(connected_pieces(mesh.faces, len(mesh.vertices)))) == 1
    assert mesh.volume_mm3 > 0
    assert count_self_intersections(mesh) == 0


def test_solid_of_a_scan_runs_where_the_scan_has_the_value(caplog: pytest.LogCaptureFixture) -> None:
    grid = Grid.from_spacing((40, 40, 40))
    radius = np.linalg.norm(np.indices(grid.shape) - np.reshape([18.3, 19.6, 20.1], (3, 1, 1, 1)), axis=0)
    values = 12.25 - radius
    values[radius < 4] = -5  # a cavity
    values[2, 2, 2] = 3  # and a speck
    mesh = extract_isosurface(Volume(values, grid, "ball"), 0.0, SurfaceSettings(smooth=False, print_ready=True))
    away = np.linalg.norm(mesh.vertices - [18.3, 19.6, 20.1], axis=1) - 12.25
    assert np.abs(away).max() < 0.02
    assert mesh.name == "ball"
    assert "the solid is the largest piece only; 0.001 ml" in caplog.text


def random_solid(seed: int) -> LabelMap:
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(30, 30, 30)), 0.4)
    array = (values > 0).astype(np.uint8)
    return solid_of([LabelMap.from_array(array, Grid.from_spacing(array.shape))])


@pytest.mark.parametrize("seed", range(4))
def test_smoothing_is_taken_back_where_triangles_cross_and_nowhere_else(seed: int) -> None:
    solid = random_solid(seed)
    marched = march(solid.array > 0, solid.grid)
    smoothed = smooth_mesh(marched)
    assert count_self_intersections(smoothed) > 0
    mended = without_crossings(smoothed, marched)
    assert count_self_intersections(mended) == 0
    moved = np.any(mended.vertices != smoothed.vertices, axis=1)
    assert 0 < np.count_nonzero(moved) < 0.2 * len(moved)
    nearer = np.linalg.norm(mended.vertices - marched.vertices, axis=1)
    assert (nearer <= np.linalg.norm(smoothed.vertices - marched.vertices, axis=1) + 1e-9).all()
    assert mended.volume_mm3 == pytest.approx(smoothed.volume_mm3, rel=5e-3)


def test_what_does_not_cross_stays_as_it_is() -> None:
    solid = rasterise({"a": Ellipsoid((15, 15, 15), (9, 8, 7))}, Grid.from_spacing((30, 30, 30)))
    marched = march(solid.array > 0, solid.grid)
    smoothed = smooth_mesh(marched)
    assert without_crossings(smoothed, marched) is smoothed


def test_crossings_that_are_left_are_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def unmended(smoothed: Mesh, marched: Mesh) -> Mesh:
        return smoothed

    monkeypatch.setattr("volseg.surface.extract.without_crossings", unmended)
    extract_surfaces(random_solid(0), PRINT)
    assert "pairs of triangles intersect" in caplog.text
