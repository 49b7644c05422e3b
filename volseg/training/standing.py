"""How far a training run has come."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Standing:
    """How far a run has come; with the networks and the random numbers it is what a checkpoint holds.

    Parameters
    ----------
    step : int
        Batches that were drawn.
    learnt : int
        Those of them whose losses were finite: from the others nothing is learnt.
    losses : list of dict
        Of the batches since the last line of the log.
    reported, checked : float
        Progress, 0 to 1, at the last line of the log and at the last checkpoint on the way.
    validation_cases : int
        Held-out cases that fit into the time; 0 before that is known.
    case_seconds : float
        That one of them takes.
    elapsed : float
        Seconds of learning and validating before this sitting.
    """

    step: int = 0
    learnt: int = 0
    losses: list[dict[str, float]] = field(default_factory=list)
    reported: float = 0.0
    checked: float = 0.0
    validation_cases: int = 0
    case_seconds: float = 0.0
    elapsed: float = 0.0

    def fall_back(self, progress: float) -> None:
        """Take account of a run that was made longer: of it, less is done than was."""
        self.reported, self.checked = min(self.reported, progress), min(self.checked, progress)
