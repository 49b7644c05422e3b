"""Train, predict and evaluate fold 0 of the hippocampus set, by the commands that users have.

    python benchmarks/hippocampus.py Task04_Hippocampus OUTPUT [MINUTES] [ARM ...]

Arms: default, upsample, pix2pix (all of them where none is given). Existing runs in OUTPUT are evaluated again, not
trained again. Prints one line an arm: class-mean Dice (mean over cases of the mean over the two labels) with its
interval, Dice and HD95 of each label, optimiser steps and wall-clock minutes.
"""

import json
import subprocess
import sys
from pathlib import Path

from volseg.io.datasets import read_dataset, split
from volseg.training.journal import read_events

ARMS = {
    "default": [],
    "upsample": ["--set", "network.decoder=upsample"],
    "pix2pix": ["--preset", "pix2pix"],
}


def volseg(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "volseg", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def run_arm(name: str, dataset: Path, output: Path, minutes: str) -> None:
    run, predictions, scores = output / name, output / f"{name}_predictions", output / f"{name}.json"
    if not (run / "validation.json").is_file():
        volseg("train", dataset, "-o", run, "--fold", 0, "--minutes", minutes, *ARMS[name])
    _, held_out = split(read_dataset(dataset), 0)
    volseg("predict", *(case.images[0] for case in held_out), "-m", run, "-o", predictions, "--overwrite")
    volseg("evaluate", predictions, dataset / "labelsTr", "--labels", dataset / "dataset.json", "--json", scores)
    report(name, json.loads(scores.read_text(encoding="utf-8")), read_events(run / "log.jsonl"))


def report(name: str, scores: dict, events: list[dict]) -> None:
    mean = scores["class_mean_dice"]
    labels = ", ".join(
        f"{entry['label']} {entry['statistics']['dice']['mean']:.4f} / {entry['statistics']['hd95_mm']['mean']:.2f} mm"
        for entry in scores["labels"]
    )
    steps = max(event["step"] for event in events if event["event"] == "steps")
    seed = events[0]["config"]["training"]["seed"]
    print(
        f"{name}: class-mean Dice {mean['mean']:.4f} [{mean['low']:.4f}, {mean['high']:.4f}] over {mean['n']} scans; "
        f"{labels}; {steps} steps in {events[-1]['seconds'] / 60:.1f} minutes, seed {seed}",
        flush=True,
    )


if __name__ == "__main__":
    dataset, output = Path(sys.argv[1]), Path(sys.argv[2])
    minutes = sys.argv[3] if len(sys.argv) > 3 else "28"
    for arm in sys.argv[4:] or ARMS:
        run_arm(arm, dataset, output, minutes)
