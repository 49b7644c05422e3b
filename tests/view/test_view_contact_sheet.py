from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.resample import reorient
from volseg.core.volume import Volume
from volseg.errors import GeometryError, InputError, OutputError, UsageError
from volseg.files.atomic import write_text
from volseg.phantoms import make_ct_phantom
from volseg.surface import extract_surfaces
from volseg.view import draw_contact_sheet, save_contact_sheet
from volseg.view.greyscale import SOFT_TISSUE_HU, display_window, to_grey
from volseg.view.sheet_slices import select_slices

COARSE = {"axial": (1.0, 1.0, 4.0), "coronal": (1.0, 4.0, 1.0), "sagittal": (4.0, 1.0, 1.0)}
ORIENTATIONS = ["".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)]


def ball(grid: Grid, centre_mm: tuple[float, float, float], radius_mm: float) -> LabelMap:
    points = grid.to_world(np.stack(np.indices(grid.shape), axis=-1))
    inside = np.linalg.norm(points - centre_mm, axis=-1) <= radius_mm
    return LabelMap(inside.astype(np.uint8), grid, (Label(1, "ball", (255, 0, 0)),))


def centre_of(values: np.ndarray) -> tuple[float, float]:
    """Place of a label in a slice as fractions of its height and width."""
    rows, columns = np.nonzero(values)
    return (rows.mean() + 0.5) / values.shape[0], (columns.mean() + 0.5) / values.shape[1]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("plane", COARSE)
def test_front_left_head_is_where_radiologists_expect_it(plane: str, orientation: str) -> None:
    grid = Grid.from_spacing((24, 24, 24), COARSE[plane])
    middle = grid.to_world((11.5, 11.5, 11.5))
    extent = np.array(COARSE[plane]) * 5
    # World x grows to the right: this is towards the patient's left, front and head.
    labels = ball(grid, tuple(middle + extent * (-1, 1, 1)), 4.5)
    array, turned = reorient(labels.array, grid, orientation)
    sheet = select_slices(None, [LabelMap(array, turned, labels.labels)], count=9)
    assert sheet.plane == plane
    row, column = centre_of(sheet.slices[len(sheet.slices) // 2].values[0])
    assert row < 0.5
    assert (column < 0.5) == (plane == "sagittal")


def test_slices_of_an_oblique_scan_keep_grey_and_labels_together(oblique_grid: Grid) -> None:
    array = np.zeros(oblique_grid.shape, dtype=np.int16)
    array[4:9, 10:20, 2:8] = 100
    labels = LabelMap.from_array((array > 0).astype(np.uint8), oblique_grid)
    sheet = select_slices(Volume(array, oblique_grid), [labels], count=20)
    assert sheet.plane == "axial"
    assert len(sheet.slices) == 6
    assert sheet.pixel_mm == pytest.approx((0.9, 0.8))
    for one in sheet.slices:
        assert np.array_equal(one.grey == 255, one.values[0] == 1)


def test_positions_are_world_millimetres_from_the_head_down() -> None:
    grid = Grid.from_spacing((8, 8, 5), (1, 1, 3), (0, 0, -4))
    sheet = select_slices(Volume(np.zeros(grid.shape), grid), [], count=10)
    assert [one.position for one in sheet.slices] == ["S 8.0 mm", "S 5.0 mm", "S 2.0 mm", "I 1.0 mm", "I 4.0 mm"]


def test_slices_spread_over_the_labels_and_are_cropped_around_them() -> None:
    grid = Grid.from_spacing((200, 180, 60), (1, 1, 3))
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[90:110, 80:120, 20:40] = 1
    sheet = select_slices(None, [LabelMap.from_array(array, grid)], count=4)
    assert [one.position for one in sheet.slices] == ["S 111.0 mm", "S 96.0 mm", "S 81.0 mm", "S 66.0 mm"]
    # The label's 40 x 20 pixels, and on every side 20 mm and a quarter.
    assert sheet.slices[0].values.shape == (1, 40 + 2 * 30, 20 + 2 * 25)


def test_labels_on_a_part_of_the_scan_are_placed_by_millimetres() -> None:
    phantom = make_ct_phantom(seed=1)
    start, stop = (10, 20, 4), (100, 90, 20)
    part = np.zeros((90, 70, 16), dtype=np.uint8)
    part[:86] = phantom.labels.array[10:96, 20:90, 4:20]
    labels = LabelMap(part, phantom.labels.grid.crop(start, stop), phantom.labels.labels)
    shown = phantom.labels.array.copy()
    shown[:10], shown[:, :20], shown[:, 90:], shown[:, :, :4], shown[:, :, 20:] = 0, 0, 0, 0, 0
    expected = select_slices(phantom.volume, [LabelMap(shown, phantom.labels.grid, phantom.labels.labels)], count=5)
    sheet = select_slices(phantom.volume, [labels], count=5)
    assert sum(int(one.values.any()) for one in sheet.slices) == 5
    for one, other in zip(sheet.slices, expected.slices, strict=True):
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(one.grey, other.grey)


@pytest.mark.parametrize("offset", [(0.5, 0, 0), (0, 0, 1000)], ids=["between voxels", "elsewhere"])
def test_labels_between_voxels_or_elsewhere_are_refused(offset: tuple[float, float, float]) -> None:
    grid = Grid.from_spacing((8, 8, 8))
    labels = ball(Grid.from_spacing((8, 8, 8), origin=offset), offset, 3)
    with pytest.raises(GeometryError, match=r"does not lie on voxels of the scan .* resample"):
        draw_contact_sheet(Volume(np.zeros(grid.shape), grid), labels)


def test_outlines_have_the_area_and_the_place_of_the_label() -> None:
    grid = Grid.from_spacing((60, 40, 1), (1, 2, 5))
    labels = ball(grid, (20, 50, 0), 15)
    figure = draw_contact_sheet(None, labels, width=600)
    (axes,) = figure.axes
    left, right, bottom, top = axes.images[0].get_extent()
    rows, columns = axes.images[0].get_array().shape[:2]
    assert (bottom - top) / (right - left) == pytest.approx(2 * rows / columns, rel=1e-6)
    (outline,) = axes.collections[0].get_segments()
    mm = columns / (right - left)
    x, y = ((outline - (left, top)) * mm).T
    area = abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1))) / 2
    assert area == pytest.approx(np.pi * 15**2, rel=0.05)
    # The patient's right, 20 mm from the scan's left border, of 60 mm, is on the left of the picture.
    assert x.mean() == pytest.approx(columns - 20.5, abs=0.5)
    assert np.allclose(axes.collections[0].get_colors()[0], (1, 0, 0, 1))


