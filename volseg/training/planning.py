"""Planning a training: the scans are read, the plan is made, fitted to the time, and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from volseg.config import Config, load_config
from volseg.datasets import Dataset, check_dataset
from volseg.errors import UsageError
from volseg.network.devices import choose_device
from volseg.training.facts import CaseFacts, find_facts
from volseg.training.kept_scans import KeptScans
from volseg.training.plan import USUAL_MAX_WIDTH, USUAL_WIDTH, Fold, choose_cases, replaced, write_plan
from volseg.training.time_fit import plan_to_fit, possible_plans


def iterate_planning(
    dataset: Dataset, output: Path | str, *, config: Config | None = None, fold: Fold = 0, device: str = "auto"
) -> Iterator[tuple[int, int]]:
    """Check a dataset, plan what the settings leave open and write ``plan.yaml`` into `output`.

    Parameters
    ----------
    dataset : Dataset
    output : path
        A folder.
    config : Config, optional
        Settings; what is None in them is planned. Default: the ``default`` preset.
    fold : int or "all"
        Its training cases are read.
    device : str
        ``auto`` or any torch device: what time allows is measured on it.

    Yields
    ------
    done, total : int
        Cases that are read, and cases in all.

    Raises
    ------
    DatasetError
        Orphans, mismatched grids or unknown labels: all of them at once.
    UsageError
        There is a plan already that these settings cannot lead to on this dataset, at any pace of the machine.
    """
    target = choose_device(device)
    yield from plan_checked(check_dataset(dataset), Path(output), config=config, fold=fold, device=target)


def plan_checked(
    dataset: Dataset,
    output: Path,
    *,
    config: Config | None,
    fold: Fold,
    device: torch.device,
    scans: KeptScans | None = None,
) -> Iterator[tuple[int, int]]:
    """Do the same for a dataset that `check_dataset` has returned; its label maps are not decoded again.

    Parameters
    ----------
    dataset, output, config, fold
        As for `iterate_planning`.
    device : torch.device
    scans : KeptScans, optional
        Keeps the scans until their slices are prepared.
    """
    cases, _ = choose_cases(dataset, fold)
    settings, facts = config or load_config(), list[CaseFacts]()
    for number, case in enumerate(cases if _is_open(settings) else (), 1):
        facts.append(find_facts(case, scans))
        yield number, len(cases)
    path = output / "plan.yaml"
    before = load_config(path) if path.exists() else None
    if before is not None and before in _possible(settings, dataset, facts):
        planned = before  # what was fitted to the time then may be fitted otherwise now
    elif before in (None, config):
        planned = plan_to_fit(settings, dataset, facts, fold=fold, device=device)
    else:
        raise UsageError(f"{path}: is another plan; use it with --config {path}, or delete it to plan anew")
    write_plan(planned, dataset, path)


def _possible(settings: Config, dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[Config]:
    """Yield the plans that may have been made, also by versions in which networks had one width, or one largest."""
    yield from possible_plans(settings, dataset, facts)
    if settings.network.width is None:
        for width in (USUAL_WIDTH, None):
            usual = {"width": width, "max_width": settings.network.max_width or USUAL_MAX_WIDTH}
            yield from possible_plans(replaced(settings, network=usual), dataset, facts)


def _is_open(config: Config) -> bool:
    """Whether anything is left to plan from the scans."""
    preparation, network, training = config.preparation, config.network, config.training
    of_scans = (preparation.planes, preparation.spacing_mm, preparation.normalisation)
    of_network = (network.levels, network.width, network.max_width)
    return None in (*of_scans, *of_network, training.slice_size, training.batch_size)
