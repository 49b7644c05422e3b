"""Progress: bars on a terminal, now and then a line where output goes to a file."""

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
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from volseg.cli.console import say

_SECONDS_BETWEEN_LINES = 60


class _Bars(Progress):
    """Bars; where they are switched off, a line on stderr a minute."""

    _told = float("-inf")

    def update(self, task_id: TaskID, *arguments: Any, **changes: Any) -> None:
        super().update(task_id, *arguments, **changes)
        if not self.disable:
            return
        now = time.monotonic()
        if self._told == float("-inf"):
            self._told = now  # what is over within a minute needs no line
        elif now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            task = self.tasks[self.task_ids.index(task_id)]
            say(f"{task.description} ({task.percentage:.0f} %)", err=True)


@contextmanager
def progress_bar(*, counts: bool = True) -> Iterator[Progress]:
    """Show a bar on stderr while the block runs; a line a minute where stderr is no terminal."""
    columns = [TextColumn("{task.description}"), BarColumn()]
    if counts:
        columns.append(MofNCompleteColumn())
    with _Bars(
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as progress:
        yield progress
