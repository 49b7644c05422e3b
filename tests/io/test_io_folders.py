from __future__ import annotations

import sys
from pathlib import Path

import pytest

from volseg.io import folders
from volseg.io.folders import make_beside, put_in_place


def filled(folder: Path, text: str) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text(text, encoding="utf-8")
    return folder


def text_in(folder: Path) -> str:
    return (folder / "deep" / "file").read_text(encoding="utf-8")


def test_a_new_folder_gets_a_place_of_its_own(tmp_path: Path) -> None:
    one, other = (make_beside(tmp_path / "case", ".new-") for _ in range(2))
    assert one != other
    assert one.parent == tmp_path
    assert list(one.iterdir()) == []


@pytest.mark.parametrize("atomic", [True, False])
def test_the_old_folder_is_moved_away_whole(tmp_path: Path, atomic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not atomic:
        monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    elif not sys.platform.startswith(("linux", "darwin")):
        pytest.skip("there is no call that exchanges folders on this system")
    new, place = filled(tmp_path / "new", "new"), tmp_path / "place"
    assert put_in_place(new, place, aside=tmp_path / "aside") is None
    assert text_in(place) == "new"
    old = put_in_place(filled(tmp_path / "new", "newer"), place, aside=tmp_path / "aside")
    assert old == (tmp_path / "new" if atomic else tmp_path / "aside")
    assert (text_in(place), text_in(old)) == ("newer", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"place", old.name}


def test_if_the_new_one_cannot_be_moved_the_old_one_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    place = filled(tmp_path / "place", "old")
    with pytest.raises(FileNotFoundError, match="nothing"):
        put_in_place(tmp_path / "nothing", place, aside=tmp_path / "aside")
    assert text_in(place) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
