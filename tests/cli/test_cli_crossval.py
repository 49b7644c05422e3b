"""`volseg crossval` with trained folds: its output, and its refusals before any work."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from volseg.cli import app, crossval_command
from volseg.config import load_config
from volseg.datasets import read_dataset
from volseg.evaluation.scores import METRICS
from volseg.network.description import CleanupDecision
from volseg.training.loop import train
from volseg.training.planning import iterate_planning

pytestmark = pytest.mark.usefixtures("one_curve")

TINY = ("network.width=4", "training.batch_size=4", "training.epochs=1", "training.validations=1")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; no process can be started in it."""

    def impossible(*_: object, **__: object) -> None:
        raise OSError(11, "there are enough")

    monkeypatch.setattr("volseg.training.folds.subprocess.Popen", impossible)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train_folds(folder: Path, output: Path, *folds: int, settings: Sequence[str] = TINY) -> None:
    dataset = read_dataset(folder)
    list(iterate_planning(dataset, output, config=load_config(overrides=settings), fold="all"))
    for fold in folds:
        plan = load_config(output / "plan.yaml")
        train(dataset, output / f"fold_{fold}", config=plan, fold=fold, device="cpu")


def test_the_summary_the_files_and_a_comparison_are_told(dataset_folder: Path, here: Path) -> None:
    content = json.loads((dataset_folder / "dataset.json").read_text(encoding="utf-8"))
    content["labels"]["9"] = "ghost"
    (dataset_folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    train_folds(dataset_folder, here / "cv", 0, 1, settings=(*TINY, "cleanup.ghost.minimum_mm3=1e9"))
    command = ["crossval", str(dataset_folder), "-o", "cv", "--folds", "1,0", "--devices", "cpu"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    summary = json.loads((here / "cv" / "crossval.json").read_text(encoding="utf-8"))
    assert result.stdout.splitlines() == [
        f"wrote {Path('cv') / name}" for name in ("crossval.json", "scores.csv", "ensemble.safetensors")
    ]
    told = re.search(r"class-mean Dice ([\d.]+)( \[.*\])? over 3 cases, each by a model that has not", result.stderr)
    assert told
    assert float(told[1]) == pytest.approx(summary["class_mean_dice"]["mean"], abs=1e-4)
    assert f"ball: Dice {summary['labels']['ball']['dice']['mean']:.4f}, HD95 " in result.stderr
    assert "ghost: Dice absent, HD95 absent, surface Dice absent" in result.stderr
    assert "folds still missing: 2, 3, 4" in result.stderr
    words = "clean-up by the held-out cases: fewer than 5 cases have ball, bar, too few to decide"
    assert words in " ".join(result.stderr.split())
    assert "after clean-up, each fold as the others decide" not in result.stderr

    shutil.copytree(here / "cv", here / "other")
    other = json.loads((here / "other" / "crossval.json").read_text(encoding="utf-8"))
    for row in other["rows"]:
        row["dice"] = None if row["dice"] is None else row["dice"] - 0.125
    (here / "other" / "crossval.json").write_text(json.dumps(other), encoding="utf-8")
    result = CliRunner().invoke(app, [*command, "--against", "other"])
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1]
    assert last.startswith("class-mean Dice against other: +0.1250")
    assert " over 3 cases, p = " in last


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--devices cpu,abacus", 2, "--device abacus: cannot be used here"),
        ("--against nothing", 1, "nothing: no such file or folder"),
        ("--folds 0,two", 2, "--folds has 'two'; expected numbers from 0, such as 0,2"),
        ("--folds 7", 2, "there is no fold 7; expected 0 to 4"),
        ("--minutes 1 --epochs 2", 2, "--minutes and --epochs both set the end"),
    ],
)
def test_what_could_only_fail_in_the_end_is_refused_at_once(
    options: str, code: int, words: str, dataset_folder: Path, here: Path
) -> None:
    result = CliRunner().invoke(app, ["crossval", str(dataset_folder), "-o", "cv", *options.split()])
    assert result.exit_code == code, result.output
    assert words in result.stderr
    assert not (here / "cv").exists()


def test_what_was_done_is_told_where_some_folds_fail(dataset_folder: Path, here: Path) -> None:
    train_folds(dataset_folder, here / "cv", 0)
    result = CliRunner().invoke(app, ["crossval", str(dataset_folder), "-o", "cv", "--devices", "cpu"])
    assert result.exit_code == 3, result.output
    reasons = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert reasons == [f"error: fold {fold}: its process cannot be started (there are enough)" for fold in (1, 2, 3, 4)]
    assert result.stdout.splitlines()[0] == f"wrote {Path('cv') / 'crossval.json'}"
    assert "folds still missing: 1, 2, 3, 4" in result.stderr


def test_scores_after_clean_up_are_told_where_they_differ() -> None:
    def figures(dice: float) -> dict[str, Any]:
        score = {"n": 8, "mean": dice, "low": dice - 0.1, "high": dice + 0.1}
        return {
            "class_mean_dice": score,
            "labels": {"ball": dict.fromkeys(METRICS, score)},
            "rows": [{"case": "a", "dice": dice}],
        }

    decision = CleanupDecision(True, 0.0, False, cases=8, dice_before=0.7, dice_after=0.8)
    cleaned = {"decided": {"ball": asdict(decision)}, **figures(0.8)}
    lines = crossval_command._summary({**figures(0.7), "cleanup": cleaned, "missing_folds": []})
    assert lines[2:4] == [
        "clean-up by the held-out cases: ball: largest component (Dice 0.7000, then 0.8000 in 8 cases)",
        "after clean-up, each fold as the others decide: class-mean Dice 0.8000 [0.7000, 0.9000]",
    ]
    assert lines[4].startswith("ball: Dice 0.8000, HD95 0.8000 mm")


def test_an_older_summary_is_not_told_as_if_it_were_new(dataset_folder: Path, here: Path) -> None:
    (here / "cv").mkdir()
    (here / "cv" / "crossval.json").write_text("{}", encoding="utf-8")
    command = ["crossval", str(dataset_folder), "-o", "cv", "--devices", "cpu", "--folds", "3"]
    result = CliRunner().invoke(app, [*command, *(text for change in TINY for text in ("--set", change))])
    assert result.exit_code == 1, result.output
    assert "error: fold 3: its process cannot be started (there are enough)" in result.stderr
    assert "wrote" not in result.stdout
