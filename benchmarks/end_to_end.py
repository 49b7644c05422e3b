"""From a CT file to labels and STL files, stage by stage: volseg, a plain chain, MONAI's and nnU-Net's predictors.

    python benchmarks/end_to_end.py [--ct CT LABELS] [--slices N] [--side N] [--threads N] [--nnunet PYTHON]
        [--systems NAMES]

CT and LABELS, by default a phantom, are brought to SIDE x SIDE x 300 voxels of 0.75 x 0.75 x 1 mm, of which the
SLICES in the middle are used. Each system runs in a process of its own, one after the other. Networks have random
weights and a class for each label of LABELS: time and memory do not depend on the weights. As the labels that they
predict are noise, surfaces are those of LABELS. Peers:

- plain: nibabel, the network of volseg as PyTorch runs it, softmax and argmax slice by slice, scikit-image's marching
  cubes on the mask of the whole scan for each label, as in most scripts;
- monai: MONAI's `SliceInferer` with the network of volseg, in bfloat16 where the processor is quick at it, and argmax;
- nnunet, nnunet-mirrored: nnU-Net's predictor with the network that its planner makes for such slices
  (`nnunet_prediction.py`). PYTHON is that of an environment with nnU-Net v2.

Printed are CPU seconds, seconds on the clock, and the peak memory of the process until the end of a stage, in MiB. The
floor is the arithmetic of the network at the rate of the quickest convolution, measured in the same process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pyvista
import torch
from cpu_clock import peak_mib
from monai.inferers import SliceInferer
from skimage.measure import marching_cubes
from surface_speed import repeated
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import volseg
from volseg.config import load_config
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.core.planes import Plane
from volseg.io.mesh import write_meshes
from volseg.network.devices import autocast, has_fast_bf16
from volseg.network.file import Model, make_generator
from volseg.phantoms import make_ct_phantom
from volseg.prediction.cleanup import clean_labels
from volseg.prediction.inference import predict_scan
from volseg.prediction.networks import ReadyModel
from volseg.surface import extract_surfaces

HERE = Path(__file__).parent
CPU = torch.device("cpu")
# What plans have for such scans: of the default preset where there is time, and where there is little; and of pix2pix.
NETWORKS = {
    "default": {"levels": 5, "width": 24, "max_width": 320},
    "narrow": {"levels": 5, "width": 16, "max_width": 64},
    "pix2pix": {"levels": 8},
}
LOW, HIGH, MEAN, STD = -200, 300, 50, 100
WINDOW = f"{{kind: window, low: {LOW}, high: {HIGH}, mean: {MEAN}, std: {STD}}}"
Rows = list[tuple[str, float, float, float]]  # a stage, its CPU seconds, seconds on the clock, peak MiB
WHOLE, SPACING = 300, (0.75, 0.75, 1.0)  # slices of the scan, mm


class Stages:
    """What the stages of a run took, in their order."""

    def __init__(self) -> None:
        self.rows: Rows = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        cpu, clock = time.process_time(), time.perf_counter()
        yield
        took = time.process_time() - cpu, time.perf_counter() - clock
        self.rows.append((name, *took, peak_mib()))


class Split(ReadyModel):
    """volseg's networks with clocks beside them."""

    cpu = clock = 0.0

    def logits(self, plane: Plane, batch: torch.Tensor) -> list[torch.Tensor]:
        cpu, clock = time.process_time(), time.perf_counter()
        found = super().logits(plane, batch)
        self.cpu += time.process_time() - cpu
        self.clock += time.perf_counter() - clock
        return found


def make_model(kind: str, labels: int) -> Model:
    torch.manual_seed(0)
    preset = "pix2pix" if kind == "pix2pix" else "default"
    settings = [f"network.{key}={value}" for key, value in NETWORKS[kind].items()]
    settings += [
        "preparation.planes=[axial]",
        f"preparation.spacing_mm={list(SPACING)}",
        f"preparation.normalisation=[{WINDOW}]",
    ]
    config = load_config(preset=preset, overrides=tuple(settings))
    network = make_generator(config, channels=1, labels=labels).eval()
    named = tuple(Label(value, f"label {value}", (200, 100, 50)) for value in range(1, labels + 1))
    return Model(config, named, ("CT",), {"axial.0": network})


