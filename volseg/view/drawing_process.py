"""The process that draws: VTK can crash if a graphics library is missing, so `volseg.view.renderer` starts this one."""

from __future__ import annotations

import pickle
import sys

from volseg.view.drawing import draw_scene
from volseg.view.turning import draw_turn
from volseg.view.window import open_window


def main() -> None:
    """Read a pickled `Job` from stdin, and do it."""
    # The parent process wrote it.
    job = pickle.load(sys.stdin.buffer)  # noqa: S301
    if job.path is None:
        open_window(job.scene, job.size)
    elif job.frames:
        draw_turn(job.scene, job.size, job.path, job.frames)
    else:
        draw_scene(job.scene, job.size, off_screen=True).plotter.screenshot(job.path)


if __name__ == "__main__":
    main()
