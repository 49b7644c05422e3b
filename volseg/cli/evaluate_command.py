"""`volseg evaluate`: predictions against references."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from volseg.cli.console import Only, Overwrite, Series, list_files, parse_only
from volseg.cli.progress import show_progress
from volseg.errors import PartialError

_SHOWN = 10  # reasons


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(help="Output folder of `volseg predict`, folder of <case>.nii.gz files, or one label map.")
    ],
    references: Annotated[Path, typer.Argument(help="Folder with a label map for each case name, or one label map.")],
    labels: Annotated[
        Path | None, typer.Option(help="Label names: a .tsv table or dataset.json. Default: found beside the files.")
    ] = None,
    only: Only = None,
    series: Series = None,
    tolerance: Annotated[float, typer.Option(min=0, metavar="MM", help="Tolerance of surface Dice, mm.")] = 1.0,
    csv: Annotated[Path | None, typer.Option(help="Write a row for each case and label.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write rows and statistics.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare predicted label maps with references: overlap, distances of surfaces, volumes.

    Labels are matched by value and cases by name; references without a prediction are left out. The metrics, by their
    names in files, are {scores.metrics}.
    """
    from volseg.cli.tables import print_evaluation
    from volseg.evaluation import evaluate as compare
    from volseg.files.atomic import check_free

    check_free(filter(None, (csv, json)), overwrite=overwrite)
    chosen = parse_only(only)
    with show_progress("comparing") as show:
        result = compare(
            predictions,
            references,
            labels=labels,
            only=chosen,
            series=series,
            tolerance_mm=tolerance,
            progress=show,
        )
    print_evaluation(result)
    written = [result.to_csv(csv)] if csv else []
    written += [result.to_json(json)] if json else []
    list_files(written)
    if result.failures:
        count = len(result.failures)
        lines = [f"{count} of {count + len(result.cases)} cases could not be compared:"]
        for case, reason in islice(result.failures.items(), _SHOWN):
            lines.append(f"{case}: {reason}")
        if count > _SHOWN:
            lines.append(f"... and {count - _SHOWN} more, all in --json")
        raise PartialError("\n".join(lines))
