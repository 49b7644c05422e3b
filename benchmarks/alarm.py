"""Does the discriminator tell which predictions are wrong? Beside plane agreement and soft Dice.

    python benchmarks/budget_volseg.py DATASET -o RUN --fold 0 --preset pix2pix --minutes 15
    python benchmarks/alarm.py DATASET RUN [--every 8] [--json FILE]

The checkpoint of a run holds the discriminators of its planes. Each sees the slices of a held-out scan with the labels
that the network of its plane gives them, as in training. Scores of a case are how real it finds them: the mean over
the patches of all slices with labels, and the mean of the least real tenth of these slices. They stand beside those of
`doubt.py`, on the same scans and the same spoilt ones, and together with them: the least of three percentiles among the
sound scans, where `run.json` has the least of two.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from doubt import SPOILT, Array, auroc, find, give, spoil
from scipy.stats import rankdata, spearmanr
from torch import nn

import volseg
from volseg.core.labelmap import LabelMap
from volseg.core.planes import Plane
from volseg.datasets import read_dataset, read_images, read_reference, split
from volseg.network.discriminator import build_discriminator
from volseg.network.losses import one_hot
from volseg.prediction.inference import plane_weights
from volseg.prediction.networks import ReadyModel
from volseg.prediction.prepare import prepare
from volseg.training.checkpoint import opened_checkpoint
from volseg.training.growth import plane_size

BAD = 0.75  # Dice
BATCH = 16
LEAST_REAL = 0.1  # of the slices
OLD = ("plane agreement", "soft Dice")
NEW = ("real, mean", "real, least tenth")


def load_discriminators(run: Path, model: volseg.Model) -> dict[Plane, nn.Module]:
    config = model.config
    size = config.training.first_size or config.training.slice_size
    assert size is not None
    channels = len(model.channel_names) * (2 * config.preparation.neighbours + 1)
    found: dict[Plane, nn.Module] = {}
    with opened_checkpoint(run / "checkpoint.pt", torch.device("cpu")) as state:
        for plane in config.preparation.planes or ():
            network = build_discriminator(
                channels, len(model.labels) + 1, slice_size=plane_size(size, plane), config=config.discriminator
            )
            network.load_state_dict(state["learners"][plane]["discriminator"])
            found[plane] = network.eval()
    return found


@torch.inference_mode()
def reality(
    discriminators: dict[Plane, nn.Module], ready: ReadyModel, volumes: Sequence[volseg.Volume]
) -> dict[str, float]:
    """Return how real slices with labels look; nan where there are none."""
    slices: list[float] = []
    for plane in plane_weights(ready.model.config.preparation, volumes[0].grid):
        stack = prepare(volumes, ready.model.config.preparation, plane)
        for start in range(0, len(stack), BATCH):
            images = torch.from_numpy(stack.batch(start, min(start + BATCH, len(stack))))
            (logits,) = ready.logits(plane, images)
            classes = logits.float().argmax(dim=1)
            labels = one_hot(classes, logits.shape[1])
            real = discriminators[plane](torch.cat([images, labels], dim=1))[-1].sigmoid().mean(dim=(1, 2, 3))
            slices += real[classes.flatten(1).any(dim=1)].tolist()
    worst = sorted(slices)[: max(1, round(LEAST_REAL * len(slices)))]
    mean, least = (float(np.mean(values)) if values else float("nan") for values in (slices, worst))
    return dict(zip(NEW, (mean, least), strict=True))


def percentiles(known: Array, scores: Array) -> Array:
    """Return the share of known cases that have no better score, of each score; nothing found is below all."""
    shares = np.searchsorted(np.sort(known), np.nan_to_num(scores, nan=-np.inf), side="right") / len(known)
    return np.asarray(shares)


def columns(rows: list[dict[str, float]], sound: list[dict[str, float]]) -> dict[str, Array]:
    """Return the suspicion of each row by each score alone, and by the least percentile of several."""
    told = {name: -np.array([row[name] for row in rows]) for name in (*OLD, *NEW)}
    shares = {name: percentiles(np.array([row[name] for row in sound]), -told[name]) for name in told}
    told["least of two"] = -np.min([shares[name] for name in OLD], axis=0)
    for name in NEW:
        told[f"least of two and {name}"] = -np.min([shares[other] for other in (*OLD, name)], axis=0)
    return told


def tell(sound: list[dict[str, float]], spoilt: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    dices = np.array([row["Dice"] for row in sound])
    cases: dict[str, Any] = {}
    usual = columns(sound, sound)
    for name, suspicion in usual.items():
        cases[name] = {"Spearman": float(spearmanr(-suspicion, dices).statistic)}
        for what, share in (("worst tenth", 0.1), ("worst quarter", 0.25)):
            cases[name][what] = auroc(suspicion, rankdata(dices, method="ordinal") <= round(share * len(dices)))
    limits = {name: float(np.percentile(suspicion, 95)) for name, suspicion in usual.items()}
    by_kind: dict[str, Any] = {}
    for kind, rows in spoilt.items():
        by_kind[kind] = {"Dice": float(np.mean([row["Dice"] for row in rows]))}
        for name, suspicion in columns(rows, sound).items():
            by_kind[kind][name] = float((np.nan_to_num(suspicion, nan=np.inf) > limits[name]).mean())
    every = [*sound, *(row for rows in spoilt.values() for row in rows)]
    bad = np.array([row["Dice"] for row in every]) < BAD
    together = {name: auroc(suspicion, bad) for name, suspicion in columns(every, sound).items()}
    return {"cases": cases, "spoilt scans": by_kind, f"AUROC, Dice < {BAD} ({bad.sum()} of {len(bad)})": together}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--every", type=int, default=8, help="of how many cases one is spoilt")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start, dataset = time.process_time(), read_dataset(options.dataset)
    model = volseg.load_model(options.run)
    ready, discriminators = ReadyModel(model, "cpu"), load_discriminators(options.run, model)

    def score(volumes: Sequence[volseg.Volume], reference: LabelMap) -> dict[str, float]:
        scores = find(ready, volumes, reference).scores
        old = dict(zip(OLD, (scores.plane_agreement, scores.soft_dice), strict=True))
        return {"Dice": scores.dice, **old, **reality(discriminators, ready, volumes)}

    sound, spoilt = [], {name: list[dict[str, float]]() for name in SPOILT}
    for number, case in enumerate(split(dataset, options.fold)[1]):
        volumes, reference = read_images(case), read_reference(case)
        sound.append(score(volumes, reference))
        if number % options.every:
            continue
        for name, changed, turned in spoil(volumes, reference):
            spoilt[name].append(score(changed, turned))
    told = {"run": options.run.name, "held-out cases": len(sound), **tell(sound, spoilt)}
    told["CPU seconds"] = round(time.process_time() - start)
    give(told, options.json)


if __name__ == "__main__":
    main()
