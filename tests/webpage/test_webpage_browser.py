"""Pages opened from disk in a browser without a network."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, opened_browser
from reported_cases import ball_and_bar, unsure_at_the_bar

import volseg
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.resample import reorient
from volseg.core.volume import Volume
from volseg.phantoms import make_ct_phantom
from volseg.prediction.doubt import SliceDoubt
from volseg.prediction.shown_doubt import ShownDoubt
from volseg.webpage import scene_page
from volseg.webpage.niivue import find_niivue

SIDES = {
    "R": ((1, 0, 0), (255, 0, 0)),
    "L": ((-1, 0, 0), (0, 255, 0)),
    "A": ((0, 1, 0), (0, 0, 255)),
    "P": ((0, -1, 0), (255, 255, 0)),
    "S": ((0, 0, 1), (255, 0, 255)),
    "I": ((0, 0, -1), (0, 255, 255)),
}
NAMES = ("<b>bold</b>", '</script><script>document.title="taken"</script>', "${x} & \"quoted\" 'name'")
# The mean place of a colour in a canvas, as shares of its width and height from its middle.
PLACE = """(([red, green, blue], canvas) => {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  if (canvas.ariaLabel === "surfaces in 3D") page.surfaces.nv.drawScene();
  copy.getContext("2d").drawImage(canvas, 0, 0);
  const data = copy.getContext("2d").getImageData(0, 0, copy.width, copy.height).data;
  let count = 0, x = 0, y = 0;
  for (let n = 0; n < data.length; n += 4) {
    // Shading makes a colour darker and lighter; its channels keep their order.
    const near = [red, green, blue].every((value, c) => (value ? data[n + c] > 90 : data[n + c] < 60));
    if (near) [count, x, y] = [count + 1, x + ((n / 4) % copy.width), y + Math.floor(n / 4 / copy.width)];
  }
  return [count, x / count / copy.width - 0.5, y / count / copy.height - 0.5];
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def ct_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_niivue() is None:
        pytest.skip("ipyniivue is not installed (the extra html)")
    phantom = make_ct_phantom(seed=1)
    return volseg.page(phantom.volume, phantom.labels).save(tmp_path_factory.mktemp("page") / "ct.html")


@pytest.fixture
def without_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the picture of the scene, which takes seconds."""
    monkeypatch.setattr(scene_page, "_picture", lambda scan, meshes: "")


def press(browser: Browser, selector: str) -> None:
    browser.run(f'document.querySelector("{selector}").click()')


def views(browser: Browser) -> dict[str, str]:
    return {plane: browser.pixels(plane) for plane in ("axial", "coronal", "sagittal", "3D")}


def test_page_opens_without_a_network_and_its_controls_change_what_is_seen(browser: Browser, ct_page: Path) -> None:
    browser.requests.clear()
    browser.complaints.clear()
    assert browser.open(ct_page) == "all"
    first = views(browser)
    assert all(int(digest.split()[1]) == 100 for digest in first.values()), "a view is nearly blank"
    rows = browser.run("document.querySelectorAll('#structures div').length")
    assert rows == len(page_labels())
    press(browser, "#none")
    without = views(browser)
    assert all(without[plane] != first[plane] for plane in first)
    press(browser, "#structures div:nth-child(1) input")
    alone = views(browser)
    assert alone["3D"] not in (without["3D"], first["3D"])
    press(browser, "#all")
    assert views(browser) == first
    browser.run("page.scene.set('window', [-1350, 150])")
    assert all(now != before for now, before in zip(views(browser).values(), first.values(), strict=True))
    press(browser, "fieldset button")
    assert views(browser) == first
    assert not browser.complaints
    assert [url for url in browser.requests if not url.startswith("data:")] == [ct_page.as_uri()]


def page_labels() -> tuple[Label, ...]:
    return make_ct_phantom(seed=1).labels.labels


def test_wheel_click_and_keys_move_the_slices(browser: Browser, ct_page: Path) -> None:
    browser.open(ct_page)
    box = browser.run(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector(\".tile[data-plane='axial']\").getBoundingClientRect())"
    )
    i, j, k = browser.run("page.scene.at")
    place = {"x": box[0] + box[2] / 2, "y": box[1] + box[3] / 2}
    before = browser.pixels("axial")
    browser.call("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=-100, **place)
    assert browser.run("page.scene.at") == [i, j, k + 1]
    assert browser.pixels("axial") != before
    aside = {"x": place["x"] + box[2] / 10, "y": place["y"] + box[3] / 10}
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **aside)
    moved = browser.run("page.scene.at")
    # Radiological: the patient's left and back are at the right and the bottom of the picture.
    assert moved[0] < browser.run("page.scene.middle")[0]
    assert moved[1] < browser.run("page.scene.middle")[1]
    assert moved[2] == k + 1
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowDown")
    assert browser.run("page.scene.at")[2] == k
    browser.run("document.getElementById('sides').value = 'neurological'")
    browser.run("document.getElementById('sides').onchange()")
    browser.settle()
    assert letters(browser, "axial") == {"left": "L", "right": "R", "top": "A", "bottom": "P"}


def letters(browser: Browser, plane: str) -> dict[str, str]:
    found: dict[str, str] = browser.run(
        f"""Object.fromEntries([...document.querySelectorAll(".tile[data-plane='{plane}'] .letter")]
        .map((element) => [element.classList[1], element.textContent]))"""
    )
    return found


def six_balls(orientation: str, *, oblique: bool) -> LabelMap:
    """One ball near each side of a cube, named by the side that it is on."""
    grid = Grid.from_spacing((41, 41, 41), (2, 2, 2), (-40, -40, -40))
    if oblique:
        a, b = np.radians([20, 12])
        about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        affine = np.eye(4)
        affine[:3, :3] = about_z @ about_x * 2
        affine[:3, 3] = -affine[:3, :3] @ (20, 20, 20)
        grid = Grid(grid.shape, affine)
    array = np.zeros(grid.shape, np.uint8)
    places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    labels = []
    for value, (name, (side, colour)) in enumerate(SIDES.items(), start=1):
        array[np.linalg.norm(places - np.multiply(side, 28), axis=-1) < 11] = value
        labels.append(Label(value, name, colour))
    turned, turned_grid = reorient(array, grid, orientation)
    return LabelMap(turned, turned_grid, tuple(labels))


@pytest.mark.parametrize(("orientation", "oblique"), [("RAS", False), ("LPS", False), ("SLP", False), ("AIL", True)])
@pytest.mark.usefixtures("without_picture")
def test_every_side_is_where_its_letter_is(browser: Browser, tmp_path: Path, orientation: str, oblique: bool) -> None:
    if find_niivue() is None:
        pytest.skip("ipyniivue is not installed (the extra html)")
    labels = six_balls(orientation, oblique=oblique)
    volume = Volume((labels.array > 0).astype(np.int16), labels.grid)
    assert browser.open(volseg.page(volume, labels).save(tmp_path / "sides.html")) == "all"
    browser.run("page.scene.fill = 1; page.scene.crosshair = false; page.scene.set('slicesIn3D', false)")
    for sides, plane in product(("radiological", "neurological"), ("axial", "coronal", "sagittal")):
        browser.run(f"page.scene.set('radiological', {str(sides == 'radiological').lower()})")
        browser.settle()
        for edge, letter in letters(browser, plane).items():
            assert seen_at(browser, plane, letter) == edge, (plane, sides, letter)
    browser.run("page.surfaces.nv.opts.isOrientCube = false")  # it has colours of the balls
    for seen_from, left, top in ("ARS", "PLS", "RPS", "LAS", "SLA", "IRA"):
        browser.run(f"page.surfaces.turnTo('{seen_from}')")
        browser.settle()
        assert (seen_at(browser, "3D", left), seen_at(browser, "3D", top)) == ("left", "top"), seen_from


def seen_at(browser: Browser, plane: str, letter: str) -> str:
    """Return the edge of a view near which the ball of a side is."""
    canvas = f"document.querySelector(\".tile[data-plane='{plane}'] canvas\")"
    count, x, y = browser.run(f"{PLACE}({list(SIDES[letter][1])}, {canvas})")
    assert count > 20, f"{letter} is not seen in the {plane} view"
    if abs(x) > abs(y):
        return "left" if x < 0 else "right"
    return "top" if y < 0 else "bottom"


@pytest.mark.usefixtures("without_picture")
def test_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    grid = Grid.from_spacing((12, 12, 12))
    array = np.zeros(grid.shape, np.uint8)
    for value in (1, 2, 3):
        array[3 * value - 1 : 3 * value + 1, 4:8, 4:8] = value
    labels = LabelMap(array, grid, tuple(Label(n, name, (200, 90 * n - 80, 0)) for n, name in enumerate(NAMES, 1)))
    page = volseg.page(Volume(array, grid, name=NAMES[1]), labels, title=NAMES[1])
    browser.complaints.clear()
    browser.open(page.save(tmp_path / "names.html"))
    assert browser.run("document.title") == NAMES[1]
    assert browser.run("document.querySelector('h1').textContent") == NAMES[1]
    assert browser.run("[...document.querySelectorAll('.name')].map((e) => e.textContent)") == [*NAMES]
    assert browser.run("document.querySelectorAll('b').length") == 0
    assert not browser.complaints


def test_without_niivue_slices_and_a_picture_are_left(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_page, "find_niivue", lambda: None)
    phantom = make_ct_phantom(seed=2)
    browser.complaints.clear()
    assert browser.open(volseg.page(phantom.volume, phantom.labels).save(tmp_path / "bare.html")) == "slices"
    before = browser.pixels("axial")
    browser.run("(slider => { slider.value = 3; slider.oninput(); })(document.querySelector('.tile input'))")
    browser.run("page.scene.moveTo([1, 2, 3])")
    assert browser.pixels("axial") != before
    assert "pip install 'volseg[html]'" in browser.run("document.getElementById('reason').textContent")
    assert not browser.run("document.getElementById('picture').hidden")
    assert not browser.complaints


def test_a_browser_without_webgl2_has_slices_and_a_picture(ct_page: Path) -> None:
    with opened_browser("--disable-3d-apis") as browser:
        assert browser.open(ct_page) == "slices"
        assert "no WebGL2" in browser.run("document.getElementById('reason').textContent")
        assert int(browser.pixels("axial").split()[1]) == 100
        assert not browser.run("document.getElementById('picture').hidden")


@pytest.mark.usefixtures("without_picture")
def test_surfaces_alone_and_labels_alone(browser: Browser, tmp_path: Path) -> None:
    if find_niivue() is None:
        pytest.skip("ipyniivue is not installed (the extra html)")
    labels = six_balls("RAS", oblique=False)
    browser.complaints.clear()
    assert browser.open(volseg.page(labels=labels).save(tmp_path / "labels.html")) == "all"
    assert seen_at(browser, "coronal", "S") == "top"
    assert browser.open(volseg.page(meshes=volseg.extract_surfaces(labels)).save(tmp_path / "meshes.html")) == "all"
    browser.run("page.surfaces.turnTo('A'); page.surfaces.nv.opts.isOrientCube = false")
    assert browser.run("document.querySelectorAll('.tile').length") == 1
    assert seen_at(browser, "3D", "S") == "top"
    press(browser, "#none")
    assert browser.pixels("3D") != ""
    assert not browser.complaints


@pytest.mark.usefixtures("without_picture")
def test_doubt_is_switched_on_and_its_slices_are_jumped_to(browser: Browser, tmp_path: Path) -> None:
    scan, labels = ball_and_bar()
    slices = (SliceDoubt("sagittal", 29, 0.4), SliceDoubt("axial", 15, 0.51))
    doubt = ShownDoubt(unsure_at_the_bar(labels), slices, labels.grid)
    browser.requests.clear()
    browser.complaints.clear()
    path = volseg.page(scan, labels, meshes=[], doubt=doubt).save(tmp_path / "doubt.html")
    browser.open(path)
    assert [shown(browser, part) for part in ("#check-unsure", ".gradient")] == [True, False]
    press(browser, "#first button:nth-child(1)")
    assert browser.run("page.scene.at")[0] == 29
    press(browser, "#first button:nth-child(2)")
    assert browser.run("page.scene.at")[2] == 15
    browser.settle()
    assert "S 30.0 mm" in browser.run("document.querySelector(\".tile[data-plane='axial'] .title\").textContent")
    browser.run("page.scene.outline = 0; page.scene.crosshair = false; page.scene.set('fill', 0)")
    off = {plane: browser.pixels(plane) for plane in ("axial", "coronal", "sagittal")}
    assert seen(browser, "axial") == 0
    press(browser, "#check-unsure")
    assert {plane: browser.pixels(plane) for plane in off}["sagittal"] != off["sagittal"]
    assert seen(browser, "axial") > 100
    assert "doubt 0.90" in browser.run("(page.scene.moveTo([29, 15, 10]), page.scene.describe())")
    assert shown(browser, ".gradient")
    assert browser.run("document.querySelector('.gradient').textContent") == "0 sure0.9 least sure here"
    browser.run("(layout => (layout.value = 'coronal', layout.onchange()))(document.getElementById('layout'))")
    press(browser, "#first button:nth-child(2)")
    assert shown(browser, ".tile[data-plane='axial']")
    press(browser, "#check-unsure")
    assert seen(browser, "axial") == 0
    assert not browser.complaints
    assert [url for url in browser.requests if not url.startswith("data:")] == [path.as_uri()]


def shown(browser: Browser, selector: str) -> bool:
    return bool(browser.run(f'document.querySelector("{selector}").checkVisibility()'))


def seen(browser: Browser, plane: str) -> int:
    """Count the pixels of a view that are no grey: those with clearly more red than blue."""
    browser.settle()
    found = browser.run(
        f"""((canvas) => {{
          const copy = document.createElement("canvas");
          [copy.width, copy.height] = [canvas.width, canvas.height];
          copy.getContext("2d").drawImage(canvas, 0, 0);
          const data = copy.getContext("2d").getImageData(0, 0, copy.width, copy.height).data;
          let count = 0;
          for (let n = 0; n < data.length; n += 4) count += data[n] - data[n + 2] > 30;
          return count;
        }})(document.querySelector(".tile[data-plane='{plane}'] canvas"))"""
    )
    return int(found)
