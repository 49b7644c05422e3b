"""Why the literal pix2pix preset hardly learns small structures: one choice changed at a time, the pull of each loss.

    OMP_NUM_THREADS=1 python benchmarks/pix2pix_collapse.py Task04_Hippocampus OUT.json [--seconds 45] [--arms 'A;B']

Coronal slices of the training cases of fold 0; 60 of these cases are learnt from, and 20 others give 120 fixed slices
for probing. The network has 16 channels in place of 64 in both parts, so that an arm takes a minute. A probe says: Dice
of all foreground on the fixed slices; the mean probability of the right class on labelled pixels; the mean gradient
that each weighted term sends to the logits of a labelled pixel, times the number of pixels.
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from volseg.config import load_config
from volseg.core.planes import Plane
from volseg.datasets import check_dataset, read_dataset, split
from volseg.network.losses import adversarial_loss, one_hot
from volseg.training.augment import augment
from volseg.training.data import cache_case
from volseg.training.facts import find_facts
from volseg.training.growth import plan_stages
from volseg.training.plan import make_plan
from volseg.training.sampling import SliceSampler, make_samplers
from volseg.training.step import Learner

PLANE: Plane = "coronal"
NARROW = (
    "network.width=16",
    "network.max_width=128",
    "network.levels=5",
    "discriminator.width=16",
    "preparation.planes=[coronal]",
    "preparation.spacing_mm=[1,1,1]",
)
CE_DICE = ("loss.reconstruction=ce_dice", "loss.reconstruction_weight=10")
BETTER = (*CE_DICE, "optimiser.learning_rate=1.0e-3", "network.dropout=0", "discriminator.sees=labels")
ARMS: dict[str, tuple[str, ...]] = {
    "literal": (),
    "no adversarial term": ("loss.adversarial_weight=0",),
    "CE + Dice x 10": CE_DICE,
    "CE + Dice x 10, no adversarial term": (*CE_DICE, "loss.adversarial_weight=0"),
    "CE + Dice x 10, discriminator sees labels": (*CE_DICE, "discriminator.sees=labels"),
    "discriminator sees labels": ("discriminator.sees=labels",),
    "learning rate 1e-3": ("optimiser.learning_rate=1.0e-3",),
    "no dropout": ("network.dropout=0",),
    "slices enlarged twice": ("preparation.spacing_mm=[0.5,0.5,0.5]",),
    "CE + Dice x 10, learning rate 1e-3": (*CE_DICE, "optimiser.learning_rate=1.0e-3"),
    "the same, no dropout": (*CE_DICE, "optimiser.learning_rate=1.0e-3", "network.dropout=0"),
    "the same, discriminator sees labels": BETTER,
    "the same, slices enlarged twice": (*BETTER, "preparation.spacing_mm=[0.5,0.5,0.5]"),
    "three levels": ("network.levels=3",),
    "CE + Dice x 10, three levels": (*CE_DICE, "network.levels=3"),
    "the same, no adversarial term": (*CE_DICE, "network.levels=3", "loss.adversarial_weight=0"),
    "double block": ("network.block=double", "network.levels=3"),
}
PROBES = 6
LEARNT, PROBED, SLICES = 60, 20, 120


def run_arm(dataset: Path, changes: tuple[str, ...], seconds: float) -> list[dict]:
    """Train one arm for CPU seconds and return its probes."""
    config = load_config(preset="pix2pix-paper", overrides=(*NARROW, *changes))
    found = read_dataset(dataset)
    cases = check_dataset(found)
    training, _ = split(cases, 0)
    chosen = training[: LEARNT + PROBED]
    plan = make_plan(config, cases, [find_facts(case, None) for case in chosen])
    with TemporaryDirectory() as folder:
        prepared = [cache_case(case, Path(folder), config=plan, labels=cases.labels) for case in chosen]
        sampler, probed = (make_samplers(part, plan)[PLANE] for part in (prepared[:LEARNT], prepared[LEARNT:]))
        torch.manual_seed(0)
        learner = Learner(plan, PLANE, channels=1, labels=len(cases.labels), device=torch.device("cpu"))
        slices = fixed_slices(probed)
        rng, noise = np.random.default_rng(0), torch.Generator().manual_seed(0)
        probes, step, used = [probe(learner, slices) | {"step": 0}], 0, 0.0
        while used < seconds:
            start = time.process_time()
            batch = map(torch.from_numpy, sampler.draw(rng, plan_stages(plan, [PLANE])[-1]))
            images, classes = augment(*batch, plan.augmentation_at(used / seconds, PLANE), noise)
            learner.step(images, classes, used / seconds)
            step, used = step + 1, used + time.process_time() - start
            if used >= seconds * len(probes) / (PROBES - 1):
                probes.append(probe(learner, slices) | {"step": step})
    return probes


def fixed_slices(sampler: SliceSampler) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    stage = plan_stages(sampler.config, [PLANE])[-1]
    drawn = [sampler.draw(rng, stage) for _ in range(SLICES // (sampler.config.training.batch_size or 1))]
    return tuple(torch.from_numpy(np.concatenate(part)) for part in zip(*drawn, strict=True))


def probe(learner: Learner, slices: tuple[torch.Tensor, torch.Tensor]) -> dict:
    images, classes = slices
    learner.generator.eval()
    with torch.no_grad():
        logits = learner.generator(images)
    logits.requires_grad_(True)
    probabilities = logits.softmax(dim=1)
    right = probabilities.gather(1, classes[:, None])[:, 0]
    labelled, predicted = classes > 0, logits.argmax(dim=1) > 0
    loss = learner.config.loss
    terms = {"reconstruction": loss.reconstruction_weight * learner.reconstruction(logits, classes)}
    found = {
        "dice": float(2 * (labelled & predicted).sum() / (labelled.sum() + predicted.sum())),
        "right_on_labels": float(right[labelled].mean().detach()),
        "median_right_on_labels": float(right[labelled].median().detach()),
    }
    if learner.discriminator is not None:
        learner.discriminator.eval()
        judged = learner._judge(torch.cat([images, probabilities], dim=1))
        reference = learner._judge(torch.cat([images, one_hot(classes, logits.shape[1])], dim=1))
        found |= {
            "called_real": float(judged.sigmoid().mean().detach()),
            "reference_called_real": float(reference.sigmoid().mean().detach()),
        }
        terms["adversarial"] = loss.adversarial_weight * adversarial_loss(judged, real=True)
    for name, term in terms.items():
        (gradient,) = torch.autograd.grad(term, logits, retain_graph=True)
        size = gradient.abs().sum(dim=1) * classes.numel()
        found[f"pull_of_{name}"] = float(size[labelled].mean())
        found[f"pull_of_{name}_background"] = float(size[~labelled].mean())
    return {name: round(value, 5) for name, value in found.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float, default=45, help="of CPU time for each arm")
    parser.add_argument("--arms", default=";".join(ARMS), help="names by semicolons")
    options = parser.parse_args()
    results = json.loads(options.output.read_text(encoding="utf-8")) if options.output.is_file() else {}
    for arm in options.arms.split(";"):
        results[arm] = run_arm(options.dataset, ARMS[arm], options.seconds)
        print(arm, json.dumps(results[arm][-1]), flush=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
