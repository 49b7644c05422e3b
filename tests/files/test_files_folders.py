from __future__ import annotations

import sys
from pathlib import Path

import pytest

from volseg.errors import OutputError
from volseg.files import folders
from volseg.files.atomic import is_part
from volseg.files.folders import atomic_folder, make_beside, put_in_place


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


def test_a_file_is_not_exchanged_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("mine", encoding="utf-8")
    with pytest.raises(NotADirectoryError, match="a file is where its folder should be"):
        put_in_place(filled(tmp_path / "new", "new"), tmp_path / "place", aside=tmp_path / "aside")
    assert (tmp_path / "place").read_text(encoding="utf-8") == "mine"
    with pytest.raises(OutputError, match="place: cannot be written"), atomic_folder(tmp_path / "place"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"place", "new"}


@pytest.mark.parametrize("there", [None, {}, {"1": "old", "2": "old"}, {"1": "old", "2": "old", "3": "old"}])
@pytest.mark.parametrize("other", [False, True])
def test_files_of_a_folder_appear_together_and_others_stay(
    tmp_path: Path, there: dict[str, str] | None, other: bool
) -> None:
    target = tmp_path / "deep" / "series"
    if there is not None:
        target.mkdir(parents=True)
        for name, text in (there | ({"notes": "mine"} if other else {})).items():
            (target / name).write_text(text, encoding="utf-8")
    with atomic_folder(target) as new:
        assert is_part(new)
        for name in "12":
            (new / name).write_text("new", encoding="utf-8")
        assert (target.exists() and {path.name for path in target.iterdir()}) == (
            there is not None and {*there, *(["notes"] if other else [])}
        )
    found = {path.name: path.read_text(encoding="utf-8") for path in target.iterdir()}
    kept = {name: text for name, text in (there or {}).items() if name == "3"}
    assert found == {"1": "new", "2": "new"} | kept | ({"notes": "mine"} if other and there is not None else {})
    assert [path.name for path in target.parent.iterdir()] == ["series"]


def test_a_failure_leaves_the_folder_that_was_there(tmp_path: Path) -> None:
    target = filled(tmp_path / "series", "old")

    def write() -> None:
        with atomic_folder(target) as new:
            (new / "1").write_text("half", encoding="utf-8")
            raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        write()
    assert text_in(target) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["series"]
