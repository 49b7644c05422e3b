"""`volseg verify`: whether a segmentation lies where its image lies."""

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
        typer.Option(min=0, metavar="MM", help="Corners this near are the same. Default: 5 % of the voxel edge."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all that is known as JSON; keys: volseg.verification.Verification.")
    ] = False,
) -> None:
    """Say whether a segmentation lies on the voxels of an image.

    They agree where the grids are the same, also if the axes are stored in another order; a DICOM segmentation may
    leave out slices, but must not belong to another patient space. Contours (RTSTRUCT) must lie on slices of the image
    and not have been made on another series. Ends with 0 where they agree, with 1 where they do not, saying how they
    differ and what to do.
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
