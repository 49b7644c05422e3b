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
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from volseg.child_python import child_python
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import RenderError
from volseg.view.content import Meshes, Scene, make_scene
from volseg.view.picture import png_path

WINDOW_CLASS = "VTK_DEFAULT_OPENGL_WINDOW"
_TRIAL_SECONDS = 120
_PICTURE_SECONDS = 600
_FRAME_SECONDS = 60
ADVICE = (
    "install a renderer: on Debian or Ubuntu `apt-get install libegl1 libgl1-mesa-dri` (or libosmesa6), with conda "
    "`conda install -c conda-forge mesalib`; contact sheets, meshes and label maps need no renderer"
)


@dataclass(frozen=True)
class Job:
    """What the process that draws has to do.

    Parameters
    ----------
    scene : Scene
    size : (int, int)
        Width and height in pixels.
    path : Path or None
        The picture to draw, or the folder of frames; None for a window.
    frames : int
        Pictures of a turn; 0 for a single picture.
    """

    scene: Scene
    size: tuple[int, int]
    path: Path | None = None
    frames: int = 0


def save_screenshot(
    path: str | Path,
    *,
    meshes: Meshes = (),
    volume: Volume | None = None,
    size: tuple[int, int] = (1600, 1200),
    doubt: Volume | None = None,
) -> Path:
    """Draw meshes and three orthogonal slices of a scan into a PNG, with the head up.

    They are seen from the front, a little from the patient's left and from above, unless clearly more of the structures
    is to be seen from another side near the front.

    Parameters
    ----------
    path : path
        A name that ends in ``.png``.
    meshes : sequence of Mesh, or dict of such sequences by title
        World mm RAS+; drawn in their colours, with a legend of their names. Meshes without faces are left out. The
        sequences of a dict are drawn side by side, to compare them; a structure has the same colour in all.
    volume : Volume, optional
        Its slices run through the middle of the meshes, along its own axes; black is transparent.
    size : (int, int)
        Width and height in pixels.
    doubt : Volume, optional
        How unsure each voxel is, as in ``doubt.nii.gz``; placed by its affine, in colour on the slices.

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
        The name does not end in ``.png``, or doubt is given without a scan.
    GeometryError
        The doubt lies beside the scan.
    OutputError
        The file cannot be written.
    """
    scene = make_scene(meshes=meshes, volume=volume, doubt=doubt)
    with png_path(path) as temporary:
        if problem := _draw(Job(scene, size, temporary), renderer=_found_renderer(), seconds=_PICTURE_SECONDS):
            raise RenderError(f"{path}: the 3D picture could not be drawn ({problem})")
    return Path(path)


def show(
    *,
    meshes: Meshes = (),
    volume: Volume | None = None,
    size: tuple[int, int] = (1200, 900),
    doubt: Volume | None = None,
) -> None:
    """Open a window with what `save_screenshot` draws, and return when it is closed.

    Slices of the scan move, structures are switched on and off in the legend, surfaces become transparent or are cut,
    and the scan can be drawn as a volume. A line of help is always seen; the key ``h`` explains all keys. The window
    has 33 million voxels of the scan at most, around the meshes; a larger part is halved along its finest axes.

    Parameters
    ----------
    meshes, volume, size
        As for `save_screenshot`. What is side by side turns together.
    doubt : Volume, optional
        As for `save_screenshot`; the key ``d`` lays it over the slices.

    Raises
    ------
    InputError
        Neither a mesh with faces nor a scan is given.
    UsageError
        Doubt is given without a scan.
    GeometryError
        The doubt lies beside the scan.
    RenderError
        There is no display.
    """
    scene = make_scene(meshes=meshes, volume=volume, movable=True, doubt=doubt)
    problem = _draw(Job(scene, size), renderer="") if _has_display() else "DISPLAY is not set"
    if problem:
        raise RenderError(f"no window can be opened here ({problem}); write a picture with --screenshot FILE.png")


def draw_frames(scene: Scene, size: tuple[int, int], folder: Path, count: int) -> list[Path]:
    """Draw the pictures of a turn about the head axis into a folder, and return their paths in order.

    Parameters
    ----------
    scene : Scene
    size : (int, int)
        Width and height in pixels.
    folder : Path
        Exists, and is empty.
    count : int
        Of the pictures of a whole turn.

    Raises
    ------
    RenderError
        No renderer works on this machine, or it failed.
    """
    job = Job(scene, size, folder, count)
    if problem := _draw(job, renderer=_found_renderer(), seconds=_PICTURE_SECONDS + count * _FRAME_SECONDS):
        raise RenderError(f"the turn could not be drawn ({problem})")
    return sorted(folder.glob("*.png"))


def _found_renderer() -> str:
    renderer = available_renderer()
    if renderer is None:
        raise RenderError(f"nothing on this machine can draw 3D pictures; {ADVICE}")
    return renderer


@cache
def available_renderer() -> str | None:
    """Find the VTK window class that draws on this machine, by drawing a small trial picture with each.

    Returns
    -------
    str or None
        The class name for the environment variable ``VTK_DEFAULT_OPENGL_WINDOW``: empty if VTK's own choice works, None
        if no class does. The answer is kept until the process ends.
    """
    scene = make_scene(meshes=[Mesh(np.eye(3), np.array([[0, 1, 2]]))])
    with tempfile.TemporaryDirectory() as folder:
        for renderer in _candidates():
            picture = Path(folder) / "trial.png"
            problem = _draw(Job(scene, (64, 64), picture), renderer=renderer, seconds=_TRIAL_SECONDS)
            if problem is None and picture.exists():
                return renderer
    return None


def _candidates() -> list[str]:
    headless = ["vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"]
    if chosen := os.environ.get(WINDOW_CLASS):
        return [chosen, *(name for name in headless if name != chosen)]
    return ["", *headless] if _has_display() else headless


def _has_display() -> bool:
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY"))


def _draw(job: Job, *, renderer: str, seconds: float | None = None) -> str | None:
    """Draw in a child process; return None on success, else the problem."""
    command, environment = child_python("volseg.view.drawing_process")
    environment[WINDOW_CLASS] = renderer
    if not renderer:
        del environment[WINDOW_CLASS]
    try:
        done = subprocess.run(
            command, input=pickle.dumps(job), capture_output=True, env=environment, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer after {seconds:.0f} s"
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if done.returncode > 0 and said else f"the renderer crashed, code {done.returncode}"
