"""Every example runs, is short, and says what it writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from volseg.config import load_config

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_examples_are_numbered_and_short() -> None:
    assert [path.name[:2] for path in EXAMPLES] == [f"{n:02d}" for n in range(1, len(EXAMPLES) + 1)]
    assert max(len(path.read_text(encoding="utf-8").splitlines()) for path in EXAMPLES) < 60


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    arguments = {"01": [], "02": [str(tmp_path), "0.1"]}.get(example.name[:2], [str(tmp_path)])
    run = subprocess.run([sys.executable, str(example), *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    written = [Path(line.removeprefix("wrote ")) for line in run.stdout.splitlines() if line.startswith("wrote ")]
    assert all(path.stat().st_size > 100 for path in written)
    assert written or example.name.startswith("01")


@pytest.mark.parametrize("recipe", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipe_is_valid(recipe: Path) -> None:
    config = load_config(recipe)
    assert config.preparation.plane is not None
    assert "#" in recipe.read_text(encoding="utf-8")
