"""Train MONAI's own 2D networks, with MONAI's own transforms, on one fold of the hippocampus set: the peer of ours.

    python benchmarks/monai_unet.py Task04_Hippocampus OUTPUT.json [MINUTES] [FOLD] [unet|dynunet]

The defaults are 28 minutes, fold 0 and unet; `OMP_NUM_THREADS=1` in front gives it one thread. The script follows
MONAI's tutorials (2d_segmentation, 2d_slices_from_3d_training, fast_model_training_guide, dynunet_pipeline): all steps
that are not random are cached, coronal slices are cropped around a labelled voxel two times in three, and
`SliceInferer` predicts whole scans. ``unet`` has AdamW and a cosine schedule; ``dynunet``, nnU-Net's architecture, has
nnU-Net's SGD and polynomial schedule. Both have nnU-Net's Dice over the whole batch and its clipping, and bfloat16 if
the machine computes it natively.

The minutes are counted from reading the first scan to the last step. Unlike those of volseg, they include no
validation. The last weights are used; the held-out scans are predicted once and scored as by `volseg evaluate`.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import monai
import torch
from monai import transforms as mt
from monai.data import CacheDataset, DataLoader, Dataset, MetaTensor, set_track_meta
from monai.inferers import SliceInferer
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet, UNet
from monai.utils import set_determinism

from volseg.datasets import Case, read_dataset, split
from volseg.evaluation import evaluate
from volseg.network.devices import autocast, choose_device

BOTH = ("image", "label")
SIZE = (48, 48)  # holds every coronal slice of the set
BATCH = 16
SEED = 0


def loading(*keys: str) -> list[mt.Transform]:
    read = mt.LoadImaged(keys, reader="NibabelReader", ensure_channel_first=True)
    return [read, mt.Orientationd(keys, axcodes="RAS", labels=None), mt.NormalizeIntensityd("image")]


def sampling() -> list[mt.Transform]:
    turns = {"rotate_range": math.radians(20), "scale_range": (0.2, 0.2), "translate_range": (4, 4)}
    indices = {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices"}
    how = {"mode": ("bilinear", "nearest"), "padding_mode": "border", "cache_grid": True}
    return [
        mt.SpatialPadd(BOTH, (SIZE[0], -1, SIZE[1]), mode="replicate"),
        mt.EnsureTyped(BOTH, track_meta=False),
        mt.FgBgToIndicesd("label"),
        # From here on random, so not cached.
        mt.RandCropByPosNegLabeld(BOTH, "label", (-1, 1, -1), pos=2, neg=1, **indices),
        mt.SqueezeDimd(BOTH, dim=2),
        mt.RandAffined(BOTH, spatial_size=SIZE, prob=0.8, **turns, **how),
        mt.RandGaussianNoised("image", prob=0.15, std=0.1),
        mt.RandGaussianSmoothd("image", prob=0.15, sigma_x=(0.5, 1.15), sigma_y=(0.5, 1.15)),
        mt.RandScaleIntensityd("image", prob=0.5, factors=0.3),
        mt.RandShiftIntensityd("image", prob=0.5, offsets=0.2),
    ]


def files(cases: tuple[Case, ...]) -> list[dict[str, Path]]:
    return [{"image": case.images[0], "label": case.label} for case in cases]


def batches(dataset: CacheDataset) -> Iterator[dict[str, torch.Tensor]]:
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=0)
    while True:
        yield from loader


def make_learner(arm: str, classes: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    common = {"spatial_dims": 2, "in_channels": 1, "out_channels": classes}
    if arm == "unet":
        network = UNet(**common, channels=(32, 64, 128, 256), strides=(2, 2, 2), num_res_units=2, norm="instance")
        return network, torch.optim.AdamW(network.parameters(), lr=1e-3)
    network = DynUNet(**common, kernel_size=[3] * 4, strides=[1, 2, 2, 2], upsample_kernel_size=[2] * 3)
    sgd = torch.optim.SGD(network.parameters(), lr=1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
    return network, sgd


def train(arm: str, cases: tuple[Case, ...], classes: int, seconds: float) -> tuple[torch.nn.Module, int]:
    """Return the network after that time, and its optimiser steps."""
    started, steps, device = time.monotonic(), 0, choose_device()
    # The random transforms change nothing in place, so the cache needs no copies.
    how = {"num_workers": 1, "progress": False, "copy_cache": False}
    cached = CacheDataset(files(cases), mt.Compose(loading(*BOTH) + sampling()), **how)
    set_track_meta(False)  # the fast training guide: slices need no affine
    network, optimiser = make_learner(arm, classes)
    network.to(device).train()
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    for batch in batches(cached):
        done = (time.monotonic() - started) / seconds
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
    set_track_meta(True)
    return network.eval(), steps


@torch.inference_mode()
def predict(network: torch.nn.Module, cases: tuple[Case, ...], folder: str) -> None:
    """Write the label map of every scan on the scan's own grid, under its name."""
    device = next(network.parameters()).device
    infer = SliceInferer(spatial_dim=1, roi_size=SIZE, sw_batch_size=64, padding_mode="replicate")
    save = mt.SaveImage(folder, output_postfix="", output_dtype="uint8", separate_folder=False, print_log=False)
    for scan in Dataset(files(cases), mt.Compose(loading("image"))):
        with autocast(device):
            logits = infer(scan["image"][None].to(device), network)[0]
        save(MetaTensor(logits.argmax(0, keepdim=True).cpu(), meta=scan["image"].meta))


def main(root: Path, output: Path, minutes: float = 28, fold: int = 0, arm: str = "unet") -> None:
    dataset = read_dataset(root)
    training, held_out = split(dataset, fold)
    set_determinism(SEED)
    network, steps = train(arm, training, len(dataset.labels) + 1, 60 * minutes)
    with tempfile.TemporaryDirectory() as folder:
        predict(network, held_out, folder)
        found = evaluate(folder, root / "labelsTr", labels=root / "dataset.json")
    run = {"arm": arm, "fold": fold, "minutes": minutes, "steps": steps, "seed": SEED, "date": f"{date.today()}"}
    run |= {"threads": torch.get_num_threads(), "monai": monai.__version__, "torch": torch.__version__}
    run |= json.loads(found.to_json(output).read_text(encoding="utf-8"))
    output.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    mean = found.class_mean_dice
    labels = (
        f"{entry.label} {entry.statistics['dice'].mean:.4f} / {entry.statistics['hd95_mm'].mean:.2f} mm"
        for entry in found.summary
    )
    print(
        f"monai {arm}: class-mean Dice {mean.mean:.4f} [{mean.low:.4f}, {mean.high:.4f}] over {mean.n} scans; "
        f"{', '.join(labels)}; {steps} steps in {minutes:.1f} minutes, fold {fold}, seed {SEED}"
    )


if __name__ == "__main__":
    if sys.argv[5:] not in ([], ["unet"], ["dynunet"]):
        sys.exit(f"{' '.join(sys.argv[5:])}: expected unet or dynunet")
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:4]), *map(int, sys.argv[4:5]), *sys.argv[5:])