def test_outline_at_the_border_of_a_scan_is_closed() -> None:
    grid = Grid.from_spacing((10, 10, 1))
    labels = LabelMap.from_array(np.ones(grid.shape, dtype=np.uint8), grid)
    (outline,) = draw_contact_sheet(None, labels).axes[0].collections[0].get_segments()
    assert np.allclose(outline[0], outline[-1])


def test_legend_names_the_labels_that_occur_and_no_formula() -> None:
    grid = Grid.from_spacing((8, 8, 4))
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[2:5, 2:5, 1:3] = 2
    labels = LabelMap(array, grid, (Label(1, "absent", (1, 2, 3)), Label(2, "$x$ & leber_ü", (0, 255, 0))))
    texts = {text.get_text(): text for text in draw_contact_sheet(None, labels).axes[0].texts}
    assert "absent" not in texts
    assert not texts["$x$ & leber_ü"].get_parse_math()
    assert {"R", "L", "A", "P"} <= set(texts)


def test_long_legend_is_cut_with_a_count() -> None:
    grid = Grid.from_spacing((100, 4, 4))
    array = np.broadcast_to(np.arange(1, 101, dtype=np.uint8)[:, None, None], grid.shape)
    texts = [text.get_text() for text in draw_contact_sheet(None, LabelMap.from_array(array, grid)).axes[0].texts]
    assert "and 40 more" in texts
    assert "label_60" in texts
    assert "label_61" not in texts


@pytest.mark.parametrize("shape", [(16, 16, 1), (1, 16, 16), (16, 1, 1), (1, 1, 1)])
def test_thin_volumes_are_drawn(shape: tuple[int, int, int], tmp_path: Path) -> None:
    grid = Grid.from_spacing(shape, (1, 1, 5))
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    path = save_contact_sheet(
        Volume(values, grid), LabelMap.from_array((values > 9).astype(int), grid), tmp_path / "a.png"
    )
    assert imread(path).shape[1] == 1600


def test_picture_has_the_width_asked_for(tmp_path: Path) -> None:
    phantom = make_ct_phantom(seed=2)
    path = save_contact_sheet(phantom.volume, phantom.labels, tmp_path / "new" / "sheet.png", slices=6, width=700)
    picture = imread(path)
    assert picture.shape[1] == 700
    # The legend's square of the first label has its colour.
    colour = np.array(phantom.labels.labels[0].colour) / 255
    assert (np.abs(picture[..., :3] - colour).max(axis=-1) < 0.01).sum() > 20


def test_only_png_is_written(tmp_path: Path) -> None:
    phantom = make_ct_phantom(seed=2)
    with pytest.raises(UsageError, match=r"sheet\.jpg; expected a name that ends in \.png"):
        save_contact_sheet(phantom.volume, None, tmp_path / "sheet.jpg")
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    grid = Grid.from_spacing((4, 4, 4))
    with pytest.raises(OutputError, match="cannot be written"):
        save_contact_sheet(Volume(np.zeros(grid.shape), grid), None, tmp_path / "file" / "sheet.png")


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(InputError, match="needs a scan or a label map"):
        draw_contact_sheet(None, None)


