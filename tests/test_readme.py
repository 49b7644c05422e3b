"""README.md names only files, commands, options, settings and functions that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

import volseg
from volseg.cli import app
from volseg.config import load_config
from volseg.io.mesh import MESH_FORMATS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
PROSE = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
SHELL = [line.split("#")[0] for language, code in BLOCKS if language == "bash" for line in code.splitlines()]

COMMANDS: dict[str, set[str]] = {
    name: {text for c in (command, *getattr(command, "commands", {}).values()) for p in c.params for text in p.opts}
    | {"--help"}
    for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
}


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", text))


def used_commands() -> list[tuple[str, str]]:
    """Every command with the text that holds its options: lines of code, and rows of the table."""
    rows = [line for line in PROSE.splitlines() if line.startswith("| `volseg ")]
    return [found.groups() for line in [*SHELL, *rows] for found in re.finditer(r"\bvolseg ([a-z]+)\b(.*)", line)]


def test_every_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", PROSE) if not re.match(r"\w+:|#", link)]
    folders = re.findall(r"`(\w+/|[A-Z]+\.\w+)`", PROSE)
    assert "CITATION.cff" in folders
    assert [name for name in [*links, *folders] if not (ROOT / name.partition("#")[0]).exists()] == []


def test_every_command_is_in_the_table() -> None:
    assert {name for name, _ in used_commands()} == set(COMMANDS)


@pytest.mark.parametrize(("command", "text"), used_commands())
def test_every_option_exists(command: str, text: str) -> None:
    assert options(text) <= COMMANDS[command]


def test_options_in_the_text_exist() -> None:
    code = re.findall(r"`(-[^`]+)`", PROSE)
    assert code
    assert set().union(*map(options, code)) <= set().union(*COMMANDS.values())


def test_settings_in_the_text_exist() -> None:
    settings = re.findall(r"--set ([\w.]+=[^\s`]+)", README)
    assert settings
    load_config(overrides=tuple(settings))
    for section, key, values in re.findall(r"`(\w+)\.(\w+)`: ((?:`\w+`(?:, | or )?)+)", PROSE.replace("\n", " ")):
        for value in re.findall(r"\w+", values.replace(" or ", " ")):
            assert getattr(getattr(load_config(overrides=(f"{section}.{key}={value}",)), section), key) == value


def test_every_mesh_format_is_in_the_table() -> None:
    rows = []
    for row in MESH_FORMATS.values():
        more = {
            "colours": row.coloured,
            "names": row.named,
            "values at vertices": row.point_data,
            "grades": row.graded,
        }
        holds = ", ".join(["triangles", *(what for what, there in more.items() if there)])
        rows.append(f"| `{row.name}` | {row.use} | {holds} | {row.frame or 'mm, LPS or RAS'} |")
    assert re.findall(r"^\| `\w+` \| .* \| triangles.*", PROSE, flags=re.MULTILINE) == rows


def test_functions_in_the_program_exist() -> None:
    (program,) = (code for language, code in BLOCKS if language == "python")
    compile(program, "README.md", "exec")
    names = set(re.findall(r"\bvolseg\.(\w+)\(", program))
    assert "read" in names
    assert names <= set(volseg.__all__)
