"""From a dataset to scores by commands alone, as a user would go."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from toy_dataset import write_dataset
from typer.testing import CliRunner

import volseg
from volseg.cli import app
from volseg.config import load_config

SMALL = (
    "--set network.width=8 --set training.batch_size=8 --set training.validations=1 --set optimiser.learning_rate=5e-3"
)


def volseg_command(command: str) -> str:
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output
    return result.stdout


def test_train_predict_evaluate_mesh(dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained = volseg_command(f"train {dataset_folder} -o run --epochs 20 {SMALL}")
    names = ("model.safetensors", "plan.yaml", "log.jsonl", "curve.png", "progress.html", "samples", "validation.json")
    assert trained.splitlines()[-8:-1] == [f"wrote {Path('run') / name}" for name in names]
    assert all((tmp_path / "run" / name).exists() for name in names)
    assert trained.splitlines()[-1] == "too few validations to say whether it still improves"
    predicted = volseg_command(f"predict {dataset_folder / 'imagesTr'} -m run -o out --mesh stl,glb --space ras")
    assert len(list((tmp_path / "out").glob("*/labels.nii.gz"))) == 6
    assert predicted.count("wrote ") == 6 * (2 + 2 * 2 + 1)
    assert (tmp_path / "out" / "toy_0" / "meshes" / "ball.stl").read_bytes().startswith(b"volseg SPACE=RAS")
    again = volseg_command(f"predict {dataset_folder / 'imagesTr'} -m run -o out --mesh stl,glb --space ras")
    assert "wrote" not in again  # finished already
    table = volseg_command(f"evaluate out {dataset_folder / 'labelsTr'} --json scores.json --csv scores.csv")
    assert "ball" in table
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert float(re.search(r"class-mean Dice ([\d.]+)", table)[1]) > 0.7  # type: ignore[index]
    assert len(scores["cases"]) == 12
    volseg_command("mesh out -o meshes --format ply")
    assert len(list((tmp_path / "meshes").rglob("*.ply"))) == 12
    reference = volseg.read_labels(dataset_folder / "labelsTr" / "toy_0.nii.gz")
    prediction = volseg.read_labels(tmp_path / "out" / "toy_0" / "labels.nii.gz")
    assert prediction.grid.is_close(reference.grid)
    assert [label.name for label in prediction.labels] == ["ball", "bar"]


def test_planes_and_the_scores_of_the_last_weights_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "cubes", spacing=(1.0, 1.0, 1.2))
    command = f"train cubes -o run --epochs 2 {SMALL} --set training.slice_size=[24,20,16]"
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output
    assert "axial slices of 24x20, coronal slices of 24x16, sagittal slices of 20x16, batches of 8" in result.stderr
    final = json.loads((tmp_path / "run" / "validation.json").read_text(encoding="utf-8"))
    told = re.search(r"held-out cases at step \d+: Dice ([\d.]+) over 2 of 2 cases \(ball", result.stderr)
    assert told
    assert float(told[1]) == pytest.approx(final["mean"], abs=1e-4)
    scan = tmp_path / "cubes" / "imagesTr" / "toy_0.nii.gz"
    volseg_command(f"predict {scan} -m run -o out --probabilities")
    written = volseg.read_all(tmp_path / "out" / "toy_0" / "probabilities.nii.gz").values()
    expected = volseg.predict(volseg.load_model(tmp_path / "run"), volseg.read(scan), probabilities=True).probabilities
    assert expected is not None
    assert all(one.grid.is_close(volseg.read(scan).grid) for one in written)
    np.testing.assert_allclose(np.stack([one.array for one in written]), expected[1:], atol=2e-3)


def test_plan_only_writes_a_plan_that_trains(
    dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = volseg_command(f"train {dataset_folder} -o plan --plan-only --preset pix2pix")
    assert re.search(r"about [\d,]+ steps in .*; half the time: about .*; twice: about ", output)
    assert output.splitlines()[-1] == f"wrote {Path('plan') / 'plan.yaml'}"
    plan = load_config(tmp_path / "plan" / "plan.yaml")
    assert plan.network.block == "pix2pix"
    assert plan.preparation.planes == ("axial",)
    volseg_command(f"train {dataset_folder} -o run --config plan/plan.yaml --epochs 1 --set network.width=2")
    assert volseg.load_model(tmp_path / "run").config.network.width == 2


def test_patterns_make_a_dataset(dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (dataset_folder / "dataset.json").unlink()
    command = ["train", str(dataset_folder), "-o", "plan", "--plan-only"]
    patterns = ["--images", "imagesTr/*.nii.gz", "--labels", "labelsTr/{}.nii.gz"]
    result = CliRunner().invoke(app, [*command, *patterns])
    assert result.exit_code == 0, result.output
    assert "6 cases, labels ball, bar" in (tmp_path / "plan" / "plan.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--minutes 1 --epochs 2", "--minutes and --epochs both set the end"),
        ("--resume --plan-only", "--plan-only begins a run and --resume continues one"),
        ("--preset pix3pix", "preset is 'pix3pix'; expected one of default, pix2pix, pix2pix-paper"),
        ("--set network", "--set network: expected key=value"),
    ],
)
def test_contradictions_are_usage_errors(dataset_folder: Path, tmp_path: Path, options: str, words: str) -> None:
    result = CliRunner().invoke(app, f"train {dataset_folder} -o {tmp_path / 'run'} {options}".split())
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "run").exists()
