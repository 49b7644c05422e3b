"""A plan that the time allows: where a training could make too few steps, these become cheaper.

Networks of fewer channels come first: they make about twice the steps (benchmarks/accuracy.md, "Width and time"). Then
batches shrink. Then scans are cut along one plane, so that its network gets the time of all three ("One plane or
three"). Then slices are coarser: one at twice the spacing costs a quarter, in training and in prediction, and what is
learnt from it in minutes is far better ("Spacing and time"). What is lost is measured on the label maps themselves, so
small structures keep the spacing of the scans.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray

from volseg.config import Config, PreparationConfig
from volseg.core.planes import PLANES, Plane
from volseg.core.resample import Reorientation, resample_plane
from volseg.core.slices import NORMAL_AXIS, in_plane, stack_slices
from volseg.datasets import Case, Dataset, read_reference
from volseg.network.generator import NETWORKS
from volseg.training.facts import CaseFacts
from volseg.training.growth import mean_pixels, plan_stages, plane_size
from volseg.training.outlook import Workload, count_pixels, look_ahead
from volseg.training.pace import Pace, measure_pace, random_draws
from volseg.training.plan import Fold, choose_cases, make_plan, replaced
from volseg.training.schedule import plan_budget

_LOG = logging.getLogger(__name__)

_ENOUGH = 5_000  # steps for each plane
_NARROW, _MAX_NARROW = 16, 64  # channels of a network that makes more steps, in its first level and in any
_FEWEST_SLICES = 4  # of a batch that was made smaller
_FACTORS = (1.5, 2.0, 3.0)  # of the spacing within slices
_SHORTEST_SIDE = 64  # pixels that a coarser slice still has
_MOST_LOST, _AT_STEPS = 0.02, 2_000  # of the labels' Dice, where the scans' spacing allows so many steps a plane
_MOST_LOST_EVER = 0.1
_CASES = 6  # whose labels are looked at
_SLICES = 12  # of each plane of such a case


def plan_to_fit(
    settings: Config, dataset: Dataset, facts: Sequence[CaseFacts], *, fold: Fold, device: torch.device
) -> Config:
    """Fill every setting that is still None as `make_plan` does, for the time there is, and tell what is left out.

    Where the time allows too few steps, networks are narrower, then batches are smaller, then scans are cut along the
    plane of most slices alone, and then slices are coarser than the scans, unless they are small or the labels would
    suffer: the mean of their Dice with themselves, made coarser and back, must stay above 0.98 where the scans' spacing
    would leave 2,000 steps a plane. The limit is higher where it would leave more, and lower where fewer. Nothing is
    fitted where epochs are set, nor what is set.

    Parameters
    ----------
    settings : Config
        As the user gave them.
    dataset : Dataset
    facts : sequence of CaseFacts
        Of the training cases.
    fold : int or "all"
    device : torch.device
    """
    plans = list(possible_plans(settings, dataset, facts))
    if len(plans) == 1:
        return plans[0]
    cases, held_out = choose_cases(dataset, fold)
    forecast = _Forecast(dataset, facts, held_out=len(held_out), device=device)
    together = planned = fitted = plans[0]  # with all planes, with the spacing of the scans, and what is returned
    for plan in plans[1:]:
        if forecast.steps(fitted) >= _ENOUGH:
            break
        has_same_planes = plan.preparation.planes == planned.preparation.planes
        if has_same_planes and plan.preparation.spacing_mm != planned.preparation.spacing_mm:
            if 1 - kept_dice(cases, plan.preparation) > _most_lost(forecast.steps(planned)):
                break
        else:
            planned = plan
            if has_same_planes:
                together = plan
        fitted = plan
    planes = together.preparation.planes or ()
    if fitted.preparation.planes != planes:
        _LOG.warning(
            f"scans are cut along the {' '.join(fitted.preparation.planes or ())} plane alone: the time allows only "
            f"about {forecast.steps(together):,.0f} steps for each of {len(planes)} planes; more --minutes or "
            f"--set preparation.planes=[{','.join(planes)}] keep all"
        )
    coarse, fine = fitted.preparation.spacing_mm, planned.preparation.spacing_mm
    if coarse != fine:
        _LOG.warning(
            f"slices are prepared at {_told(coarse)} mm, where the scans have {_told(fine)} mm: the time allows "
            f"only about {forecast.steps(planned):,.0f} steps a plane there; more --minutes or "
            f"--set preparation.spacing_mm={list(fine or ())} keep the spacing of the scans"
        )
    return fitted


def _most_lost(steps: float) -> float:
    """Return what labels may lose of their Dice by coarser slices, where there are so many steps without these."""
    return min(_MOST_LOST_EVER, _MOST_LOST * sqrt(_AT_STEPS / max(1.0, steps)))


def possible_plans(settings: Config, dataset: Dataset, facts: Sequence[CaseFacts]) -> Iterator[Config]:
    """Yield the plans that `plan_to_fit` may return, from the slowest step to the quickest.

    Parameters
    ----------
    settings, dataset, facts
        As for `plan_to_fit`.
    """
    planned = make_plan(settings, dataset, facts)
    yield planned
    if settings.training.epochs or not facts:
        return
    if settings.network.width is None:
        narrow = {"width": _NARROW, "max_width": settings.network.max_width or _MAX_NARROW}
        settings = replaced(settings, network=narrow)
        planned = make_plan(settings, dataset, facts)
        yield planned
    if settings.training.batch_size is None:
        batch = planned.training.batch_size or _FEWEST_SLICES
        while batch > _FEWEST_SLICES:
            batch = max(_FEWEST_SLICES, batch // 2)
            yield make_plan(replaced(settings, training={"batch_size": batch}), dataset, facts)
        # Coarser slices are for more steps, so their batches stay small.
        settings = replaced(settings, training={"batch_size": _FEWEST_SLICES})
    if _can_leave_out_planes(settings, planned):
        settings = replaced(settings, preparation={"planes": (_longest(planned, facts),)})
        planned = make_plan(settings, dataset, facts)
        yield planned
    if _is_size_set(settings):
        return
    for factor in _FACTORS:
        if _keeps_pixels(planned, factor):
            yield make_plan(settings, dataset, facts, coarser=factor)


def _can_leave_out_planes(settings: Config, planned: Config) -> bool:
    """Whether one of several planes may do; with an adversarial term it was not tried."""
    is_open = settings.preparation.planes is None and not settings.loss.adversarial_weight
    return is_open and len(planned.preparation.planes or ()) > 1


def _longest(planned: Config, facts: Sequence[CaseFacts]) -> Plane:
    """Return the plane of most slices, which are the smallest ones too."""
    shapes = [(case.inside or case).shape if planned.preparation.crop else case.shape for case in facts]
    counts = np.median(shapes, axis=0)
    return max(planned.preparation.planes or PLANES, key=lambda plane: float(counts[NORMAL_AXIS[plane]]))


def _is_size_set(settings: Config) -> bool:
    training = settings.training
    return bool(training.slice_size or training.first_size or settings.preparation.spacing_mm)


def _told(spacing: Sequence[float] | None) -> str:
    return " x ".join(f"{mm:g}" for mm in spacing or ())


def _keeps_pixels(planned: Config, factor: float) -> bool:
    """Whether slices keep enough pixels."""
    size, planes = planned.training.slice_size, planned.preparation.planes
    if size is None or planes is None:
        return False
    shortest = min(min(plane_size(size, plane)) for plane in planes)
    return shortest / factor >= max(_SHORTEST_SIDE, NETWORKS[planned.network.block].short_side)


class _Forecast:
    """How many steps plans of a data set make in their time on this machine."""

    def __init__(self, dataset: Dataset, facts: Sequence[CaseFacts], *, held_out: int, device: torch.device) -> None:
        self.dataset, self.facts, self.held_out, self.device = dataset, facts, held_out, device
        self._rates: dict[tuple[int | None, int | None], tuple[float, float]] = {}

    def _rate(self, plan: Config) -> tuple[float, float]:
        """Return the seconds of a pixel in a step and in prediction; they are measured once for each pair of widths."""
        widths, planes = (plan.network.width, plan.network.max_width), plan.preparation.planes or ()
        if widths not in self._rates:
            channels, labels = len(self.dataset.channel_names), len(self.dataset.labels)
            draws = random_draws(plan, channels=channels, labels=labels)
            pace = measure_pace(plan, draws, channels=channels, labels=labels, device=self.device)
            last = plan_stages(plan, planes)[-1]
            of_step = pace.step_seconds[-1] / (last.batch_size * mean_pixels(last.size, planes))
            self._rates[widths] = of_step, pace.pixel_seconds
        return self._rates[widths]

    def steps(self, plan: Config) -> float:
        """Return the steps of each plane in the time of a plan."""
        planes = plan.preparation.planes or ()
        stages = plan_stages(plan, planes)
        of_step, predicted = self._rate(plan)
        seconds = []
        for stage in stages:
            seconds.append(of_step * stage.batch_size * mean_pixels(stage.size, planes))
        # How many slices hold a label does not matter here: these steps end by the clock.
        budget = plan_budget(
            plan.training, stages, slices=1, planes=len(planes), held_out=self.held_out, device=self.device.type
        )
        pixels = [count_pixels(case.shape, case.spacing, plan.preparation) for case in self.facts]
        pace = Pace(tuple(seconds), predicted)
        work = Workload(1, float(np.mean(pixels)))
        return look_ahead(plan.training, budget, stages, pace, work)[1].steps / len(planes)


def kept_dice(cases: Sequence[Case], preparation: PreparationConfig) -> float:
    """Return how well labels survive a spacing: their Dice with themselves, brought to it and back.

    Parameters
    ----------
    cases : sequence of Case
        Some of them are read.
    preparation : PreparationConfig
        Planned: its planes and its spacing.

    Returns
    -------
    float
        The mean over the labels, 0 to 1; nan where there is none.
    """
    scores: dict[int, list[float]] = {}
    for case in cases[:: -(-len(cases) // _CASES)]:
        reference = read_reference(case)
        reorientation = Reorientation.between(reference.grid, "RAS")
        array, grid = reorientation.array(reference.array), reorientation.grid(reference.grid)
        sizes = np.multiply(grid.shape, grid.spacing) / (preparation.spacing_mm or grid.spacing)
        for plane in preparation.planes or ():
            height, width = (max(1, round(float(sizes[axis]))) for axis in in_plane(plane))
            slices = stack_slices(array, plane)
            labelled = np.flatnonzero(slices.any(axis=(1, 2)))
            slices = slices[labelled[:: -(-len(labelled) // _SLICES) or 1]]
            for value, dice in _survival(slices, (height, width)).items():
                scores.setdefault(value, []).append(dice)
    return float(np.mean([np.mean(found) for found in scores.values()])) if scores else np.nan


def _survival(slices: NDArray[np.integer], size: tuple[int, int]) -> dict[int, float]:
    """Return the Dice of each label (by value) of slices (N, H, W) with itself, brought to a size and back."""
    values = np.unique(slices)
    height, width = slices.shape[1:]
    best, winner = np.full(slices.shape, -1.0, dtype=np.float32), np.zeros_like(slices)
    for value in values:
        share = resample_plane(resample_plane((slices == value).astype(np.float32), size), (height, width))
        wins = share > best
        best[wins], winner[wins] = share[wins], value
    dice = {}
    for value in values[values != 0]:
        before, after = slices == value, winner == value
        dice[int(value)] = float(2 * (before & after).sum() / (before.sum() + after.sum()))
    return dice
