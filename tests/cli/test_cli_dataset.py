from __future__ import annotations

from pathlib import Path

import pytest
from published_archives import FOLDER, NAME, UNPACKS, dead_address, pack, publish, serving
from toy_dataset import write_dataset
from typer.testing import CliRunner

from volseg.cli import app
from volseg.datasets.catalogue import CATALOGUE

pytestmark = UNPACKS


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The archive of a public dataset; the current folder is an empty one."""
    archive = pack(write_dataset(tmp_path / "toy" / FOLDER, cases=2))
    publish(monkeypatch, archive)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return archive


def test_list() -> None:
    result = CliRunner().invoke(app, ["dataset", "list"])
    assert result.exit_code == 0
    assert all(name in result.stdout and dataset.content in result.stdout for name, dataset in CATALOGUE.items())
    assert "CC BY-SA 4.0" in result.stdout


def test_get_says_what_it_is_and_what_comes_next(archive: bytes) -> None:
    with serving(archive) as url:
        result = CliRunner().invoke(app, ["dataset", "get", NAME, "--url", url])
    assert result.exit_code == 0, result.output
    first, licence, cite, following = result.stdout.splitlines()
    assert first == f"{FOLDER}: Toy, 2 labelled scans (ball, bar)"
    assert licence == "licence: CC BY-SA 4.0"
    assert "Antonelli et al." in cite
    assert "10.1038/s41467-022-30695-9" in cite
    assert following == f"next: volseg train {FOLDER} -o RUN"
    assert Path(FOLDER, "dataset.json").is_file()


def test_get_from_an_archive_and_again(archive: bytes) -> None:
    Path("mine.tar").write_bytes(archive)
    command = ["dataset", "get", NAME, "-o", "data/toy", "--archive", "mine.tar"]
    for _ in range(2):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[-1] == f"next: volseg train {Path('data/toy')} -o RUN"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("msd:Task04_Hipocampus", 2, "did you mean 'msd:Task04_Hippocampus'?"),
        (f"{NAME} --url ftp://host", 2, "--url is 'ftp://host'"),
        (f"{NAME} -o ..", 2, "exists and is no complete dataset"),
        (f"{NAME} --archive no.tar", 1, "no.tar: no such file"),
        (f"{NAME} --url DEAD", 1, "cannot be downloaded"),
    ],
)
def test_failures(arguments: str, code: int, words: str, archive: bytes) -> None:
    result = CliRunner().invoke(app, ["dataset", "get", *arguments.replace("DEAD", dead_address()).split()])
    assert result.exit_code == code
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert list(Path().iterdir()) == []


def test_an_interrupt(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("volseg.datasets.download.urlopen", interrupt)
    result = CliRunner().invoke(app, ["dataset", "get", NAME])
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "interrupted"
    assert list(Path().iterdir()) == []
