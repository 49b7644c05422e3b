"""Accuracy against CPU minutes: volseg at some commits, MONAI's 2D U-Net and nnU-Net's 2D trainer on public sets.

    OMP_NUM_THREADS=1 python benchmarks/budgets.py --set spine=FOLDER --set brain=FOLDER --volseg CHECKOUT --monai \
        --nnunet PYTHON --minutes 5,10,20 --work WORK
    python benchmarks/budgets.py --print

Each CHECKOUT of volseg, MONAI and nnU-Net is a system; PYTHON is that of an environment with nnU-Net. Every system
trains on one fold for the given CPU minutes (`budget_volseg.py`, `monai_unet.py`, `nnunet_2d.py`), from its first
step to its last, in one process on one thread. It then predicts the held-out cases, which is not counted, and
`volseg.evaluation.evaluate` of this checkout scores them. The minutes of volseg include its validations on the way and
at the end, as users get them; those of the others include none.

A row is one training. It is a file in `results/budgets`, written when the run ends, and a row that is there is not
run again. ``--print`` prints the rows as tables, the differences of the newest volseg to the others, paired over
cases, and draws `results/budgets.png`.
"""

import argparse
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from budgets_table import print_tables
from nnunet_raw import write_raw

from volseg.datasets import Case, Dataset, read_dataset, split
from volseg.evaluation import Evaluation, evaluate

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "budgets"
METRICS = ("dice", "hd95_mm")
NO_CLEANUP = ("largest_component=false", "minimum_mm3=0", "fill_holes=false")


@dataclass(frozen=True)
class Job:
    """One training that is to be done."""

    name: str  # of the set
    root: Path
    fold: int
    minutes: float
    seed: int
    folder: Path  # for its files

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions"

    def held_out(self) -> tuple[Dataset, tuple[Case, ...]]:
        dataset = read_dataset(self.root)
        return dataset, split(dataset, self.fold)[1]

    def options(self) -> list[object]:
        return ["--minutes", self.minutes, "--fold", self.fold]


@dataclass(frozen=True)
class System:
    """What is trained: its name and version in tables, and the function that trains and predicts."""

    name: str
    version: str
    run: Callable[[Job], dict]


def call(*command: object, **environment: object) -> None:
    variables = dict(os.environ) | {"OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in environment.items()}
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, env=variables)


def volseg_system(checkout: Path) -> System:
    head = ["git", "-C", str(checkout), "rev-parse", "--short=7", "HEAD"]
    commit = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
    changed = ["git", "-C", str(checkout), "status", "--porcelain", "--untracked-files=no"]
    if subprocess.run(changed, check=True, capture_output=True, text=True).stdout:
        sys.exit(f"{checkout}: has changes that are in no commit; give a clean checkout")

    def run(job: Job) -> dict:
        trained, where = job.folder / "run", {"PYTHONPATH": checkout.resolve()}
        seed = ["--set", f"training.seed={job.seed}"]
        script = HERE / "budget_volseg.py"
        call(sys.executable, script, job.root, "-o", trained, *job.options(), *seed, **where)
        _, held_out = job.held_out()
        images = [",".join(map(str, case.images)) for case in held_out]
        predict = [sys.executable, "-m", "volseg", "predict", *images, "-m", trained]
        call(*predict, "-o", job.predictions, **where)
        lines = (trained / "log.jsonl").read_text(encoding="utf-8").splitlines()
        events = {event["event"]: event for event in map(json.loads, lines)}
        config = events["plan"]["config"]
        found = {"steps": events["final"]["step"], "cpu_minutes": round(events["end"]["seconds"] / 60, 3)}
        found |= {"planes": config["preparation"]["planes"], "patch": config["training"]["slice_size"]}
        found |= {"batch": config["training"]["batch_size"], "width": config["network"]["width"]}
        record = job.predictions / held_out[0].name / "run.json"
        cleanup = json.loads(record.read_text(encoding="utf-8"))["made_by"]["cleanup"]
        if any(any(entry.values()) for entry in cleanup.values()):
            # It was decided on the cases that are scored here, so the figures without it are kept too.
            off = [part for setting in NO_CLEANUP for part in ("--set", f"cleanup.*.{setting}")]
            call(*predict, *off, "-o", job.folder / "without_cleanup", **where)
            found["cleanup"] = cleanup
        return found

    return System("volseg", commit, run)


def monai_system() -> System:
    def run(job: Job) -> dict:
        call(sys.executable, HERE / "monai_unet.py", job.root, job.folder, *job.options(), "--seed", job.seed)
        return json.loads((job.folder / "run.json").read_text(encoding="utf-8"))

    return System("MONAI U-Net", "", run)


def plan_nnunet(python: Path, name: str, root: Path, shared: Path) -> tuple[str, dict[str, object]]:
    """Let nnU-Net plan and preprocess a set once for all rows; return its name there and the environment."""
    places: dict[str, object] = {f"nnUNet_{part}": shared / part for part in ("raw", "preprocessed", "results")}
    places |= {"nnUNet_compile": "f", "nnUNet_def_n_proc": 1}
    number, whole = write_raw(read_dataset(root), name, shared)
    done = shared / f"{whole}.planned"
    if not done.exists():
        plan = python.parent / "nnUNetv2_plan_and_preprocess"
        call(plan, "-d", number, "-c", "2d", "-np", 1, "-npfp", 1, nnUNet_n_proc_DA=1, **places)
        shutil.copy(shared / "raw" / whole / "splits_final.json", shared / "preprocessed" / whole)
        done.touch()
    return whole, places


