"""`volseg dataset get` and `volseg dataset list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.console import say
from volseg.cli.progress import show_progress


def get(
    name: Annotated[str, typer.Argument(help="Such as msd:Task04_Hippocampus; `volseg dataset list` shows them.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="New folder of the dataset. Default: its own name, here.")
    ] = None,
    archive: Annotated[Path | None, typer.Option(help="Its .tar file if you have it already: no download.")] = None,
    url: Annotated[str | None, typer.Option(help="Address of a mirror with the .tar files.")] = None,
) -> None:
    """Download a public training set, check it and unpack it, ready for `volseg train`."""
    from volseg.datasets import read_dataset
    from volseg.datasets.catalogue import CITATION, LICENCE
    from volseg.datasets.public import get_dataset

    with show_progress("connecting", counts=False) as show:
        folder = get_dataset(name, output, archive=archive, url=url, progress=show)
    found = read_dataset(folder)
    labels = ", ".join(label.name for label in found.labels)
    say(f"{folder}: {found.name}, {len(found.cases)} labelled scans ({labels})")
    say(f"licence: {LICENCE}", f"cite: {CITATION}")
    say(f"next: volseg train {folder} -o RUN")


def list_datasets() -> None:
    """List the public training sets that `volseg dataset get` knows."""
    from volseg.datasets.catalogue import CATALOGUE, CITATION, LICENCE

    width = max(map(len, CATALOGUE))
    for name, dataset in CATALOGUE.items():
        say(f"{name:<{width}}  {dataset.content}")
    say(f"licence: {LICENCE}", f"cite: {CITATION}")
