"""The window, drawn off-screen by a process of its own, as VTK may end the process that it is in."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from volseg.view import available_renderer
from volseg.view.renderer import WINDOW_CLASS

PREAMBLE = """
import numpy as np
from volseg.core.grid import Grid
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.phantoms import sphere_labelmap
from volseg.surface import extract_surfaces
from volseg.view.content import make_scene
from volseg.view.keys import press
from volseg.view.window import Window

grid = Grid.from_spacing((32, 32, 32), (2, 2, 2))
volume = Volume((np.indices(grid.shape).sum(axis=0) * 20 - 900).astype(np.int16), grid, modality="CT", unit="HU")
ball = extract_surfaces(sphere_labelmap(grid, radius_mm=12))[0]
red, blue = [Mesh(ball.vertices + (shift, 0, 0), ball.faces, name, colour) for shift, name, colour in
             ((-14, "one", (255, 0, 0)), (14, "two", (0, 0, 255)))]


def opened(meshes, scan, doubt=None):
    return Window(make_scene(meshes=meshes, volume=scan, movable=True, doubt=doubt), (400, 300), off_screen=True)


def picture(window):
    return window.plotter.screenshot(return_img=True)[:, :, :3].astype(int)


def count(window, channel):
    seen = picture(window)[:, 70:280]  # without the marker of axes and the legend
    return int((seen[..., channel] > 2 * np.delete(seen, channel, axis=-1).max(axis=-1) + 20).sum())


def keys(window, *names):
    for name in names:
        window.change(press(window.state, name))


def middle(box):
    return (box.left + box.right) / 2, (box.bottom + box.top) / 2
"""


def draw(code: str) -> None:
    renderer = available_renderer()
    if renderer is None:
        pytest.skip("no renderer on this machine (libegl1 libgl1-mesa-dri, or libosmesa6)")
    environment = {**os.environ, WINDOW_CLASS: renderer} if renderer else dict(os.environ)
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_keys_clicks_and_sliders_change_the_picture() -> None:
    draw("""
window = opened([red, blue], volume)
layout = window._drawn.layout
keys(window, "S")
both = count(window, 0), count(window, 2)
assert min(both) > 300, both
assert window.click(*middle(layout.row(0)))
assert window.state.hidden == {0} and count(window, 0) == 0 and count(window, 2) > 300
assert window.click(*middle(layout.row(0)), alone=True)
assert window.state.hidden == {1} and count(window, 0) > 300 and count(window, 2) == 0
keys(window, "n")
nothing = picture(window)
keys(window, "v")
assert np.abs(picture(window) - nothing).max(axis=-1).astype(bool).sum() > 2000
keys(window, "v", "S")
slices = picture(window)
x, y = middle(layout.track(0))
assert window.click(x, y) and window.drag(x + 0.05) and window.release() and not window.drag(x)
assert window.state.plane == 2 and window.state.at[2] > 16
assert (picture(window) != slices).any()
keys(window, "S", "h")
assert (picture(window)[:, :280] > 150).all(axis=-1).sum() > 300
assert not window.click(0.3, 0.5)
assert window.wheel(0.3, 0.5, 2, True) and not window.wheel(0.3, 0.5, 2, False)
""")


def test_a_cut_removes_the_side_that_it_names() -> None:
    draw("""
window = opened([red, blue], volume)
keys(window, "S", "3", "c")  # red lies at the patient's left, blue at the right
assert "side R of the sagittal plane" in window.state.describe()
assert count(window, 0) > 300 and count(window, 2) < 30, (count(window, 0), count(window, 2))
keys(window, "c")
assert count(window, 0) < 30 and count(window, 2) > 300
keys(window, "c")
assert min(count(window, 0), count(window, 2)) > 300
""")


def test_two_panes_turn_together_and_share_the_legend() -> None:
    draw("""
window = opened({"a": [red], "b": [red, blue]}, None)
seen = picture(window)
cameras = [renderer.camera for renderer in window.plotter.renderers][:2]
assert cameras[0] is cameras[1]
assert [structure.name for structure in window._drawn.scene.structures] == ["one", "two"]
keys(window, "f")
towards = np.subtract(cameras[1].position, cameras[1].focal_point)
assert towards[1] > 50 and abs(towards[0]) < 1e-6 and abs(towards[2]) < 1e-6
window.change(window.state.switched(0))
assert count(window, 0) == 0
keys(window, "v", "w", "Up", "c")  # there is no scan, but a plane to cut at
""")


def test_doubt_is_laid_over_the_slices_by_its_key() -> None:
    draw("""
unsure = Volume(np.where(np.indices(grid.shape)[2] == 20, 0.5, 0).astype(np.float32), grid)
window = opened([], volume, unsure)
keys(window, "3", "s", "2", "s", "1")  # the axial slice alone
while window.state.at[2] < 20:
    keys(window, "Up")


def coloured():
    seen = picture(window)
    return int((seen[..., 0] > seen[..., 2] + 60)[40:, 70:].sum())  # without the marker of axes

off = coloured()
keys(window, "d")
on = coloured()
assert off < 30 and on > 2000, (off, on)
keys(window, "Up")  # there it is sure; the legend stays
legend = coloured()
assert 100 < legend < on / 2, (legend, on)
keys(window, "d")
assert coloured() == off
""")


def test_another_size_of_the_window_keeps_letters_and_places() -> None:
    draw("""
window = opened([red, blue], volume)
for size in ((900, 640), (480, 360), (420, 300)):
    window.plotter.render_window.SetSize(*size)
    window.plotter.render_window.Render()
    layout = window._drawn.layout
    assert layout.size == size
    fresh = Window(make_scene(meshes=[red, blue], volume=volume, movable=True), size, off_screen=True)
    bar = slice(int(size[1] * (1 - layout.bar.top)) + 1, None)
    legend = slice(int(size[0] * layout.legend.left) + 1, None)
    now, anew = picture(window), picture(fresh)
    assert now.shape == (size[1], size[0], 3)
    assert (anew[bar] > 120).any() and np.abs(now[bar] - anew[bar]).max() < 12
    assert (anew[:, legend] > 120).any() and np.abs(now[:, legend] - anew[:, legend]).max() < 12
    fresh.plotter.close()
x, y = middle(layout.track(0))
assert window.click(x, y) and window.release() and window.click(*middle(layout.row(1)))
assert window.state.hidden == {1}
""")
