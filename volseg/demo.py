"""The whole way on made-up scans: no data, no network, a minute or two on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from volseg.cases.cohort import process_cases
from volseg.cases.inputs import CaseInput
from volseg.cases.outputs import PAGE, OutputSettings
from volseg.config import load_config
from volseg.errors import RenderError, UsageError
from volseg.evaluation import Evaluation, evaluate
from volseg.io import read, read_labels, write
from volseg.io.dicom import write_dicom_series
from volseg.io.labels import write_label_table
from volseg.phantoms import make_ct_phantom
from volseg.progress import Progress, ignore_progress
from volseg.reporting import report
from volseg.training.events import StepsMade
from volseg.training.loop import iterate_training

_CASES = 10
_UNSEEN_SEED = 1000
_CASE = "unseen"


@dataclass(frozen=True)
class DemoResult:
    """What the demo measured and wrote.

    Parameters
    ----------
    evaluation : Evaluation
        Of the unseen scan.
    files : tuple of Path
    note : str
        Why there is no 3D picture; empty if there is one.
    """

    evaluation: Evaluation
    files: tuple[Path, ...]
    note: str = ""


def run_demo(output: Path | str, *, epochs: int = 40, progress: Progress | None = None) -> DemoResult:
    """Make a small cohort of CT phantoms, train on it, segment an unseen DICOM series, look at it and report on it.

    Parameters
    ----------
    output : path
        Folder for everything: ``dataset``, ``unseen_dicom``, ``run``, ``segmentation``.
    epochs : int
        How long to train: passes over the labelled slices, about a minute on an idle CPU. Passes rather than minutes,
        so that a busy machine takes longer but learns as much.
    progress : Progress, optional
        Called with the step, such as ``making scans``, and how much of it is done; training counts in percent.

    Raises
    ------
    UsageError
        The folder holds something already, or is a file.
    """
    folder, tell = Path(output), progress or ignore_progress
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; choose a folder with -o")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder}: is not empty; choose another folder with -o or delete it")
    dataset = _write_cohort(folder / "dataset", tell)
    unseen = make_ct_phantom(seed=_UNSEEN_SEED)
    write_dicom_series(unseen.volume, folder / "unseen_dicom", description=_CASE)
    references = folder / "references"
    write(unseen.labels, references / f"{_CASE}.nii.gz")
    # A narrow network on small batches: made-up organs need no more.
    quick = ("network.width=16", "training.batch_size=8", "optimiser.learning_rate=2.0e-3", "training.validations=4")
    config = load_config(overrides=(*quick, f"training.epochs={epochs}"))
    tell("training", 0, 100)
    for event in iterate_training(dataset, folder / "run", config=config):
        if isinstance(event, StepsMade):
            tell("training", round(100 * event.progress), 100)
    tell("segmenting the unseen scan", 0, 1)
    files = _segment(folder)
    tell("drawing", 1, 3)
    pictures, note = _draw(folder)
    tell("drawing", 2, 3)
    index = report(folder / "segmentation", images={_CASE: [folder / "unseen_dicom"]})
    evaluation = evaluate(folder / "segmentation", references)
    tell("done", 1, 1)
    run = folder / "run"
    return DemoResult(evaluation, (run / "curve.png", run / "progress.html", *files, *pictures, index), note)


def _write_cohort(folder: Path, progress: Progress) -> Path:
    """Write phantoms and their label maps in the plainest layout that `volseg train` reads."""
    for seed in range(_CASES):
        progress("making scans", seed, _CASES)
        phantom = make_ct_phantom(seed=seed)
        name = f"phantom_{seed:03d}.nii.gz"
        write(phantom.volume, folder / "imagesTr" / name)
        write(phantom.labels, folder / "labelsTr" / name)
    write_label_table(phantom.labels.labels, folder / "labels.tsv")
    return folder


def _segment(folder: Path) -> tuple[Path, ...]:
    from volseg.network.file import load_model

    case = CaseInput(_CASE, (folder / "unseen_dicom",))
    settings = OutputSettings(mesh_formats=("stl", "glb"))
    (result,) = process_cases(load_model(folder / "run"), [case], folder / "segmentation", settings=settings)
    if result.error:
        raise result.error
    return result.files


def _draw(folder: Path) -> tuple[list[Path], str]:
    """Draw the contact sheet, the page and the 3D view; only the last needs a renderer."""
    from volseg.surface import extract_surfaces
    from volseg.view import save_contact_sheet, save_screenshot
    from volseg.webpage import page

    case = folder / "segmentation" / _CASE
    volume, labels = read(folder / "unseen_dicom"), read_labels(case / "labels.nii.gz")
    surfaces = extract_surfaces(labels)
    pictures = [save_contact_sheet(volume, labels, case / "contact_sheet.png")]
    pictures.append(page(volume, labels, meshes=surfaces, title=_CASE).save(case / PAGE))
    try:
        pictures.append(save_screenshot(case / "view.png", meshes=surfaces, volume=volume))
    except RenderError as error:
        return pictures, str(error)
    return pictures, ""
