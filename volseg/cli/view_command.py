"""`volseg view`: look at scans, label maps and meshes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.console import Only, Overwrite, Series, list_files, parse_only
from volseg.errors import UsageError

if TYPE_CHECKING:
    from volseg.cases.subject import Subject
    from volseg.core.labelmap import LabelMap
    from volseg.view.content import Meshes

_SIZE = re.compile(r"(\d+)x(\d+)")
_PICTURE, _WINDOW, _FILM = (1600, 1200), (1200, 900), (800, 600)
_PIXELS = (64, 10_000)


def _named(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


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
            help="Compare the label map with this one: side by side in 3D; with --html agreement, distances, scores."
        ),
    ] = None,
    turntable: Annotated[
        Path | None,
        typer.Option(help="Write a turn about the head axis, for talks, to this {view.turntables}; needs no display."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help=f"Pixels, default {_named(_PICTURE)} (window {_named(_WINDOW)}, turntable {_named(_FILM)}); the "
            "contact sheet takes the width.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Look at scans, label maps and meshes: in a window, in a browser (--html), as PNG pictures, or as a film.

    The 3D picture has the surfaces of the labels and three slices of the scan, which keys and sliders of the window
    move; its key h explains all. Two label maps with the same structures are drawn side by side in 3D. The page needs
    no network; without the extra html (ipyniivue) it has a picture in place of the 3D view. Examples: volseg view
    scan.nii.gz -s labels.nii.gz; volseg view OUT/case --html scene.html; volseg view OUT/case --turntable turn.gif.
    """
    from volseg.cases.subject import read_subject

    files = _Files(contact_sheet, screenshot, turntable, html)
    pixels = None if size is None else _parse_size(size)
    files.check(overwrite=overwrite)
    if reference is not None and files.given == [contact_sheet]:
        raise UsageError("--reference is not shown on a contact sheet; add --html, --screenshot or --turntable FILE")
    subject = read_subject(
        inputs or [],
        segmentations=segmentation or [],
        labels=labels,
        only=parse_only(only),
        series=series,
        threshold=threshold,
    )
    compared = None if reference is None else (reference, _read(reference, labels, only, subject))
    if html is not None:
        given = [*(inputs or []), *(segmentation or [])]
        files.write_page(subject, given[0], compared)
    if contact_sheet is not None:
        files.write_sheet(subject, pixels)
    if screenshot or turntable or not files.given:
        files.write_or_show(subject, subject.side_by_side(compared) or subject.surfaces(), pixels)


@dataclass(frozen=True)
class _Files:
    """The files to write; without one, a window opens."""

    contact_sheet: Path | None
    screenshot: Path | None
    turntable: Path | None
    html: Path | None

    @property
    def given(self) -> list[Path]:
        return [*filter(None, (self.contact_sheet, self.screenshot, self.turntable, self.html))]

    def check(self, *, overwrite: bool) -> None:
        """Refuse names of the wrong kind, and of files that exist, before anything is read."""
        from volseg.files.atomic import check_free
        from volseg.files.names import PAGE_SUFFIXES, check_suffix
        from volseg.view.turntable import check_turntable

        for picture in filter(None, (self.contact_sheet, self.screenshot)):
            check_suffix(picture, (".png",), what="picture")
        if self.turntable is not None:
            check_turntable(self.turntable)
        if self.html is not None:
            check_suffix(self.html, PAGE_SUFFIXES, what="page")
        check_free(self.given, overwrite=overwrite)

    def write_sheet(self, subject: Subject, pixels: tuple[int, int] | None) -> None:
        from volseg.view import save_contact_sheet

        if self.contact_sheet is not None:
            width = (pixels or _PICTURE)[0]
            outlines = subject.outlines()
            sheet = save_contact_sheet(subject.volume, outlines, self.contact_sheet, meshes=subject.meshes, width=width)
            list_files([sheet])

    def write_page(self, subject: Subject, given: Path, reference: tuple[Path, LabelMap] | None) -> None:
        """Write the page; it has the name of the scan, if that has one."""
        from volseg.files.names import case_name
        from volseg.webpage import page

        title = (subject.volume.name if subject.volume is not None else None) or case_name(given)
        if reference is not None:
            made = page(subject.volume, subject.labels, reference=reference[1], title=title, doubt=subject.doubt)
        else:
            outlines, surfaces = subject.outlines(), subject.surfaces()
            made = page(subject.volume, outlines, meshes=surfaces, title=title, doubt=subject.doubt)
        if self.html is not None:
            list_files([made.save(self.html)])

    def write_or_show(self, subject: Subject, meshes: Meshes, pixels: tuple[int, int] | None) -> None:
        from volseg.view import save_screenshot, save_turntable, show

        scan = subject.volume
        if self.screenshot is not None:
            list_files([save_screenshot(self.screenshot, meshes=meshes, volume=scan, size=pixels or _PICTURE)])
        if self.turntable is not None:
            list_files([save_turntable(self.turntable, meshes=meshes, volume=scan, size=pixels or _FILM)])
        if not self.given:
            doubt = subject.doubt.voxels if subject.doubt is not None and scan is not None else None
            show(meshes=meshes, volume=scan, size=pixels or _WINDOW, doubt=doubt)


def _read(reference: Path, labels: Path | None, only: str | None, subject: Subject) -> LabelMap:
    from volseg.io import read_labels

    return read_labels(reference, labels=labels, image=subject.volume, only=parse_only(only))


def _parse_size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text)
    pixels = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(pixels) < _PIXELS[0] or max(pixels) > _PIXELS[1]:
        raise UsageError(
            f"--size {text}: expected WIDTHxHEIGHT from {_PIXELS[0]} to {_PIXELS[1]} pixels, as in 1600x1200"
        )
    return pixels
