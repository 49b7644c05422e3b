"""Compare predictions with references, case by case."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Unpack

from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import Label, default_colour
from volseg.core.resample import Reorientation
from volseg.errors import GeometryError, InputError, UsageError, VolsegError
from volseg.evaluation.pairing import Pair, Source, pair_cases
from volseg.evaluation.result import Evaluation, Row
from volseg.evaluation.scores import Scores, compare
from volseg.evaluation.sides import Box, Reading, Side, read_sides
from volseg.io.labels import names_of, read_label_table
from volseg.progress import Progress

_LOG = logging.getLogger(__name__)

_ONE_VOXEL: Box = (slice(0, 1), slice(0, 1), slice(0, 1))


def evaluate(
    predictions: Source,
    references: Source,
    *,
    tolerance_mm: float = 1.0,
    progress: Progress | None = None,
    **reading: Unpack[Reading],
) -> Evaluation:
    """Compare predicted label maps with their references.

    Definitions of the metrics, and the rules for labels that are in one or none of the two, are in
    `volseg.evaluation.metrics`. Labels are matched by value; every label that the prediction, the reference or the
    table names is compared.

    Parameters
    ----------
    predictions, references : path, LabelMap, or mapping of case name to path or LabelMap
        A file, a folder of files ``<case>.<suffix>``, a folder of output folders ``<case>/labels.nii.gz``, or one such
        output folder. A folder of masks may take the place of a file; its labels are matched by name. Labels of a case
        may overlap. Predictions and references are paired by case name. One prediction and one reference are a pair
        whatever their names, if one of them is given as a file, LabelMap or output folder.
    tolerance_mm : float
        Tolerance of the surface Dice, mm.
    progress : Progress, optional
        Called with ("comparing", cases done, cases) after each case.
    labels : path, optional
        Table of label names, or a ``dataset.json``. Without it names come from the references, a ``dataset.json`` in
        their folder or the one above, and the predictions, in this order.
    only : sequence of str, optional
        Which labels, by name, value or pattern, as in `volseg.read_labels`.
    series : str, optional
        Which volume of files with several, by number or name; without it each volume is a label.

    Returns
    -------
    Evaluation
        Cases that could not be compared, and predictions without a reference, are in its `failures`.

    Raises
    ------
    InputError
        No prediction has a reference, there is nothing to compare, or no case could be compared.
    GeometryError
        There is only one case, and its prediction lies on another grid than its reference.
    UsageError
        The tolerance is negative or not finite.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import sphere_labelmap
    >>> grid = volseg.Grid.from_spacing((32, 32, 32))
    >>> prediction, reference = sphere_labelmap(grid, radius_mm=9), sphere_labelmap(grid, radius_mm=10)
    >>> (row,) = volseg.evaluate(prediction, reference).rows
    >>> row.label, round(row.scores.dice, 2), round(row.scores.hd95_mm, 1)
    ('sphere', 0.85, 1.4)
    """
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        raise UsageError(f"tolerance is {tolerance_mm} mm; expected a number of at least 0")
    labels = reading.get("labels")
    table = None if labels is None else Path(labels)
    names = _names_from_tables(references, table)
    pairs, unmatched, unpaired = pair_cases(predictions, references, known=names_of(table))
    scores: dict[str, dict[int, Scores]] = {}
    failures: dict[str, VolsegError] = {**unmatched}
    for done, (case, pair) in enumerate(pairs.items(), start=1):
        try:
            scores[case] = _compare_case(pair, names, reading, tolerance_mm)
        except VolsegError as error:
            failures[case] = error
        except MemoryError:
            failures[case] = InputError("does not fit into memory; compare it on a machine with more")
        if progress:
            progress("comparing", done, len(pairs))
    if not scores:
        raise _nothing_compared(failures)
    reasons = {case: str(error) for case, error in failures.items()}
    return Evaluation(_rows(scores, names), tolerance_mm, reasons, tuple(unpaired))


def _rows(scores: Mapping[str, Mapping[int, Scores]], names: _Names) -> tuple[Row, ...]:
    """Return the rows of all cases, with the names that are known after the last one."""
    rows = []
    for case, by_value in scores.items():
        for value, found in by_value.items():
            rows.append(Row(case, value, names[value], found))
    return tuple(rows)


def _nothing_compared(failures: Mapping[str, VolsegError]) -> VolsegError:
    if len(failures) == 1:
        return next(iter(failures.values()))
    message = f"none of {len(failures)} cases could be compared:"
    for case, error in failures.items():
        message += f"\n{case}: {error}"
    return InputError(message)


class _Names:
    """Names of label values from several sources, the best first; those of a case are added when it is read."""

    def __init__(self, given: tuple[Label, ...], dataset: tuple[Label, ...]) -> None:
        self._given = _named(given)
        self._dataset = _named(dataset)
        self._references: dict[int, str] = {}
        self._predictions: dict[int, str] = {}

    def values(self) -> set[int]:
        """Return the values that the table names, or without one the dataset."""
        return set(self._given or self._dataset)

    def learn(self, prediction: Side, reference: Side) -> None:
        """Add the names of a case; warn where its two sides name a value differently."""
        ours, theirs = _named(prediction.labels), _named(reference.labels)
        if not self._given:
            for value in sorted(ours.keys() & theirs.keys()):
                if ours[value].casefold() != theirs[value].casefold() and value not in self._predictions:
                    _LOG.warning(
                        "label %d is %r in the references and %r in the predictions; it is matched by value",
                        *(value, theirs[value], ours[value]),
                    )
        self._references = theirs | self._references
        self._predictions = ours | self._predictions

    def __getitem__(self, value: int) -> str:
        for names in (self._given, self._references, self._dataset, self._predictions):
            if value in names:
                return names[value]
        return f"label_{value}"


def _named(labels: tuple[Label, ...]) -> dict[int, str]:
    """Return names by value, without the generic ``label_<value>``."""
    return {label.value: label.name for label in labels if label.name != f"label_{label.value}"}


def _names_from_tables(references: Source, table: Path | None) -> _Names:
    """Return the names that are known before a case is read: those of the table, or without one of the dataset."""
    if table is not None:
        return _Names(read_label_table(table), ())
    return _Names((), _dataset_labels(references))


def _dataset_labels(references: Source) -> tuple[Label, ...]:
    """Return the labels of the ``dataset.json`` of a reference folder, if there is one."""
    if not isinstance(references, str | Path):
        return ()
    folder = Path(references).resolve()
    if not folder.is_dir():
        folder = folder.parent
    for path in (folder / "dataset.json", folder.parent / "dataset.json"):
        if path.is_file():
            try:
                return read_label_table(path)
            except InputError as error:
                _LOG.warning("label names are not taken from %s", error)
    return ()


def _compare_case(pair: Pair, names: _Names, reading: Reading, tolerance_mm: float) -> dict[int, Scores]:
    """Return the scores of each label of a case, by value."""
    prediction, reference = read_sides(pair, reading, names.values())
    names.learn(prediction, reference)
    values = names.values() | prediction.values | reference.values
    labels = [Label(value, names[value], default_colour(value)) for value in sorted(values)]
    wanted = LabelChoice(reading.get("only")).of(labels, "prediction and reference")
    prediction = _on_grid_of(reference, prediction)
    chosen = [label.value for label in wanted]
    for side, source in zip((prediction, reference), pair, strict=True):
        side.check_no_noise(chosen, source)
    scores = {}
    for value in chosen:
        box = _join(prediction.boxes.get(value), reference.boxes.get(value))
        ours, theirs = prediction.mask(value, box), reference.mask(value, box)
        scores[value] = compare(ours, theirs, reference.grid, tolerance_mm=tolerance_mm)
    return scores


def _on_grid_of(reference: Side, prediction: Side) -> Side:
    """Return the prediction with its voxels in the order of the reference's; both must be of the same grid."""
    change = Reorientation.onto(prediction.grid, reference.grid)
    grid = change.grid(prediction.grid)
    if grid.is_close(reference.grid):
        return prediction.moved(change)
    raise GeometryError(
        f"prediction and reference lie on different grids, corners up to {grid.distance_mm(reference.grid):.4g} mm "
        f"apart: prediction {prediction.grid.describe()}; reference {reference.grid.describe()}; predict on the scan "
        "that the reference was drawn on, or resample the prediction onto the reference's grid (nearest neighbour)"
    )


def _join(first: Box | None, second: Box | None) -> Box:
    """Return the smallest box around both; if both are None, the box of one voxel."""
    if first is None or second is None:
        return first or second or _ONE_VOXEL
    joined = []
    for one, other in zip(first, second, strict=True):
        joined.append(slice(min(one.start, other.start), max(one.stop, other.stop)))
    return tuple(joined)
