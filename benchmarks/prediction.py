"""Prediction on a CPU by two versions of volseg, in turns, each run in a process of its own on one thread.

    python benchmarks/prediction.py OLD [--subjects NAMES] [--rounds N] [--slices N] [--hippocampus FOLDER]

OLD is a checkout of the older version; the newer one is that of this script. The networks of the 512x512 subjects have
random weights: time and memory do not depend on them. Printed are the median CPU seconds of `predict` (of a whole
command for `hippocampus`, the released model on 20 scans), their ratio, the median growth of memory at its peak above
what Python, torch and the model take (for `hippocampus` all of it), and how many voxels have another label or another
float16 probability.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
SUBJECTS = {
    "labels": "41 classes, one network, native spacing",
    "float32": "the same without bfloat16",
    "narrow": "41 classes, a network of 16 to 64 channels, native spacing",
    "probabilities": "the same with `--probabilities`",
    "coarse": "the same network, taught at twice the spacing",
    "folds": "three networks",
    "fused": "three planes, 128x128x128",
    "hippocampus": "the released model, 20 scans in one command",
}

# Runs in the process of one version, so that it may only use names that every version has.
CHILD = """
import resource, sys, time
import numpy as np, torch, volseg
from volseg.config import parse_config
from volseg.core.labelmap import Label
from volseg.network.file import Model, make_generator

subject, slices, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
torch.manual_seed(0)
planes = ["axial", "coronal", "sagittal"] if subject == "fused" else ["axial"]
preparation = {
    "planes": planes,
    "spacing_mm": [2.0 if subject == "coarse" else 1.0] * 3,
    "normalisation": [{"kind": "zscore"}],
    "neighbours": 1,
}
narrow = subject == "narrow"
network = {"levels": 5, "width": 16 if narrow else 24, "max_width": 64 if narrow else 320, "norm": "batch"}
config = parse_config({"preparation": preparation, "network": network})
networks = {}
for plane in planes:
    for fold in range(3 if subject == "folds" else 1):
        networks[f"{plane}.{fold}"] = make_generator(config, channels=1, labels=40).eval()
        torch.nn.init.normal_(networks[f"{plane}.{fold}"].head.weight)
labels = tuple(Label(value, f"label {value}", (9, 9, 9)) for value in range(1, 41))
model = Model(config, labels, ("CT",), networks)


def scan_of(shape):
    blobs = torch.randn(1, 1, *(max(2, size // 16) for size in shape))
    smooth = torch.nn.functional.interpolate(blobs, shape, mode="trilinear")[0, 0].numpy() * 500
    return volseg.Volume(smooth.astype(np.int16), volseg.Grid.from_spacing(shape))


scan = scan_of((128, 128, 128) if subject == "fused" else (512, 512, slices))
if subject == "float32":
    torch.cpu.get_capabilities = dict  # none: no bfloat16
volseg.predict(model, scan_of((64, 64, 64)), device="cpu")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
found = volseg.predict(model, scan, device="cpu", probabilities=subject == "probabilities")
seconds = time.process_time() - start
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
np.save(out + ".labels.npy", found.labels.array)
if found.probabilities is not None:
    np.save(out + ".probabilities.npy", found.probabilities[:, ..., :2])
print(seconds, grown)
"""

COMMAND = """
import resource, sys, time
import volseg.cli
start = time.process_time()
try:
    volseg.cli.main()
finally:
    print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)
"""


def run(checkout: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)


def measure(checkout: Path, subject: str, folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Return CPU seconds and peak MiB of one run, whose arrays are left in a folder."""
    folder.mkdir(exist_ok=True)
    if subject != "hippocampus":
        done = run(checkout, CHILD, subject, str(options.slices), str(folder / "found"))
        seconds, peak = done.stdout.split()[-2:]
        return float(seconds), float(peak)
    scans = sorted(map(str, (options.hippocampus.resolve() / "imagesTr").glob("*.nii.gz")))[:20]
    done = run(checkout, COMMAND, "predict", *scans, "-m", "hippocampus", "-o", str(folder), "--overwrite")
    seconds, peak = done.stderr.split()[-2:]
    return float(seconds), float(peak)


def differing(old: Path, new: Path) -> str:
    """Say how many voxels of the labels, and numbers of the probabilities, differ."""
    import numpy as np

    from volseg import read_labels

    counts: dict[str, list[int]] = {}
    for path in sorted(old.rglob("*")):
        if path.suffix not in (".npy", ".gz"):
            continue
        arrays = []
        for file in (path, new / path.relative_to(old)):
            arrays.append(np.load(file, mmap_mode="r") if file.suffix == ".npy" else read_labels(file).array)
        kind = "probabilities" if "probabilities" in path.name else "labels"
        count = counts.setdefault(kind, [0, 0])
        count[0] += int((arrays[0] != arrays[1]).sum())
        count[1] += arrays[0].size
    return ", ".join(f"{kind} {count} of {size}" for kind, (count, size) in counts.items())


def compare(subject: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    runs: dict[str, list[tuple[float, float]]] = {"old": [], "new": []}
    for number in range(options.rounds):
        names = ["old", "new"] if number % 2 == 0 else ["new", "old"]
        for name in names:
            checkout = options.old if name == "old" else HERE
            runs[name].append(measure(checkout, subject, folder / f"{subject}-{name}", options))
    row: dict[str, Any] = {"subject": subject}
    for name, measured in runs.items():
        seconds, peaks = zip(*measured, strict=True)
        row[name] = {"cpu_s": statistics.median(seconds), "peak_mib": statistics.median(peaks), "all_s": seconds}
    row["ratio"] = row["old"]["cpu_s"] / row["new"]["cpu_s"]
    row["differing"] = differing(folder / f"{subject}-old", folder / f"{subject}-new")
    return row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("old", type=Path)
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=8, help="slices of 512x512")
    parser.add_argument("--hippocampus", type=Path, default=Path("Task04_Hippocampus"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| subject | CPU s before | after | ratio | peak MiB before | after | differing |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for subject in options.subjects.split(","):
            row = compare(subject, options, Path(folder))
            rows.append(row)
            old, new = row["old"], row["new"]
            seconds = f"{old['cpu_s']:.2f} | {new['cpu_s']:.2f} | {row['ratio']:.2f}"
            peaks = f"{old['peak_mib']:.0f} | {new['peak_mib']:.0f}"
            print(f"| {SUBJECTS[subject]} | {seconds} | {peaks} | {row['differing']} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
