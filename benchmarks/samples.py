"""Do further passes of the network tell more of what is wrong? Dropout that is injected, gamma and scaled views.

    python benchmarks/samples.py DATASET RUN [--fold 0] [--json FILE]

RUN is what `volseg train DATASET -o RUN --fold 0` has made. Each held-out case is predicted again eight times: with
dropout of a tenth of the channels after every level of the decoder (four times, seeded for each case, so that the batch
does not matter), with grey values to the power of 0.7 and 1.4, and with voxels that are said to be 0.9 and 1.1 times as
large. Scores of a case are the mean Dice of the labels with those of the samples, and of the samples with one another.
They stand beside plane agreement and soft Dice, which need no further pass. For voxels, the share of all errors is
told that lies in those that are least sure: by the entropy of the calibrated probabilities, and of their mean over the
samples.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from doubt import Array, auroc, find, gamma, give
from scipy.stats import rankdata, spearmanr
from torch.nn.functional import dropout2d

import volseg
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.datasets import read_dataset, read_images, read_reference, split
from volseg.evaluation.metrics import dice
from volseg.prediction.inference import answer_scan
from volseg.prediction.networks import ReadyModel

DROPPED, SEEDS = 0.1, 4
GAMMAS, SCALES = (0.7, 1.4), (0.9, 1.1)
LEAST_SURE = (0.01, 0.05)  # of the voxels that are not surely background
KINDS = ("dropout", "gamma", "scale")


def with_dropout(model: volseg.Model) -> volseg.Model:
    networks = {}
    for name, network in model.networks.items():
        networks[name] = deepcopy(network)
        for merge in networks[name].merges:
            merge.register_forward_hook(lambda _, __, out: dropout2d(out, DROPPED, training=True))
    return replace(model, networks=networks)


def answer(ready: ReadyModel, volumes: Sequence[volseg.Volume]) -> tuple[Array, Array]:
    """Return labels and calibrated probabilities."""
    answers = answer_scan(ready, volumes, temperatures=(ready.model.temperature,), probabilities=True)
    return answers.labels, np.asarray(answers.probabilities, dtype=np.float32)


def samples(
    ready: ReadyModel, dropping: ReadyModel, volumes: Sequence[volseg.Volume]
) -> Iterator[tuple[str, Array, Array]]:
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        yield "dropout", *answer(dropping, volumes)
    for power in GAMMAS:
        change = gamma(power)
        yield "gamma", *answer(ready, [one.with_array(change(one.array.astype(np.float32))) for one in volumes])
    for scale in SCALES:
        larger = np.diag([scale, scale, scale, 1.0])
        yield (
            "scale",
            *answer(ready, [replace(one, grid=Grid(one.grid.shape, larger @ one.grid.affine)) for one in volumes]),
        )


def mean_dice(one: Array, other: Array, values: Sequence[int]) -> float:
    return float(np.nanmean([dice(one == value, other == value) for value in values]))


def entropy(probabilities: Array) -> Array:
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-7))).sum(axis=0))


def errors_caught(unsure: Array, wrong: Array, candidates: Array) -> list[float]:
    order = np.argsort(-unsure[candidates], kind="stable")
    hits = wrong[candidates][order]
    return [float(hits[: round(share * len(hits))].sum() / max(1, wrong.sum())) for share in LEAST_SURE]


def look(
    ready: ReadyModel, dropping: ReadyModel, volumes: Sequence[volseg.Volume], reference: LabelMap
) -> dict[str, Any]:
    known, values = find(ready, volumes, reference), [label.value for label in ready.model.labels]
    scores = known.scores
    row: dict[str, Any] = {
        "Dice": scores.dice,
        "plane agreement": scores.plane_agreement,
        "soft Dice": scores.soft_dice,
    }
    labels, probabilities = answer(ready, volumes)
    found: dict[str, list[Array]] = {kind: [] for kind in KINDS}
    total = probabilities.copy()
    for kind, sample, likely in samples(ready, dropping, volumes):
        found[kind].append(sample)
        total += likely
    for kind in KINDS:
        row[f"{kind}, with the answer"] = float(np.mean([mean_dice(labels, one, values) for one in found[kind]]))
        row[f"{kind}, pairs"] = float(np.mean([mean_dice(*pair, values) for pair in combinations(found[kind], 2)]))
    every = [one for kind in KINDS for one in found[kind]]
    row["all, with the answer"] = float(np.mean([mean_dice(labels, one, values) for one in every]))
    wrong, candidates = labels != reference.array, probabilities[0] < 0.999
    row["voxels"] = errors_caught(entropy(probabilities), wrong, candidates)
    row["voxels, samples"] = errors_caught(entropy(total / (len(every) + 1)), wrong, candidates)
    return row


def tell(rows: list[dict[str, Any]]) -> dict[str, Any]:
    dices, cases = np.array([row["Dice"] for row in rows]), {}
    for name in [name for name in rows[0] if name != "Dice" and not name.startswith("voxels")]:
        scores = np.array([row[name] for row in rows])
        cases[name] = {"Spearman": float(spearmanr(scores, dices).statistic), "mean": float(np.nanmean(scores))}
        for what, share in (("worst tenth", 0.1), ("worst quarter", 0.25)):
            cases[name][what] = auroc(-scores, rankdata(dices, method="ordinal") <= round(share * len(dices)))
    voxels = {}
    for name in ("voxels", "voxels, samples"):
        caught = np.mean([row[name] for row in rows], axis=0)
        voxels[name] = {f"errors in {share:.0%}": float(one) for share, one in zip(LEAST_SURE, caught, strict=True)}
    return {"cases": cases, "voxels": voxels}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, model = time.process_time(), volseg.load_model(options.run)
    ready, dropping = ReadyModel(model, "cpu"), ReadyModel(with_dropout(model), "cpu")
    rows = []
    for case in split(read_dataset(options.dataset), options.fold)[1]:
        rows.append(look(ready, dropping, read_images(case), read_reference(case)))
    told = {"run": options.run.name, "held-out cases": len(rows), **tell(rows)}
    told["CPU seconds"] = round(time.process_time() - start)
    give(told, options.json)


if __name__ == "__main__":
    main()
