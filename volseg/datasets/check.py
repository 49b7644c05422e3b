"""See before training whether the files of a dataset fit together; report all that is wrong at once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap, present_values
from volseg.core.resample import Reorientation
from volseg.datasets.masks_report import MasksReport
from volseg.datasets.references import pack_reference
from volseg.datasets.splits import describe_shared_patients
from volseg.datasets.types import Case, Dataset
from volseg.errors import DatasetError, VolsegError
from volseg.io import count_volumes, read_grid

_LISTED = 20

_LOG = logging.getLogger(__name__)


def check_dataset(dataset: Dataset) -> Dataset:
    """Check every case: files readable, channels complete, one grid, label values known; and names and folds.

    Grids are read from headers where the format has one (all image formats); label maps are read whole, and masks are
    merged. Warnings say which labels give voxels to others where masks overlap, which cases have no mask of a label,
    and if ``splits_final.json`` has scans of one patient on both sides of a fold.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    Dataset
        The same, but its cases keep their label maps packed: `read_reference` need not decode them again.

    Raises
    ------
    DatasetError
        Everything that is wrong, one line each; the first 20 are listed.
    """
    problems = [*_name_problems(dataset), *_split_problems(dataset)]
    cases, report = [], MasksReport(dataset.labels)
    for case in dataset.cases:
        checked, found = _check_case(case, dataset, report)
        cases.append(checked)
        for problem in found:
            problems.append(f"case {case.name}: {problem}")
    problems += report.problems()
    if not problems:
        for warning in filter(None, [describe_shared_patients(dataset), *_cut(list(report.warnings()))]):
            _LOG.warning("%s", warning)
        return replace(dataset, cases=tuple(cases))
    lines = _cut(problems)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise DatasetError(f"{dataset.root}: {count} in the dataset:\n  " + "\n  ".join(lines))


def _name_problems(dataset: Dataset) -> Iterator[str]:
    if not dataset.cases:
        yield "there are no cases; expected at least one image with a label map"
    elif not dataset.labels:
        yield "there are no labels; expected label maps with values above 0, or names for them"
    for name, count in Counter(case.name for case in dataset.cases).items():
        if count > 1:
            yield f"case {name}: there are {count} cases of this name; give each its own"
        if name in ("", ".", "..") or "/" in name or "\\" in name:
            yield f"case {name!r}: files cannot be called so; give it a name without slashes"
    yield from _shared_files(dataset)


def _shared_files(dataset: Dataset) -> Iterator[str]:
    counts: Counter[Path] = Counter()
    for case in dataset.cases:
        counts.update({*case.images, *case.label_files})
    for path, count in counts.items():
        if count > 1:
            yield f"{path}: belongs to {count} cases; expected one"


def _split_problems(dataset: Dataset) -> Iterator[str]:
    names = {case.name for case in dataset.cases}
    for number, (training, validation) in enumerate(dataset.splits or ()):
        if not training:
            yield f"splits_final.json: fold {number} has no training cases; name some"
        if unknown := sorted({*training, *validation} - names):
            yield f"splits_final.json: fold {number} names {_few(unknown)}, which are not cases"
        if both := sorted(set(training) & set(validation)):
            yield f"splits_final.json: fold {number} has {_few(both)} in training and validation"


def _check_case(case: Case, dataset: Dataset, report: MasksReport) -> tuple[Case, list[str]]:
    """Return the case with its label map packed, and what is wrong with it."""
    if not case.images:
        return case, [f"{'mask' if case.masks else 'label map'} {case.label_files[0]} has no image"]
    reference, problems = _check_images(case, dataset)
    if not case.label_files:
        return case, [f"image {case.images[0]} has no label map", *problems]
    try:
        packed, labels = pack_reference(case)
    except VolsegError as error:
        return case, [*problems, str(error)]
    path = case.label_files[0]
    if reference is not None:
        problems += _grid_problems(path, labels.grid, reference)
    if unknown := list(_value_problems(path, labels, dataset)):
        return packed, [*problems, *unknown]
    return packed, [*problems, *report.add(packed, labels)]


def _check_images(case: Case, dataset: Dataset) -> tuple[tuple[Path, Grid] | None, list[str]]:
    """Return the first image that can be read, with its grid, and what is wrong with the images."""
    problems: list[str] = []
    reference: tuple[Path, Grid] | None = None
    channels = 0
    for path in case.images:
        try:
            grid = read_grid(path)
            channels += count_volumes(path)
        except VolsegError as error:
            problems.append(str(error))
            continue
        if reference is None:
            reference = path, grid
        else:
            problems += _grid_problems(path, grid, reference)
    expected = len(dataset.channel_names)
    if reference is not None and channels != expected:
        names = _few(dataset.channel_names)
        problems.append(f"has {channels} channels, starting with {reference[0].name}; expected {expected}: {names}")
    return reference, problems


def _value_problems(path: Path, labels: LabelMap, dataset: Dataset) -> Iterator[str]:
    known = {label.value for label in dataset.labels}
    if {label.value for label in labels.labels} <= known:
        return
    if unknown := sorted(present_values(labels.array) - known):
        yield f"{path}: has the label values {_few(unknown)}; known are {_few(sorted(known))}"


def _grid_problems(path: Path, grid: Grid, reference: tuple[Path, Grid]) -> Iterator[str]:
    other_path, other = reference
    if grid.is_close(other):
        return
    same_voxels = Reorientation.onto(grid, other).grid(grid).is_close(other)
    remedy = f"the voxels are the same: reorient it to {other.orientation}" if same_voxels else "resample it"
    apart = f"corners up to {grid.distance_mm(other):.4g} mm apart"
    yield f"{path} ({grid.describe()}) is on another grid than {other_path} ({other.describe()}), {apart}; {remedy}"


def _cut(lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return [*lines[:_LISTED], *more]


def _few(things: Iterable[object]) -> str:
    shown = [str(thing) for thing in things]
    return ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")
