"""`volseg mesh`: surfaces of a label map, or of a scan by threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.console import Only, Overwrite, Series, list_files, parse_only
from volseg.cli.failures import raise_failures
from volseg.cli.label_scan import LabelScan, read_label_scan
from volseg.cli.mesh_space import Space, parse_space
from volseg.cli.settings_options import options_from
from volseg.errors import InputError, UsageError, VolsegError
from volseg.files.atomic import check_free
from volseg.surface import SurfaceSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        bool, typer.Option("--single-file", help="All labels in surfaces.<format>, not one file for each label.")
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
        _refuse({"--labels": labels, "--only": only, "--image": image, "--shared-walls": settings.shared_walls})
        surface = surface_of_scan(input_, threshold, series=series, strict=strict, settings=settings)
        list_files(target.write([surface], output))
        return
    known = names_of(labels)
    cases = find_label_maps(input_, known=known)
    if not cases:
        raise InputError(f"{input_}: no label maps in this folder; the surface of a scan needs --threshold VALUE")
    alone = single_label_map(Catalogue(input_), known=known) is not None
    if target.is_file and len(cases) > 1:
        raise UsageError(f"{input_} holds {len(cases)} cases and {output} is one file; give a folder")
    files: list[Path] = []
    failures: list[tuple[str, VolsegError]] = []
    for case, path in cases.items():
        try:
            scan = read_label_scan(path, image, series)
            volume = series if image is None else None
            meshes = surfaces_of_labels(path, labels=labels, image=scan, only=chosen, series=volume, settings=settings)
            files += target.write(meshes, output if alone or target.is_file else output / case)
        except VolsegError as error:
            failures.append((case, error))
    list_files(files)
    raise_failures(failures, len(cases), "cases failed")


def _refuse(of_labels: Mapping[str, object]) -> None:
    """Refuse options of labels for the surface of a scan."""
    given = [option for option, value in of_labels.items() if value]
    if given:
        raise UsageError(f"with --threshold there are no labels; leave out {' and '.join(given)}")


@dataclass(frozen=True)
class _Target:
    """Settings for writing surfaces.

    Parameters
    ----------
    formats : tuple of str
    space : str
    is_file : bool
        Whether the user named one file, not a folder.
    is_single : bool
        Whether all surfaces of a case are in one file of a folder.
    overwrite : bool
    """

    formats: tuple[str, ...]
    space: str
    is_file: bool
    is_single: bool
    overwrite: bool

    def write(self, meshes: Sequence[Mesh], output: Path) -> list[Path]:
        """Write the surfaces of a case to its folder, or to one file, and a table of their grades if they have some."""
        from volseg.io.mesh import TOGETHER, replaced_by, write_mesh_files, write_report

        targets = self._targets(meshes, output)
        graded = all(mesh.quality for mesh in meshes)
        stem = output.with_suffix("") if self.is_file else output / TOGETHER
        report = stem.with_name(f"{stem.name}_quality.tsv")
        replaced = [report] if graded else []
        for path, _ in targets:
            replaced += replaced_by(path)
        check_free(replaced, overwrite=self.overwrite)
        files = []
        for path, some in targets:
            files += write_mesh_files(some, path, space=self.space)
        if graded:
            files.append(write_report(meshes, report))
        return files

    def _targets(self, meshes: Sequence[Mesh], output: Path) -> Sequence[tuple[Path, Sequence[Mesh]]]:
        """Return the surfaces of each file."""
        from volseg.io.mesh import TOGETHER, mesh_targets

        if self.is_file:
            return [(output, meshes)]
        if self.is_single:
            return [(output / f"{TOGETHER}.{name}", meshes) for name in self.formats]
        return mesh_targets(meshes, output, formats=self.formats)


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
    return _Target(names, parse_space(space, names), is_file, single_file, overwrite)
