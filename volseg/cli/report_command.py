"""`volseg report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.console import list_files
from volseg.cli.progress import show_progress


def report(
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="Output folder of predict, with a folder for each case.")
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", help="Folder with the scans, under the names of the cases, if they are not where they were."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make every page anew.")] = False,
) -> None:
    """Make a report of predicted cases as web pages, the worst first: OUT/report/index.html, a page for each case.

    A page has the expected quality where the model knows it, flags in words, the slices to check first, measurements,
    all slices and how it was made; people can rate it. Ratings are saved as files; those that lie in OUT, OUT/report or
    the folder of a case are read. Only pages that have changed are made anew. Names of patients are not shown.
    """
    from volseg.reporting import report as make_report

    with show_progress("report") as follow:
        list_files([make_report(output, images=images, overwrite=overwrite, progress=follow)])
