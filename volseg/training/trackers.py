"""The programs that a training can be tracked with, each behind the same four functions.

Each is imported when it is asked for, and keeps its data where it always does; TensorBoard's are in the run's folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

_PROJECT = "volseg"
Metrics = Mapping[str, float]


class Tracker(Protocol):
    """What a tracker does."""

    def begin(self, run: Path, settings: Mapping[str, Any], known: str | None) -> str:
        """Begin a run, or go on with the one that is known, and return by what it is known.

        Parameters
        ----------
        run : Path
            The run's folder, whose name is its name.
        settings : dict of str to plain values
        known : str, optional
        """

    def log(self, metrics: Metrics, step: int) -> None:
        """Note numbers.

        Parameters
        ----------
        metrics : dict of str to float
        step : int
        """

    def picture(self, name: str, path: Path, step: int) -> None:
        """Note a picture; one that is kept elsewhere than on this machine gets none, as they show scans of patients.

        Parameters
        ----------
        name : str
        path : Path
            A PNG.
        step : int
        """

    def end(self) -> None:
        """End the run."""


class TensorBoard:
    """`tensorboard --logdir RUN/tensorboard` shows it."""

    def __init__(self) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make = SummaryWriter

    def begin(self, run: Path, settings: Mapping[str, Any], known: str | None) -> str:
        """Write into a folder of the run."""
        self._writer = self._make(str(run / "tensorboard"))
        if known is None:
            rows = [f"| {name} | {value} |" for name, value in settings.items()]
            self._writer.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))
        return "tensorboard"

    def log(self, metrics: Metrics, step: int) -> None:
        """Note numbers; they are on the disk at once."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, name: str, path: Path, step: int) -> None:
        """Note a picture."""
        import numpy as np
        from PIL import Image

        with Image.open(path) as image:
            self._writer.add_image(name, np.asarray(image), step, dataformats="HWC")
        self._writer.flush()

    def end(self) -> None:
        """Close the file."""
        self._writer.close()


class WandB:
    """Weights & Biases; with ``WANDB_MODE=offline`` nothing is sent."""

    def __init__(self) -> None:
        import wandb

        self._wandb = wandb

    def begin(self, run: Path, settings: Mapping[str, Any], known: str | None) -> str:
        """Begin or go on."""
        quiet = self._wandb.Settings(silent=True)
        self._run = self._wandb.init(
            project=_PROJECT, name=run.name, id=known, resume="allow", config=dict(settings), settings=quiet
        )
        return str(self._run.id)

    def log(self, metrics: Metrics, step: int) -> None:
        """Note numbers."""
        self._run.log(dict(metrics), step=step)

    def picture(self, name: str, path: Path, step: int) -> None:
        """Note a picture if nothing is sent."""
        if self._run.offline:
            self._run.log({name: self._wandb.Image(str(path))}, step=step)

    def end(self) -> None:
        """Wait until all is written or sent."""
        self._run.finish()


class MLflow:
    """MLflow, on the server of ``MLFLOW_TRACKING_URI`` or in its own database."""

    def __init__(self) -> None:
        import mlflow

        self._mlflow = mlflow

    def begin(self, run: Path, settings: Mapping[str, Any], known: str | None) -> str:
        """Begin or go on."""
        self._client = self._mlflow.MlflowClient()
        if known is not None:
            self._client.update_run(known, status="RUNNING")
            self._run = known
            return known
        experiment = self._client.get_experiment_by_name(_PROJECT)
        number = experiment.experiment_id if experiment else self._client.create_experiment(_PROJECT)
        self._run = str(self._client.create_run(number, run_name=run.name).info.run_id)
        params = [self._mlflow.entities.Param(name, str(value)) for name, value in settings.items()]
        self._client.log_batch(self._run, params=params)
        return self._run

    def log(self, metrics: Metrics, step: int) -> None:
        """Note numbers."""
        now = round(1000 * time.time())
        rows = [self._mlflow.entities.Metric(name, value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._run, metrics=rows)

    def picture(self, name: str, path: Path, step: int) -> None:
        """Keep a picture as an artifact, whose name has the step, if these are on this machine."""
        place = self._client.get_run(self._run).info.artifact_uri
        scheme = urlsplit(place).scheme
        if scheme in ("", "file") or len(scheme) == 1:  # one letter is a drive of Windows
            self._client.log_artifact(self._run, str(path), "samples")

    def end(self) -> None:
        """Say that the run is finished."""
        self._client.set_terminated(self._run)


class Trackio:
    """Trackio, in its own folder (``TRACKIO_DIR``); `trackio show --project volseg` shows it."""

    def __init__(self) -> None:
        import trackio

        self._trackio = trackio

    def begin(self, run: Path, settings: Mapping[str, Any], known: str | None) -> str:
        """Begin or go on; a run is known by its name, so a new one has a number in it if there is such a run."""
        name = known or _free_name(run.name, self._names())
        with redirect_stdout(StringIO()):
            self._run = self._trackio.init(
                project=_PROJECT, name=name, config=dict(settings), resume="allow", embed=False
            )
        return name

    def _names(self) -> set[str]:
        return {str(run) for run in self._trackio.SQLiteStorage.get_runs(_PROJECT)}

    def log(self, metrics: Metrics, step: int) -> None:
        """Note numbers."""
        self._run.log(dict(metrics), step=step)

    def picture(self, name: str, path: Path, step: int) -> None:
        """Note a picture if nothing is sent."""
        if not any(
            os.environ.get(f"TRACKIO_{place}") for place in ("SPACE_ID", "SERVER_URL", "BUCKET_ID", "DATASET_ID")
        ):
            self._run.log({name: self._trackio.Image(str(path))}, step=step)

    def end(self) -> None:
        """Wait until all is written."""
        with redirect_stdout(StringIO()):
            self._trackio.finish()


def _free_name(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


# By name: what makes it, and the package that it needs.
TRACKERS: dict[str, tuple[Callable[[], Tracker], str]] = {
    "tensorboard": (TensorBoard, "tensorboard"),
    "wandb": (WandB, "wandb"),
    "mlflow": (MLflow, "mlflow"),
    "trackio": (Trackio, "trackio"),
}
