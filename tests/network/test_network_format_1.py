"""Model files of format 1, which knew one plane and gave sizes for its two axes, as (height, width)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from volseg.config import parse_config
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.core.planes import PLANES, Plane
from volseg.core.slices import in_plane
from volseg.core.volume import Volume
from volseg.errors import ModelError
from volseg.network.file import Model, load_model, make_generator, save_model
from volseg.prediction.inference import predict

LABELS = (Label(3, "liver", (200, 0, 0)), Label(300, "kidney", (0, 200, 0)))
SPACING_MM = (1.1, 0.8, 1.7)  # along the patient's axes
SLICE_SIZE = (48, 64, 24)
# The settings as volseg 0.1 wrote them; never to be brought up to date.
OLD_CONFIG: dict[str, Any] = {
    "preset": "default",
    "preparation": {
        "plane": None,
        "spacing_mm": None,
        "normalisation": [
            {"kind": "window", "low": -100.0, "high": 300.0, "mean": 40.0, "std": 80.0},
            {"kind": "zscore", "low": None, "high": None, "mean": None, "std": None},
        ],
        "neighbours": 1,
    },
    "network": {
        "block": "double",
        "decoder": "transpose",
        "width": 4,
        "max_width": 320,
        "levels": 2,
        "norm": "batch",
        "dropout": 0.0,
    },
    "discriminator": {"width": 64, "max_layers": 4},
    "loss": {"reconstruction": "ce_dice", "reconstruction_weight": 1.0, "adversarial_weight": 0.0},
    "optimiser": {
        "name": "adamw",
        "learning_rate": 0.001,
        "betas": [0.9, 0.999],
        "weight_decay": 0.01,
        "schedule": "cosine",
        "clip_norm": 12.0,
    },
    "augmentation": {
        "rotation_degrees": 20.0,
        "scaling": 0.2,
        "translation": 0.08,
        "mirror": False,
        "brightness": 0.2,
        "contrast": 0.25,
        "gamma": 0.3,
        "noise": 0.1,
        "blur": 0.7,
    },
    "training": {
        "epochs": 100,
        "minutes": None,
        "batch_size": 8,
        "slice_size": None,
        "foreground_fraction": 0.67,
        "validations": 10,
        "validation_cases": 50,
        "seed": 0,
    },
    "cleanup": {"liver": {"largest_component": True, "minimum_mm3": 0.0, "fill_holes": False}},
}


def old_config(plane: Plane | None) -> dict[str, Any]:
    height, width = in_plane(plane or "axial")
    sizes = {"spacing_mm": [SPACING_MM[height], SPACING_MM[width]]}
    return {
        **OLD_CONFIG,
        "preparation": {**OLD_CONFIG["preparation"], "plane": plane, **sizes},
        "training": {**OLD_CONFIG["training"], "slice_size": [SLICE_SIZE[height], SLICE_SIZE[width]]},
    }


def new_model(plane: Plane) -> Model:
    """The same in today's words."""
    old = old_config(plane)
    preparation = {key: value for key, value in old["preparation"].items() if key != "plane"}
    config = parse_config(
        {
            **old,
            "preparation": {**preparation, "planes": [plane], "spacing_mm": SPACING_MM},
            "training": {**old["training"], "slice_size": SLICE_SIZE},
        }
    )
    torch.manual_seed(0)
    networks = {f"{plane}.{fold}": make_generator(config, channels=2, labels=2) for fold in range(2)}
    for network in networks.values():
        for _ in range(3):
            network.train()(torch.randn(4, 6, 16, 16))  # running statistics, so that the answer follows the scan
        network.eval()
    return Model(config, LABELS, ("t1", "flair"), networks, modalities=("MR", None), fingerprint="a1b2")


def write_format_1(model: Model, config: dict[str, Any], folder: Path) -> Path:
    """Write the weights of a model under the metadata of volseg 0.1."""
    path = folder / "old.safetensors"
    (folder / "new").mkdir()
    tensors = {
        f"net.{name}.{key}": value for name, n in model.networks.items() for key, value in n.state_dict().items()
    }
    content = {
        "format": 1,
        "version": "0.1.0",
        "config": config,
        "labels": [
            {"value": 3, "name": "liver", "colour": [200, 0, 0], "code": None, "algorithm": None},
            {"value": 300, "name": "kidney", "colour": [0, 200, 0], "code": None, "algorithm": None},
        ],
        "channel_names": ["t1", "flair"],
        "modalities": ["MR", None],
        "fingerprint": "a1b2",
        "sha256": load_model(save_model(model, folder / "new" / "model.safetensors")).sha256,
    }
    save_file(tensors, path, metadata={"volseg": json.dumps(content)})
    return path


