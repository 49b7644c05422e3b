"""`volseg view`: look at scans, label maps and meshes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.console import Only, Overwrite, Series, list_files, parse_only
from volseg.errors import UsageError

if TYPE_CHECKING:
    from volseg.cases.subject import Subject
    from volseg.core.labelmap import LabelMap
    from volseg.webpage import Page

_SIZE = re.compile(r"(\d+)x(\d+)")
_PICTURE, _WINDOW = "1600x1200", "1200x900"
_PIXELS = (64, 10_000)


def view(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(help="A scan, folder OUT/<case> of a prediction, label maps, meshes ({mesh.formats})."),
    ] = None,
    segmentation: Annotated[
        list[Path] | None,
        typer.Option("-s", "--segmentation", help="Label map to show with the scan; may be repeated."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Table of label names and colours (TSV).")] = None,
    only: Only = None,
    series: Series = None,
    threshold: Annotated[
        float | None, typer.Option(help="Also the surface of the scan at this value, such as 200 HU for bone.")
    ] = None,
    screenshot: Annotated[Path | None, typer.Option(help="Write the 3D picture to this PNG; needs no display.")] = None,
    contact_sheet: Annotated[
        Path | None,
        typer.Option(
            help="Write slices with label outlines, and with the meshes in white, to this PNG; needs no renderer."
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write slices, surfaces and controls as one page for any browser to this HTML file."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="With --html: compare the label map with this one: agreement, distance of the surfaces, scores."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help=f"Pixels, default {_PICTURE} (window {_WINDOW}); the contact sheet takes the width.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Look at scans, label maps and meshes: in a window, in a browser (--html), or as PNG pictures.

    The 3D picture has the surfaces of the labels and three slices of the scan. The page needs no network; without the
    extra html (ipyniivue) it has a picture in place of the 3D view. Examples: volseg view scan.nii.gz -s labels.nii.gz;
    volseg view OUT/case --html scene.html; volseg view OUT/case --contact-sheet slices.png.
    """
    from volseg.cases.subject import read_subject
    from volseg.files.atomic import check_free
    from volseg.files.names import PAGE_SUFFIXES, case_name, check_suffix
    from volseg.io import read_labels
    from volseg.view import save_contact_sheet, save_screenshot, show

    pictures = list(filter(None, (contact_sheet, screenshot)))
    pixels = _parse_size(size or (_PICTURE if pictures else _WINDOW))
    for picture in pictures:
        check_suffix(picture, (".png",), what="picture")
    files = pictures
    if html is not None:
        check_suffix(html, PAGE_SUFFIXES, what="page")
        files = [*pictures, html]
    elif reference is not None:
        raise UsageError("--reference is shown on a page; add --html FILE")
    check_free(files, overwrite=overwrite)
    subject = read_subject(
        inputs or [],
        segmentations=segmentation or [],
        labels=labels,
        only=parse_only(only),
        series=series,
        threshold=threshold,
    )
    if contact_sheet is not None:
        outlines = subject.outlines()
        path = save_contact_sheet(subject.volume, outlines, contact_sheet, meshes=subject.meshes, width=pixels[0])
        list_files([path])
    if screenshot is not None:
        list_files([save_screenshot(screenshot, meshes=subject.surfaces(), volume=subject.volume, size=pixels)])
    if html is not None:
        given = [*(inputs or []), *(segmentation or [])]
        compared = None if reference is None else read_labels(reference, labels=labels, only=parse_only(only))
        list_files([_page(subject, case_name(given[0]), compared).save(html)])
    if not files:
        show(meshes=subject.surfaces(), volume=subject.volume, size=pixels)


def _page(subject: Subject, name: str, reference: LabelMap | None) -> Page:
    """Make a page of a subject; it has the name of the scan, if that has one."""
    from volseg.webpage import page

    title = (subject.volume.name if subject.volume is not None else None) or name
    if reference is not None:
        return page(subject.volume, subject.labels, reference=reference, title=title)
    return page(subject.volume, subject.outlines(), meshes=subject.surfaces(), title=title)


def _parse_size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    pixels = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(pixels) < _PIXELS[0] or max(pixels) > _PIXELS[1]:
        raise UsageError(
            f"--size {text}: expected WIDTHxHEIGHT from {_PIXELS[0]} to {_PIXELS[1]} pixels, as in 1600x1200"
        )
    return pixels
