"""The examples in docstrings run and give the results that they show."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import volseg

ROOT = Path(__file__).parents[1]
WITHOUT = {"train"}  # which needs a dataset and minutes; examples/02_train_and_segment.py shows it


def modules_with_examples() -> list[str]:
    names = []
    for path in sorted((ROOT / "volseg").rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            names.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    return names


@pytest.mark.parametrize("module", modules_with_examples())
def test_examples_in_docstrings(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(import_module(module))
    assert found.attempted
    assert found.failed == 0


def test_what_users_call_has_an_example() -> None:
    without = set()
    for name in volseg.__all__:
        if ">>> " not in (getattr(volseg, name).__doc__ or ""):
            without.add(name)
    assert without == WITHOUT
