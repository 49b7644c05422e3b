"""Does the doubt of a prediction tell which cases, slices and volumes are wrong? On held-out cases, and on spoilt ones.

    python benchmarks/doubt.py DATASET RUN [--fold 0] [--every 4] [--json FILE]
    python benchmarks/doubt.py DATASET CROSSVAL --folds 0,1,2,3,4 [--every 4] [--json FILE]

RUN is what `volseg train DATASET -o RUN --fold 0` has made, CROSSVAL what `volseg crossval DATASET -o CROSSVAL` has;
each of its models predicts the cases of its fold. What a model keeps of held-out cases is fitted here on these
predictions, so that models of any version can be used. Printed are:

* cases: Spearman's correlation with the Dice, and the area under the ROC curve (AUROC) for the worst tenth and quarter;
* intervals: fitted on half of the cases, tried on the others, 200 times;
* spoilt scans, of every n-th case: the share with a score below 95 % of the sound ones, and what Dice is expected;
* surfaces: how far they lie off beside the standard deviation that is told, with the factor of the other half;
* slices: AUROC for a Dice below 0.7, and the share of all wrong voxels in the slices that are ranked first.

The entropy at the boundary of the labels stands beside them, as what does not work.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata, spearmanr

import volseg
from volseg.core.labelmap import LabelMap, volumes_ml
from volseg.datasets import read_dataset, read_images, read_reference, split
from volseg.evaluation.metrics import dice
from volseg.network.doubt_fit import COVERAGE, FEWEST, DoubtFit
from volseg.network.file import Model
from volseg.prediction.cleanup import clean_labels, model_cleanup
from volseg.prediction.doubt import estimate_doubt, lower_percentile
from volseg.prediction.doubt_counts import Counted
from volseg.prediction.inference import answer_scan
from volseg.prediction.networks import ReadyModel
from volseg.training.doubt_fitting import WITHIN, HeldOutScores, fit_doubt, percentiles_by_others
from volseg.training.surface_distances import surface_distances

Array = NDArray[Any]
SPLITS = 200
BAD_SLICE = 0.7
FIRST = (0.1, 0.2)  # of the slices of a scan


def gamma(power: float) -> Callable[[Array], Array]:
    def change(array: Array) -> Array:
        low, high = np.percentile(array, [0.5, 99.5])
        return np.clip((array - low) / (high - low), 0, 1) ** power * (high - low) + low

    return change


def noise(share: float) -> Callable[[Array], Array]:
    return lambda array: array + share * array.std() * np.random.default_rng(0).normal(size=array.shape)


def half(array: Array) -> Array:
    changed = array.copy()
    changed[: len(array) // 2] = array.min()
    return changed


def flip(axis: int) -> Callable[[Array], Array]:
    return lambda array: np.flip(array, axis)


# A flipped scan is that of a flipped patient: its reference is flipped too.
FLIPS = {f"flipped along axis {axis}": flip(axis) for axis in range(3)}
SPOILT: dict[str, Callable[[Array], Array]] = {
    "gamma 0.7": gamma(0.7),
    "gamma 1.5": gamma(1.5),
    "noise 0.3 sd": noise(0.3),
    "noise 1 sd": noise(1.0),
    "blur 1 voxel": lambda array: gaussian_filter(array, 1),
    "blur 2 voxels": lambda array: gaussian_filter(array, 2),
    **FLIPS,
    "half field": half,
    "inverted contrast": lambda array: array.max() + array.min() - array,
}


def spoil(volumes: Sequence[volseg.Volume], reference: LabelMap) -> Iterator[tuple[str, list[volseg.Volume], LabelMap]]:
    """Yield each kind of spoilt scan, with its reference."""
    for name, change in SPOILT.items():
        changed = [volume.with_array(change(volume.array.astype(np.float32))) for volume in volumes]
        turned = FLIPS[name](reference.array) if name in FLIPS else reference.array
        yield name, changed, LabelMap(turned, reference.grid, reference.labels)


@dataclass(frozen=True)
class Found:
    """A prediction: its scores, the truth, and both by slice; entropy is of the calibrated probabilities."""

    counted: Counted
    labels: LabelMap
    scores: HeldOutScores
    boundary_entropy: float
    slice_agreement: Array
    slice_doubt: Array
    slice_entropy: Array
    slice_boundary: Array
    slice_dice: Array
    slice_wrong: Array
    surfaces: tuple[Array, ...]  # (N, 2) signed distance and standard deviation, mm


def find(ready: ReadyModel, volumes: Sequence[volseg.Volume], reference: LabelMap) -> Found:
    model = ready.model
    answers = answer_scan(ready, volumes, temperatures=(model.temperature,), probabilities=True)
    counted, labels = answers.counter.finish(), answers.label_map
    cleaned = clean_labels(labels, model_cleanup(model))
    own = LabelMap(reference.array, reference.grid, model.labels)
    predicted, true = volumes_ml(cleaned), volumes_ml(own)
    dices = [dice(cleaned.mask(label), own.mask(label)) for label in model.labels]
    scores = HeldOutScores(
        float(counted.soft_dice()[0]),
        counted.plane_agreement(),
        float(np.nanmean(dices)),
        {name: (predicted[name], true[name]) for name in predicted},
    )
    calibrated = np.asarray(answers.probabilities, dtype=np.float32)
    entropy = -(calibrated * np.log(np.maximum(calibrated, 1e-7))).sum(axis=0)
    # The axis of the slices is the one along which the counted ones and the labelled ones are the same.
    axis = slice_axis(counted, labels)
    boundary = np.zeros(entropy.shape, dtype=bool)
    for other in {0, 1, 2} - {axis}:
        lines, edges = np.moveaxis(labels.array, other, 0), np.moveaxis(boundary, other, 0)
        edges[1:] |= lines[1:] != lines[:-1]
        edges[:-1] |= lines[1:] != lines[:-1]

    def by_slice(array: Array) -> Array:
        return np.moveaxis(array, axis, 0)[counted.indices].reshape(len(counted.indices), -1)

    ours, theirs = by_slice(labels.array), by_slice(own.array)
    voxels = (ours > 0).sum(axis=1) + (theirs > 0).sum(axis=1)
    kept = (ours > 0).any(axis=1)  # as in run.json
    return Found(
        counted,
        labels,
        scores,
        float(entropy[boundary].mean()) if boundary.any() else 0.0,
        counted.of_slices().dice()[kept],
        counted.of_slices().doubt()[kept],
        by_slice(entropy).sum(axis=1)[kept],
        by_slice(boundary).sum(axis=1)[kept],
        (2 * ((ours == theirs) & (ours > 0)).sum(axis=1) / np.maximum(voxels, 1))[kept],
        (ours != theirs).sum(axis=1)[kept],
        surface_distances(labels, reference, answers.probabilities, model.labels),
    )


def slice_axis(counted: Counted, labels: LabelMap) -> int:
    from volseg.core.resample import Reorientation
    from volseg.core.slices import NORMAL_AXIS

    return Reorientation.between(labels.grid, "RAS").axes[NORMAL_AXIS[counted.plane]]


def auroc(suspicion: Array, bad: Array) -> float | None:
    """Return how often a bad one is more suspicious than a good one; None where all are the same."""
    count = int(bad.sum())
    if count in (0, len(bad)):
        return None
    ranks = rankdata(np.nan_to_num(suspicion, nan=np.inf, posinf=1e9))  # without a score, nothing was found: the worst
    return float((ranks[bad].sum() - count * (count + 1) / 2) / (count * (len(bad) - count)))


def suspicions(found: Sequence[Found], fit: DoubtFit, *, by_others: bool) -> dict[str, Array]:
    """Return how suspicious each case is by each score."""
    soft = np.array([one.scores.soft_dice for one in found])
    planes = np.array([one.scores.plane_agreement for one in found])
    told = {"soft Dice": -soft}
    if fit.plane_agreement:
        told = {"plane agreement": -planes, **told}
    if by_others:
        columns = np.stack([soft, planes], axis=1)[:, : 2 if fit.plane_agreement else 1]
        lower = percentiles_by_others(columns)
    else:
        lower = np.array([_percentile(one, fit) for one in found])
    return {**told, "lower percentile": -lower, "boundary entropy": np.array([one.boundary_entropy for one in found])}


def _percentile(one: Found, fit: DoubtFit) -> float:
    if np.isnan(one.scores.soft_dice):
        return 0.0
    planes = one.scores.plane_agreement if fit.plane_agreement else None
    return lower_percentile(fit, one.scores.soft_dice, planes)


def tell_cases(found: Sequence[Found], fit: DoubtFit) -> dict[str, Any]:
    dices, told = np.array([one.scores.dice for one in found]), {}
    for name, suspicion in suspicions(found, fit, by_others=True).items():
        rho, row = float(spearmanr(-suspicion, dices).statistic), {}
        for what, share in (("worst tenth", 0.1), ("worst quarter", 0.25)):
            worst = rankdata(dices, method="ordinal") <= round(share * len(dices))
            row[what] = auroc(suspicion, worst)
        told[name] = {"Spearman": rho, **row}
    return {"Dice": {"mean": float(dices.mean()), "sd": float(dices.std()), "least": float(dices.min())}, **told}


def tell_intervals(found: Sequence[Found], model: Model) -> dict[str, Any]:
    """Fit on halves and try on the others."""
    if len(found) < 2 * FEWEST:
        return {"none": f"{len(found)} cases; half of them must be {FEWEST} at least"}
    random, dice_held, dice_none, widths, errors, plain = np.random.default_rng(0), [], [], [], [], []
    held: dict[str, list[bool]] = {label.name: [] for label in model.labels}
    wide: dict[str, list[float]] = {label.name: [] for label in model.labels}
    by_split: list[float] = []
    for _ in range(SPLITS):
        order = random.permutation(len(found))
        fit = fit_doubt([found[n].scores for n in order[: len(found) // 2]])
        mean = np.mean([found[n].scores.dice for n in order[: len(found) // 2]])
        here = []
        for n in order[len(found) // 2 :]:
            scores = found[n].scores
            doubt = estimate_doubt(found[n].counted, found[n].labels, fit, uncleaned=())
            dice_none.append(doubt.expected_dice is None)
            if doubt.expected_dice is not None and doubt.interval is not None:
                low, high = doubt.interval
                here.append(low <= scores.dice <= high)
                widths.append(high - low)
                errors.append(abs(doubt.expected_dice - scores.dice))
                plain.append(abs(mean - scores.dice))
            for name, (predicted, true) in scores.volumes_ml.items():
                of_label = fit.volumes[name]
                if predicted > 0 and of_label.low is not None and of_label.high is not None:
                    held[name].append(of_label.low * predicted <= true <= of_label.high * predicted)
                    wide[name].append((of_label.high - of_label.low) * predicted / true)
        dice_held += here
        by_split.append(float(np.mean(here)))
    volumes = {name: {"held": float(np.mean(held[name])), "width": float(np.median(wide[name]))} for name in held}
    return {
        "Dice": {
            "held": float(np.mean(dice_held)),
            "held in a split, 5th and 95th percentile": np.percentile(by_split, [5, 95]).tolist(),
            "width": float(np.mean(widths)),
            "not given": float(np.mean(dice_none)),
            "error": float(np.mean(errors)),
            "error of the mean": float(np.mean(plain)),
        },
        "volumes": volumes,
    }


def tell_spoilt(sound: Sequence[Found], spoilt: dict[str, list[Found]], fit: DoubtFit) -> dict[str, Any]:
    usual = suspicions(sound, fit, by_others=False)
    limits = {name: float(np.percentile(suspicion, 95)) for name, suspicion in usual.items()}
    told: dict[str, Any] = {}
    for what, found in spoilt.items():
        row: dict[str, Any] = {"cases": len(found), "Dice": float(np.mean([one.scores.dice for one in found]))}
        for name, suspicion in suspicions(found, fit, by_others=False).items():
            row[name] = float((np.nan_to_num(suspicion, nan=np.inf) > limits[name]).mean())
        doubts = [estimate_doubt(one.counted, one.labels, fit, uncleaned=()) for one in found]
        row["no Dice expected"] = float(np.mean([doubt.expected_dice is None for doubt in doubts]))
        inside = []
        for doubt, one in zip(doubts, found, strict=True):
            if doubt.interval is not None:
                inside.append(doubt.interval[0] <= one.scores.dice <= doubt.interval[1])
        row["interval held"] = float(np.mean(inside)) if inside else None
        told[what] = row
    every = [*sound, *(one for found in spoilt.values() for one in found)]
    bad = np.array([one.scores.dice for one in every]) < 0.75
    together = {name: auroc(s, bad) for name, s in suspicions(every, fit, by_others=False).items()}
    return {**told, f"AUROC, Dice < 0.75 ({int(bad.sum())} of {len(bad)})": together}


def tell_slices(found: Sequence[Found]) -> dict[str, Any]:
    """Rank the slices of each scan: by their score, by entropy, by the length of the boundary, and by their errors."""
    bad = np.concatenate([one.slice_dice < BAD_SLICE for one in found])
    ranks = {
        "doubt": lambda one: one.slice_doubt,
        "agreement or soft Dice": lambda one: -one.slice_agreement,
        "entropy": lambda one: one.slice_entropy,
        "entropy on the boundary": lambda one: one.slice_entropy / np.maximum(one.slice_boundary, 1),
        "boundary": lambda one: one.slice_boundary,
        "errors themselves": lambda one: one.slice_wrong,
    }
    told: dict[str, Any] = {"slices": len(bad), "bad": int(bad.sum())}
    for name, rank in ranks.items():
        row: dict[str, Any] = {"AUROC": auroc(np.concatenate([rank(one) for one in found]), bad)}
        for share in FIRST:
            wrong = total = 0
            worst = caught = 0
            for one in found:
                order = np.argsort(-rank(one), kind="stable")[: max(1, round(share * len(one.slice_wrong)))]
                wrong, total = wrong + int(one.slice_wrong[order].sum()), total + int(one.slice_wrong.sum())
                is_bad = one.slice_dice < BAD_SLICE
                caught, worst = caught + int(is_bad[order].sum()), worst + int(is_bad.sum())
            row[f"errors in the first {share:.0%}"] = wrong / max(1, total)
            row[f"bad slices in the first {share:.0%}"] = caught / max(1, worst)
        told[name] = row
    return told


def tell_surfaces(found: Sequence[Found]) -> dict[str, Any]:
    """Compare distances with standard deviations, with the factor of the other half of the cases."""
    halves = [[s for one in found[start::2] for s in one.surfaces] for start in (0, 1)]
    factors, distances, deviations = [], [], []
    for here, other in (halves, halves[::-1]):
        pooled = np.concatenate(other)
        factors.append(float(np.quantile(np.abs(pooled[:, 0]) / (WITHIN * pooled[:, 1]), COVERAGE)))
        for surface in here:
            distances.append(surface[:, 0])
            deviations.append(factors[-1] * surface[:, 1])
    mm, sd = np.concatenate(distances), np.concatenate(deviations)
    ranks = [spearmanr(s, np.abs(d)).statistic for s, d in zip(deviations, distances, strict=True)]
    ends, steps = np.quantile(sd, np.linspace(0, 1, 6)), []
    for low, high in pairwise(ends):
        inside = (sd >= low) & (sd <= high)
        steps.append([float(sd[inside].mean()), float(np.sqrt((mm[inside] ** 2).mean()))])
    return {
        "surfaces": len(ranks),
        "factors of the halves": factors,
        "within 1.645 standard deviations": float((np.abs(mm) <= WITHIN * sd).mean()),
        "Spearman within a surface, mean": float(np.nanmean(ranks)),
        **{f"fifth {n}, told and true": step for n, step in enumerate(steps, 1)},
    }


def show(told: Any, indent: int = 0) -> None:
    for name, value in told.items():
        if isinstance(value, dict) and any(isinstance(entry, dict) for entry in value.values()):
            print(" " * indent + f"{name}:")
            show(value, indent + 2)
        elif isinstance(value, dict):
            cells = ", ".join(f"{key} {_short(entry)}" for key, entry in value.items())
            print(" " * indent + f"{name}: {cells}")
        else:
            print(" " * indent + f"{name}: {_short(value)}")


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(_short, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def give(told: dict[str, Any], file: Path | None) -> None:
    """Print the figures, and write them to a file."""
    show(told)
    if file:
        file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--folds", type=lambda text: [int(part) for part in text.split(",")], default=[])
    parser.add_argument("--every", type=int, default=4, help="of how many cases one is spoilt")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, dataset = time.process_time(), read_dataset(options.dataset)
    runs = {fold: options.run / f"fold_{fold}" for fold in options.folds} or {options.fold: options.run}
    jobs = []
    for fold, run in runs.items():
        model = volseg.load_model(run)
        ready = ReadyModel(model, "cpu")
        jobs += [(ready, case) for case in split(dataset, fold)[1]]
    sound, spoilt = [], {name: list[Found]() for name in SPOILT}
    for number, (ready, case) in enumerate(jobs):
        volumes, reference = read_images(case), read_reference(case)
        sound.append(find(ready, volumes, reference))
        if number % options.every:
            continue
        for name, changed, turned in spoil(volumes, reference):
            spoilt[name].append(find(ready, changed, turned))
    fit = fit_doubt([one.scores for one in sound])
    told = {
        "run": options.run.name,
        "held-out cases": len(sound),
        "cases": tell_cases(sound, fit),
        "intervals": tell_intervals(sound, model),
        "spoilt scans": tell_spoilt(sound, spoilt, fit),
        "surfaces": tell_surfaces(sound),
        "slices": tell_slices(sound),
        "CPU seconds": round(time.process_time() - start),
    }
    give(told, options.json)


if __name__ == "__main__":
    main()
