"""`volseg predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.console import FullPaths, Only, Series, list_files, parse_only, say, show_trace, split_list
from volseg.cli.mesh_space import Space, parse_space
from volseg.cli.progress import progress_bar, progress_on, show_progress
from volseg.cli.stopping import check_stopped
from volseg.errors import PartialError, UsageError

if TYPE_CHECKING:
    from volseg.cases.outputs import CaseResult
    from volseg.config import CleanupConfig


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Scans: image files, DICOM files, folders or zips, folders of any of them; A,B joins channels."
        ),
    ],
    model: Annotated[
        Path,
        typer.Option(
            "-m", "--model", help="model.safetensors, the folder of a training run, or hippocampus (included)."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder; each case gets a folder in it.")],
    mesh: Annotated[str, typer.Option(help="Also surfaces: {mesh.formats}; by commas.")] = "",
    space: Space = None,
    html: Annotated[
        bool, typer.Option("--html", help="Also scene.html: slices, surfaces and controls in any browser.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Also a report of all cases in OUT, the worst first; see volseg report.")
    ] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also the probability of each label.")] = False,
    doubt: Annotated[
        bool, typer.Option("--doubt", help="Also doubt.nii.gz: how unsure each voxel is, 0 to 1.")
    ] = False,
    dicom: Annotated[
        str,
        typer.Option(help="Also DICOM objects on the scan's own slices: {labels.forms}, fractional; by commas."),
    ] = "",
    only: Only = None,
    series: Series = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse tilted, uneven or incomplete DICOM stacks; do not resample.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Clean-up, such as cleanup.liver.largest_component=true; * is all."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo finished cases.")] = False,
    full_paths: FullPaths = False,
) -> None:
    """Segment scans with a trained model; labels are on each scan's own grid.

    A case has the name of its image file, without suffix; for DICOM the name of its series and 8 digits for patient,
    study and series. A folder of image files, of zip archives or of several patients' DICOM folders is a
    cohort; a scan that fails does not stop the others. A finished case is skipped; missing outputs, such as
    surfaces that are wanted later, are added. With --only every output holds only these labels of the model, after
    clean-up; the others are background.
    """
    from volseg.cases.cohort import process_cases
    from volseg.cases.inputs import collect_cases
    from volseg.cases.outputs import OutputSettings
    from volseg.io.mesh import parse_formats
    from volseg.network.devices import Threads
    from volseg.network.file import load_model

    mesh_formats = parse_formats(mesh) if mesh else ()
    settings = OutputSettings(
        probabilities=probabilities,
        doubt=doubt,
        mesh_formats=mesh_formats,
        mesh_space=parse_space(space, mesh_formats),
        html=html,
        dicom_forms=_dicom_forms(dicom),
        only=parse_only(only) or (),
        cleanup=_cleanup(set_ or []),
        overwrite=overwrite,
        strict=strict,
        full_paths=full_paths,
    )
    loaded = load_model(model)
    cases = collect_cases(inputs, channels=len(loaded.channel_names), series=series)
    results: list[CaseResult] = []
    threads = Threads()
    threads.adjust()
    with progress_bar() as bar:
        overall = bar.add_task("cases", total=len(cases))
        show = progress_on(bar, "slices")

        def follow(what: str, done: int, total: int) -> None:
            threads.adjust()
            show(what, done, total)

        for result in process_cases(loaded, cases, output, settings=settings, device=device, progress=follow):
            check_stopped()
            results.append(result)
            bar.update(overall, advance=1)
            say(f"[{len(results)}/{len(cases)}] {_ending(result)}", above=bar)
            if result.doubt is not None:
                say(result.doubt.describe(), above=bar)
            if result.error:
                show_trace(result.error)
    for result in results:
        list_files(result.written)
    try:
        if report:
            _report(output, results)
    finally:
        _raise_failures(results)


def _report(output: Path, results: list[CaseResult]) -> None:
    from volseg.reporting import report

    images = {result.case.name: result.case.paths for result in results}
    with show_progress("report") as follow:
        list_files([report(output, images=images, progress=follow)])


def _ending(result: CaseResult) -> str:
    paths = ", ".join(map(str, result.case.paths))
    if result.error:
        return f"{paths}: failed"
    if result.skipped:
        return f"{paths} -> {result.files[-1].parent}: finished already, skipped (--overwrite redoes it)"
    return f"{paths} -> {result.files[-1].parent}"


def _dicom_forms(text: str) -> tuple[str, ...]:
    from volseg.cases.outputs import DICOM_FORMS

    forms = split_list(text.lower())
    for form in forms:
        if form not in DICOM_FORMS:
            raise UsageError(f"--dicom {form} is unknown; choose from {', '.join(DICOM_FORMS)}")
    return tuple(dict.fromkeys(forms))


def _cleanup(changes: list[str]) -> dict[str, CleanupConfig]:
    from volseg.config import load_config

    for change in changes:
        if not change.startswith("cleanup."):
            raise UsageError(f"--set {change}: only cleanup.<label>.<key> can be changed after training")
    return load_config(overrides=tuple(changes)).cleanup


def _raise_failures(results: list[CaseResult]) -> None:
    failed = [result for result in results if result.error]
    if len(results) == 1 and failed and failed[0].error:
        raise failed[0].error
    if failed:
        lines = [f"{result.case.name}: {result.error}" for result in failed]
        raise PartialError("\n".join([f"{len(failed)} of {len(results)} cases failed", *lines]))
