from __future__ import annotations

from pathlib import Path

import pytest

from volseg.errors import InputError
from volseg.files import walking
from volseg.files.walking import list_files


def test_files_come_folder_by_folder_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.txt", "a.txt", ".hidden.txt", ".git/config", "b/c/3.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "broken.txt").symlink_to("nothing")
    found = list_files(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found.paths] == [
        "a.txt",
        "broken.txt",
        "b/1.txt",
        "b/2.txt",
        "b/c/3.txt",
    ]
    assert found.checked() == found.paths


def test_a_folder_that_cannot_be_listed_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b.txt").touch()
    scandir = walking.os.scandir

    def refusing(path: str) -> object:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(walking.os, "scandir", refusing)
    found = list_files(tmp_path)
    assert [path.name for path in found.paths] == ["b.txt"]
    with pytest.raises(InputError, match=r"a: folder cannot be listed \(Permission denied\); check its rights"):
        found.checked()
