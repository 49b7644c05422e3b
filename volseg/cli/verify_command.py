"""`volseg verify`: whether a segmentation lies on its image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.console import Series, say
from volseg.files.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from volseg.verification import Verification


def verify(
    image: Annotated[Path, typer.Argument(help="A scan: {images.names} file, DICOM file, folder or zip.")],
    segmentation: Annotated[Path, typer.Argument(help="Label map, .seg.nrrd, DICOM SEG or RTSTRUCT.")],
    series: Series = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, metavar="MM", help="Corners this close are the same. Default: 5 % of the voxel edge."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON; keys: volseg.verification.Verification.")
    ] = False,
) -> None:
    """Check whether a segmentation lies on the voxels of an image.

    They agree if the grids are the same, also with axes in another order. A DICOM segmentation may leave out slices,
    but must not belong to another patient space. Contours (RTSTRUCT) must lie on slices of the image and must not refer
    to another series. The exit code is 0 if they agree. It is 1 if they differ; the output then tells how, and what to
    do.
    """
    from volseg.errors import GeometryError
    from volseg.verification import verify as compare

    found = compare(image, segmentation, series=series, tolerance_mm=tolerance)
    if as_json:
        say(*json.dumps(found.to_dict(), indent=2, allow_nan=False).split("\n"))
    else:
        say(*_lines(found))
    if not found.agrees:
        raise GeometryError(plain(found.describe()))


def _lines(found: Verification) -> Iterator[str]:
    if found.agrees:
        yield f"agrees: {found.describe()}"
    yield f"image: {found.image_grid}"
    if found.worst_corner_mm is not None:
        yield f"segmentation: {found.segmentation_grid}"
    if found.label_extent is None:
        yield "labels: none, the segmentation is empty"
    else:
        yield _place(found, found.label_extent)
    answers: dict[bool | None, str] = {True: "yes", False: "no"}
    if found.same_frame_of_reference is not None:
        yield f"same DICOM frame of reference: {answers[found.same_frame_of_reference]}"
    if found.made_on:
        unknown = "not known, as the image is not DICOM"
        yield f"made on this series: {answers.get(found.refers_to_image, unknown)}"


def _place(found: Verification, extent: Sequence[tuple[float, float]]) -> str:
    ranges = ", ".join(f"{first:g} to {last:g}" for first, last in extent)
    outside = 100 * (found.outside_fraction or 0)
    what = "contours" if found.relation == "contours" else "labelled voxels"
    where = f"{outside:.3g} % of the {what} outside the image" if outside else "all inside"
    return f"labels: image voxels {ranges}; {where}"
