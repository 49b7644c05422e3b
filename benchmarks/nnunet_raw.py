"""A training set as volseg reads it, written as nnU-Net's raw data set with the same folds."""

import json
import sys
import zlib
from pathlib import Path

import nibabel
import numpy as np

from volseg.datasets import Case, Dataset, count_folds, split


def write_raw(dataset: Dataset, name: str, folder: Path) -> tuple[int, str]:
    """Write FOLDER/raw/Dataset<number>_<name> if it is not there; return the number and the whole name.

    Labels must be 1, 2, 3 ... without gaps, as nnU-Net asks for. Files that are as they should be are linked.
    """
    number = zlib.crc32(name.encode()) % 999 + 1
    whole = f"Dataset{number:03d}_{name}"
    values = [label.value for label in dataset.labels]
    if values != list(range(1, len(values) + 1)):
        sys.exit(f"{dataset.root}: has labels {values}; nnU-Net takes 1 to {len(values)}")
    root = folder / "raw" / whole
    if (root / "dataset.json").exists():
        return number, whole
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for case in dataset.cases:
        write_channels(case, len(dataset.channel_names), root / "imagesTr")
        link_or_write(case.label, root / "labelsTr" / f"{case.name}.nii.gz")
    folds = [split(dataset, fold) for fold in range(count_folds(dataset))]
    splits = [{"train": [c.name for c in train], "val": [c.name for c in val]} for train, val in folds]
    (root / "splits_final.json").write_text(json.dumps(splits), encoding="utf-8")
    # nnU-Net treats the channel that is called CT as CT, and normalises every other one by itself.
    channels = {str(n): modality or f"channel {n}" for n, modality in enumerate(dataset.modalities)}
    labels = {"background": 0} | {label.name: label.value for label in dataset.labels}
    content = {"channel_names": channels, "labels": labels, "numTraining": len(dataset.cases), "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return number, whole


def write_channels(case: Case, channels: int, folder: Path) -> None:
    if len(case.images) == channels:
        for number, file in enumerate(case.images):
            link_or_write(file, folder / f"{case.name}_{number:04d}.nii.gz")
        return
    image = nibabel.load(case.images[0])
    array = np.asarray(image.dataobj)
    for number in range(channels):
        part = nibabel.Nifti1Image(array[..., number], image.affine)
        nibabel.save(part, folder / f"{case.name}_{number:04d}.nii.gz")


def link_or_write(source: Path, target: Path) -> None:
    if target.exists():
        return
    if source.name.endswith(".nii.gz"):
        target.symlink_to(source.resolve())
    else:
        nibabel.save(nibabel.load(source), target)
