"""How far a prediction is in doubt: what was counted of it, beside what held-out cases of the model had.

The score of a case is the lower of two percentiles among held-out cases: of the mean Dice of two planes (M. Zenk et
al., arXiv:2406.03323), and of the soft Dice of calibrated probabilities with their own labels (arXiv:2402.10665). A
line over it gives the expected Dice. Below all held-out cases nothing is known of the Dice, so none is given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import LabelMap, volumes_ml
from volseg.core.mesh import Mesh
from volseg.core.planes import Plane
from volseg.core.resample import Reorientation
from volseg.core.slices import NORMAL_AXIS
from volseg.network.doubt_fit import COVERAGE, FEWEST, DoubtFit
from volseg.prediction.calibration import LEAST
from volseg.prediction.surface_doubt import SD_NAME

if TYPE_CHECKING:
    from volseg.prediction.doubt_counts import Counted

_DIGITS = 4
_FIRST = 3  # slices to look at
_OF_SURFACE = (50, 95)  # percentiles


@dataclass(frozen=True)
class SliceDoubt:
    """How far planes agree in a slice; where the scan was cut along one plane, the soft Dice of the slice.

    Parameters
    ----------
    plane : {"axial", "coronal", "sagittal"}
    index : int
        Place of the slice along its axis of the label map's array, from 0.
    agreement : float
        0 to 1, of all labels of the slice together.
    """

    plane: Plane
    index: int
    agreement: float


@dataclass(frozen=True)
class LabelDoubt:
    """How far a label is in doubt.

    Parameters
    ----------
    soft_dice, plane_agreement : float, optional
        As in `Doubt`; None where the label was not found.
    volume_ml : float
        Of the label map.
    interval_ml : (float, float), optional
        In which the true volume is expected.
    training_range_ml : (float, float), optional
        The smallest and largest volume in the training cases that have the label.
    surface_sd_mm : (float, float), optional
        How far the surface may lie from the true one: the median and the 95th percentile over its vertices of the
        standard deviation. Only where surfaces are made with ``--doubt``.
    """

    soft_dice: float | None
    plane_agreement: float | None
    volume_ml: float = 0.0
    interval_ml: tuple[float, float] | None = None
    training_range_ml: tuple[float, float] | None = None
    surface_sd_mm: tuple[float, float] | None = None


@dataclass(frozen=True)
class Doubt:
    """How far a prediction is in doubt, beside the held-out cases of its model.

    Parameters
    ----------
    expected_dice : float, optional
        Mean over labels, after the clean-up that the model has.
    interval : (float, float), optional
        In which the Dice of a case is expected, if the scan is like those that were held out.
    held_out_cases : int
    soft_dice : float, optional
        Of calibrated probabilities with the labels before clean-up, mean over the labels that were found.
    plane_agreement : float, optional
        Mean Dice of two planes, over the labels that were found; None where the scan was cut along one plane.
    percentile : float, optional
        The share of held-out cases, in %, that have no better score: the lower one of both scores.
    reasons : tuple of str
        Why something is None.
    slices : tuple of SliceDoubt
        Those with labels, worst first: by the share of voxels that are in doubt, where a small slice counts less.
    labels : dict of str to LabelDoubt
        By name.
    volume_reasons : tuple of str
        Why a volume has no interval.
    coverage : float
        Share of cases that the intervals are made for.

    Examples
    --------
    >>> import numpy as np
    >>> import volseg
    >>> array = np.random.default_rng(0).normal(size=(32, 32, 32))
    >>> scan = volseg.Volume(array, volseg.Grid.from_spacing(array.shape))
    >>> doubt = volseg.predict(volseg.load_model("hippocampus"), scan).doubt
    >>> doubt.expected_dice is None, doubt.reasons[-1]
    (True, 'the model knows no held-out cases to compare with')
    """

    expected_dice: float | None
    interval: tuple[float, float] | None
    held_out_cases: int
    soft_dice: float | None
    plane_agreement: float | None
    percentile: float | None
    reasons: tuple[str, ...]
    slices: tuple[SliceDoubt, ...]
    labels: Mapping[str, LabelDoubt] = field(default_factory=dict)
    volume_reasons: tuple[str, ...] = ()
    coverage: float = COVERAGE

    def describe(self) -> str:
        """Say in a line what Dice is expected, or why none is, and which slices to look at first."""
        if self.expected_dice is not None and self.interval is not None:
            low, high = self.interval
            quality = f"expected Dice {self.expected_dice:.2f} [{low:.2f}, {high:.2f}]"
        else:
            quality = ": ".join(["no expected Dice", *self.reasons[-1:]])
        if not self.slices:
            return quality
        places = [str(one.index) for one in self.slices[:_FIRST]]
        word = "slice" if len(places) == 1 else "slices"
        return f"{quality}; look at {self.slices[0].plane} {word} {', '.join(places)} first"

    def to_json(self) -> dict[str, Any]:
        """Return the entry ``doubt`` of ``run.json``, with numbers of four decimals and all reasons together."""
        content: dict[str, Any] = _rounded(asdict(self))
        content["reasons"] += content.pop("volume_reasons")
        return content


def estimate_doubt(counted: Counted, labels: LabelMap, fit: DoubtFit | None, *, uncleaned: Iterable[str]) -> Doubt:
    """Say how far a prediction is in doubt.

    Parameters
    ----------
    counted : Counted
        While it was made.
    labels : LabelMap
        The prediction before clean-up.
    fit : DoubtFit, optional
        Of the model.
    uncleaned : iterable of str
        Labels that the model's own clean-up would change.
    """
    soft, planes = _known(counted.soft_dice()[0]), _known(counted.plane_agreement())
    reasons = []
    if counted.agreement is None:
        reasons.append("the scan was cut along one plane, so there are no planes to compare")
    if soft is None:
        reasons.append("no label was found, or hardly any, so nothing can be compared")
    percentile = None
    if trouble := _incomparable(counted, fit):
        reasons.append(trouble)
    elif fit is not None and soft is not None:
        percentile = lower_percentile(fit, soft, planes)
    expected, interval = _expected(fit, percentile)
    if fit is not None and percentile is not None and expected is None:
        reasons.append(_why_none_is_expected(fit, soft, planes))
    doubt = Doubt(
        expected,
        interval,
        0 if fit is None else fit.cases,
        soft,
        planes,
        percentile,
        tuple(reasons),
        _slices(counted),
        _labels(counted, labels),
    )
    return apply_to(doubt, labels, fit, unlike=uncleaned, why="not cleaned up yet")


def apply_to(doubt: Doubt, labels: LabelMap, fit: DoubtFit | None, *, unlike: Iterable[str], why: str) -> Doubt:
    """Return the doubt about a label map that was made of the prediction by clean-up or a choice of labels.

    Parameters
    ----------
    doubt : Doubt
    labels : LabelMap
    fit : DoubtFit, optional
        Of the model.
    unlike : iterable of str
        Labels that held-out cases had in another form, so that their volumes tell nothing.
    why : str
        What sets them apart.
    """
    told, unlike = {}, set(unlike)
    for name, volume in volumes_ml(labels).items():
        interval = None if name in unlike else _volume_interval(fit, name, volume)
        known = None if fit is None else fit.training_ml.get(name)
        told[name] = replace(doubt.labels[name], volume_ml=volume, interval_ml=interval, training_range_ml=known)
    reasons = () if fit is None else tuple(_volume_reasons(fit, told, unlike, why))
    return replace(doubt, labels=told, slices=_labelled(doubt.slices, labels), volume_reasons=reasons)


def entropy(probabilities: NDArray[np.float16]) -> NDArray[np.float16]:
    """Return how unsure each voxel is: the entropy of its probabilities, as a share of the largest that there can be.

    Parameters
    ----------
    probabilities : (C, I, J, K) float16
        Of background and each label, calibrated, as in `volseg.prediction.inference.Prediction`.

    Returns
    -------
    (I, J, K) float16
        0 where one class is sure, 1 where all are alike.
    """
    found = np.empty(probabilities.shape[1:], dtype=np.float16)
    for number, slab in enumerate(np.moveaxis(probabilities, 1, 0)):  # a slab at a time, to save memory
        likely = np.maximum(slab, LEAST, dtype=np.float32)
        found[number] = np.minimum(-(likely * np.log(likely)).sum(axis=0) / np.log(len(likely)), 1)
    return found


def with_surfaces(doubt: Doubt, meshes: Iterable[Mesh]) -> Doubt:
    """Return a doubt that also tells of the surfaces.

    Parameters
    ----------
    doubt : Doubt
    meshes : iterable of Mesh
        Of its labels, by name; those with `volseg.prediction.surface_doubt.SD_NAME` in their point data tell.
    """
    labels = dict(doubt.labels)
    for mesh in meshes:
        if mesh.name in labels and SD_NAME in mesh.point_data:
            middle, most = np.percentile(mesh.point_data[SD_NAME], _OF_SURFACE).tolist()
            labels[mesh.name] = replace(labels[mesh.name], surface_sd_mm=(middle, most))
    return replace(doubt, labels=labels)


def lower_percentile(fit: DoubtFit, soft_dice: float, plane_agreement: float | None) -> float:
    """Return the lower percentile of the scores of a case: the share of held-out cases, in %, with no better one.

    Parameters
    ----------
    fit : DoubtFit
        With scores of the same kinds.
    soft_dice : float
    plane_agreement : float or None
    """
    shares = [_share(fit.soft_dice, soft_dice)]
    if plane_agreement is not None:
        shares.append(_share(fit.plane_agreement, plane_agreement))
    return 100 * min(shares)


def _share(known: Sequence[float], score: float) -> float:
    return float(np.searchsorted(known, score, side="right")) / len(known)


def _incomparable(counted: Counted, fit: DoubtFit | None) -> str:
    """Say why a scan cannot be compared with the held-out cases; nothing if it can."""
    if fit is None or not fit.cases:
        return "the model knows no held-out cases to compare with"
    if (counted.agreement is None) != (not fit.plane_agreement):
        here, there = ("one plane", "several planes") if counted.agreement is None else ("several planes", "one plane")
        return f"the scan was cut along {here} and the held-out cases along {there}, so they do not compare"
    return ""


def _expected(fit: DoubtFit | None, percentile: float | None) -> tuple[float | None, tuple[float, float] | None]:
    """Return the expected Dice and its interval; none for a case whose score is below those of all held-out cases."""
    if fit is None or fit.dice is None or not percentile:
        return None, None
    line = fit.dice
    centre = line.at_0 + (line.at_100 - line.at_0) * percentile / 100
    low, middle, high = np.clip([centre - line.below, centre, centre + line.above], 0, 1).tolist()
    return middle, (low, high)


def _why_none_is_expected(fit: DoubtFit, soft_dice: float | None, plane_agreement: float | None) -> str:
    if fit.dice is None:
        return f"an expected Dice and intervals need {FEWEST} held-out cases; the model has {fit.cases}"
    low = []
    for what, score, known in (
        ("plane agreement", plane_agreement, fit.plane_agreement),
        ("soft Dice", soft_dice, fit.soft_dice),
    ):
        if score is not None and score < known[0]:
            low.append(f"{what} {score:.2f} (there {known[0]:.2f} or more)")
    return f"{' and '.join(low)} is below all {fit.cases} held-out cases, so no Dice can be expected: look at the case"


def _volume_interval(fit: DoubtFit | None, name: str, volume_ml: float) -> tuple[float, float] | None:
    found = None if fit is None else fit.volumes.get(name)
    if found is None or found.low is None or found.high is None or volume_ml == 0:
        return None
    return volume_ml * found.low, volume_ml * found.high


def _volume_reasons(
    fit: DoubtFit, labels: Mapping[str, LabelDoubt], unlike: Collection[str], why: str
) -> Iterator[str]:
    """Say which volumes have no interval, and why."""
    missing = [name for name, label in labels.items() if label.volume_ml == 0]
    apart = [name for name in labels if name in unlike and name not in missing]
    few = [n for n, label in labels.items() if label.interval_ml is None and n not in (*missing, *apart)]
    if missing:
        yield f"no interval of the volume of {', '.join(missing)}: not found"
    if apart:
        yield f"no interval of the volume of {', '.join(apart)}: {why}"
    if few:
        counts = ", ".join(f"{name} ({fit.volumes[name].cases if name in fit.volumes else 0})" for name in few)
        yield f"no interval of the volume of {counts}: that needs {FEWEST} held-out cases with the label"


def _labels(counted: Counted, labels: LabelMap) -> dict[str, LabelDoubt]:
    """Return the scores of the model's labels, in its order."""
    soft = counted.soft.of_labels()[0].tolist()
    planes = [None] * len(soft) if counted.agreement is None else counted.agreement.of_labels().tolist()
    told = {}
    for label, of_soft, of_planes in zip(labels.labels, soft, planes, strict=True):
        told[label.name] = LabelDoubt(_known(of_soft), _known(of_planes))
    return told


