"""A training that is planned, but not begun: how long it will take on this machine."""

from __future__ import annotations

import numpy as np
import torch

from volseg.config import Config
from volseg.core.resample import Reorientation
from volseg.core.slices import in_plane
from volseg.datasets import Case, Dataset, describe_patients, read_reference
from volseg.training.events import Planned
from volseg.training.growth import plan_stages
from volseg.training.outlook import Workload, count_pixels, look_ahead
from volseg.training.pace import measure_pace, random_draws
from volseg.training.plan import Fold, choose_cases
from volseg.training.schedule import plan_budget


def preview(dataset: Dataset, plan: Config, *, fold: Fold, device: torch.device) -> Planned:
    """Return what a training would say before its first step; no slices are prepared.

    Parameters
    ----------
    dataset : Dataset
        As `check_dataset` returns it.
    plan : Config
        Planned.
    fold : int or "all"
    device : torch.device
    """
    cases, held_out = choose_cases(dataset, fold)
    planes = plan.preparation.planes or ()
    channels, labels = len(dataset.channel_names), len(dataset.labels)
    loads = [_workload(case, plan) for case in cases]
    work = Workload(max(1, sum(load.slices for load in loads)), float(np.mean([load.case_pixels for load in loads])))
    stages = plan_stages(plan, planes)
    budget = plan_budget(
        plan.training, stages, slices=work.slices, planes=len(planes), held_out=len(held_out), device=device.type
    )
    draws = random_draws(plan, channels=channels, labels=labels)
    pace = measure_pace(plan, draws, channels=channels, labels=labels, device=device)
    outlook = look_ahead(plan.training, budget, stages, pace, work)
    patients = describe_patients(dataset.cases)
    return Planned(plan, fold, len(cases), len(held_out), 0.0, str(device), patients, outlook)


def _workload(case: Case, plan: Config) -> Workload:
    """Count the labelled slices of a case and the pixels of all its slices."""
    reference = read_reference(case)
    reorientation = Reorientation.between(reference.grid, "RAS")
    array, grid = reorientation.array(reference.array), reorientation.grid(reference.grid)
    slices = 0
    for plane in plan.preparation.planes or ():
        labelled = array.any(axis=in_plane(plane))
        slices += int(np.count_nonzero(labelled))
    return Workload(slices, count_pixels(grid.shape, grid.spacing, plan.preparation))
