"""The clean-up that held-out cases decided, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volseg.network.description import CleanupDecision


def cleanup_line(decided: Mapping[str, CleanupDecision]) -> str:
    """Say what was decided for which labels, and what it brings.

    Parameters
    ----------
    decided : mapping of str to CleanupDecision
        By label name.
    """
    from volseg.config import CleanupConfig
    from volseg.evaluation.statistics import FEWEST_CASES
    from volseg.prediction.cleanup import describe_cleanup

    parts, nothing, few = [], [], []
    for name, decision in decided.items():
        if decision.cases < FEWEST_CASES:
            few.append(name)
        elif decision.settings == CleanupConfig():
            nothing.append(name)
        else:
            dices = f"Dice {decision.dice_before:.4f}, then {decision.dice_after:.4f} in {decision.cases} cases"
            parts.append(f"{name}: {describe_cleanup(decision.settings)} ({dices})")
    if nothing:
        parts.append(f"nothing gained for {', '.join(nothing)}")
    if few:
        parts.append(f"fewer than {FEWEST_CASES} cases have {', '.join(few)}, too few to decide")
    return f"clean-up by the held-out cases: {'; '.join(parts)}"
