"""Whether a training has learnt anything."""

from __future__ import annotations

import logging

from volseg.errors import ModelError, UsageError
from volseg.network.file import FEW_STEPS
from volseg.training.outlook import told_time
from volseg.training.run import Run
from volseg.training.state import RunState

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
