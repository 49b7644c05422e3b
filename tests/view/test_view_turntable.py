from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from volseg.core.grid import Grid
from volseg.core.mesh import Mesh
from volseg.errors import InputError, OutputError, UsageError
from volseg.phantoms import sphere_labelmap
from volseg.surface import extract_surfaces
from volseg.view import available_renderer, save_turntable, turntable
from volseg.view.turning import swept_points, turned

FRONT = np.array([0.0, 1.0, 0.0])


@pytest.fixture(scope="module")
def balls() -> list[Mesh]:
    ball = extract_surfaces(sphere_labelmap(Grid.from_spacing((16, 16, 16), (2, 2, 2)), radius_mm=10))[0]
    middle = ball.bounds.mean(axis=0)
    places = (((0, 30, 0), (255, 0, 0)), ((0, -30, 0), (0, 0, 255)))
    return [Mesh(ball.vertices - middle + at, ball.faces, "", colour) for at, colour in places]


def test_a_turn_comes_back_and_passes_the_patients_right() -> None:
    assert np.allclose(turned(FRONT, 0.25), (1, 0, 0))
    assert np.allclose(turned(FRONT, 1.0), FRONT)


def test_swept_points_look_alike_from_all_sides() -> None:
    points = np.random.default_rng(1).normal(size=(100, 3)) * (50, 10, 30)
    swept = swept_points(points)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = np.linalg.norm(points[:, :2] - middle[:2], axis=1).max()
    assert np.allclose(np.linalg.norm(swept[:, :2] - middle[:2], axis=1), radius)
    assert (swept[:, 2].min(), swept[:, 2].max()) == (points[:, 2].min(), points[:, 2].max())


def test_gif_turns_once_without_end(balls: list[Mesh], tmp_path: Path) -> None:
    if available_renderer() is None:
        pytest.skip("no renderer on this machine (libegl1 libgl1-mesa-dri, or libosmesa6)")
    path = save_turntable(tmp_path / "turn.gif", meshes=balls, size=(120, 90), seconds=0.64)
    assert list(tmp_path.iterdir()) == [path]
    with Image.open(path) as film:
        assert (film.size, film.n_frames, film.info["loop"], film.info["duration"]) == ((120, 90), 8, 0, 80)
        pictures = []
        for frame in (0, 4):
            film.seek(frame)
            pictures.append(np.asarray(film.convert("RGB")).astype(int)[:, :90])
    red, blue = (pictures[0][..., c] > pictures[0][..., 2 - c] + 40 for c in (0, 2))
    # After half a turn the one behind is in front: they have changed places.
    later = pictures[1][..., 2] > pictures[1][..., 0] + 40
    assert (red & later).sum() > 0.6 * red.sum() > 30
    assert blue.any()


def draw_grey(scene: object, size: tuple[int, int], folder: Path, count: int) -> list[Path]:
    paths = []
    for number in range(count):
        paths.append(folder / f"{number:04d}.png")
        Image.new("RGB", size, (number * 5, 90, 90)).save(paths[-1])
    return paths


def test_frames_that_cannot_be_written_leave_no_file(
    balls: list[Mesh], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turntable, "draw_frames", draw_grey)

    def fill_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fill_disk)
    with pytest.raises(OutputError, match=r"turn\.gif: cannot be written \(No space left"):
        save_turntable(tmp_path / "turn.gif", meshes=balls, seconds=1)
    assert not list(tmp_path.iterdir())


def test_mp4_says_what_to_install(balls: list[Mesh], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(UsageError, match=r"turn\.mp4: MP4 needs a package: pip install imageio-ffmpeg; a \.gif"):
        save_turntable(tmp_path / "turn.mp4", meshes=balls)


def test_mp4_has_its_frames(balls: list[Mesh], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setattr(turntable, "draw_frames", draw_grey)
    path = save_turntable(tmp_path / "turn.mp4", meshes=balls, size=(121, 91), seconds=1)
    assert next(ffmpeg.read_frames(str(path)))["size"] == (120, 90)
    assert ffmpeg.count_frames_and_secs(str(path))[0] == 25


def test_wrong_names_times_and_nothing_to_draw_are_refused(balls: list[Mesh], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"turn\.png; expected a name that ends in .*\.gif"):
        save_turntable(tmp_path / "turn.png", meshes=balls)
    with pytest.raises(UsageError, match=r"a turn of 0 s; expected 0\.5 to 120 s"):
        save_turntable(tmp_path / "turn.gif", meshes=balls, seconds=0)
    with pytest.raises(InputError, match="nothing to draw"):
        save_turntable(tmp_path / "turn.gif")
    assert not list(tmp_path.iterdir())