def run_volseg(kind: str, folder: Path, labels: int) -> Rows:
    stages, model = Stages(), make_model(kind, labels)
    ready = Split(model, "cpu")
    with stages.stage("read"):
        scan = volseg.read(folder / "ct.nii.gz")
    with stages.stage("prepare, labels, doubt"):
        predict_scan(ready, scan)
    name, cpu, clock, peak = stages.rows.pop()
    stages.rows += [("networks", ready.cpu, ready.clock, peak), (name, cpu - ready.cpu, clock - ready.clock, peak)]
    truth = volseg.read_labels(folder / "labels.nii.gz")
    with stages.stage("clean-up, the largest component of each label"):
        cleaned = clean_labels(truth, volseg.config.CleanupConfig(largest_component=True))
    with stages.stage("write labels"):
        volseg.write(cleaned, folder / "out.nii.gz")
    with stages.stage("surfaces, smoothed"):
        meshes = extract_surfaces(cleaned)
    with stages.stage("write STL"):
        write_meshes(meshes, folder / "stl")
    return stages.rows


def three_slices(array: np.ndarray, number: int) -> np.ndarray:
    """Return a slice between its neighbours (3, I, J)."""
    last = array.shape[2] - 1
    return np.stack([array[..., max(0, number - 1)], array[..., number], array[..., min(last, number + 1)]])


def normalised(array: np.ndarray) -> np.ndarray:
    return (np.clip(array, LOW, HIGH) - MEAN) / STD


@torch.inference_mode()
def run_plain(folder: Path, labels: int) -> Rows:
    stages, network = Stages(), make_model("default", labels).networks["axial.0"]
    with stages.stage("read"):
        image = nibabel.load(folder / "ct.nii.gz")
        array = normalised(image.get_fdata()).astype(np.float32)
    with stages.stage("networks and labels"):
        found = np.zeros(array.shape, dtype=np.uint8)
        for number in range(array.shape[2]):
            logits = network(torch.from_numpy(three_slices(array, number))[None])
            found[..., number] = torch.softmax(logits, 1).argmax(1)[0].numpy()
    truth = nibabel.load(folder / "labels.nii.gz")
    found = np.asarray(truth.dataobj)
    with stages.stage("write labels"):
        nibabel.save(nibabel.Nifti1Image(found, image.affine), folder / "plain.nii.gz")
    with stages.stage("surfaces, not smoothed, and write STL"):
        for value in np.unique(found)[1:]:
            vertices, faces, *_ = marching_cubes(np.pad(found == value, 1).astype(np.float32), 0.5)
            places = nibabel.affines.apply_affine(truth.affine, vertices - 1)
            mesh = pyvista.PolyData(places, np.insert(faces, 0, 3, axis=1).ravel())
            mesh.save(folder / f"plain{value}.stl")
    return stages.rows


@torch.inference_mode()
def run_monai(folder: Path, labels: int) -> Rows:
    stages, network = Stages(), make_model("default", labels).networks["axial.0"]
    array = normalised(nibabel.load(folder / "ct.nii.gz").get_fdata()).astype(np.float32)
    volume = np.stack([three_slices(array, number) for number in range(array.shape[2])], axis=-1)[None]
    inferer = SliceInferer(roi_size=array.shape[:2], sw_batch_size=4, spatial_dim=2)
    with stages.stage("networks and labels"), autocast(CPU):
        inferer(torch.from_numpy(volume), network).argmax(1)
    return stages.rows


def run_nnunet(python: Path, folder: Path, labels: int, threads: int, *, mirror: bool) -> Rows:
    script = HERE / "nnunet_prediction.py"
    places = {f"nnUNet_{part}": str(folder) for part in ("raw", "preprocessed", "results")}
    command = [python, script, folder / "slices.npy", labels, threads, int(mirror)]
    done = subprocess.run(
        [str(part) for part in command], env=os.environ | places, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def floor(kind: str, labels: int, side: int, slices: int) -> tuple[float, float]:
    """Return the arithmetic of a scan in 1e9 operations, and those that a second of one thread has at best."""
    network, dtype = make_model(kind, labels).networks["axial.0"], torch.float32
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, network.in_channels, side, side))
    if has_fast_bf16(CPU):
        dtype = torch.bfloat16
    layer = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(dtype=dtype, memory_format=torch.channels_last)
    batch = torch.zeros(4, 256, 64, 64, dtype=dtype).contiguous(memory_format=torch.channels_last)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(8):
            start = time.perf_counter()
            layer(batch)
            best = min(best, time.perf_counter() - start)
    return counter.get_total_flops() * slices / 1e9, 2 * 9 * 256 * 256 * 4 * 64 * 64 / 1e9 / best


