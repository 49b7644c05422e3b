"""`volseg mesh`: surfaces of a label map, or of a scan by threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.console import Only, Overwrite, Series, list_files, parse_only
from volseg.cli.label_scan import LabelScan, read_label_scan
from volseg.cli.mesh_space import Space, parse_space
from volseg.cli.settings_options import options_from
from volseg.errors import InputError, PartialError, UsageError, VolsegError
from volseg.files.atomic import check_free
from volseg.surface import SurfaceSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volseg.core.mesh import Mesh


@options_from(SurfaceSettings)
def mesh(
    input_: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Label map file, folder of them or of masks, output folder of predict, or with --threshold a scan.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="Folder, or one file for everything: {mesh.suffixes}.",
        ),
    ],
    formats: Annotated[
        str | None, typer.Option("--format", help="{mesh.formats}; several by commas. Default stl.")
    ] = None,
    space: Space = None,
    threshold: Annotated[
        float | None, typer.Option(help="Surface of a scan at this value; 200 for bone in CT.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Table with names and colours of the labels.")] = None,
    only: Only = None,
    image: LabelScan = None,
    series: Series = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --threshold: refuse tilted, uneven or incomplete DICOM stacks.")
    ] = False,
    *,
    settings: SurfaceSettings,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="All labels in surfaces.<format>, not one file a label.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn label maps, or a scan at a threshold, into closed surfaces in patient millimetres.

    Each label becomes OUTPUT/<label>.<format>; a folder of several cases, OUTPUT/<case>/<label>.<format>; in
    {mesh.together} all are in surfaces.<format>. In {mesh.named} the labels of a single file stay separate and
    coloured.
    """
    from volseg.cases.surfaces import surface_of_scan, surfaces_of_labels
    from volseg.io import Catalogue
    from volseg.io.labels import find_label_maps, names_of, single_label_map

    chosen = parse_only(only)
    target = _make_target(output, formats, space, single_file=single_file, overwrite=overwrite)
    if threshold is not None:
        of_labels = {"--labels": labels, "--only": only, "--image": image, "--shared-walls": settings.shared_walls}
        if given := [option for option, value in of_labels.items() if value]:
            raise UsageError(f"with --threshold there are no labels; leave out {' and '.join(given)}")
        surface = surface_of_scan(input_, threshold, series=series, strict=strict, settings=settings)
        list_files(target.write([surface]))
        return
    known = names_of(labels)
    cases = find_label_maps(input_, known=known)
    if not cases:
        raise InputError(f"{input_}: no label maps in this folder; the surface of a scan needs --threshold VALUE")
    alone = single_label_map(Catalogue(input_), known=known) is not None
    if target.file and len(cases) > 1:
        raise UsageError(f"{input_} holds {len(cases)} cases and {output} is one file; give a folder")
    files: list[Path] = []
    errors: list[VolsegError] = []
    for case, path in cases.items():
        try:
            scan = read_label_scan(path, image, series)
            volume = series if image is None else None
            meshes = surfaces_of_labels(path, labels=labels, image=scan, only=chosen, series=volume, settings=settings)
            files += target.write(meshes, "" if alone else case)
        except VolsegError as error:
            errors.append(error)
    list_files(files)
    if errors and len(cases) == 1:
        raise errors[0]
    if errors:
        raise PartialError("\n".join([f"{len(errors)} of {len(cases)} cases failed", *map(str, errors)]))


@dataclass(frozen=True)
class _Target:
    """Where surfaces go: into one file, or a folder."""

    output: Path
    formats: tuple[str, ...]
    space: str
    file: bool
    together: bool
    overwrite: bool

    def write(self, meshes: Sequence[Mesh], case: str = "") -> list[Path]:
        from volseg.io.mesh import TOGETHER, mesh_targets, replaced_by, write_mesh_files, write_report

        folder = self.output / case
        paths = [self.output] if self.file else [folder / f"{TOGETHER}.{suffix}" for suffix in self.formats]
        targets: list[tuple[Path, Sequence[Mesh]]] = [(path, meshes) for path in paths]
        if not (self.file or self.together):
            targets = [*mesh_targets(meshes, folder, formats=self.formats)]
        graded = all(mesh.quality for mesh in meshes)
        report = [paths[0].with_name(f"{paths[0].stem}_quality.tsv")] if graded else []
        check_free([*(file for path, _ in targets for file in replaced_by(path)), *report], overwrite=self.overwrite)
        files = [file for path, some in targets for file in write_mesh_files(some, path, space=self.space)]
        return [*files, *(write_report(meshes, path) for path in report)]


def _make_target(
    output: Path, formats: str | None, space: str | None, *, single_file: bool, overwrite: bool
) -> _Target:
    from volseg.io.mesh import MESH_FORMATS, OTHER_MESH_SUFFIXES, parse_formats

    suffix = output.suffix.lower().removeprefix(".")
    if output.suffix.lower() in OTHER_MESH_SUFFIXES and not output.is_dir():
        raise UsageError(f"-o {output}: volseg writes {', '.join(MESH_FORMATS)}; choose one of them, or a folder")
    is_file = suffix in MESH_FORMATS and not output.is_dir()
    names = parse_formats(formats) if formats is not None else (suffix if is_file else "stl",)
    if is_file and names != (suffix,):
        raise UsageError(f"-o {output} is one .{suffix} file, but --format is {formats}; leave one out")
    if is_file:
        check_free([output], overwrite=overwrite)  # before any work
    return _Target(output, names, parse_space(space, names), is_file, single_file, overwrite)
