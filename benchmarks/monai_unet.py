"""Train MONAI's own 2D networks, with MONAI's own transforms, on one fold of a training set: the peer of ours.

    OMP_NUM_THREADS=1 python benchmarks/monai_unet.py DATASET OUTPUT [--minutes M] [--fold F] [--seed S] [--arm dynunet]

The script follows MONAI's tutorials (2d_segmentation, 2d_slices_from_3d_training, spleen_segmentation_3d, brats,
fast_model_training_guide, dynunet_pipeline): all steps that are not random are cached, slices are cropped around a
labelled voxel two times in three to the 96x96 of the tutorials (or to whole slices where they are smaller), and
`SliceInferer` predicts whole scans. Slices are cut across the axis of the coarsest spacing, or where there is none the
one along which scans are longest; within them scans have the set's median spacing. CT is clipped to the 0.5th to 99.5th
percentile of the labelled voxels, other channels have mean 0 and standard deviation 1. ``unet`` has AdamW and a cosine
schedule; ``dynunet``, nnU-Net's architecture, has nnU-Net's SGD and polynomial schedule. Both have nnU-Net's Dice over
the whole batch and its clipping, and bfloat16 if the machine computes it natively.

The minutes are CPU time from the first step to the last. Unlike those of volseg, they include no validation. The last
weights are used; the held-out scans are predicted once. OUTPUT gets predictions/<case>.nii.gz and run.json.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import monai
import nibabel
import numpy as np
import torch
from cpu_clock import cpu_seconds
from monai import transforms as mt
from monai.data import CacheDataset, DataLoader, Dataset, set_track_meta
from monai.inferers import SliceInferer
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet, UNet
from monai.utils import set_determinism
from torch.utils.data import ConcatDataset

import volseg.datasets
from volseg.datasets import Case, read_dataset, split
from volseg.network.devices import autocast, choose_device

BOTH = ("image", "label")
PATCH = 96  # of MONAI's 2d_segmentation
BATCH = 16
COARSE = 1.2  # times the finest spacing


@dataclass(frozen=True)
class Plan:
    """What depends on the set; axes are those of a scan turned to RAS."""

    axis: int  # across the slices
    spacing: tuple[float, ...]  # mm within slices; -1 across them, which MONAI leaves as it is
    patch: tuple[int, int]
    windows: tuple[tuple[float, float] | None, ...]  # for each channel that is CT
    values: tuple[int, ...]  # of the labels in files; the classes are 0, 1, 2 ...

    def in_volume(self, size: tuple[int, int], across: int) -> tuple[int, ...]:
        """Return the size in a volume of a size within slices."""
        sizes = list(size)
        sizes.insert(self.axis, across)
        return tuple(sizes)


def make_plan(dataset: volseg.datasets.Dataset, cases: tuple[Case, ...]) -> Plan:
    headers = [nibabel.as_closest_canonical(nibabel.load(case.images[0])).header for case in cases]
    shapes = np.array([header.get_data_shape()[:3] for header in headers])
    spacings = np.array([header.get_zooms()[:3] for header in headers], dtype=float)
    median = np.median(spacings, axis=0)
    is_coarse = median.max() > COARSE * median.min()
    axis = int(np.argmax(median if is_coarse else np.median(shapes * spacings, axis=0)))
    within = [a for a in range(3) if a != axis]
    extent = np.ceil((shapes * spacings / median).max(axis=0))
    height, width = (min(PATCH, 16 * math.ceil(extent[a] / 16)) for a in within)
    spacing = tuple(-1.0 if a == axis else float(median[a]) for a in range(3))
    windows = tuple(
        find_window(cases, channel) if modality == "CT" else None for channel, modality in enumerate(dataset.modalities)
    )
    return Plan(axis, spacing, (height, width), windows, (0, *(label.value for label in dataset.labels)))


def find_window(cases: tuple[Case, ...], channel: int) -> tuple[float, float]:
    found = []
    for scan in Dataset(files(cases), mt.LoadImaged(BOTH, reader="NibabelReader", ensure_channel_first=True)):
        found.append(np.asarray(scan["image"][channel])[np.asarray(scan["label"][0]) > 0][::7])
    low, high = np.percentile(np.concatenate(found), [0.5, 99.5])
    return float(low), float(high)


class ScaleChannels(mt.Transform):
    """CT to -2 to 2 within its window; other channels to mean 0 and standard deviation 1 where they are not 0."""

    def __init__(self, windows: tuple[tuple[float, float] | None, ...]) -> None:
        normalise = mt.NormalizeIntensity(nonzero=True)
        self.steps = [mt.ScaleIntensityRange(*w, -2.0, 2.0, clip=True) if w else normalise for w in windows]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        for channel, step in enumerate(self.steps):
            image[channel] = step(image[channel : channel + 1])[0]
        return image


def loading(plan: Plan, *keys: str) -> list[mt.Transform]:
    modes = ["bilinear" if key == "image" else "nearest" for key in keys]
    return [
        mt.LoadImaged(keys, reader="NibabelReader", ensure_channel_first=True),
        mt.Orientationd(keys, axcodes="RAS", labels=None),
        mt.Spacingd(keys, pixdim=plan.spacing, mode=modes),
        mt.Lambdad("image", ScaleChannels(plan.windows), track_meta=True),
    ]


def sampling(plan: Plan) -> list[mt.Transform]:
    turns = {"rotate_range": math.radians(20), "scale_range": (0.2, 0.2), "translate_range": (4, 4)}
    indices = {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices"}
    how = {"mode": ("bilinear", "nearest"), "padding_mode": "border", "cache_grid": True}
    wider = tuple(5 * side // 4 for side in plan.patch)  # so that turned patches have true corners
    crop = plan.in_volume(wider, 1)
    return [
        mt.MapLabelValued("label", plan.values, range(len(plan.values))),
        mt.SpatialPadd(BOTH, plan.in_volume(plan.patch, -1), mode="replicate"),
        mt.EnsureTyped(BOTH, track_meta=False),
        mt.FgBgToIndicesd("label"),
        # From here on random, so not cached.
        mt.RandCropByPosNegLabeld(BOTH, "label", crop, pos=2, neg=1, allow_smaller=True, **indices),
        mt.SqueezeDimd(BOTH, dim=1 + plan.axis),
        mt.RandAffined(BOTH, spatial_size=plan.patch, prob=0.8, **turns, **how),
        mt.RandGaussianNoised("image", prob=0.15, std=0.1),
        mt.RandGaussianSmoothd("image", prob=0.15, sigma_x=(0.5, 1.15), sigma_y=(0.5, 1.15)),
        mt.RandScaleIntensityd("image", prob=0.5, factors=0.3),
        mt.RandShiftIntensityd("image", prob=0.5, offsets=0.2),
    ]


def files(cases: tuple[Case, ...]) -> list[dict]:
    return [{"image": list(case.images), "label": case.label, "case": case.name} for case in cases]


def batches(dataset: CacheDataset) -> Iterator[dict[str, torch.Tensor]]:
    enough = ConcatDataset([dataset] * math.ceil(BATCH / len(dataset)))
    loader = DataLoader(enough, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=0)
    while True:
        yield from loader


def make_learner(arm: str, plan: Plan) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    common = {"spatial_dims": 2, "in_channels": len(plan.windows), "out_channels": len(plan.values)}
    levels = 1 + round(math.log2(min(plan.patch) / 6))  # the coarsest has about 6 pixels: 5 levels for 96
    if arm == "unet":
        # 16 to 256 channels, as in the tutorials, for 5 levels.
        channels = [256 >> (levels - 1 - level) for level in range(levels)]
        network = UNet(**common, channels=channels, strides=[2] * (levels - 1), num_res_units=2, norm="instance")
        return network, torch.optim.AdamW(network.parameters(), lr=1e-3)
    strides, kernels = [1] + [2] * (levels - 1), [2] * (levels - 1)
    network = DynUNet(**common, kernel_size=[3] * levels, strides=strides, upsample_kernel_size=kernels)
    sgd = torch.optim.SGD(network.parameters(), lr=1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
    return network, sgd


def train(arm: str, plan: Plan, cases: tuple[Case, ...], seconds: float) -> tuple[torch.nn.Module, int, float]:
    """Return the network, its optimiser steps, and the seconds that they took."""
    # The random transforms change nothing in place, so the cache needs no copies.
    how = {"num_workers": 1, "progress": False, "copy_cache": False}
    cached = CacheDataset(files(cases), mt.Compose(loading(plan, *BOTH) + sampling(plan)), **how)
    set_track_meta(False)  # the fast training guide: slices need no affine
    device, steps = choose_device(), 0
    network, optimiser = make_learner(arm, plan)
    network.to(device).train()
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    started = cpu_seconds()
    for batch in batches(cached):
        done = (cpu_seconds() - started) / seconds
        if done >= 1:
            break
        factor = 0.5 * (1 + math.cos(math.pi * done)) if arm == "unet" else (1 - done) ** 0.9
        optimiser.param_groups[0]["lr"] = factor * optimiser.defaults["lr"]
        optimiser.zero_grad()
        with autocast(device):
            logits = network(batch["image"].to(device))
        loss_of(logits.float(), batch["label"].to(device)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimiser.step()
        steps += 1
    taken = cpu_seconds() - started
    set_track_meta(True)
    return network.eval(), steps, taken


@torch.inference_mode()
def predict(network: torch.nn.Module, plan: Plan, cases: tuple[Case, ...], folder: Path) -> None:
    """Write the label map of every scan on the scan's own grid, under the name of its case."""
    folder.mkdir(parents=True)
    device = next(network.parameters()).device
    infer = SliceInferer(
        spatial_dim=plan.axis,
        roi_size=plan.patch,
        sw_batch_size=16,
        overlap=0.5,
        mode="gaussian",
        padding_mode="replicate",
    )
    before = mt.Compose(loading(plan, "image"))
    back = mt.Invertd("probabilities", before, orig_keys="image", nearest_interp=False)
    for scan in Dataset(files(cases), before):
        with autocast(device):
            logits = infer(scan["image"][None].to(device), network)[0]
        scan["probabilities"] = torch.softmax(logits.float(), 0).cpu()
        classes = np.asarray(back(scan)["probabilities"].argmax(0))
        case = next(case for case in cases if case.name == scan["case"])
        array = np.array(plan.values, dtype=np.uint8)[classes]
        nibabel.save(nibabel.Nifti1Image(array, nibabel.load(case.images[0]).affine), folder / f"{case.name}.nii.gz")


def main(options: argparse.Namespace) -> None:
    dataset = read_dataset(options.dataset)
    training, held_out = split(dataset, options.fold)
    set_determinism(options.seed)
    plan = make_plan(dataset, training)
    network, steps, seconds = train(options.arm, plan, training, 60 * options.minutes)
    predict(network, plan, held_out, options.output / "predictions")
    run = {"arm": options.arm, "steps": steps, "cpu_minutes": round(seconds / 60, 3), **asdict(plan), "batch": BATCH}
    run |= {"monai": monai.__version__, "torch": torch.__version__, "threads": torch.get_num_threads()}
    (options.output / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=28)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arm", choices=("unet", "dynunet"), default="unet")
    main(parser.parse_args())
