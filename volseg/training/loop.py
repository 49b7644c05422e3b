"""The training run, from a dataset to a model file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from volseg.config import Config, load_config
from volseg.datasets import Dataset, read_dataset
from volseg.network.devices import choose_device
from volseg.training.journal import Event
from volseg.training.plan import Fold, choose_cases, iterate_planning, write_plan
from volseg.training.resumption import resumed_plan
from volseg.training.run import Run
from volseg.training.run_folder import locked_folder
from volseg.training.stop import Stop, stopping


def train(
    dataset: Dataset | Path | str,
    output: Path | str,
    *,
    config: Config | None = None,
    fold: Fold = 0,
    device: str = "auto",
    resume: bool = False,
) -> Path:
    """Train a model from a dataset and return the path of the model file.

    Parameters
    ----------
    dataset : Dataset or path
        A Medical Segmentation Decathlon or nnU-Net folder, or a CSV of pairs; see `volseg.datasets.read_dataset`.
    output : path
        Folder for ``model.safetensors``, ``plan.yaml`` (every setting, as planned), ``log.jsonl``, ``curve.png``,
        ``validation.json`` and ``checkpoint.pt``.
    config : Config, optional
        Settings; what is None in them is planned from the dataset. Default: the ``default`` preset.
    fold : int or "all"
        Which fold is held out for validation; ``all`` trains on every case. The last weights are the model either way:
        weights chosen by the held-out cases would make their own scores flatter.
    device : str
        ``auto`` or any torch device.
    resume : bool
        Go on from ``checkpoint.pt`` in `output`, with the settings of its ``plan.yaml``. A `config` that is given must
        agree with them but for ``epochs``, ``minutes``, ``validations`` and ``validation_cases``; more of the first two
        make the run longer.

    Raises
    ------
    DatasetError
        Orphans, mismatched grids or unknown labels: all of them, before anything is trained.
    UsageError, ConfigError, InputError, OutputError
        As their names say.
    """
    for _ in iterate_training(dataset, output, config=config, fold=fold, device=device, resume=resume):
        pass
    return Path(output) / "model.safetensors"


def iterate_training(
    dataset: Dataset | Path | str,
    output: Path | str,
    *,
    config: Config | None = None,
    fold: Fold = 0,
    device: str = "auto",
    resume: bool = False,
) -> Iterator[Event]:
    """Do what `train` does and yield an event for each thing that happens, for progress bars.

    Events are dictionaries with a key ``event``: ``reading`` (done, total: cases, read once to plan and once to
    prepare), ``plan`` (config, fold, cases, held_out, device), ``steps`` (step, progress, losses, seconds),
    ``validation`` and, of the last weights on all held-out cases, ``final`` (step, mean, per_label, cases, held_out,
    calibration, seconds), ``end`` (files, seconds). All but ``reading`` are also in ``log.jsonl``.
    """
    folder, started = Path(output), time.monotonic()
    found = dataset if isinstance(dataset, Dataset) else read_dataset(Path(dataset))
    target = choose_device(device)
    with locked_folder(folder, resume=resume):
        if not resume:
            for done, total in iterate_planning(found, folder, config=config, fold=fold):
                yield {"event": "reading", "done": done, "total": 2 * total}
        training, held_out = choose_cases(found, fold)
        plan = load_config(folder / "plan.yaml")
        if resume and config is not None:
            plan = resumed_plan(plan, config, found)
        run = Run(folder, found, plan, device=target, fold=fold, held_out=held_out, stop=Stop())
        yield from run.prepare(training)
        yield run.start(resume=resume, reading_seconds=time.monotonic() - started)
        if resume and config is not None:
            write_plan(plan, found, folder / "plan.yaml")
        yield from _iterate(run)


def _iterate(run: Run) -> Iterator[Event]:
    """Learn and finish; whoever asks for an end is heard where the run can be gone on with."""
    with stopping(run.stop):
        try:
            yield from run.optimise()
            yield from run.finish()
        except KeyboardInterrupt:
            if run.whole:  # if not, the last checkpoint is
                run.save_checkpoint()
            raise
