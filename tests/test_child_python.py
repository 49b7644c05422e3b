"""Processes of volseg's own import nothing from the working folder, where anybody's files may lie."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import volseg
from volseg.child_python import child_python

PACKAGE = Path(volseg.__file__).parent
TRAPS = ("typer", "numpy", "pydicom", "torch", "json", "logging", "pathlib", "yaml", "volseg", "sitecustomize")


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which modules lie that leave a file behind when they are run."""
    for name in TRAPS:
        trap = f'open({str(tmp_path / "sprung")!r}, "a").write({name!r})\nraise SystemExit(7)\n'
        (tmp_path / f"{name}.py").write_text(trap, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("entry", ["", ".", "{here}", "{here}/", "{here}/../{name}"])
@pytest.mark.parametrize(
    ("module", "arguments"),
    [("volseg", ["--version"]), ("volseg.io.dicom.decoder", []), ("volseg.view.drawing_process", [])],
)
def test_nothing_is_imported_from_the_working_folder(
    entry: str, module: str, arguments: list[str], trapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [entry.format(here=trapped, name=trapped.name), *sys.path])
    command, environment = child_python(module, *arguments)
    run = subprocess.run(command, env=environment, capture_output=True, input=b"", check=False)
    assert not (trapped / "sprung").exists()
    assert run.returncode != 7
    if module == "volseg":
        assert run.stdout.decode().strip() == f"volseg {volseg.__version__}"


def test_where_volseg_itself_lies_stays_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a checkout, beside which another volseg may be installed: the child must not be that one."""
    monkeypatch.chdir(PACKAGE.parent)
    monkeypatch.setattr(sys, "path", ["/before", "", "/after", str(PACKAGE.parent)])
    _, environment = child_python("volseg")
    assert environment["PYTHONPATH"].split(os.pathsep) == [
        "/before",
        str(PACKAGE.parent),
        "/after",
        str(PACKAGE.parent),
    ]


def test_no_other_way_starts_a_python() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if "sys.executable" in text.replace("not sys.executable", ""):
            assert file.name == "child_python.py"
        if "import subprocess" in text or "multiprocessing" in text:
            assert "child_python(" in text, file
