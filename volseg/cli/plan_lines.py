"""The lines that tell of a plan before the training begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volseg.training.events import Planned


def plan_lines(event: Planned) -> list[str]:
    """Return what a training learns from, how long it takes, and what other times would mean.

    Parameters
    ----------
    event : Planned
    """
    patients = f"; {event.patients}" if event.patients else ""
    read = f"; read in {event.reading_seconds:.0f} s" if event.reading_seconds else ""
    first = (
        f"{event.cases} cases to learn from, {event.held_out} held out (fold {event.fold}){patients}; "
        f"{_slices(event)}, on {event.device}{read}"
    )
    return [first, *_outlook(event)]


def _slices(event: Planned) -> str:
    from volseg.training.growth import plan_stages

    planes = event.config.preparation.planes or ()
    stages = plan_stages(event.config, planes)
    begin, end = stages[0], stages[-1]
    slices = []
    for plane in planes:
        sizes = [f"{height}x{width}" for height, width in (begin.slice_size(plane), end.slice_size(plane))]
        slices.append(f"{plane} slices of {' to '.join(dict.fromkeys(sizes))}")
    batches = " to ".join(dict.fromkeys(str(stage.batch_size) for stage in (begin, end)))
    return f"{', '.join(slices)}, batches of {batches}"


def _outlook(event: Planned) -> list[str]:
    from volseg.network.file import FEW_STEPS
    from volseg.training.outlook import told_time

    if not event.outlook:
        return []
    told = []
    for expected in event.outlook:
        passes = f"{expected.passes:.2g}" if expected.passes < 10 else f"{expected.passes:.0f}"
        told.append(f"about {expected.steps:,} steps in {told_time(expected.seconds)}, {passes} passes")
    half, whole, twice = told
    lines = [f"{whole} over the labelled slices; half the time: {half}; twice: {twice}"]
    needed = FEW_STEPS * len(event.config.preparation.planes or ())
    expected = event.outlook[1]
    if expected.steps < needed:
        seconds = told_time(expected.seconds * needed / expected.steps)
        lines.append(f"TOO FEW STEPS TO MEAN ANYTHING: give it {seconds} at least, for {needed} steps")
    return lines