def nnunet_system(python: Path, batch: int | None) -> System:
    def run(job: Job) -> dict:
        name, places = plan_nnunet(python, job.name, job.root, job.folder.parent / "nnunet")
        more = ["--batch", batch] if batch else []
        script = HERE / "nnunet_2d.py"
        call(python, script, name, job.folder, *job.options(), "--seed", job.seed, *more, nnUNet_n_proc_DA=0, **places)
        return json.loads((job.folder / "run.json").read_text(encoding="utf-8"))

    return System(f"nnU-Net 2D, batches of {batch}" if batch else "nnU-Net 2D", "", run)


def score(predictions: Path, dataset: Dataset, held_out: tuple[Case, ...]) -> dict:
    """Score label maps `<case>.nii.gz` or `<case>/labels.nii.gz`."""
    ours = {}
    for case in held_out:
        file = predictions / f"{case.name}.nii.gz"
        ours[case.name] = file if file.is_file() else predictions / case.name / "labels.nii.gz"
    found = evaluate(ours, {case.name: case.label for case in held_out})
    if found.failures:
        sys.exit(f"{predictions}: {found.failures}")
    names = {label.value: label.name for label in dataset.labels}
    mean = found.class_mean_dice
    interval = {} if math.isnan(mean.low) else {"low": mean.low, "high": mean.high}  # of 5 cases or more
    return {
        "dice": {"cases": mean.n, "mean": mean.mean, **interval},
        "by_label": {names[e.value]: {m: e.statistics[m].mean for m in METRICS} for e in found.summary},
        "dice_by_case": by_case(found, "dice", names),
        "hd95_mm_by_case": by_case(found, "hd95_mm", names),
    }


def by_case(found: Evaluation, metric: str, names: dict[int, str]) -> dict[str, dict[str, float]]:
    """Return a metric of each label of each case; labels that are nowhere in a case are left out."""
    table: dict[str, dict[str, float]] = {}
    for row in found.rows:
        value = getattr(row.scores, metric)
        if value == value:  # not NaN
            table.setdefault(row.case, {})[names[row.value]] = round(value, 5)
    return table


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def file_name(*words: str) -> str:
    """Join words by hyphens, in small letters, without other signs."""
    return "-".join(re.findall(r"[a-z0-9]+", " ".join(words).lower().replace("(r)", "")))


def make_row(system: System, job: Job) -> dict:
    shutil.rmtree(job.folder, ignore_errors=True)  # what was cut off has used its time
    job.folder.mkdir(parents=True)
    started = datetime.now()
    found = system.run(job)
    row = {"set": job.name, "fold": job.fold, "system": system.name, "version": system.version}
    row |= {"minutes": job.minutes, "seed": job.seed, "date": f"{started:%Y-%m-%d %H:%M}", "processor": processor()}
    dataset, held_out = job.held_out()
    row |= found | score(job.predictions, dataset, held_out)
    if (job.folder / "without_cleanup").exists():
        row["without_cleanup"] = score(job.folder / "without_cleanup", dataset, held_out)
    return row


def run_rows(options: argparse.Namespace) -> None:
    systems = [volseg_system(Path(checkout)) for checkout in options.volseg]
    systems += [monai_system()] if options.monai else []
    systems += (
        [nnunet_system(Path(options.nnunet).absolute(), batch) for batch in options.batch] if options.nnunet else []
    )
    for minutes in options.minutes:
        for name, root in options.set:
            for system in systems:
                words = [name, f"fold{options.fold}", system.name, system.version, f"{minutes:g}min"]
                file = file_name(*words, f"seed{options.seed}", processor())
                if (RESULTS / f"{file}.json").exists():
                    continue
                job = Job(name, root, options.fold, minutes, options.seed, options.work / file)
                row = make_row(system, job)
                RESULTS.mkdir(parents=True, exist_ok=True)
                (RESULTS / f"{file}.json").write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
                print(f"{file}: {row['dice']['mean']:.4f} after {row['steps']} steps", flush=True)


def named_folder(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    return name, Path(folder).absolute()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=named_folder, action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--volseg", action="append", default=[], metavar="CHECKOUT")
    parser.add_argument("--monai", action="store_true")
    parser.add_argument("--nnunet", metavar="PYTHON", help="Python of an environment with nnU-Net v2")
    parser.add_argument(
        "--batch",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[0],
        help="of nnU-Net, by commas; 0, the default, is that of its plan",
    )
    parser.add_argument("--minutes", type=lambda text: [float(part) for part in text.split(",")], default=[20.0])
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder for runs and predictions")
    parser.add_argument("--print", action="store_true", help="only print what there is")
    chosen = parser.parse_args()
    if not chosen.print:
        if not chosen.work:
            parser.error("--work is missing: a folder for runs and predictions")
        chosen.work = chosen.work.absolute()
        run_rows(chosen)
    print_tables(RESULTS, HERE / "results" / "budgets.png")