def test_window_is_soft_tissue_for_ct_and_percentiles_otherwise() -> None:
    grid = Grid.from_spacing((10, 10, 10))
    ramp = np.arange(1000, dtype=np.int16).reshape(grid.shape)
    assert display_window(Volume(ramp, grid, modality="CT")) == SOFT_TISSUE_HU
    assert display_window(Volume(ramp, grid, unit="HU")) == SOFT_TISSUE_HU
    assert display_window(Volume(ramp - 1000, grid)) == SOFT_TISSUE_HU
    assert display_window(Volume(ramp, grid)) == pytest.approx((5, 994), abs=1)
    assert display_window(Volume(ramp - 1000, grid, modality="MR")) == pytest.approx((-995, -6), abs=1)


def test_constant_and_broken_values_are_drawn_black() -> None:
    grid = Grid.from_spacing((4, 4, 4))
    constant = Volume(np.full(grid.shape, 7.0), grid)
    assert not to_grey(constant.array, display_window(constant)).any()
    broken = Volume(np.full(grid.shape, np.nan), grid)
    assert not to_grey(broken.array, display_window(broken)).any()


def test_surface_is_drawn_where_slices_cut_it_on_an_oblique_grid(oblique_grid: Grid) -> None:
    centre = tuple(oblique_grid.to_world((10, 12, 5)))
    labels = ball(oblique_grid, centre, 7)
    sheet = select_slices(None, [labels], count=15)
    (mesh,) = extract_surfaces(labels)
    for one in sheet.slices[1:-1]:
        ends = sheet.section(mesh, one).reshape(-1, 2)
        inside = np.argwhere(one.values[0])
        # In the same place as the label, half a pixel around the middles of its pixels.
        np.testing.assert_allclose(ends.mean(axis=0), inside.mean(axis=0), atol=0.7)
        np.testing.assert_allclose(ends.min(axis=0), inside.min(axis=0) - 0.5, atol=0.7)
        np.testing.assert_allclose(ends.max(axis=0), inside.max(axis=0) + 0.5, atol=0.7)
    axes = draw_contact_sheet(None, labels, meshes=[mesh]).axes[0]
    outlines, sections = axes.collections[4], axes.collections[5]
    drawn = np.concatenate(sections.get_segments())
    around = np.concatenate(outlines.get_segments())
    pixel = np.ptp(around, axis=0) / 16
    np.testing.assert_allclose(drawn.mean(axis=0), around.mean(axis=0), atol=pixel.max())
    np.testing.assert_allclose(np.ptp(drawn, axis=0), np.ptp(around, axis=0), atol=2 * pixel.max())


def test_mesh_of_another_place_is_not_drawn(oblique_grid: Grid) -> None:
    labels = ball(oblique_grid, tuple(oblique_grid.to_world((10, 12, 5))), 7)
    (mesh,) = extract_surfaces(labels)
    far = mesh.with_vertices(mesh.vertices + 500)
    sheet = select_slices(None, [labels], count=3)
    assert [len(sheet.section(far, one)) for one in sheet.slices] == [0, 0, 0]


def test_label_maps_that_overlap_are_all_drawn() -> None:
    grid = Grid.from_spacing((40, 40, 1), (1, 1, 5))
    one, other = ball(grid, (18, 20, 0), 9), ball(grid, (22, 20, 0), 9)
    (axes,) = draw_contact_sheet(None, [one, other]).axes
    outlines = [segment for collection in axes.collections for segment in collection.get_segments()]
    assert len(outlines) == 2
    assert abs(outlines[0].mean(axis=0) - outlines[1].mean(axis=0)).max() > 10
    assert [text.get_text() for text in axes.texts].count("ball") == 2
    alone = select_slices(None, [other], count=1).slices[0].values
    assert (select_slices(None, [one, other], count=1).slices[0].values[1] > 0).sum() == (alone > 0).sum()


def test_label_maps_without_a_scan_are_drawn_on_a_grid_that_holds_all() -> None:
    grid = Grid.from_spacing((30, 30, 4), (1, 1, 5))
    one, other = ball(grid, (8, 8, 7), 5), ball(grid, (22, 20, 7), 5)
    parts = [
        LabelMap(one.array[:15, :15], grid.crop((0, 0, 0), (15, 15, 4)), one.labels),
        LabelMap(other.array[15:, 12:], grid.crop((15, 12, 0), (30, 30, 4)), other.labels),
    ]
    whole = select_slices(None, [one, other], count=3)
    for order in (parts, parts[::-1]):
        sheet = select_slices(None, order, count=3)
        for found, expected in zip(sheet.slices, whole.slices, strict=True):
            assert (found.values > 0).sum() == (expected.values > 0).sum()
    far = LabelMap(one.array, Grid.from_spacing(grid.shape, (1, 1, 5), (900, 900, 900)), one.labels)
    with pytest.raises(GeometryError, match="the label maps lie apart from each other"):
        draw_contact_sheet(None, [one, far])


def test_names_in_any_script_are_drawn_without_a_word(tmp_path: Path) -> None:
    grid = Grid.from_spacing((8, 8, 2))
    labels = LabelMap(np.ones(grid.shape, np.uint8), grid, (Label(1, "\U00020000\x1b$x", (1, 2, 3)),))
    assert save_contact_sheet(None, labels, tmp_path / "sheet.png").stat().st_size > 100
