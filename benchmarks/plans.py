"""The plans of eight kinds of data set, made from their shapes alone, and how long their trainings take here.

    python benchmarks/plans.py [--device cpu] [--minutes M]

No scan is read: what planning must know of a case is written down below. The steps are timed on this machine, so steps
differ from machine to machine, and with them what is made cheaper for want of time (`volseg.training.time_fit`). How
well labels survive coarser slices is measured on discs as large as a usual small structure of the kind.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np

from volseg.config import PreparationConfig, load_config
from volseg.core.labelmap import Label
from volseg.core.slices import NORMAL_AXIS, in_plane
from volseg.datasets import Dataset
from volseg.network.devices import choose_device
from volseg.training import time_fit
from volseg.training.facts import CaseFacts
from volseg.training.growth import most_pixels, plan_stages
from volseg.training.outlook import Workload, look_ahead, told_time
from volseg.training.pace import measure_pace, random_draws
from volseg.training.schedule import plan_budget


@dataclass(frozen=True)
class Kind:
    """A kind of data set: shape and spacing (mm) of its cases, a small structure in it, how many there are, labels."""

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    structure_mm: float  # diameter
    cases: int
    labels: int = 1
    channels: int = 1
    modality: str = "MR"
    labelled: float = 0.5  # share of the slices that hold a label


KINDS = (
    Kind(
        "CT of the trunk, 40 organs", (512, 512, 300), (0.8, 0.8, 1.5), 15.0, 80, labels=40, modality="CT", labelled=1.0
    ),
    Kind("brain MR, 4 channels", (240, 240, 155), (1.0, 1.0, 1.0), 12.0, 400, labels=3, channels=4),
    Kind("pelvis MR, 3 mm slices", (320, 320, 40), (0.75, 0.75, 3.0), 30.0, 40, labels=4),
    Kind("microCT", (400, 400, 400), (0.02, 0.02, 0.02), 0.3, 12, labels=2, modality="CT", labelled=0.9),
    Kind("cine MR", (256, 216, 10), (1.4, 1.4, 10.0), 30.0, 140, labels=3, labelled=0.9),
    Kind("thick CT, one tumour", (190, 190, 60), (0.98, 0.98, 3.27), 40.0, 13, modality="CT", labelled=0.3),
    Kind("hippocampus crops", (36, 50, 36), (1.0, 1.0, 1.0), 10.0, 208, labels=2, labelled=0.8),
    Kind("X-ray-like, one slice", (1024, 1024, 1), (0.2, 0.2, 1.0), 20.0, 200, labels=2, labelled=1.0),
)


def kept_discs(kind: Kind, preparation: PreparationConfig) -> float:
    """Return the Dice of a disc with itself, brought to the spacing of a plan and back; the mean over its planes."""
    found = []
    for plane in preparation.planes or ():
        axes = in_plane(plane)
        places = []
        for axis in axes:
            places.append((np.arange(kind.shape[axis]) - kind.shape[axis] / 2) * kind.spacing[axis])
        disc = np.hypot(places[0][:, None], places[1]) < kind.structure_mm / 2
        size = []
        for axis in axes:
            finer = (preparation.spacing_mm or kind.spacing)[axis] / kind.spacing[axis]
            size.append(max(1, round(kind.shape[axis] / finer)))
        # The part of `kept_dice` that needs no files.
        found.append(time_fit._survival(disc[None].astype(np.uint8), (size[0], size[1]))[1])
    return float(np.mean(found))


def describe(kind: Kind, device: str, minutes: float | None) -> str:
    """Return the row of a kind of data set."""
    labels = tuple(Label(number, f"label_{number}", (200, 0, 0)) for number in range(1, kind.labels + 1))
    channels = tuple(f"channel_{number}" for number in range(kind.channels))
    dataset = Dataset(kind.name, (), labels, channels, (kind.modality,) * kind.channels, None, Path())
    values = (np.linspace(-100.0, 300.0, 1001),) * kind.channels
    lowest = (-1024.0 if kind.modality == "CT" else 0.0,) * kind.channels
    facts = CaseFacts(kind.shape, kind.spacing, values, lowest, ({},) * kind.channels)
    changes = () if minutes is None else (f"training.minutes={minutes}",)
    target, held_out = choose_device(device), kind.cases // 5
    cases = ((None,) * (kind.cases - held_out), (None,) * held_out)
    with (
        patch.object(time_fit, "choose_cases", lambda *_: cases),
        patch.object(time_fit, "kept_dice", lambda _, preparation: kept_discs(kind, preparation)),
    ):
        plan = time_fit.plan_to_fit(load_config(overrides=changes), dataset, [facts], fold=0, device=target)

    planes = plan.preparation.planes or ()
    stages = plan_stages(plan, planes)
    slices = sum(round(kind.cases * kind.shape[NORMAL_AXIS[plane]] * kind.labelled) for plane in planes)
    pixels = sum(kind.shape[NORMAL_AXIS[plane]] * most_pixels(stages[-1].size, [plane]) for plane in planes)
    work = Workload(max(1, slices), float(pixels))
    budget = plan_budget(
        plan.training, stages, slices=work.slices, planes=len(planes), held_out=held_out, device=target.type
    )
    draws = random_draws(plan, channels=kind.channels, labels=kind.labels)
    pace = measure_pace(plan, draws, channels=kind.channels, labels=kind.labels, device=target)
    _, expected, _ = look_ahead(plan.training, budget, stages, pace, work)
    spacing = " x ".join(f"{mm:g}" for mm in plan.preparation.spacing_mm or ())
    sizes = ", ".join("x".join(map(str, stage.slice_size(planes[0]))) for stage in stages)
    batches = ", ".join(str(stage.batch_size) for stage in stages)
    return (
        f"| {kind.name} | {', '.join(planes)} | {spacing} | {sizes} | {batches} | {plan.network.width} "
        f"to {plan.network.max_width}, {plan.network.levels} "
        f"| {expected.steps:,} | {told_time(expected.seconds)} | {expected.passes:.2g} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float)
    options = parser.parse_args()
    print("| data | planes | spacing mm | sizes (first plane) | batches | channels, levels | steps | time | passes |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in KINDS:
        print(describe(one, options.device, options.minutes), flush=True)
