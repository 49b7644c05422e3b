"""The document on how volseg is built is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "architecture.md"


@pytest.fixture(scope="module")
def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def test_the_rooms_are_the_packages(text: str) -> None:
    package = ROOT / "volseg"
    packages = {path.parent.relative_to(package) for path in package.glob("**/__init__.py")} - {Path()}
    rooms = re.findall(r"^\| `([\w.]+)` \| ", text, flags=re.MULTILINE)
    assert sorted(rooms) == sorted(".".join(path.parts) for path in packages)


@pytest.mark.parametrize("room", ["volseg", "volseg.io"])
def test_the_layers_are_those_of_the_contracts(text: str, room: str) -> None:
    block = re.search(rf"^    {re.escape(room)}: (.*(?:\n     +\S.*)*)", text, flags=re.MULTILINE)
    assert block is not None
    told = [line.strip() for line in block[1].splitlines()]
    assert told == [layer.replace("volseg.", "") for layer in _contract(room)["layers"]]


def _contract(room: str) -> dict[str, Any]:
    """Return the contract of layers of a room."""
    with (ROOT / "pyproject.toml").open("rb") as stream:
        contracts = tomllib.load(stream)["tool"]["importlinter"]["contracts"]
    layered = [entry for entry in contracts if entry["type"] == "layers"]
    return next(entry for entry in layered if entry.get("containers", ["volseg"]) == [room])


def test_files_and_modules_that_are_named_are_there(text: str) -> None:
    named = {name for name in re.findall(r"`([\w./]+\.(?:py|txt|toml))`", text) if "/" in name}
    assert len(named) > 10
    roots = (ROOT, ROOT / "volseg")
    assert [name for name in sorted(named) if not any((root / name).is_file() for root in roots)] == []


def test_names_in_capitals_are_in_the_code(text: str) -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "volseg").rglob("*.py"))
    names = set(re.findall(r"`(_?[A-Z]+_[A-Z_]+|NETWORKS|LOSSES|OUTPUTS)`", text))
    assert len(names) > 5
    assert [name for name in sorted(names) if name not in code] == []


def test_the_readme_links_it() -> None:
    assert "(docs/architecture.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
