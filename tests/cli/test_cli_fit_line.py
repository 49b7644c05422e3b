"""What a model knows of its doubt, in a line."""

from __future__ import annotations

from dataclasses import asdict, replace

from volseg.cli.fit_line import fit_line
from volseg.network.doubt_fit import DiceFit, DoubtFit, SurfaceFit, VolumeFit


def test_a_model_says_what_it_knows() -> None:
    volumes = {"liver": VolumeFit(52, 0.9, 1.2), "spleen": VolumeFit(3)}
    fit = DoubtFit(52, (0.8,), (0.8,), DiceFit(0.84, 0.88, 0.05, 0.03), volumes)
    assert fit_line(asdict(fit)) == (
        "doubt: by 52 held-out cases a Dice of 0.84 to 0.88 is expected, -0.05 +0.03; "
        "true volumes are so many times the predicted ones: liver 0.90 to 1.20"
    )
    told = "; surfaces are 1.27 times as far off as the probabilities say, by 28 surfaces"
    assert fit_line(asdict(replace(fit, surface=SurfaceFit(28, 1.2706)))) == fit_line(asdict(fit)) + told
    assert fit_line(asdict(replace(fit, surface=SurfaceFit(3)))) == fit_line(asdict(fit))
    few = "doubt: 12 held-out cases, too few for an expected Dice and intervals"
    assert fit_line(asdict(DoubtFit(12))) == few
    assert fit_line(asdict(DoubtFit(12, surface=SurfaceFit(28, 1.2706)))) == few + told
    nothing = "doubt: no held-out cases are known, so nothing is said about the quality of a prediction"
    assert fit_line(None) == nothing
