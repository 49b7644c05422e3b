"""What comes to trackers, once, also where a run is resumed; and each tracker that is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from volseg.cli import app
from volseg.config import load_config
from volseg.errors import MissingPackageError, UsageError
from volseg.training import trackers
from volseg.training.events import Sampled
from volseg.training.loop import iterate_training
from volseg.training.tracking import numbers_of, tracked
from volseg.watching.sample_picture import read_samples

TINY = ("network.width=2", "network.levels=1", "training.batch_size=4", "training.epochs=1", "training.validations=3")
PACKAGES = ("tensorboard", "wandb", "mlflow", "trackio")


class Fake:
    """Notes what it is told; one for all sittings."""

    def __init__(self) -> None:
        self.begun: list[str | None] = []
        self.numbers: list[tuple[str, int]] = []
        self.pictures: list[tuple[str, int]] = []
        self.ended = 0
        self.settings: dict[str, Any] = {}

    def begin(self, run: Path, settings: Mapping[str, Any], known: str | None) -> str:
        self.begun.append(known)
        self.settings = dict(settings)
        return run.name

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.numbers += [(name, step) for name in metrics]

    def picture(self, name: str, path: Path, step: int) -> None:
        assert path.is_file()
        self.pictures.append((name, step))

    def end(self) -> None:
        self.ended += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setitem(trackers.TRACKERS, "fake", (lambda: fake, "nothing"))
    return fake


def follow(
    dataset: Path, run: Path, *, name: str = "fake", resume: bool = False, until: type[object] | None = None
) -> None:
    config = None if resume else load_config(overrides=TINY)
    events = iterate_training(dataset, run, config=config, device="cpu", resume=resume)
    for event in tracked(events, [name], run, resume=resume):
        if until and isinstance(event, until):
            break


def test_everything_comes_once_also_in_two_sittings(dataset_folder: Path, tmp_path: Path, fake: Fake) -> None:
    run = tmp_path / "run"
    follow(dataset_folder, run, until=Sampled)
    # What the log has and the tracker was not told yet, as the machine went down between the two.
    state = json.loads((run / "tracking.json").read_text(encoding="utf-8"))
    state["fake"]["sent"].pop("validation")
    (run / "tracking.json").write_text(json.dumps(state), encoding="utf-8")
    fake.numbers = [each for each in fake.numbers if not each[0].startswith("dice/")]
    follow(dataset_folder, run, resume=True)
    assert (fake.begun, fake.ended) == ([None, "run"], 2)
    assert len(set(fake.numbers)) == len(fake.numbers)
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = {(name, event["step"]) for event in log for name in numbers_of(event)}
    assert set(fake.numbers) == expected
    assert {"loss/reconstruction", "dice/mean", "final_dice/mean"} <= {name for name, _ in expected}
    assert fake.pictures == [(f"samples/{file.plane}", file.step) for file in read_samples(run / "samples")]
    assert fake.settings["training.validations"] == 3
    assert all(isinstance(value, str | int | float | bool) for value in fake.settings.values())


def test_a_tracker_that_fails_ends_no_training(
    dataset_folder: Path, tmp_path: Path, fake: Fake, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(*_: object) -> None:
        calls.append(1)
        raise RuntimeError("the server is gone")

    monkeypatch.setattr(fake, "log", fail)
    follow(dataset_folder, tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert len(calls) == 1
    assert "--track fake failed and is left alone from now on: the server is gone" in caplog.text
    # What it failed at comes when the run is resumed.
    monkeypatch.undo()
    monkeypatch.setitem(trackers.TRACKERS, "fake", (lambda: fake, "nothing"))
    follow(dataset_folder, tmp_path / "run", resume=True)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert set(fake.numbers) == {(name, event["step"]) for event in log for name in numbers_of(event)}
    assert len(set(fake.numbers)) == len(fake.numbers)


@pytest.mark.parametrize(
    ("place", "sent"),
    [
        ("/home/me/mlruns/0/x/artifacts", True),
        ("file:///home/me/x", True),
        ("C:/mlruns/x", True),
        ("mlflow-artifacts:/0/x/artifacts", False),
        ("dbfs:/x", False),
        ("s3://bucket/x", False),
    ],
)
def test_pictures_of_patients_stay_on_the_machine(place: str, sent: bool, tmp_path: Path) -> None:
    logged: list[str] = []

    def get_run(_: str) -> SimpleNamespace:
        return SimpleNamespace(info=SimpleNamespace(artifact_uri=place))

    tracker = trackers.MLflow.__new__(trackers.MLflow)
    tracker._run = "run"
    tracker._client = SimpleNamespace(get_run=get_run, log_artifact=lambda _, path, __: logged.append(path))
    tracker.picture("samples/axial", tmp_path / "a.png", 3)
    assert bool(logged) is sent


def test_one_that_cannot_begin_is_an_error_before_the_first_step(
    dataset_folder: Path, tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("no key")

    monkeypatch.setattr(fake, "begin", fail)
    with pytest.raises(UsageError, match=r"--track fake: could not begin \(no key\)"):
        follow(dataset_folder, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_told_before_anything_is_read(
    name: str, dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(MissingPackageError, match=rf"--track {name} needs .*; pip install {name}$"):
        tracked([], [name], tmp_path)
    result = CliRunner().invoke(app, ["train", str(dataset_folder), "-o", str(tmp_path / "run"), "--track", name])
    assert result.exit_code == 1
    assert not (tmp_path / "run").exists()


def test_unknown_trackers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected one of tensorboard, wandb, mlflow, trackio"):
        tracked([], ["neptune"], tmp_path)


def test_names_that_a_tracker_would_refuse_are_changed() -> None:
    event = {"event": "final", "step": 1, "mean": None, "per_label": {"a/../b<c>": 0.5}}
    assert numbers_of(event) == {"final_dice/a____b_c_": 0.5}


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.filterwarnings("ignore")  # of the packages themselves
def test_each_tracker_that_is_installed_gets_the_run(
    name: str, dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(name, reason=f"{name} is not installed")
    monkeypatch.chdir(tmp_path)
    for variable, value in (
        ("WANDB_MODE", "offline"),
        ("TRACKIO_DIR", str(tmp_path / "trackio")),
        ("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}"),
    ):
        monkeypatch.setenv(variable, value)
    run = tmp_path / "run"
    follow(dataset_folder, run, name=name, until=Sampled)
    follow(dataset_folder, run, name=name, resume=True)
    sent = json.loads((run / "tracking.json").read_text(encoding="utf-8"))[name]["sent"]
    assert set(sent) == {"steps", "validation", "final", "samples"}
    if name == "tensorboard":
        assert list((run / "tensorboard").glob("events*"))
    if name == "mlflow":
        _check_mlflow(sent)


def _check_mlflow(sent: Mapping[str, int]) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("volseg")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "loss/reconstruction")]
    assert steps == sorted(set(steps))
    assert steps[-1] == sent["steps"]
    assert client.list_artifacts(run.info.run_id, "samples")
