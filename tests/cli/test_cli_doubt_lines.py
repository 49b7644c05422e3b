"""Doubt in a line."""

from __future__ import annotations

from dataclasses import asdict, replace

from volseg.cli.doubt_lines import doubt_line, fit_line
from volseg.network.doubt_fit import DiceFit, DoubtFit, VolumeFit
from volseg.prediction.doubt import Doubt, SliceDoubt

SLICES = tuple(SliceDoubt("axial", index, 0.5) for index in (31, 30, 7, 2))


def test_a_case_has_its_expected_dice_or_the_reason_why_not() -> None:
    sure = Doubt(0.861, (0.789, 0.912), 52, 0.9, 0.9, 40.0, (), SLICES)
    assert doubt_line(sure) == "expected Dice 0.86 [0.79, 0.91]; look at axial slices 31, 30, 7 first"
    unsure = replace(sure, expected_dice=None, interval=None, reasons=("one plane", "too few cases"))
    assert doubt_line(unsure) == "no expected Dice: too few cases; look at axial slices 31, 30, 7 first"
    assert doubt_line(replace(unsure, slices=())) == "no expected Dice: too few cases"


def test_a_model_says_what_it_knows() -> None:
    volumes = {"liver": VolumeFit(52, 0.9, 1.2), "spleen": VolumeFit(3)}
    fit = DoubtFit(52, (0.8,), (0.8,), DiceFit(0.84, 0.88, 0.05, 0.03), volumes)
    assert fit_line(asdict(fit)) == (
        "doubt: by 52 held-out cases a Dice of 0.84 to 0.88 is expected, -0.05 +0.03; "
        "true volumes are so many times the predicted ones: liver 0.90 to 1.20"
    )
    few = "doubt: 12 held-out cases, too few for an expected Dice and intervals"
    assert fit_line(asdict(DoubtFit(12))) == few
    nothing = "doubt: no held-out cases are known, so nothing is said about the quality of a prediction"
    assert fit_line(None) == nothing
