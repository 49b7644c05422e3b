"""`volseg demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.console import list_files, say
from volseg.cli.progress import progress_bar


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder for everything.")] = Path("volseg-demo"),
    epochs: Annotated[int, typer.Option(min=1, help="How long to train, in passes over the slices.")] = 40,
) -> None:
    """Go the whole way on made-up CT scans: train, segment an unseen DICOM series, evaluate, mesh, draw."""
    from volseg.cli.tables import print_evaluation
    from volseg.demo import run_demo
    from volseg.network.devices import Threads

    threads = Threads()
    with progress_bar(counts=False) as bar:
        task, begun = bar.add_task("starting", total=1.0), set[str]()

        def show(text: str, share: float) -> None:
            threads.adjust()
            if bar.disable and text not in begun:  # no terminal: what is being done, while it is
                begun.add(text)
                say(text, err=True)
            bar.update(task, description=text, completed=share)

        result = run_demo(output, epochs=epochs, report=show)
    print_evaluation(result.evaluation)
    if result.note:
        say(f"no 3D picture: {result.note}", err=True)
    list_files(result.files)
