"""The option --image of commands that read labels from DICOM objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.errors import UsageError

if TYPE_CHECKING:
    from volseg.core.volume import Volume

LabelScan = Annotated[
    Path | None, typer.Option("--image", help="Scan of a DICOM structure set or segmentation, if it lies elsewhere.")
]


def read_label_scan(path: Path, image: Path | None, series: str | None = None) -> Volume | None:
    """Read the scan of a DICOM object, if it is given.

    Raises
    ------
    UsageError
        It is given for labels that are not a DICOM object.
    """
    from volseg.io import Catalogue, look, read_scan_of

    if image is None:
        return None
    labels = Catalogue(path)
    if not labels.is_dicom:
        raise UsageError(
            f"--image is only for a DICOM structure set or segmentation; {path} is another file, leave it out"
        )
    return read_scan_of(labels, look(image, known=labels), series=series)
