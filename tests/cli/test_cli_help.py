"""The help of every command: its lists are those of the tables, and no large library is loaded for it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from volseg.cli import app
from volseg.config import PRESETS
from volseg.conversion import FORMATS
from volseg.evaluation.scores import DEFINITIONS, METRICS
from volseg.files.names import IMAGE_NAMES, SCAN_SUFFIXES
from volseg.io import LABEL_FORMS
from volseg.io.mesh import MESH_FORMATS, MESH_SUFFIXES

COMMANDS: list[str] = []
for _name, _command in get_command(app).commands.items():  # type: ignore[attr-defined]
    COMMANDS += [f"{_name} {inner}".strip() for inner in getattr(_command, "commands", [""])]

HELP_OF_ALL = """
import sys
from volseg.cli import app
for command in sys.argv[1:]:
    try:
        app([*command.split(), "--help"])
    except SystemExit as end:
        assert end.code == 0, command
found = {"torch", "monai", "vtkmodules", "pyvista", "SimpleITK", "nibabel", "matplotlib"} & set(sys.modules)
assert not found, found
"""


def shown(command: str) -> str:
    """Return the help of a command on one line, without the frame around it."""
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_no_list_is_left_open(command: str) -> None:
    assert re.findall(r"\{\w+\.\w+\}", shown(command)) == []


def test_no_large_library_is_loaded_for_help() -> None:
    subprocess.run([sys.executable, "-c", HELP_OF_ALL, *COMMANDS], check=True, capture_output=True, timeout=300)


@pytest.mark.parametrize(
    ("command", "listed"),
    [
        ("mesh", ", ".join(MESH_SUFFIXES)),
        ("predict", ", ".join(MESH_FORMATS)),
        ("predict", ", ".join(LABEL_FORMS)),
        ("view", ", ".join(MESH_FORMATS)),
        ("convert", ", ".join(FORMATS)),
        ("convert", ", ".join(SCAN_SUFFIXES)),
        *((command, IMAGE_NAMES) for command in ("convert", "inspect", "verify")),
        ("convert", ", ".join(LABEL_FORMS)),
        ("train", f"{', '.join(PRESETS[:-1])} or {PRESETS[-1]}"),
        *(("evaluate", name) for name in METRICS),
        *(("evaluate", definition) for definition in DEFINITIONS.values()),
    ],
)
def test_lists_are_those_of_the_tables(command: str, listed: str) -> None:
    assert listed in shown(command)
