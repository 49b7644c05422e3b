"""The plans of eight kinds of data set, made from their shapes alone, and how long their trainings take here.

    python benchmarks/plans.py [--device cpu] [--minutes M]

No scan is read: what planning must know of a case is written down below. The steps are timed on this machine, so times
and steps differ from machine to machine; planes, spacing, sizes, batches and levels do not. They are the plans of those
who have the time: `volseg.training.time_fit`, which needs label maps, makes batches smaller and slices coarser.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volseg.config import load_config
from volseg.core.labelmap import Label
from volseg.core.slices import NORMAL_AXIS
from volseg.datasets import Dataset
from volseg.network.devices import choose_device
from volseg.training.facts import CaseFacts
from volseg.training.growth import most_pixels, plan_stages
from volseg.training.outlook import Workload, look_ahead, told_time
from volseg.training.pace import measure_pace, random_draws
from volseg.training.plan import make_plan
from volseg.training.schedule import plan_budget


@dataclass(frozen=True)
class Kind:
    """A kind of data set: shape and spacing (mm) of its cases, how many there are, channels, labels."""

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    cases: int
    labels: int = 1
    channels: int = 1
    modality: str = "MR"
    labelled: float = 0.5  # share of the slices that hold a label


KINDS = (
    Kind("CT of the trunk, 40 organs", (512, 512, 300), (0.8, 0.8, 1.5), 80, labels=40, modality="CT", labelled=1.0),
    Kind("brain MR, 4 channels", (240, 240, 155), (1.0, 1.0, 1.0), 400, labels=3, channels=4),
    Kind("pelvis MR, 3 mm slices", (320, 320, 40), (0.75, 0.75, 3.0), 40, labels=4),
    Kind("microCT", (400, 400, 400), (0.02, 0.02, 0.02), 12, labels=2, modality="CT", labelled=0.9),
    Kind("cine MR", (256, 216, 10), (1.4, 1.4, 10.0), 140, labels=3, labelled=0.9),
    Kind("thick CT, one tumour", (190, 190, 60), (0.98, 0.98, 3.27), 13, modality="CT", labelled=0.3),
    Kind("hippocampus crops", (36, 50, 36), (1.0, 1.0, 1.0), 208, labels=2, labelled=0.8),
    Kind("X-ray-like, one slice", (1024, 1024, 1), (0.2, 0.2, 1.0), 200, labels=2, labelled=1.0),
)


def describe(kind: Kind, device: str, minutes: float | None) -> str:
    """Return the row of a kind of data set."""
    labels = tuple(Label(number, f"label_{number}", (200, 0, 0)) for number in range(1, kind.labels + 1))
    channels = tuple(f"channel_{number}" for number in range(kind.channels))
    dataset = Dataset(kind.name, (), labels, channels, (kind.modality,) * kind.channels, None, Path())
    values = (np.linspace(-100.0, 300.0, 1001),) * kind.channels
    lowest = (-1024.0 if kind.modality == "CT" else 0.0,) * kind.channels
    facts = CaseFacts(kind.shape, kind.spacing, values, lowest, ({},) * kind.channels)
    changes = () if minutes is None else (f"training.minutes={minutes}",)
    plan = make_plan(load_config(overrides=changes), dataset, [facts])

    planes, target = plan.preparation.planes or (), choose_device(device)
    stages = plan_stages(plan, planes)
    slices = sum(round(kind.cases * kind.shape[NORMAL_AXIS[plane]] * kind.labelled) for plane in planes)
    pixels = sum(kind.shape[NORMAL_AXIS[plane]] * most_pixels(stages[-1].size, [plane]) for plane in planes)
    work = Workload(max(1, slices), float(pixels))
    held_out = kind.cases // 5
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
        f"| {kind.name} | {', '.join(planes)} | {spacing} | {sizes} | {batches} | {plan.network.levels} "
        f"| {expected.steps:,} | {told_time(expected.seconds)} | {expected.passes:.2g} |"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float)
    options = parser.parse_args()
    print("| data | planes | spacing mm | sizes (first plane) | batches | levels | steps | time | passes |")
    print("|---|---|---|---|---|---|---|---|---|")
    for one in KINDS:
        print(describe(one, options.device, options.minutes), flush=True)
