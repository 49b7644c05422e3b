"""Studies of accuracy on the hippocampus set (Medical Segmentation Decathlon, Task04), by the commands that users have.

    python benchmarks/accuracy.py STUDY Task04_Hippocampus OUTPUT [--minutes M | --epochs E] [--jobs N] [--folds 0,1]
        [--seeds 0,1] [--arms 'A;B']

Studies: recipe (each choice of the default preset changed alone), adversarial (four losses, two decoders), few (5, 10,
20, 50 or all of the training cases), thin (the adversarial term on a dataset of `vessel_phantoms.py`). An arm is
trained by `volseg train`, on one plane or three, with one thread if several run side by side. The held-out cases of the
fold are predicted by `volseg predict`. Arms that are in OUTPUT/STUDY.json are not run again. The script prints this
file as a table, with the difference to the first arm of the same fold and seed, paired over cases; `--print` only
prints. `--altered` scores trained arms on held-out scans that were changed as by another scanner: darker, noisy,
blurred.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from itertools import product
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import euler_number

from volseg.datasets import read_dataset, split
from volseg.evaluation import evaluate, summarise
from volseg.io import read, read_labels, write
from volseg.training.folds import is_trained
from volseg.training.journal import read_events

CORONAL = ["preparation.planes=[coronal]"]
# By default its slices are enlarged, and its depth follows.
AS_SCANNED = ["network.block=pix2pix", "network.levels=5", "preparation.spacing_mm=[1,1,1]"]
GAN = ["loss.adversarial_weight=0.02"]
CHANGES = {
    "default": [],
    "no neighbours": ["preparation.neighbours=0"],
    "two neighbours": ["preparation.neighbours=2"],
    "instance norm": ["network.norm=instance"],
    "pix2pix block": [*AS_SCANNED, "network.width=64"],
    "pix2pix block, its published learning rate": [*AS_SCANNED, "network.width=64", "optimiser.learning_rate=0.0002"],
    "decoder upsample": ["network.decoder=upsample"],
    "width 16": ["network.width=16"],
    "width 32": ["network.width=32"],
    "dropout 0.5": ["network.dropout=0.5"],
    "cross-entropy": ["loss.reconstruction=ce"],
    "Dice": ["loss.reconstruction=dice"],
    "L1": ["loss.reconstruction=l1"],
    "half the learning rate": ["optimiser.learning_rate=0.0005"],
    "three times the learning rate": ["optimiser.learning_rate=0.003"],
    "linear schedule": ["optimiser.schedule=linear"],
    "no clipping of gradients": ["optimiser.clip_norm=null"],
    "no weight decay": ["optimiser.weight_decay=0"],
    "batches of 8": ["training.batch_size=8"],
    "a third of the slices by their labels": ["training.foreground_fraction=0.33"],
    "every slice by its labels": ["training.foreground_fraction=1"],
    "no augmentation in space": [
        "augmentation.rotation_degrees=0",
        "augmentation.scaling=0",
        "augmentation.translation=0",
    ],
    "less turning and scaling": ["augmentation.rotation_degrees=15", "augmentation.scaling=0.15"],
    "more turning and scaling": ["augmentation.rotation_degrees=45", "augmentation.scaling=0.45"],
    "no augmentation of intensity": [
        "augmentation.brightness=0",
        "augmentation.contrast=0",
        "augmentation.gamma=0",
        "augmentation.noise=0",
        "augmentation.blur=0",
    ],
    "augmentation that never fades": ["augmentation.fade=0"],
    "augmentation that fades from the start": ["augmentation.fade=1"],
    "mirrored": ["augmentation.mirror=true"],
}
RECIPE = {name: [*CORONAL, *changes] for name, changes in CHANGES.items()} | {"three planes": []}
ADVERSARIAL = {
    f"{name}, {decoder}": [*CORONAL, f"network.decoder={decoder}", f"loss.reconstruction={loss}", *gan]
    for decoder in ("transpose", "upsample")
    for name, loss, gan in (
        ("CE + Dice", "ce_dice", []),
        ("CE + Dice + GAN", "ce_dice", GAN),
        ("L1", "l1", []),
        ("L1 + GAN", "l1", GAN),
    )
}
FEW = {f"{count} cases{name}": more for count in (5, 10, 20, 50, 208) for name, more in (("", []), (" + GAN", GAN))}
THIN = {name: [*CORONAL, *changes] for name, changes in (("CE + Dice", []), ("CE + Dice + GAN", GAN))}
STUDIES = {"recipe": RECIPE, "adversarial": ADVERSARIAL, "few": FEW, "thin": THIN}


class Study:
    """The arms of one study and their results so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.arms = STUDIES[options.study]
        self.file = options.output / f"{options.study}.json"
        self.results = json.loads(self.file.read_text(encoding="utf-8")) if self.file.is_file() else []
        self.lock = Lock()

    def run(self) -> None:
        options = self.options
        chosen = options.arms.split(";") if options.arms else list(self.arms)
        if unknown := set(chosen) - set(self.arms):
            sys.exit(f"--arms: {', '.join(sorted(unknown))}: expected some of {'; '.join(self.arms)}")
        done = {(entry["seed"], entry["fold"], entry["arm"]) for entry in self.results}
        wanted = [one for one in product(options.seeds, options.folds, chosen) if one not in done]
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda one: self.run_arm(*one), wanted))

    def run_arm(self, seed: int, fold: int, arm: str) -> None:
        options = self.options
        folder = self.folder(arm, fold, seed)
        dataset, settings = options.dataset, [*self.arms[arm], f"training.seed={seed}", "training.validations=1"]
        if options.study == "few":
            dataset = subset(dataset, folder / "dataset", count=int(arm.split()[0]), fold=fold, seed=seed)
        run = folder / "run"
        if not is_trained(run):
            shutil.rmtree(run, ignore_errors=True)  # an arm that was cut off has used its time
            changes = [part for setting in settings for part in ("--set", setting)]
            length = ("--epochs", options.epochs) if options.epochs else ("--minutes", options.minutes)
            self.volseg("train", dataset, "-o", run, "--fold", 0 if options.study == "few" else fold, *length, *changes)
        _, held_out = split(read_dataset(options.dataset), fold)
        images = [case.images[0] for case in held_out]
        self.volseg("predict", *images, "-m", run, "-o", folder / "predictions", "--overwrite")
        entry = {"arm": arm, "settings": settings, "fold": fold, "seed": seed}
        entry |= {"epochs": options.epochs} if options.epochs else {"minutes": options.minutes}
        entry |= describe(run) | score(folder / "predictions", {case.name: case.label for case in held_out})
        with self.lock:
            self.results.append(entry)
            self.file.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")
            print(self.row(entry), flush=True)

    def volseg(self, *arguments: object) -> None:
        environment = dict(os.environ) | ({"OMP_NUM_THREADS": "1"} if self.options.jobs > 1 else {})
        command = [sys.executable, "-m", "volseg", *map(str, arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)

    def row(self, entry: dict) -> str:
        dice = entry["dice"]
        return (
            f"| {entry['arm']} | {entry['fold']} | {entry['seed']} "
            f"| {dice['mean']:.4f} [{dice['low']:.4f}, {dice['high']:.4f}] | {self.difference(entry)} "
            f"| {entry['hd95_mm']:.2f} | {entry['stray_components']} | {entry['topology_errors']} | {entry['steps']} |"
        )

    def difference(self, entry: dict) -> str:
        """Mean over cases of the difference to the study's first arm, with its 95 % interval."""
        run = (next(iter(self.arms)), entry["fold"], entry["seed"])
        others = [e for e in self.results if (e["arm"], e["fold"], e["seed"]) == run and "dice_by_case" in e]
        if not others or others[0] is entry:
            return ""
        base = others[0]["dice_by_case"]
        found = summarise([value - base[case] for case, value in entry["dice_by_case"].items()])
        return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"

    def pooled(self) -> list[str]:
        """Describe each arm that has several folds: mean over all their cases, difference to the study's first arm."""
        by_arm: dict[str, dict[str, float]] = {}
        for entry in self.results:
            if entry["seed"] == self.options.seeds[0]:
                by_arm.setdefault(entry["arm"], {}).update(entry.get("dice_by_case", {}))
        base, lines = by_arm.get(next(iter(self.arms)), {}), []
        for arm, cases in by_arm.items():
            if len({e["fold"] for e in self.results if e["arm"] == arm}) > 1 and cases.keys() <= base.keys():
                found = summarise([value - base[case] for case, value in cases.items()])
                mean, interval = summarise(list(cases.values())).mean, f"[{found.low:+.4f}, {found.high:+.4f}]"
                lines.append(f"{arm}: {mean:.4f} over {len(cases)} cases, difference {found.mean:+.4f} {interval}")
        return lines

    def score_altered(self) -> None:
        """Print the Dice of each trained arm on altered scans as a table, and write it to OUTPUT/altered.json."""
        fold, seed = self.options.folds[0], self.options.seeds[0]
        _, held_out = split(read_dataset(self.options.dataset), fold)
        references = {case.name: case.label for case in held_out}
        chosen = self.options.arms.split(";") if self.options.arms else list(self.arms)
        print(f"| arm | {' | '.join(ALTERATIONS)} |\n{'|---' * (len(ALTERATIONS) + 1)}|")
        results = []
        for arm in chosen:
            run = self.folder(arm, fold, seed) / "run"
            found = {}
            for name, alter in ALTERATIONS.items():
                scans, output = (self.options.output / "altered" / f"{part}_{name}" for part in ("scans", arm))
                for case in held_out:
                    if not (scans / f"{case.name}.nii.gz").exists():
                        volume = read(case.images[0])
                        write(replace(volume, array=alter(volume.array)), scans / f"{case.name}.nii.gz")
                self.volseg("predict", *sorted(scans.glob("*.nii.gz")), "-m", run, "-o", output, "--overwrite")
                found[name] = round(score(output, references)["dice"]["mean"], 5)
            print(f"| {arm} | {' | '.join(f'{dice:.4f}' for dice in found.values())} |", flush=True)
            results.append({"arm": arm, "fold": fold, "seed": seed, "dice": found, "date": str(date.today())})
            text = json.dumps(results, indent=1) + "\n"
            (self.options.output / "altered.json").write_text(text, encoding="utf-8")

    def folder(self, arm: str, fold: int, seed: int) -> Path:
        return self.options.output / self.options.study / f"{arm}, fold {fold}, seed {seed}".replace(" ", "_")


def darker(scan: NDArray) -> NDArray:
    """Apply gamma 1.5 between the smallest and the largest value."""
    low, high = float(scan.min()), float(scan.max())
    return (low + (high - low) * ((scan - low) / (high - low)) ** 1.5).astype(np.float32)


def noisy(scan: NDArray) -> NDArray:
    """Add noise of 0.3 standard deviations of the scan."""
    return (scan + np.random.default_rng(0).normal(0, 0.3 * scan.std(), scan.shape)).astype(np.float32)


def blurred(scan: NDArray) -> NDArray:
    """Blur by a Gaussian of one voxel."""
    return ndimage.gaussian_filter(scan.astype(np.float32), 1)


ALTERATIONS = {"as they are": np.float32, "darker": darker, "noisy": noisy, "blurred": blurred}


def subset(dataset: Path, folder: Path, *, count: int, fold: int, seed: int) -> Path:
    """Write a dataset with the held-out cases of a fold and some of its training cases, drawn by the seed."""
    found = read_dataset(dataset)
    training, held_out = split(found, fold)
    order = np.random.default_rng(seed).permutation(len(training))
    chosen = [training[n] for n in order[:count]]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "cases.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["case", "image", "label"])
        writer.writerows([c.name, c.images[0].resolve(), c.label.resolve()] for c in (*chosen, *held_out))
    folds = [{"train": [c.name for c in chosen], "val": [c.name for c in held_out]}]
    (folder / "splits_final.json").write_text(json.dumps(folds), encoding="utf-8")
    names = "".join(f"{label.value}\t{label.name}\n" for label in found.labels)
    (folder / "labels.tsv").write_text(f"index\tname\n{names}", encoding="utf-8")
    return folder / "cases.csv"


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def describe(run: Path) -> dict:
    events = read_events(run / "log.jsonl")
    final = next(event for event in events if event["event"] == "final")
    device = f"{events[0]['device']} ({platform.processor() or platform.machine()})"
    return {"steps": final["step"], "calibration": final["calibration"], "device": device, "date": str(date.today())}


def score(predictions: Path, references: dict[str, Path]) -> dict:
    """Dice and HD95 over cases; stray components and topology errors in all of them together."""
    ours = {name: predictions / name / "labels.nii.gz" for name in references}
    found = evaluate(ours, references)
    by_case: dict[str, list[float]] = {}
    for entry in found.rows:
        by_case.setdefault(entry.case, []).append(entry.scores.dice)
    errors = np.array([count_errors(read_labels(file)) for file in ours.values()])
    return {
        "dice": vars(found.class_mean_dice),
        "by_label": {entry.label: entry.statistics["dice"].mean for entry in found.summary},
        "dice_by_case": {case: round(float(np.mean(values)), 5) for case, values in by_case.items()},
        "hd95_mm": summarise([r.scores.hd95_mm for r in found.rows]).mean,
        "surface_dice": summarise([r.scores.surface_dice for r in found.rows]).mean,
        "stray_components": int(errors[:, 0].sum()),
        "topology_errors": int(errors[:, 1].sum()),
    }


def count_errors(labels: object) -> tuple[int, int]:
    """Components beyond one a label, and beside them tunnels and cavities: each label should be one ball-like piece."""
    stray = errors = 0
    for label in labels.labels:
        mask = np.pad(labels.mask(label), 1)
        components = ndimage.label(mask, np.ones((3, 3, 3)))[1]
        cavities = ndimage.label(~mask)[1] - 1
        tunnels = components + cavities - euler_number(mask, connectivity=3)
        stray += abs(components - 1)
        errors += abs(components - 1) + cavities + int(tunnels)
    return stray, errors


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=10, help="of each arm, by the clock")
    parser.add_argument("--epochs", type=int, help="of each arm, in place of minutes")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folds", type=numbers, default=[0])
    parser.add_argument("--seeds", type=numbers, default=[0])
    parser.add_argument("--arms", default="", help="names by semicolons; all by default")
    parser.add_argument("--altered", action="store_true", help="score trained arms on altered scans")
    parser.add_argument("--print", action="store_true", help="only print what there is")
    study = Study(parser.parse_args())
    study.options.output.mkdir(parents=True, exist_ok=True)
    if study.options.altered:
        study.score_altered()
        sys.exit()
    if not study.options.print:
        study.run()
    columns = ["arm", "fold", "seed", "class-mean Dice", "difference", "HD95 mm", "stray components"]
    columns += ["topology errors", "steps"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    print("\n".join([study.row(entry) for entry in study.results] + study.pooled()))
