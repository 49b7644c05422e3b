"""Options that are made of settings: names, types, defaults and help."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from volseg.cli.mesh_command import mesh
from volseg.cli.settings_options import options_from
from volseg.errors import UsageError
from volseg.surface import SurfaceSettings


def setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Settings:
    """Some settings."""

    smooth: bool = setting(True, "Make it smooth.")
    shared_walls: bool = setting(False, "Share the walls.")
    max_error_mm: float | None = setting(None, "How far off.")
    count: int = setting(3, "How many.")

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UsageError(f"count is {self.count}")


@options_from(Settings)
def command(
    path: Annotated[Path, typer.Argument(help="A file.")],
    before: Annotated[bool, typer.Option("--before", help="First.")] = False,
    *,
    settings: Settings,
    after: Annotated[str, typer.Option(help="Last.")] = "x",
) -> None:
    """Do something."""
    typer.echo(f"{path} {before} {settings} {after}")


def run(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "settings", "rest"),
    [
        ([], Settings(), "x"),
        (["--no-smooth", "--shared-walls"], Settings(smooth=False, shared_walls=True), "x"),
        (["--max-error", "0.5", "--count", "7", "--after", "y"], Settings(max_error_mm=0.5, count=7), "y"),
    ],
)
def test_options_become_the_settings(arguments: list[str], settings: Settings, rest: str) -> None:
    result = run("a.nii", *arguments)
    assert result.output == f"a.nii False {settings} {rest}\n"


def test_settings_refuse_values_themselves_and_types_are_checked() -> None:
    assert isinstance(run("a", "--count", "-1").exception, UsageError)
    for wrong in (["--count", "many"], ["--max-error-mm", "1"], ["--no-shared-walls"]):
        assert run("a", *wrong).exit_code == 2


def test_the_options_stand_where_the_settings_stood_and_say_what_they_do() -> None:
    app = typer.Typer()
    app.command()(command)
    found = {param.name: param for param in get_command(app).params}
    assert list(found)[:7] == ["path", "before", "smooth", "shared_walls", "max_error_mm", "count", "after"]
    assert [found[name].help for name in ("smooth", "max_error_mm")] == ["Make it smooth.", "How far off."]  # type: ignore[attr-defined]
    assert (found["max_error_mm"].metavar, found["count"].default) == ("MM", 3)


def test_every_surface_setting_is_an_option_of_mesh() -> None:
    app = typer.Typer()
    app.command()(mesh)
    assert {entry.name for entry in fields(SurfaceSettings)} <= {param.name for param in get_command(app).params}