def write_subject(options: argparse.Namespace, folder: Path) -> int:
    """Write the scan and its labels in their new size; return the number of labels."""
    shape = (options.side, options.side, WHOLE)
    if options.ct:
        scan, labels = volseg.read(options.ct[0]), volseg.read_labels(options.ct[1])
    else:
        phantom = make_ct_phantom(seed=0)
        scan, labels = phantom.volume, phantom.labels
    labels = repeated(labels, shape)
    zoomed = torch.nn.functional.interpolate(
        torch.from_numpy(scan.array.astype(np.float32))[None, None], shape, mode="trilinear"
    )[0, 0].numpy()
    first = (WHOLE - options.slices) // 2
    some = np.s_[..., first : first + options.slices]
    present = np.unique(labels.array)
    compact = np.searchsorted(present, labels.array[some]).astype(np.uint8)
    named = tuple(Label(value, f"label {value}", (200, 100, 50)) for value in range(1, len(present)))
    grid = Grid.from_spacing(compact.shape, SPACING)
    noisy = zoomed[some] + np.random.default_rng(0).normal(0, 12, compact.shape)
    volseg.write(volseg.Volume(noisy.astype(np.int16), grid), folder / "ct.nii.gz")
    volseg.write(volseg.LabelMap(compact, grid, named), folder / "labels.nii.gz")
    np.save(folder / "slices.npy", np.moveaxis(normalised(noisy), 2, 0).astype(np.float32))
    return len(named)


def run_alone(options: argparse.Namespace, system: str, folder: Path, labels: int) -> Rows:
    """Run a system in a process of its own."""
    if system.startswith("nnunet"):
        mirror = system.endswith("mirrored")
        return run_nnunet(options.nnunet.absolute(), folder, labels, options.threads, mirror=mirror)
    command = [sys.executable, __file__, "--threads", str(options.threads)]
    command += ["--child", system, str(folder), str(labels)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(HERE.parent)}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


CHILDREN: dict[str, Callable[[Path, int], Rows]] = {
    "volseg": lambda folder, labels: run_volseg("default", folder, labels),
    "volseg-narrow": lambda folder, labels: run_volseg("narrow", folder, labels),
    "volseg-pix2pix": lambda folder, labels: run_volseg("pix2pix", folder, labels),
    "plain": run_plain,
    "monai": run_monai,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ct", type=Path, nargs=2, metavar=("CT", "LABELS"), help="by default a phantom")
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nnunet", type=Path, help="Python of an environment with nnU-Net v2")
    parser.add_argument("--systems", default="volseg,volseg-narrow,volseg-pix2pix,plain,monai,nnunet,nnunet-mirrored")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)  # system, folder, labels
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])  # children have it too
    if options.child:
        system, name, count = options.child
        print(json.dumps(CHILDREN[system](Path(name), int(count))))
        return
    print(f"{options.side} x {options.side} x {options.slices}, threads: {options.threads}\n")
    print("| system | stage | CPU s | s | peak MiB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = write_subject(options, folder)
        for system in options.systems.split(","):
            if system.startswith("nnunet") and not options.nnunet:
                continue
            rows = run_alone(options, system, folder, labels)
            for stage, cpu, clock, peak in rows:
                print(f"| {system} | {stage} | {cpu:.1f} | {clock:.1f} | {peak:.0f} |", flush=True)
            print(
                f"| {system} | all | {sum(row[1] for row in rows):.1f} | {sum(row[2] for row in rows):.1f} | |",
                flush=True,
            )
    for kind in NETWORKS:
        work, rate = floor(kind, labels, options.side, options.slices)
        print(f"\n{kind}: {work:.0f} GFLOP, at {rate:.0f} GFLOP/s {work / rate:.1f} s")


if __name__ == "__main__":
    main()
