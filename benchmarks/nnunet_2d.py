"""Train nnU-Net v2's 2D trainer for some minutes of CPU time and predict the held-out cases: the peer of ours.

    nnUNet_raw=... nnUNet_preprocessed=... nnUNet_results=... nnUNet_n_proc_DA=0 nnUNet_compile=f OMP_NUM_THREADS=1 \
        PYTHON benchmarks/nnunet_2d.py DATASET_NAME OUTPUT [--minutes M] [--fold F] [--seed S] [--batch B]

PYTHON has nnU-Net, and needs nothing of volseg; `budgets.py` writes the raw data set and calls
``nnUNetv2_plan_and_preprocess`` and this. Fingerprint, plan, preprocessing, network, patch, batch, augmentation, deep
supervision, loss and optimiser are nnU-Net's own. Its polynomial schedule runs over the time in place of 1000 epochs,
and its pseudo-validation during training is left out, which would cost it a sixth of the time. Minutes are
counted from the first step to the last, data augmentation included, which runs in the same process. nnU-Net's own
predictor is used, without mirroring. ``--batch`` changes the batch of the plan, which is made for a GPU, and nothing
else.

OUTPUT gets predictions/<case>.nii.gz and run.json.
"""

import argparse
import importlib.metadata
import json
import random
from pathlib import Path

import numpy as np
import torch
from cpu_clock import cpu_seconds
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class ShortTrainer(nnUNetTrainer):
    """nnU-Net's trainer, with its schedule over some seconds of CPU time."""

    def train_for(self, seconds: float) -> tuple[int, float]:
        """Return the steps made, and the seconds that they took."""
        self.on_train_start()
        self.network.train()
        steps, start = 0, cpu_seconds()
        while (done := (cpu_seconds() - start) / seconds) < 1:
            self.lr_scheduler.step(done * self.num_epochs)
            self.train_step(next(self.dataloader_train))
            steps += 1
        return steps, cpu_seconds() - start


def make_trainer(name: str, fold: int, batch: int | None) -> ShortTrainer:
    folder = Path(nnUNet_preprocessed) / name
    plans = json.loads((folder / "nnUNetPlans.json").read_text(encoding="utf-8"))
    plans["continue_training"] = False  # as nnU-Net's own command sets it
    if batch is not None:
        plans["configurations"]["2d"]["batch_size"] = batch
    dataset = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    return ShortTrainer(plans, "2d", fold, dataset, torch.device("cpu"))


def predict(trainer: ShortTrainer, name: str, output: Path) -> None:
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(use_mirroring=False, device=trainer.device, allow_tqdm=False)
    parts = (trainer.network, trainer.plans_manager, trainer.configuration_manager, [trainer.network.state_dict()])
    axes = trainer.inference_allowed_mirroring_axes
    predictor.manual_initialization(*parts, trainer.dataset_json, type(trainer).__name__, axes)
    _, held_out = trainer.do_split()
    images = Path(nnUNet_raw) / name / "imagesTr"
    channels = len(trainer.dataset_json["channel_names"])
    files = [[str(images / f"{case}_{n:04d}.nii.gz") for n in range(channels)] for case in held_out]
    output.mkdir(parents=True)
    predictor.predict_from_files_sequential(files, [str(output / case) for case in held_out])


def main(options: argparse.Namespace) -> None:
    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    trainer = make_trainer(options.dataset, options.fold, options.batch)
    steps, seconds = trainer.train_for(60 * options.minutes)
    predict(trainer, options.dataset, options.output / "predictions")
    plan = trainer.configuration_manager
    run = {"steps": steps, "cpu_minutes": round(seconds / 60, 3), "patch": list(plan.patch_size)}
    run |= {"batch": trainer.batch_size, "spacing": list(plan.spacing)}
    run |= {name: importlib.metadata.version(name) for name in ("nnunetv2", "torch")}
    run |= {"threads": torch.get_num_threads()}
    (options.output / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="such as Dataset001_hippocampus")
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int)
    main(parser.parse_args())
