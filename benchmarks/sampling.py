"""Which training slices are drawn, and of what: two arms with equal steps or CPU time, from the same first weights.

    python benchmarks/sampling.py STUDY DATASET OUT.json [--steps 400 | --minutes 3] [--fold 0] [--seeds 0,1]
        [--cases 20] [--plane coronal] [--set KEY=VALUE ...]

Studies: class (slices drawn by class, as volseg does, and by slice alone, as before), crop (empty borders left out, and
not). One plane, one thread; minutes are of the process's CPU clock, for learning alone. Each arm predicts the held-out
cases of the fold (the first CASES of them). OUT.json has the Dice of each case and label, and the CPU seconds; the
script prints means, and the difference between the arms, paired over cases, with its 95 % interval. Arms that OUT.json
has are not run again.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

from volseg.config import load_config
from volseg.core.slices import neighbour_indices
from volseg.datasets import check_dataset, read_dataset, read_images, read_reference, split
from volseg.evaluation import summarise
from volseg.evaluation.metrics import dice
from volseg.network.file import Model
from volseg.prediction.inference import predict
from volseg.prediction.prepare import gather_neighbours
from volseg.training import sampling
from volseg.training.augment import augment
from volseg.training.data import cache_case
from volseg.training.facts import find_facts
from volseg.training.plan import make_plan
from volseg.training.step import Learner


@dataclass(frozen=True, eq=False)
class BySlice(sampling.SliceSampler):
    """Any slice that holds any label, and any labelled pixel."""

    def _draw_one(self, rng, size):
        case = self.cases[int(rng.integers(len(self.cases)))]
        wants_label = rng.random() < self.config.training.foreground_fraction and len(case.foreground) > 0
        index = rng.choice(case.foreground) if wants_label else rng.integers(len(case.classes))
        around = neighbour_indices(np.array([index]), len(case.classes), self.config.preparation.neighbours)
        image, classes = gather_neighbours(case.image, around)[0], case.classes[index]
        window = sampling._window((classes > 0).astype(np.uint8), size, rng, wanted=int(wants_label))
        return sampling._cut(image, window), sampling._cut(classes, window).astype(np.int64)


# For each arm its sampler and settings; the first one is what the other is compared with.
STUDIES = {
    "class": {"by slice": (BySlice, ()), "by class": (sampling.SliceSampler, ())},
    "crop": {
        "whole": (sampling.SliceSampler, ("preparation.crop=false",)),
        "cropped": (sampling.SliceSampler, ("preparation.crop=true",)),
    },
}


class Arm:
    """The dataset, the plan and the prepared slices of one arm."""

    def __init__(self, options: argparse.Namespace, name: str, cache: Path) -> None:
        self.options, self.name, self.plane = options, name, options.plane
        self.dataset = check_dataset(read_dataset(options.dataset))
        training, held_out = split(self.dataset, options.fold)
        self.held_out = held_out[: options.cases]
        kind, settings = STUDIES[options.study][name]
        config = load_config(overrides=(f"preparation.planes=[{self.plane}]", *settings, *options.set))
        self.config = make_plan(config, self.dataset, [find_facts(case) for case in training])
        prepared = []
        for case in training:
            cached = cache_case(case, cache, config=self.config, labels=self.dataset.labels)
            prepared.append(cached[self.plane])
        self.sampler = kind(prepared, self.config, self.plane)

    def learn(self, seed: int) -> tuple[Model, int]:
        torch.manual_seed(seed)
        rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        dataset, options, step, progress = self.dataset, self.options, 0, 0.0
        sizes = {"channels": len(dataset.channel_names), "labels": len(dataset.labels)}
        learner = Learner(self.config, self.plane, **sizes, device=torch.device("cpu"))
        start = time.process_time()
        while progress < 1:
            images, classes = map(torch.from_numpy, self.sampler.draw(rng))
            changes = self.config.augmentation_at(progress, self.plane)
            images, classes = augment(images, classes, changes, noise)
            learner.step(images, classes, progress)
            step += 1
            used = (time.process_time() - start) / 60
            progress = used / options.minutes if options.minutes else step / options.steps
        networks = {f"{self.plane}.0": learner.generator.eval()}
        model = Model(self.config, dataset.labels, dataset.channel_names, networks, modalities=dataset.modalities)
        return model, step

    def run(self, seed: int) -> dict:
        times = [time.process_time()]
        model, steps = self.learn(seed)
        times.append(time.process_time())
        scores: dict[str, dict[str, float | None]] = {}
        for case in self.held_out:
            found, reference = predict(model, read_images(case), device="cpu").labels, read_reference(case)
            scores[case.name] = {}
            for label in model.labels:
                value = dice(found.mask(label), reference.mask(label))
                scores[case.name][label.name] = round(value, 5) if np.isfinite(value) else None
        times.append(time.process_time())
        learning, predicting = np.diff(times).round(1).tolist()
        options, planned = self.options, self.config.training
        about = {"dataset": self.dataset.name, "fold": options.fold, "plane": self.plane, "settings": options.set}
        about |= {"arm": self.name, "seed": seed, "steps": steps, "slice_size": planned.slice_size}
        about |= {"learning_seconds": learning, "predicting_seconds": predicting, "batch_size": planned.batch_size}
        return {**about, "date": str(date.today()), "dice": scores}


def mean_of(scores: dict[str, float | None]) -> float:
    return float(np.mean([value for value in scores.values() if value is not None]))


def show(results: list[dict], arms: list[str]) -> None:
    for entry in results:
        by_label: dict[str, list[float]] = {}
        for scores in entry["dice"].values():
            for label, value in scores.items():
                by_label.setdefault(label, []).append(np.nan if value is None else value)
        labels = ", ".join(f"{label} {np.nanmean(values):.3f}" for label, values in by_label.items())
        mean = np.mean([mean_of(scores) for scores in entry["dice"].values()])
        length = f"{entry['steps']} steps, {entry['learning_seconds']} s, predicting {entry['predicting_seconds']} s"
        print(f"{entry['arm']}, seed {entry['seed']}, {length}: {mean:.4f} ({labels})")
    for seed in sorted({entry["seed"] for entry in results}):
        pair = {entry["arm"]: entry["dice"] for entry in results if entry["seed"] == seed}
        if all(arm in pair for arm in arms):
            before, after = (pair[arm] for arm in arms)
            found = summarise([mean_of(after[case]) - mean_of(before[case]) for case in before])
            interval = f"[{found.low:+.4f}, {found.high:+.4f}]"
            print(f"seed {seed}, {arms[1]} - {arms[0]}: {found.mean:+.4f} {interval} over {len(before)} cases")


def main(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    results = json.loads(options.output.read_text(encoding="utf-8")) if options.output.is_file() else []
    done = {(entry["arm"], entry["seed"]) for entry in results}
    names = list(STUDIES[options.study])
    for name in names:
        seeds = [seed for seed in options.seeds if (name, seed) not in done]
        with tempfile.TemporaryDirectory() as cache:
            arm = Arm(options, name, Path(cache)) if seeds else None
            for seed in seeds:
                results.append(arm.run(seed))
                options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    show(results, names)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--minutes", type=float, help="CPU minutes of learning, in place of steps")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--plane", default="coronal")
    parser.add_argument("--set", action="append", default=[])
    main(parser.parse_args())
