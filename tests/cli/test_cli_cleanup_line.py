"""What held-out cases decided, in words."""

from __future__ import annotations

from volseg.cli.cleanup_line import cleanup_line
from volseg.network.description import CleanupDecision


def test_every_label_is_told() -> None:
    decided = {
        "liver": CleanupDecision(True, 0.0, True, cases=12, dice_before=0.8, dice_after=0.85),
        "kidneys": CleanupDecision(False, 0.0, False, cases=12, dice_before=0.9, dice_after=0.9),
        "lesion": CleanupDecision(False, 0.0, False, cases=0, dice_before=None, dice_after=None),
    }
    assert cleanup_line(decided) == (
        "clean-up by the held-out cases: "
        "liver: largest component, holes filled (Dice 0.8000, then 0.8500 in 12 cases); "
        "nothing gained for kidneys; fewer than 5 cases have lesion, too few to decide"
    )
