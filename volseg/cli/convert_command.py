"""`volseg convert`: one form of a scan or label map into another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.console import Only, Overwrite, Series, list_files, parse_only, say
from volseg.cli.failures import raise_failures
from volseg.cli.progress import progress_bar
from volseg.errors import UsageError, VolsegError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from volseg.conversion import ConvertedVolume


def convert(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...",
            help="Scan or labels: {images.names} file, DICOM file, folder or zip; several are masks, one a structure.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="A name that ends in {images.suffixes}; labels also .seg.nrrd and .dcm; a folder is a DICOM series.",
        ),
    ],
    series: Series = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every scan and volume of IN, each to a file in the folder OUT.")
    ] = False,
    format_: Annotated[
        str | None, typer.Option("--format", help="With --all: {images.formats}, dicom. Default nii.gz.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="IN is labels, and this table has their names.")] = None,
    only: Only = None,
    image: Annotated[
        Path | None, typer.Option(help="Scan that the labels were made on; they are put on its voxels.")
    ] = None,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Labels that overlap become one label map: voxels go to the smallest structure."),
    ] = False,
    form: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="FORM",
            help="Kind of OUT.dcm: {labels.forms}, or fractional (probabilities). Default seg.",
        ),
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(metavar="CT|MR", help="Modality of a DICOM series; by default that of IN, or by its values."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse tilted, uneven or incomplete DICOM stacks; do not resample.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Convert a scan or label map to another form; values and positions in the patient are kept.

    IN is read as labels if OUT is .seg.nrrd or .dcm; if IN is .seg.nrrd, a DICOM segmentation, a structure set or a
    folder of masks; if a label table is beside it (<stem>.tsv) or in its header; or with --labels, --only, --image,
    --merge or --as. Otherwise it is read as a scan. Several IN are files of masks, each of the structure that it is
    named after. The names of labels are written to OUT or to <stem>.tsv beside it. Labels that overlap become
    several files, or with --merge one. A DICOM series made from DICOM keeps its patient and study; one made from
    another format has new identifiers.

    Examples: volseg convert slices/ scan.nii.gz; volseg convert labels.nii.gz labels.dcm --image slices/;
    volseg convert RS.dcm structures.seg.nrrd --image slices/; volseg convert study/ out/ --all;
    volseg convert masks/ labels.nii.gz --merge.
    """
    from volseg.conversion import FRACTIONAL, convert_all
    from volseg.conversion import convert as write_as
    from volseg.io import LABEL_FORMS

    forms = (*LABEL_FORMS, FRACTIONAL)
    if form is not None and form not in forms:
        raise UsageError(f"--as {form} is unknown; choose from {', '.join(forms)}")
    if every:
        if series or labels or only or image or form or merge or len(inputs) > 1:
            raise UsageError(
                "--all writes every scan of IN, one path; it goes with --format, --modality, --strict and --overwrite"
            )
        form = _known_format(format_)
        results = convert_all(inputs[0], output, form=form, modality=modality, strict=strict, overwrite=overwrite)
        _list_every(results)
        return
    if format_ is not None:
        raise UsageError("--format goes with --all; without it the suffix of OUT gives the format")
    files = write_as(
        inputs if len(inputs) > 1 else inputs[0],
        output,
        series=series,
        labels=labels,
        only=parse_only(only),
        image=image,
        merge=merge,
        form=form,
        modality=modality,
        strict=strict,
        overwrite=overwrite,
    )
    list_files(_as_folders(files))


def _as_folders(files: Sequence[Path]) -> list[Path]:
    """Return the folder of a DICOM series instead of its slices."""
    is_series = sum(file.suffix == ".dcm" for file in files) > 1
    shown: dict[Path, None] = {}
    for file in files:
        shown[file.parent if is_series and file.suffix == ".dcm" else file] = None
    return list(shown)


def _known_format(form: str | None) -> str:
    from volseg.conversion import FORMATS

    if form is not None and form not in FORMATS:
        raise UsageError(f"--format {form} is unknown; choose from {', '.join(FORMATS)}")
    return form or "nii.gz"


def _list_every(converted: Iterator[ConvertedVolume]) -> None:
    results: list[ConvertedVolume] = []
    with progress_bar() as bar:
        task = bar.add_task("volumes", total=None)
        for result in converted:
            results.append(result)
            bar.update(task, completed=len(results))
    failures: list[tuple[str, VolsegError]] = []
    for result in results:
        for file in _as_folders(result.files):
            say(f"wrote {file}  <- {result.origin}")
        if result.error:
            failures.append((result.name, result.error))
    raise_failures(failures, len(results), "volumes failed")
