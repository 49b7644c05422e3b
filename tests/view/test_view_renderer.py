from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from volseg.core.grid import Grid
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import RenderError, UsageError
from volseg.phantoms import make_ct_phantom
from volseg.surface import extract_surfaces
from volseg.view import available_renderer, renderer, save_screenshot, show
from volseg.view.content import make_scene
from volseg.view.renderer import Job

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
SIZE = (320, 240)


def marker(centre_mm: np.ndarray, radius_mm: float = 1.0) -> Mesh:
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * radius_mm
    return Mesh(centre_mm + corners, TETRAHEDRON[:, ::-1], "m", (255, 0, 0))


@pytest.fixture(scope="module")
def drawable() -> None:
    if available_renderer() is None:
        pytest.skip("no renderer on this machine (libegl1 libgl1-mesa-dri, or libosmesa6)")


def test_slice_and_mesh_are_drawn_at_the_same_place(drawable: None, oblique_grid: Grid, tmp_path: Path) -> None:
    array = np.full(oblique_grid.shape, 400, dtype=np.int16)
    array[:, ::4] = 0
    array[12:15, 3:6, 6:9] = 1000
    at = oblique_grid.to_world((13, 4, 7))
    scene = make_scene(meshes=[marker(at, 0.5)], volume=Volume(array, oblique_grid))
    dark = tuple(replace(picture, grey=np.minimum(picture.grey, 102)) for picture in scene.slices)
    with_block, without = tmp_path / "with.png", tmp_path / "without.png"
    for path, drawn in ((with_block, scene), (without, replace(scene, slices=dark))):
        assert renderer._draw(Job(drawn, SIZE, path), renderer=available_renderer() or "", seconds=60) is None
    first, second = imread(with_block)[..., :3], imread(without)[..., :3]
    block = np.argwhere(np.abs(first - second).max(axis=-1) > 0.1)
    red = (second[..., 0] > 0.4) & (second[..., 1] < 0.2)
    red[:, int(0.85 * SIZE[0]) :] = False  # the legend
    red[int(0.75 * SIZE[1]) :, : int(0.2 * SIZE[0])] = False  # the orientation marker
    assert len(block) > 100
    assert red.sum() > 4
    # The whole scan is about 200 pixels high; the block mirrored along any axis would lie 30 pixels or more away.
    assert np.linalg.norm(block.mean(axis=0) - np.argwhere(red).mean(axis=0)) < 4


def test_patients_left_is_on_the_right_and_the_head_up(drawable: None, tmp_path: Path) -> None:
    meshes = [
        Mesh(marker(np.array(centre), 4).vertices, TETRAHEDRON[:, ::-1], "", colour)
        for centre, colour in (((-40.0, 0, 0), (255, 0, 0)), ((40.0, 0, 0), (0, 255, 0)), ((0.0, 0, 40), (0, 0, 255)))
    ]
    picture = imread(save_screenshot(tmp_path / "a.png", meshes=meshes, size=SIZE))[..., :3]
    picture = picture[: int(0.75 * SIZE[1]), : int(0.85 * SIZE[0])]
    places = [np.argwhere(picture[..., c] > 2 * np.delete(picture, c, axis=-1).max(axis=-1) + 0.1) for c in range(3)]
    left, right, head = (place.mean(axis=0) for place in places)
    assert left[1] > head[1] > right[1]
    assert head[0] < min(left[0], right[0])


def test_screenshot_has_the_size_and_the_colours(drawable: None, tmp_path: Path) -> None:
    phantom = make_ct_phantom(seed=1)
    meshes = extract_surfaces(phantom.labels)
    path = save_screenshot(tmp_path / "a.png", meshes=meshes, volume=phantom.volume, size=(400, 300))
    picture = imread(path)
    assert picture.shape[:2] == (300, 400)
    legend = picture[:, 250:, :3]
    for mesh in meshes:
        assert (np.abs(legend - np.array(mesh.colour) / 255).max(axis=-1) < 0.03).any(), mesh.name


def test_no_renderer_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "available_renderer", lambda: None)
    with pytest.raises(RenderError, match=r"apt-get install libegl1 libgl1-mesa-dri.*contact sheets"):
        save_screenshot(tmp_path / "a.png", meshes=[marker(np.zeros(3))])
    assert not list(tmp_path.iterdir())


def let_children_run(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", code], dict(os.environ)
    monkeypatch.setattr(renderer, "child_python", lambda _module: command)


def test_renderer_that_crashes_or_hangs_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene(meshes=[marker(np.zeros(3))])
    answers = []
    for code in ("import os; os.abort()", "import time; time.sleep(60)", "import sys; sys.exit('no GL')"):
        let_children_run(code, monkeypatch)
        answers.append(renderer._draw(Job(scene, SIZE, tmp_path / "a.png"), renderer="", seconds=2))
    assert "crashed" in str(answers[0])
    assert answers[1:] == ["no answer after 2 s", "no GL"]
    assert renderer.available_renderer.__wrapped__() is None


def test_failed_picture_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "available_renderer", lambda: "")
    let_children_run("import sys; sys.exit('no GL')", monkeypatch)
    with pytest.raises(RenderError, match=r"a\.png: the 3D picture could not be drawn \(no GL\)"):
        save_screenshot(tmp_path / "a.png", meshes=[marker(np.zeros(3))])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("chosen", "display", "expected"),
    [
        (None, False, ["vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"]),
        (None, True, ["", "vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"]),
        ("vtkOSOpenGLRenderWindow", False, ["vtkOSOpenGLRenderWindow", "vtkEGLRenderWindow"]),
    ],
)
def test_candidates_follow_the_environment(
    chosen: str | None, display: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VTK_DEFAULT_OPENGL_WINDOW", raising=False)
    if chosen:
        monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", chosen)
    monkeypatch.setattr(renderer, "_has_display", lambda: display)
    assert renderer._candidates() == expected


def test_window_without_a_display_points_to_screenshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "_has_display", lambda: False)
    with pytest.raises(RenderError, match="--screenshot"):
        show(meshes=[marker(np.zeros(3))])


def test_only_png_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a name that ends in \.png"):
        save_screenshot(tmp_path / "a.gif", meshes=[marker(np.zeros(3))])
