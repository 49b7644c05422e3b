from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np
import pytest
from page_content import content_of

import volseg
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.resample import reorient
from volseg.core.volume import Volume
from volseg.errors import UsageError
from volseg.prediction.doubt import SliceDoubt
from volseg.prediction.shown_doubt import ShownDoubt

pytestmark = pytest.mark.usefixtures("without_picture")


def doubt_in(content: dict[str, Any]) -> np.ndarray:
    block, shape = content["doubt"]["block"], content["grid"]["shape"]
    flat = np.frombuffer(gzip.decompress(base64.b64decode(block["data"])), np.uint8)
    return flat.reshape(shape, order="F") * content["doubt"]["limit"] / 255


def spot_at(content: dict[str, Any], above: float) -> np.ndarray:
    """The world mm of the middle of what is unsure."""
    affine = np.vstack([content["grid"]["affine"], [0, 0, 0, 1]])
    return affine[:3, :3] @ np.argwhere(doubt_in(content) > above).mean(axis=0) + affine[:3, 3]


def noisy(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> tuple[Volume, LabelMap, Volume]:
    """A noisy scan, a box of labels, and doubt in a corner of the box."""
    grid = Grid.from_spacing(shape, spacing, (-30, 40, 50))
    scan = Volume(np.random.default_rng(1).normal(40, 400, shape).astype(np.int16), grid, modality="CT")
    array, unsure = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    i, j, k = (n // 4 for n in shape)
    array[i : 3 * i, j : 3 * j, k : 3 * k] = 1
    unsure[i : i + 8, j : j + 8, k : k + 4] = 0.8
    return scan, LabelMap.from_array(array, grid), Volume(unsure, grid)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SLP"])
def test_doubt_lies_where_its_affine_says(orientation: str) -> None:
    scan, labels, unsure = noisy((40, 36, 24), (1, 1, 2))
    turned, grid = reorient(scan.array, scan.grid, orientation)
    content = content_of(volseg.page(Volume(turned, grid), labels, meshes=[], doubt=unsure))
    assert content["doubt"]["limit"] == 0.8
    assert content["doubt"]["texts"] == ["0 sure", "0.8 least sure here"]
    np.testing.assert_allclose(spot_at(content, 0.5), unsure.grid.to_world((13.5, 12.5, 7.5)))
    assert doubt_in(content).max() == pytest.approx(0.8)


def test_doubt_is_cropped_and_halved_with_the_scan_and_stays_in_its_room() -> None:
    """Noise in the doubt too: nothing packs worse."""
    scan, labels, unsure = noisy((512, 512, 64), (0.8, 0.8, 3))
    noise = np.random.default_rng(2).random(unsure.array.shape, np.float32) * np.float32(0.3)
    page = volseg.page(scan, labels, meshes=[], doubt=Volume(np.maximum(noise, unsure.array), scan.grid))
    assert len(page.text.encode()) < 10_000_000
    content = content_of(page)
    assert content["grid"]["shape"] == [n // 2 for n in (306, 306)] + [46]
    assert content["notes"][1].startswith("2×2×1 voxels of the scan became one")
    np.testing.assert_allclose(spot_at(content, 0.6), unsure.grid.to_world((131.5, 131.5, 17.5)), atol=0.5)


def test_slices_to_look_at_first_are_counted_on_the_page() -> None:
    scan, labels, unsure = noisy((512, 512, 64), (0.8, 0.8, 3))
    turned, grid = reorient(labels.array, labels.grid, "LPI")
    last = grid.shape[2] - 1
    slices = (SliceDoubt("axial", last - 20, 0.71), SliceDoubt("axial", last - 63, 0.9), SliceDoubt("coronal", 300, 1))
    shown = ShownDoubt(unsure, slices, grid)
    content = content_of(volseg.page(scan, LabelMap(turned, grid, labels.labels), meshes=[], doubt=shown))
    first, second = content["first"]  # the one beyond the part that is shown is left out
    assert (first["plane"], first["agreement"], second["plane"]) == ("axial", 0.71, "coronal")
    affine = np.array(content["grid"]["affine"])
    assert affine[2, 2] * first["place"] + affine[2, 3] == pytest.approx(scan.grid.to_world((0, 0, 20))[2])
    there = scan.grid.to_world((0, 511 - 300, 0))[1]
    assert affine[1, 1] * second["place"] + affine[1, 3] == pytest.approx(there, abs=0.41)


def test_without_doubt_a_page_says_nothing_of_it() -> None:
    scan, labels, unsure = noisy((40, 36, 24), (1, 1, 2))
    for doubt in (None, ShownDoubt()):
        content = content_of(volseg.page(scan, labels, meshes=[], doubt=doubt))
        assert (content["doubt"], content["first"]) == (None, [])
    with pytest.raises(UsageError, match="doubt is laid over slices, and there are none"):
        volseg.page(meshes=volseg.extract_surfaces(labels), doubt=unsure)
