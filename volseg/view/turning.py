"""A turn about the head axis, as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volseg.core.grid import Float
from volseg.view.content import Scene
from volseg.view.drawing import draw_scene, look

_AROUND = 72  # points of a circle


def draw_turn(scene: Scene, size: tuple[int, int], folder: str | Path, frames: int) -> None:
    """Draw a whole turn, from the direction of pictures on, as ``0000.png``, ``0001.png`` ... in a folder.

    Parameters
    ----------
    scene : Scene
    size : (int, int)
        Width and height in pixels.
    folder : path
        Exists.
    frames : int
    """
    drawn = draw_scene(scene, size, off_screen=True)
    swept = swept_points(drawn.points)
    for frame in range(frames):
        look(drawn, turned(drawn.towards, frame / frames), swept)
        drawn.plotter.render()
        drawn.plotter.screenshot(str(Path(folder) / f"{frame:04d}.png"))


def turned(towards: Float, share: float) -> Float:
    """Turn a direction about the head axis, by a share of a whole turn: from the front towards the patient's right.

    Parameters
    ----------
    towards : (3,) float
    share : float
    """
    cos, sin = np.cos(2 * np.pi * share), np.sin(2 * np.pi * share)
    # Clockwise as seen from the head, so that the body turns counter-clockwise before the viewer.
    return np.array([cos * towards[0] + sin * towards[1], cos * towards[1] - sin * towards[0], towards[2]])


def swept_points(points: Float) -> Float:
    """Return points of the cylinder that a turn about the head axis sweeps, so that each picture has the same scale.

    Parameters
    ----------
    points : (P, 3) float
        World mm.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2
    radius = np.linalg.norm(points[:, :2] - centre[:2], axis=1).max()
    angles = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    circle = centre[:2] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ends = [np.column_stack([circle, np.full(_AROUND, height)]) for height in (low[2], high[2])]
    return np.concatenate(ends)
