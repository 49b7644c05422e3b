"""What comes of a training: whether it has learnt anything, its model and its scores."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

from volseg.datasets import Case
from volseg.errors import ModelError, UsageError
from volseg.files.atomic import write_text
from volseg.network.description import CleanupDecision
from volseg.network.file import FEW_STEPS, Model
from volseg.training.outlook import told_time
from volseg.training.run import Run
from volseg.training.state import RunState
from volseg.training.validation import Validation

_LOG = logging.getLogger(__name__)


def check_outcome(run: Run, state: RunState) -> None:
    """See that a model can be written, and warn where it means nothing.

    Parameters
    ----------
    run : Run
    state : RunState
        After the last step.

    Raises
    ------
    UsageError
        There was time for no step.
    ModelError
        Nothing was learnt, as no loss was finite.
    """
    now = state.standing
    if not now.step:
        minutes = run.config.training.minutes
        raise UsageError(f"not one step was made in training.minutes = {minutes:g}; no model is written, give it more")
    if not now.learnt:
        raise ModelError(
            f"nothing was learnt in {now.step} steps, as every loss was not finite; no model is written, lower "
            "optimiser.learning_rate"
        )
    needed = FEW_STEPS * len(run.samplers)
    if now.step < needed:
        count = "1 step was" if now.step == 1 else f"{now.step} steps were"
        _LOG.warning(
            "THE MODEL MEANS NOTHING: only %s made, and fewer than %d teach next to nothing (they take about %s here); "
            "the model file says so too. Go on with --resume and more --minutes or --epochs",
            count,
            needed,
            told_time(state.clock.seconds * needed / now.step),
        )


def fitted_model(run: Run, state: RunState, result: Validation | None) -> Model:
    """Return the model with its temperature, set or fitted, the clean-up that was decided, and what tells doubt.

    Parameters
    ----------
    run : Run
    state : RunState
    result : Validation or None
        Of the last weights.
    """
    temperature, cleanup, doubt = run.config.training.temperature, dict[str, CleanupDecision](), None
    if result is not None and result.calibration and temperature is None:
        temperature = result.calibration.temperature
    if result is not None and result.cleanup:
        cleanup = result.cleanup.decided
    if result is not None and result.doubt:
        doubt = replace(result.doubt, training_ml=run.volumes_ml)
    model = run.make_model(state.learners, steps=state.standing.step)
    return replace(model, temperature=temperature or 1.0, cleanup=cleanup, doubt=doubt)


def write_validation(run: Run, result: Validation) -> None:
    """Write ``validation.json``.

    Parameters
    ----------
    run : Run
    result : Validation
    """
    left_out = [case.name for case in run.held_out if case.name not in result.by_case]
    content = {**asdict(result), "held_out": len(run.held_out), "left_out": left_out}
    write_text(run.folder / "validation.json", json.dumps(content, indent=2, allow_nan=False) + "\n")


def dice_of_same_cases(result: Validation, cases: Sequence[Case]) -> float | None:
    """Return the mean Dice of some of the cases of a validation; None if one is missing or none has any.

    Parameters
    ----------
    result : Validation
    cases : sequence of Case
    """
    if not all(case.name in result.by_case for case in cases):
        return None
    found = [result.by_case[case.name] for case in cases]
    there = [dice for dice in found if dice is not None]
    return sum(there) / len(there) if there else None
