"""Pictures of 3D scenes on any machine, with or without a display.

VTK chooses its window class when it is loaded. If the libraries behind that class are missing, VTK ends the process by
a segmentation fault, which no `try` can catch. So every scene is drawn in a child process. An environment variable
selects the window class there, and a small trial picture finds out first which class works.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from volseg.child_python import child_python
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import RenderError
from volseg.view.picture import png_path
from volseg.view.scene import Scene, make_scene

_CHOICE = "VTK_DEFAULT_OPENGL_WINDOW"
_TRIAL_SECONDS = 60
_PICTURE_SECONDS = 600
_ADVICE = (
    "install a renderer: on Debian or Ubuntu `apt-get install libegl1 libgl1-mesa-dri` (or libosmesa6), with conda "
    "`conda install -c conda-forge mesalib`; contact sheets, meshes and label maps need no renderer"
)


def save_screenshot(
    path: str | Path, *, meshes: Sequence[Mesh] = (), volume: Volume | None = None, size: tuple[int, int] = (1600, 1200)
) -> Path:
    """Draw meshes and three orthogonal slices of a scan, seen from the front with the head up, into a PNG.

    Parameters
    ----------
    path : path
        A name that ends in ``.png``.
    meshes : sequence of Mesh
        World mm RAS+; drawn in their colours, with a legend of their names. Meshes without faces are left out.
    volume : Volume, optional
        Its slices run through the middle of the meshes, along its own axes; black is transparent.
    size : (int, int)
        Width and height in pixels.

    Returns
    -------
    Path
        The written file.

    Raises
    ------
    InputError
        Neither a mesh with faces nor a scan is given.
    RenderError
        No renderer works on this machine; the message says what to install.
    UsageError
        The name does not end in ``.png``.
    OutputError
        The file cannot be written.
    """
    scene = make_scene(meshes=meshes, volume=volume)
    with png_path(path) as temporary:
        renderer = available_renderer()
        if renderer is None:
            raise RenderError(f"nothing on this machine can draw 3D pictures; {_ADVICE}")
        if problem := _draw(scene, size, temporary, renderer=renderer, seconds=_PICTURE_SECONDS):
            raise RenderError(f"{path}: the 3D picture could not be drawn ({problem})")
    return Path(path)


def show(*, meshes: Sequence[Mesh] = (), volume: Volume | None = None, size: tuple[int, int] = (1200, 900)) -> None:
    """Open a window with what `save_screenshot` draws, to turn with the mouse; return when it is closed.

    Parameters
    ----------
    meshes, volume, size
        As for `save_screenshot`.

    Raises
    ------
    InputError
        Neither a mesh with faces nor a scan is given.
    RenderError
        There is no display.
    """
    scene = make_scene(meshes=meshes, volume=volume)
    problem = _draw(scene, size, None, renderer="") if _has_display() else "DISPLAY is not set"
    if problem:
        raise RenderError(f"no window can be opened here ({problem}); write a picture with --screenshot FILE.png")


@cache
def available_renderer() -> str | None:
    """Find the VTK window class that draws on this machine, by drawing a small trial picture with each.

    Returns
    -------
    str or None
        The class name for the environment variable ``VTK_DEFAULT_OPENGL_WINDOW``: empty if VTK's own choice works, None
        if no class does. The answer is kept until the process ends.
    """
    triangle = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    with tempfile.TemporaryDirectory() as folder:
        for renderer in _candidates():
            picture = Path(folder) / "trial.png"
            problem = _draw(Scene((triangle,), (), ""), (64, 64), picture, renderer=renderer, seconds=_TRIAL_SECONDS)
            if problem is None and picture.exists():
                return renderer
    return None


def _candidates() -> list[str]:
    headless = ["vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"]
    if chosen := os.environ.get(_CHOICE):
        return [chosen, *(name for name in headless if name != chosen)]
    return ["", *headless] if _has_display() else headless


def _has_display() -> bool:
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY"))


def _draw(
    scene: Scene, size: tuple[int, int], path: Path | None, *, renderer: str, seconds: float | None = None
) -> str | None:
    """Draw in a child process; return None on success, else the problem."""
    command, environment = child_python("volseg.view.drawing")
    environment[_CHOICE] = renderer
    if not renderer:
        del environment[_CHOICE]
    request = pickle.dumps((scene, size, None if path is None else str(path)))
    try:
        done = subprocess.run(
            command, input=request, capture_output=True, env=environment, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer after {seconds:.0f} s"
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if done.returncode > 0 and said else f"the renderer crashed, code {done.returncode}"
