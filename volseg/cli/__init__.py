"""The command line: one command a file, thin. Heavy libraries load inside the commands, not here."""

from __future__ import annotations

import errno
import functools
import io
import logging
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Annotated, Any

import typer

from volseg._version import __version__
from volseg.cli.console import say, show_trace
from volseg.cli.convert_command import convert
from volseg.cli.crossval_command import crossval
from volseg.cli.dataset_command import get, list_datasets
from volseg.cli.demo_command import demo
from volseg.cli.evaluate_command import evaluate
from volseg.cli.help_lists import ListingCommand
from volseg.cli.inspect_command import inspect
from volseg.cli.measure_command import measure
from volseg.cli.mesh_command import mesh
from volseg.cli.predict_command import predict
from volseg.cli.report_command import report
from volseg.cli.stopping import stopped_by_sigterm
from volseg.cli.train_command import train
from volseg.cli.verify_command import verify
from volseg.cli.view_command import view
from volseg.errors import VolsegError
from volseg.files.plain_text import plain

_INTERRUPTED = 130

app = typer.Typer(
    name="volseg",
    help="Stacks of CT and MR slices to segmentations and 3D surfaces. Research use, not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"volseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    sys.excepthook = sys.__excepthook__ if debug else _one_line


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report an unexpected error: a mistake in volseg, or a machine out of memory."""
    say(f"error: unexpected {kind.__name__}: {error}", "run `volseg --debug ...` to see where", err=True)


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn volseg's errors into one line and the exit code of their class, the same for every command."""

    @functools.wraps(command)
    def guarded(*args: Any, **options: Any) -> None:
        try:
            with stopped_by_sigterm():
                command(*args, **options)
        except VolsegError as error:
            show_trace(error)
            say(*(f"error: {line}" for line in str(error).split("\n")), err=True)
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            show_trace(error)
            say(f"error: {error.filename}: the name is too long for this file system", err=True)
            raise typer.Exit(VolsegError.exit_code) from error
        except KeyboardInterrupt as interrupt:
            show_trace(interrupt)
            say("interrupted", err=True)
            raise typer.Exit(_INTERRUPTED) from interrupt

    return guarded


def _unwrap(text: str) -> str:
    """Join the lines of each paragraph: the help wraps them to the width of the terminal."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


for _command in (train, crossval, predict, evaluate, mesh, measure, view, report, inspect, verify, convert, demo):
    app.command(cls=ListingCommand, help=_unwrap(_command.__doc__ or ""))(_guarded(_command))

_dataset = typer.Typer(name="dataset", help="Get a public training set by its name.", no_args_is_help=True)
_dataset.command("get", cls=ListingCommand, help=_unwrap(get.__doc__ or ""))(_guarded(get))
_dataset.command("list", cls=ListingCommand, help=_unwrap(list_datasets.__doc__ or ""))(_guarded(list_datasets))
app.add_typer(_dataset)


def main() -> None:
    """Run the command line."""
    # VTK's wheels use one core unless this is set before VTK is loaded; surfaces are the same to the bit. It is not
    # set in the library: threads of VTK are lost in a fork, which a user's own program may do.
    os.environ.setdefault("VTK_SMP_BACKEND_IN_USE", "STDThread")
    # File names may not be text, and a terminal may lack letters. Files get each line at once.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    logging.basicConfig(level=logging.WARNING, handlers=[_messages_to_stderr()])
    logging.getLogger("volseg").setLevel(logging.INFO)
    app()


class _PlainFormatter(logging.Formatter):
    """Warnings and notes; they quote names from files."""

    def format(self, record: logging.LogRecord) -> str:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        return plain(f"{kind}: {super().format(record)}")


def _messages_to_stderr() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(lambda record: record.name.partition(".")[0] == "volseg")
    handler.setFormatter(_PlainFormatter("%(message)s"))
    return handler