def _slices(counted: Counted) -> tuple[SliceDoubt, ...]:
    """Return the slices in which anything was found, worst first."""
    sums, indices = counted.of_slices(), counted.indices.tolist()
    agreement, found = sums.dice().tolist(), []
    for number in np.argsort(-sums.doubt(), kind="stable").tolist():
        if _known(agreement[number]) is not None:
            found.append(SliceDoubt(counted.plane, indices[number], agreement[number]))
    return tuple(found)


def _labelled(slices: Sequence[SliceDoubt], labels: LabelMap) -> tuple[SliceDoubt, ...]:
    """Leave out slices without any label."""
    if not slices:
        return ()
    axis = Reorientation.between(labels.grid, "RAS").axes[NORMAL_AXIS[slices[0].plane]]
    labelled = set(np.flatnonzero(labels.array.any(axis=tuple({0, 1, 2} - {axis}))).tolist())
    return tuple(one for one in slices if one.index in labelled)


def _known(score: float | None) -> float | None:
    """Return a score as a number; None where there is none."""
    return None if score is None or np.isnan(score) else float(score)


def _rounded(value: Any) -> Any:
    """Round the numbers in nested values; tuples become lists."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return [_rounded(entry) for entry in value]
    return round(value, _DIGITS) if isinstance(value, float) else value
