"""Text on a terminal is plain, for any names of files and labels and for any alphabet of the terminal."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import volseg
from volseg.cli import app
from volseg.cli.console import print_table, say
from volseg.cli.stopping import check_stopped, stopped_by_sigterm
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap

COMMANDS = Path(volseg.__file__).parent / "cli"
EVIL = "\x1b[31mred\x1b]0;title\x07\nerror: none\u202e"
linux = pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes, as Linux has them")


def is_plain(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def test_only_one_module_prints() -> None:
    """Nothing but `console` calls what writes to a terminal, so nothing reaches one raw."""
    for file in sorted(COMMANDS.glob("*.py")):
        calls = [
            node.func for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ]
        names = {call.id if isinstance(call, ast.Name) else getattr(call, "attr", "") for call in calls}
        assert file.name == "console.py" or not names & {"echo", "secho", "print", "print_exc"}, file


@given(st.lists(st.text(max_size=30), max_size=3))
def test_any_lines_are_said_as_so_many_plain_lines(lines: list[str]) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", newline="\n")
    with contextlib.redirect_stdout(out):
        say(*lines)
        print_table(("a\nb", "c"), [(line, "1") for line in lines], width=80)
        out.flush()
        text = out.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    assert all(c.isprintable() or c in "\n\u200c\u200d" for c in text)
    assert text.split("\n")[: len(lines)] == [
        "".join(c if c.isprintable() or c in "\u200c\u200d" else " " if c.isspace() else "?" for c in line)
        for line in lines
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    grid = Grid.from_spacing((8, 9, 10))
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[2:6, 2:7, 2:8] = 1
    labels = LabelMap(array, grid, (Label(1, EVIL, (1, 2, 3)),))
    for name in (EVIL, b"caf\xe9".decode("utf-8", "surrogateescape")):
        volseg.write(labels, tmp_path / "labels" / f"{name}.nii.gz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@linux
@pytest.mark.parametrize(
    "command",
    [
        "mesh labels -o meshes",
        "measure labels --csv table.csv --json table.json",
        "evaluate labels labels --csv table.csv --json table.json",
        "inspect labels",
        "inspect labels --json",
        f"convert labels/{EVIL}.nii.gz out.seg.nrrd",
        f"verify labels/{EVIL}.nii.gz labels/{EVIL}.nii.gz",
    ],
)
def test_names_of_files_and_labels_are_printed_plain(folder: Path, command: str) -> None:
    result = CliRunner().invoke(app, command.split(" ") if EVIL not in command else _words(command))
    assert result.exit_code == 0, result.output
    assert is_plain(result.output)
    for table in folder.glob("*.csv"):
        assert is_plain(table.read_text(encoding="utf-8"))


def _words(command: str) -> list[str]:
    return [word.replace("EVIL", EVIL) for word in command.replace(EVIL, "EVIL").split()]


@linux
@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict", "latin-1:strict"])
def test_a_name_that_is_no_text_ends_no_command(folder: Path, encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "volseg", "measure", "labels"]
    result = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert b"caf" in result.stdout


def test_sigterm_is_an_interrupt_once_and_only_here() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tidied = []

    def work() -> None:
        with stopped_by_sigterm():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGTERM)
                tidied.append("all")

    try:
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            work()
        assert tidied == ["all"]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        work()  # ignored signals stay ignored
        assert tidied == ["all", "all"]
    finally:
        signal.signal(signal.SIGTERM, before)
    thread = threading.Thread(target=work_elsewhere, args=(tidied,))
    thread.start()
    thread.join()
    assert tidied[2:] == [before]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_a_library_made_another_error_of_is_one(number: signal.Signals) -> None:
    """As NumPy makes a TypeError of one that strikes in a comparison, and says nothing of it."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def swallow() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)

    def fail() -> None:
        with stopped_by_sigterm():
            check_stopped()
            swallow()
            raise TypeError("of another kind")

    def go_on() -> None:
        with stopped_by_sigterm():
            swallow()
            check_stopped()

    try:
        for work in (fail, go_on):
            with pytest.raises(KeyboardInterrupt, match=r"^$"):
                work()
        with pytest.raises(TypeError, match="by itself"), stopped_by_sigterm():
            raise TypeError("by itself")
        check_stopped()
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


def work_elsewhere(seen: list[object]) -> None:
    with stopped_by_sigterm():
        seen.append(signal.getsignal(signal.SIGTERM))
