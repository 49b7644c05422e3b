"""Results of a cross-validation of the hippocampus set: rows, figures, and pictures of its worst cases.

    volseg crossval Task04_Hippocampus -o CROSSVAL
    python benchmarks/crossval_report.py Task04_Hippocampus CROSSVAL benchmarks/results [COMMIT]

Scores the predictions anew, whichever volseg made them. Writes hippocampus_crossval.json (one row for each case and
label), hippocampus_summary.json and hippocampus_worst.png into the last folder and prints the summary. COMMIT is what
trained it; by default the checkout's.
"""

import json
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import volseg
from volseg.core.resample import reorient
from volseg.datasets import read_dataset
from volseg.evaluation import summarise
from volseg.evaluation.metrics import dice
from volseg.evaluation.scores import DEFINITIONS
from volseg.evaluation.scores import METRICS as ALL

METRICS = tuple(name for name, metric in ALL.items() if metric.main)
WORST = 5


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def report(dataset: Path, run: Path, output: Path, commit: str) -> None:
    content = json.loads((run / "crossval.json").read_text(encoding="utf-8"))
    rows = content["rows"]
    cases = {case.name: case for case in read_dataset(dataset).cases}
    folds = {row["case"]: row["fold"] for row in rows}
    predicted = {n: run / f"fold_{fold}" / "predictions" / n / "labels.nii.gz" for n, fold in folds.items()}
    found = volseg.evaluate(predicted, {name: cases[name].label for name in predicted})
    scores = {(row.case, row.label): row.scores for row in found.rows}
    for row in rows:
        row |= {m: round(getattr(scores[row["case"], row["label"]], m), 6) for m in METRICS}
        row["commit"] = commit
        row["device"] = f"{row['device']}, {processor()}" if row["device"] == "cpu" else row["device"]
    output.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row) for row in rows)
    (output / "hippocampus_crossval.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    by_case: dict[str, list[float]] = {}
    for row in rows:
        by_case.setdefault(row["case"], []).append(row["dice"])
    means = {name: float(np.mean(values)) for name, values in by_case.items()}
    whole = [whole_dice(volseg.read_labels(file), volseg.read_labels(cases[n].label)) for n, file in predicted.items()]
    others = [mean for name, mean in means.items() if folds[name] > 0]
    summary = {
        "date": str(date.today()),
        "commit": commit,
        "device": rows[0]["device"],
        "definitions": {metric: DEFINITIONS[metric] for metric in METRICS if metric in DEFINITIONS},
        "class_mean_dice": rounded(list(means.values())),
        **({"class_mean_dice_without_fold_0": rounded(others)} if others else {}),
        "labels": {
            entry.label: {
                metric: rounded([getattr(r.scores, metric) for r in found.rows if r.label == entry.label])
                for metric in METRICS
            }
            for entry in found.summary
        },
        "whole_hippocampus_dice": rounded(whole),
        "folds": content["folds"],
    }
    (output / "hippocampus_summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))
    worst = sorted(means, key=means.__getitem__)[:WORST]
    for name in worst:
        print(name, [f"{value:.3f}" for value in by_case[name]])
    draw(
        [(name, cases[name], predicted[name], means[name]) for name in worst],
        output / "hippocampus_worst.png",
    )


def rounded(values: list[float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in vars(summarise(values)).items()}


def whole_dice(ours: volseg.LabelMap, theirs: volseg.LabelMap) -> float:
    """Dice of anterior and posterior together."""
    return dice(ours.array > 0, theirs.array > 0)


def draw(worst: list, path: Path) -> None:
    """For each case the slice of each plane on which most voxels differ: reference in white, prediction in colour."""
    figure = Figure(figsize=(9, 3 * len(worst)), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for line, (name, case, file, mean) in enumerate(worst):
        scan = volseg.read(case.images[0])
        image, _ = reorient(scan.array, scan.grid)
        ours, theirs = (reorient(m.array, m.grid)[0] for m in map(volseg.read_labels, (file, case.label)))
        for axis, plane in enumerate(("sagittal", "coronal", "axial")):
            number = int(np.argmax((ours != theirs).sum(axis=tuple(a for a in range(3) if a != axis))))
            axes = figure.add_subplot(len(worst), 3, 3 * line + axis + 1)
            cut = [np.take(a, number, axis=axis).T for a in (image, ours, theirs)]
            axes.imshow(cut[0], cmap="gray", origin="lower", vmax=np.percentile(image, 99.5))
            for value, colour in ((1, "#ff9f43"), (2, "#48dbfb")):
                axes.contour(cut[2] == value, [0.5], colors="white", linewidths=2.2)
                axes.contour(cut[1] == value, [0.5], colors=colour, linewidths=1.2)
            axes.set_axis_off()
            axes.set_title(
                f"{name}, Dice {mean:.3f}, {plane} {number}" if axis == 0 else f"{plane} {number}", fontsize=9
            )
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    report(*map(Path, sys.argv[1:4]), sys.argv[4] if len(sys.argv) > 4 else head)
