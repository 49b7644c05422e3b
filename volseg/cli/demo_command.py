"""`volseg demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.console import list_files, say
from volseg.cli.progress import show_progress


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder for everything.")] = Path("volseg-demo"),
    epochs: Annotated[int, typer.Option(min=1, help="Length of the training, in passes over the slices.")] = 40,
) -> None:
    """Run every step on synthetic CT scans: train, segment an unseen DICOM series, evaluate, mesh, draw, report."""
    from volseg.cli.tables import print_evaluation
    from volseg.demo import run_demo
    from volseg.network.devices import Threads

    threads = Threads()
    with show_progress("starting", counts=False, name_steps=True) as show:

        def follow(what: str, done: int, total: int) -> None:
            threads.adjust()
            show(what, done, total)

        result = run_demo(output, epochs=epochs, progress=follow)
    print_evaluation(result.evaluation)
    if result.note:
        say(f"no 3D picture: {result.note}", err=True)
    list_files(result.files)
