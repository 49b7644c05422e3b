"""Progress: bars on a terminal, a line each minute if output goes to a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from volseg.cli.console import say
from volseg.progress import Progress

_SECONDS_BETWEEN_LINES = 60


class _Bars(Bars):
    """Bars; without a terminal, a line on stderr each minute."""

    _told = float("-inf")

    def update(self, task_id: TaskID, *arguments: Any, **changes: Any) -> None:
        super().update(task_id, *arguments, **changes)
        if not self.disable:
            return
        now = time.monotonic()
        if self._told == float("-inf"):
            self._told = now  # work of less than a minute needs no line
        elif now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            task = self.tasks[self.task_ids.index(task_id)]
            say(f"{task.description} ({task.percentage:.0f} %)", err=True)


@contextmanager
def show_progress(first: str, *, counts: bool = True, name_steps: bool = False) -> Iterator[Progress]:
    """Yield a `Progress` for a function; it is shown as by `progress_bar`.

    Parameters
    ----------
    first : str
        Description until the function gives one.
    counts : bool
        Whether to show the numbers of done and of all.
    name_steps : bool
        Whether each new step gets a line if stderr is not a terminal.
    """
    with progress_bar(counts=counts) as bar:
        shown, begun = progress_on(bar, first), set[str]()

        def show(what: str, done: int, total: int) -> None:
            if name_steps and bar.disable and what not in begun:
                begun.add(what)
                say(what, err=True)
            shown(what, done, total)

        yield show


def progress_on(bar: Bars, first: str) -> Progress:
    """Return a `Progress` that is shown as one more task of a bar.

    Parameters
    ----------
    bar : rich.progress.Progress
        From `progress_bar`.
    first : str
        Description of the task until the function gives one.
    """
    task = bar.add_task(first, total=None)

    def show(what: str, done: int, total: int) -> None:
        bar.update(task, description=what, completed=done, total=total or None)

    return show


@contextmanager
def progress_bar(*, counts: bool = True, time_left: bool = True) -> Iterator[Bars]:
    """Show a bar on stderr while the block runs; a line each minute if stderr is not a terminal.

    Parameters
    ----------
    counts : bool
        Whether to show the numbers of done and of all.
    time_left : bool
        Whether to show the time that is left if the rest goes as the last part did.
    """
    columns = [TextColumn("{task.description}"), BarColumn()]
    if counts:
        columns.append(MofNCompleteColumn())
    columns.append(TimeElapsedColumn())
    if time_left:
        columns.append(TimeRemainingColumn())
    with _Bars(
        *columns,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as progress:
        yield progress
