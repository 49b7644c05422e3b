from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest
from page_content import content_of

import volseg
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume
from volseg.errors import InputError, UsageError
from volseg.phantoms import make_ct_phantom
from volseg.webpage import scene_page

pytestmark = pytest.mark.usefixtures("without_picture")


def test_structures_have_names_colours_volumes_and_places() -> None:
    phantom = make_ct_phantom(seed=1)
    content = content_of(volseg.page(phantom.volume, phantom.labels))
    structures = content["structures"]
    assert [one["name"] for one in structures] == [label.name for label in phantom.labels.labels]
    shape = content["grid"]["shape"]
    values = shown_values(phantom.labels)
    for one, label in zip(structures, phantom.labels.labels, strict=True):
        ml = phantom.labels.mask(label).sum() * phantom.labels.grid.voxel_volume_mm3 / 1000
        assert float(one["volume"].removesuffix(" ml").replace(",", "")) == pytest.approx(ml, rel=0.02)
        assert tuple(one["colour"]) == label.colour
        assert content["meshes"][one["mesh"]]["faces"]["data"]
        assert all(0 <= place < n for place, n in zip(one["at"], shape, strict=True))
        assert values[tuple(one["at"])] == label.value


def shown_values(labels: LabelMap) -> np.ndarray:
    from volseg.view.shown_voxels import Shown

    return Shown.all_of(labels.grid).values_of(labels)


def test_labels_outside_the_scan_are_said_on_the_page() -> None:
    phantom = make_ct_phantom(seed=1)
    affine = phantom.labels.grid.affine.copy()
    affine[2, 3] -= 40
    moved = LabelMap(phantom.labels.array, Grid(phantom.labels.grid.shape, affine), phantom.labels.labels)
    (note,) = content_of(volseg.page(phantom.volume, moved, meshes=[]))["notes"]
    assert re.match(r"\d+\.\d% of the labelled voxels lie outside the scan", note)


def test_a_large_scan_gives_a_page_below_10_mb_that_says_why() -> None:
    shape = (512, 512, 64)
    values = np.random.default_rng(1).normal(40, 400, shape).astype(np.int16)
    grid = Grid.from_spacing(shape, (0.8, 0.8, 3))
    array = np.zeros(shape, np.uint8)
    array[60:450, 60:450, 2:62] = 1
    page = volseg.page(Volume(values, grid, modality="CT"), LabelMap.from_array(array, grid), meshes=[])
    assert len(page.text.encode()) < 10_000_000
    cropped, halved = content_of(page)["notes"]
    assert cropped.startswith("Only 440×440×64 voxels of the scan")
    assert halved.startswith("2×2×1 voxels of the scan became one")


def test_page_is_saved_whole_and_framed_in_a_notebook(tmp_path: Path) -> None:
    phantom = make_ct_phantom(seed=1)
    page = volseg.page(phantom.volume, title='a "scan" & <more>', meshes=[])
    path = page.save(tmp_path / "new" / "scene.html")
    assert path.read_text(encoding="utf-8") == page.text
    assert "<title>a &quot;scan&quot; &amp; &lt;more&gt;</title>" in page.text
    frame = page._repr_html_()
    (source,) = re.findall(r'<iframe srcdoc="([^"]*)"', frame)
    assert html.unescape(source) == page.text


def test_page_is_opened_in_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(scene_page.webbrowser, "open", asked.append)
    path = volseg.page(make_ct_phantom(seed=1).volume).open()
    assert asked == [path.as_uri()]
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_only_html_is_written_and_nothing_is_refused(tmp_path: Path) -> None:
    page = volseg.page(make_ct_phantom(seed=1).volume)
    with pytest.raises(UsageError, match=r"scene\.pdf; expected a name that ends in \.html"):
        page.save(tmp_path / "scene.pdf")
    with pytest.raises(InputError, match="needs a scan, a label map or a mesh"):
        volseg.page()


def test_more_labels_than_a_byte_holds() -> None:
    grid = Grid.from_spacing((300, 2, 2))
    labels = LabelMap.from_array(np.broadcast_to(np.arange(1, 301)[:, None, None], grid.shape), grid)
    content = content_of(volseg.page(labels=labels, meshes=[]))
    assert len(content["structures"]) == 300
    assert content["layers"][0]["type"] == "uint16"
