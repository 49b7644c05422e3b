from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from full_disk import at_most

from volseg.errors import OutputError
from volseg.files.atomic import atomic_path, is_part, remove_parts, write_text
from volseg.files.processes import process_mark

posix = pytest.mark.skipif(os.name != "posix", reason="file modes and limits as on Linux and macOS")


def test_a_file_appears_whole_in_folders_that_are_made(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "labels.nii.gz"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert not target.exists()
        temporary.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert os.listdir(target.parent) == [target.name]  # noqa: PTH208


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_failure_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, error: type[BaseException], old: bytes | None
) -> None:
    target = tmp_path / "mesh.stl"
    if old:
        target.write_bytes(old)
    shown = OutputError if error is OSError else error

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise error("broke")

    with pytest.raises(shown, match="broke"):
        write()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([old] if old else [])


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("labels.nii.gz", ".nii.gz"),
        ("labels.seg.nrrd", ".seg.nrrd"),
        ("bone.stl", ".stl"),
        ("1.2.840.stl", ".stl"),
        ("plain", ".part"),
        ("Röntgen 1.png", ".png"),
    ],
)
def test_the_temporary_name_keeps_the_suffixes_by_which_writers_choose(tmp_path: Path, name: str, suffix: str) -> None:
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.name.endswith(suffix)
        assert temporary.name != name
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_text_is_utf_8_with_unix_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "labels.tsv", "index\tname\n1\tNiere links, Ø 3 mm\n")
    assert (tmp_path / "labels.tsv").read_bytes() == "index\tname\n1\tNiere links, Ø 3 mm\n".encode()


def test_a_string_is_a_path_too(tmp_path: Path) -> None:
    write_text(f"{tmp_path}/a.txt", "a")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "a"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    with pytest.raises(OutputError, match=r"labels\.tsv: cannot be written: a file is where its folder should be"):
        write_text(tmp_path / "out" / "labels.tsv", "x")
    assert (tmp_path / "out").read_bytes() == b"a file"


def test_a_target_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(OutputError, match=r"run\.json: cannot be written"):
        write_text(tmp_path / "run.json", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@posix
def test_a_link_stays_and_the_file_behind_it_is_written(tmp_path: Path) -> None:
    link, target = tmp_path / "labels.nii.gz", tmp_path / "store" / "a1b2"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link.symlink_to(Path("store") / "a1b2")
    with atomic_path(link) as temporary:
        assert temporary.parent == target.parent  # the same file system, where a rename is atomic
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a1b2", "labels.nii.gz", "store"]


def test_a_relative_path_is_named_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("out").touch()
    with pytest.raises(OutputError, match=r"^out/a\.txt: cannot be written".replace("/", re.escape(os.sep))):
        write_text(Path("out/a.txt"), "x")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc, which even root cannot write")
def test_an_unwritable_folder_is_refused() -> None:
    with pytest.raises(OutputError, match=r"^/proc/labels\.tsv: cannot be written \(.*\); check the folder"):
        write_text("/proc/labels.tsv", "x")


@posix
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "labels.tsv"
    write_text(target, "old")
    with (
        at_most(4096),
        pytest.raises(OutputError, match=r"labels\.tsv: cannot be written \(.*\); check the folder and the disk"),
    ):
        write_text(target, "new" * 10_000)
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["old"]


@posix
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_is_that_of_any_new_file(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "a")
        assert os.umask(umask) == umask  # still as it was
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def mark_of_a_dead_process() -> str:
    code = "from volseg.files.processes import process_mark; print(process_mark())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = f".volseg-{mark_of_a_dead_process()}-abc_12.part.nii.gz"
    others = [
        f".volseg-{process_mark()}-abc_12.part.nii.gz",  # being written
        ".volseg-00000000-1-abc_12.part.nii.gz",  # on another machine
        ".volseg-abcdefgh.part.nii.gz",  # by an earlier version
        "labels.nii.gz.part",
        ".hidden",
    ]
    for name in (left, *others):
        (tmp_path / name).write_bytes(b"x")
    write_text(tmp_path / "new.txt", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "new.txt"])
    assert is_part(left)
    assert not any(map(is_part, others[2:]))


def test_a_writer_that_is_killed_leaves_one_part_and_what_was_there(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from volseg.files.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    target = tmp_path / "mesh.stl"
    target.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert killed.returncode != 0
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.stl"]


@posix
@pytest.mark.parametrize("name", ["x" * 248 + ".nii", f"v.{'x' * 200}.nii.gz", f"{'頭' * 80}.stl", "x" * 255])
def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_text_that_is_none_is_written_with_its_bytes_escaped(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "caf\udce9,1\n")
    assert (tmp_path / "a.csv").read_bytes() == b"caf\\udce9,1\n"