def oblique_scan() -> list[Volume]:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, -1, 0.1], [0.1, 0, -1], [-1, 0.1, 0]]) @ np.diag((2.0, 0.9, 0.7))
    random = np.random.default_rng(0)
    grid = Grid((12, 20, 26), affine)
    return [Volume(random.normal(50, 100, grid.shape).astype(np.float32), grid, name=name) for name in ("t1", "flair")]


@pytest.mark.parametrize("plane", PLANES)
def test_a_model_of_format_1_predicts_as_it_did(plane: Plane, tmp_path: Path) -> None:
    model, scan = new_model(plane), oblique_scan()
    old = load_model(write_format_1(model, old_config(plane), tmp_path))
    assert (old.labels, old.channel_names, old.modalities) == (model.labels, model.channel_names, model.modalities)
    assert (old.fingerprint, old.version, old.temperature) == ("a1b2", "0.1.0", 1.0)
    assert old.config.preparation.planes == (plane,)
    for sizes, expected in (
        (old.config.preparation.spacing_mm, SPACING_MM),
        (old.config.training.slice_size, SLICE_SIZE),
    ):
        assert sizes is not None
        assert [sizes[axis] for axis in in_plane(plane)] == [expected[axis] for axis in in_plane(plane)]
    expected_answer, answer = (predict(m, scan, probabilities=True) for m in (model, old))
    assert np.array_equal(answer.labels.array, expected_answer.labels.array)
    assert answer.probabilities is not None
    assert expected_answer.probabilities is not None
    assert np.array_equal(answer.probabilities, expected_answer.probabilities)
    assert np.ptp(answer.probabilities, axis=(1, 2, 3)).max() > 0.003  # it does answer to what it sees


def test_sizes_of_the_other_axes_would_change_the_answer() -> None:
    """Without this the test above would pass with any spacing."""
    scan, model = oblique_scan(), new_model("axial")
    preparation = model.config.preparation.model_copy(update={"spacing_mm": SPACING_MM[::-1]})
    other = replace(model, config=model.config.model_copy(update={"preparation": preparation}))
    first, second = (predict(m, scan, probabilities=True).probabilities for m in (model, other))
    assert not np.array_equal(first, second)


def test_a_model_of_format_1_is_saved_in_todays(tmp_path: Path) -> None:
    old = load_model(write_format_1(new_model("coronal"), old_config("coronal"), tmp_path))
    again = load_model(save_model(old, tmp_path / "again.safetensors"))
    assert (again.config, again.sha256) == (old.config, old.sha256)
    assert np.array_equal(*(predict(m, oblique_scan()).labels.array for m in (old, again)))


def test_unplanned_sizes_stay_unplanned(tmp_path: Path) -> None:
    config = old_config("sagittal")
    config["training"]["slice_size"] = None
    old = load_model(write_format_1(new_model("sagittal"), config, tmp_path))
    assert old.config.training.slice_size is None


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("preparation", "plane", None),
        ("preparation", "plane", "oblique"),
        ("preparation", "spacing_mm", [1.0]),
        ("preparation", "spacing_mm", [1.0, 1.0, 1.0]),
        ("training", "slice_size", [4, 64]),
        ("training", "slice_size", 64),
    ],
    ids=str,
)
def test_damaged_settings_of_format_1_are_refused(section: str, key: str, value: object, tmp_path: Path) -> None:
    config = old_config("axial")
    config[section][key] = value
    path = write_format_1(new_model("axial"), config, tmp_path)
    with pytest.raises(ModelError, match=r"old\.safetensors: the model's description is damaged \(.+\)$"):
        load_model(path)


@pytest.mark.parametrize("section", ["preparation", "training"])
def test_a_missing_section_of_format_1_is_refused_by_name(section: str, tmp_path: Path) -> None:
    config = {key: value for key, value in old_config("axial").items() if key != section}
    path = write_format_1(new_model("axial"), config, tmp_path)
    with pytest.raises(ModelError, match=rf"the model's description is damaged \('{section}'\)"):
        load_model(path)
