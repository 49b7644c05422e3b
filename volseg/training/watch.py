"""What a run shows of itself while it goes on: pictures of its samples, and its page."""

from __future__ import annotations

import logging
import time
from math import ceil, isfinite
from pathlib import Path

from volseg.core.planes import Plane
from volseg.errors import VolsegError
from volseg.files.atomic import write_text
from volseg.network.file import Model
from volseg.training.journal import read_events
from volseg.training.outlook import told_time
from volseg.training.run import Run
from volseg.training.run_folder import PAGE, SAMPLES
from volseg.training.samples import Samples, answer, choose_samples
from volseg.training.state import RunState
from volseg.watching.curves import Curves
from volseg.watching.progress_page import Album, Card, State, Summary, held_out_cases, write_page
from volseg.watching.sample_picture import SampleFile, read_samples, remove_samples, write_samples
from volseg.watching.verdict import Verdict, judge

# Between validations the page is written at most every ten seconds, and at most for a hundredth of the time.
_LEAST_SECONDS, _TIMES = 10.0, 100.0

_LOG = logging.getLogger(__name__)


class Watch:
    """Looks at the samples of a run, and writes its page.

    Parameters
    ----------
    run : Run
    state : RunState
        As it begins or goes on: pictures of later steps are removed, as a crash has undone them.
    """

    def __init__(self, run: Run, state: RunState) -> None:
        self._run = run
        self.folder, self.page = run.folder / SAMPLES, run.folder / PAGE
        remove_samples(self.folder, after=state.standing.step if state.standing.step else -1)
        self._files = read_samples(self.folder)
        self._samples: Samples = choose_samples(run, self._files)
        slices = {plane: [sample.seen for sample in samples] for plane, samples in self._samples.items()}
        self._album = Album.of(slices, run.dataset.labels, learnt=not run.held_out)
        self._due = 0.0

    def look(self, state: RunState, model: Model) -> tuple[Path, ...]:
        """Draw what the networks make of the samples now, and note how long that takes.

        Parameters
        ----------
        state : RunState
        model : Model
            Of the weights as they are now.

        Returns
        -------
        tuple of Path
            A picture a plane.
        """
        start, step = time.monotonic(), state.standing.step
        answers = answer(model, self._samples, str(self._run.device))
        written: dict[Plane, SampleFile] = {}
        for plane, samples in self._samples.items():
            slices = [sample.seen for sample in samples]
            written[plane] = write_samples(self.folder, step, slices, answers[plane], self._run.dataset.labels)
        self._files = [file for file in self._files if file.step != step] + [*written.values()]
        state.standing.look_seconds = time.monotonic() - start
        return tuple(file.path for file in written.values())

    def refresh(self, state: RunState) -> None:
        """Write the page anew if it is due.

        Parameters
        ----------
        state : RunState
        """
        if time.monotonic() >= self._due:
            self.write_page(state, "training")

    def write_page(self, state: RunState, word: State) -> Verdict:
        """Write the page anew.

        Parameters
        ----------
        state : RunState
        word : {"training", "finished", "stopped"}

        Returns
        -------
        Verdict
            What the curves say, with what to do about it.
        """
        start = time.monotonic()
        curves = Curves.of(read_events(self._run.log))
        verdict = self._advised(judge(curves), state)
        said = verdict if word != "training" or verdict.trend != "unknown" else None
        summary = Summary(self._title, word, self._cards(curves, state, word), said, self._facts)
        write_text(self.page, write_page(summary, curves, self._album, self._files))
        end = time.monotonic()
        self._due = end + max(_LEAST_SECONDS, _TIMES * (end - start))
        return verdict

    def stopped(self, state: RunState) -> None:
        """Say on the page that the run was stopped.

        Parameters
        ----------
        state : RunState
        """
        try:
            self.write_page(state, "stopped")
        except VolsegError as error:  # the interrupt matters more
            _LOG.warning("the page does not say that the training was stopped: %s", error)

    @property
    def _title(self) -> str:
        fold = "all cases" if self._run.fold == "all" else f"fold {self._run.fold}"
        return f"Training on {self._run.dataset.name}, {fold}"

    @property
    def _facts(self) -> tuple[str, ...]:
        run = self._run
        planes = ", ".join(run.samplers)
        labels = f"{len(run.dataset.labels)} label{'s' if len(run.dataset.labels) > 1 else ''}"
        held_out = held_out_cases(len(run.held_out))
        return f"preset {run.config.preset}", labels, f"{planes} slices", held_out, f"on {run.device}"

    def _cards(self, curves: Curves, state: RunState, word: State) -> tuple[Card, ...]:
        progress, elapsed = state.progress(self._run.budget), state.clock.seconds
        took = f"step {state.standing.step} in {told_time(elapsed)}"
        seconds = self._run.seconds_left(progress=progress, elapsed=elapsed)
        if word == "training" and isfinite(seconds):  # before the first step nothing may tell
            took += f", about {told_time(seconds)} left"
        cards = [Card("done", f"{100 * progress:.0f} %", took)]
        if curves.mean.last is not None:
            note = f"{curves.cases[-1]} of {held_out_cases(len(self._run.held_out))}, step {int(curves.mean.steps[-1])}"
            cards.append(Card("mean Dice", f"{curves.mean.last:.3f}", note))
        for curve in curves.smooth_losses:
            if curve.last is not None:
                cards.append(Card(f"{curve.name} loss", f"{curve.last:.3f}", "mean of the last steps"))
        return tuple(cards)

    def _advised(self, verdict: Verdict, state: RunState) -> Verdict:
        """Add what training for longer promises and costs."""
        if verdict.trend in ("falling", "unknown"):
            return verdict
        settings, seconds = self._run.config.training, state.clock.seconds
        option = f"--epochs {2 * settings.epochs}" if settings.epochs else f"--minutes {ceil(seconds / 30)}"
        if settings.minutes:
            option = f"--minutes {2 * settings.minutes:g}"
        advice = "longer training promises little" if verdict.trend == "flat" else "train longer"
        text = f"{verdict.text}; {advice}: twice the time takes {told_time(seconds)} more"
        return Verdict(verdict.trend, text, f"--resume {option}")
