"""Each choice of the pix2pix preset changed alone, at equal CPU time, on cases on which nothing else was tuned.

    OMP_NUM_THREADS=1 python benchmarks/pix2pix_choices.py Task04_Hippocampus OUT.json [--minutes 2] [--arms 'A;B']

Coronal slices, fold 1; the first 20 held-out cases are scored. The minutes are CPU time of the process from the first
step on. Arms that are in OUT.json are not run again; `--print` prints the table, with differences paired over cases.
"""

import argparse
import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from budget_volseg import count_cpu_time

from volseg.config import load_config
from volseg.datasets import read_dataset, split
from volseg.evaluation import summarise
from volseg.training.events import StepsMade, Validated
from volseg.training.loop import iterate_training

FOLD, CASES = 1, 20
FIRST = "the preset"
ARMS: dict[str, tuple[str, ...]] = {
    FIRST: (),
    "slices as scanned": ("preparation.spacing_mm=[1,1,1]",),
    "discriminator sees probabilities": ("discriminator.sees=probabilities",),
    "no adversarial term": ("loss.adversarial_weight=0",),
    "published widths": ("network.width=64", "network.max_width=512", "discriminator.width=64"),
    "decoder upsample": ("network.decoder=upsample",),
    "L1 in place of CE + Dice": ("loss.reconstruction=l1",),
}


def run_arm(root: Path, changes: tuple[str, ...], minutes: float) -> dict:
    found = read_dataset(root)
    training, held_out = split(found, FOLD)
    names = [case.name for case in training], [case.name for case in held_out[:CASES]]
    dataset = replace(found, splits=(names,))
    length = ("training.epochs=null", f"training.minutes={minutes}", "training.validations=1")
    config = load_config(preset="pix2pix", overrides=("preparation.planes=[coronal]", *length, *changes))
    row: dict = {"minutes": minutes, "date": str(date.today())}
    with TemporaryDirectory() as folder:
        for event in iterate_training(dataset, Path(folder) / "run", config=config, device="cpu"):
            if isinstance(event, StepsMade):
                row["losses"] = {name: round(value, 4) for name, value in event.losses.items()}
            if isinstance(event, Validated):
                row |= {"steps": event.step, "dice": event.result.mean, "by_label": event.result.per_label}
                row["dice_by_case"] = event.result.by_case
    return row


def table(results: dict[str, dict]) -> str:
    lines = ["| arm | class-mean Dice | difference | steps |", "|---|---|---|---|"]
    base = results.get(FIRST, {}).get("dice_by_case", {})
    for arm, row in results.items():
        shared = base.keys() & row["dice_by_case"].keys()
        found = summarise([row["dice_by_case"][case] - base[case] for case in shared])
        change = "" if arm == FIRST else f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
        lines.append(f"| {arm} | {row['dice']:.3f} | {change} | {row['steps']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=2, help="of CPU time for each arm")
    parser.add_argument("--arms", default=";".join(ARMS), help="names by semicolons")
    parser.add_argument("--print", action="store_true", help="only print what there is")
    options = parser.parse_args()
    count_cpu_time()
    results = json.loads(options.output.read_text(encoding="utf-8")) if options.output.is_file() else {}
    for arm in [] if options.print else options.arms.split(";"):
        if arm not in results:
            results[arm] = run_arm(options.dataset, ARMS[arm], options.minutes)
            options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(table(results))
