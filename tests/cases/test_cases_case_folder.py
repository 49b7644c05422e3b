"""The folder of a case: old or new and never a mix, one process at a time, and nothing of anybody else's is lost."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from full_disk import at_most
from killing import run_and_kill
from threshold_model import bright_box, run, threshold_model

import volseg
from volseg.cases.case_folder import claimed_folder, tidy_output
from volseg.cases.inputs import CaseInput
from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import OutputError
from volseg.files import folders
from volseg.files.locking import lock_file
from volseg.io.scan_files import find_scan_files
from volseg.network.file import Model

posix = pytest.mark.skipif(os.name != "posix", reason="forks, links and limits as on Linux and macOS")

OLD = {"probabilities": True, "mesh_formats": ("stl",)}
NEW = {"mesh_formats": ("ply", "vtp")}


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "run.json")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def recorded(folder: Path) -> dict[str, str]:
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {name: entry["sha256"] for name, entry in record["written"].items()}


def segment(model: Model, path: Path, output: Path, **settings: object) -> None:
    """Segment a scan in a child process; a failure is one of the child."""
    for result in run(model, [path], output, **settings):
        if result.error:
            traceback.print_exception(result.error)
            raise result.error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A scan of even voxels, whose surfaces are soon made: here it is files that count."""
    volseg.write(bright_box(Grid.from_spacing((12, 14, 8), (2, 2, 2))), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.fixture(params=["exchanged at once", "moved aside"])
def exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to replace a folder; only the second works everywhere."""
    if request.param == "moved aside":
        monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    elif not sys.platform.startswith(("linux", "darwin")):
        pytest.skip("there is no call that exchanges folders on this system")
    return str(request.param)


@posix
def test_killed_at_any_moment_a_case_is_the_old_or_the_new_one(
    model: Model, path: Path, tmp_path: Path, exchange: str
) -> None:
    out, other = tmp_path / "out", threshold_model(low=-150)
    run(other, [path], tmp_path / "expected", **NEW)
    new = contents(tmp_path / "expected" / "scan")
    run(model, [path], out, **OLD)
    old = contents(out / "scan")
    assert old.keys() != new.keys()
    moments = {"old": 0, "new": 0, "aside": 0}
    at = 0
    while run_and_kill(lambda: segment(other, path, out, overwrite=True, **NEW), tmp_path, at):
        if not (out / "scan").exists():  # two renames, and just between them: the old one is whole, aside
            assert exchange == "moved aside"
            moments["aside"] += 1
            tidy_output(out)
            assert contents(out / "scan") == old
        found = contents(out / "scan")
        assert found in (old, new)
        assert recorded(out / "scan") == found
        moments["new" if found == new else "old"] += 1
        (again,) = run(model, [path], out, overwrite=True, **OLD)
        assert again.error is None
        assert contents(out / "scan") == old
        assert [entry.name for entry in out.iterdir()] == ["scan"]
        at += 1
    assert contents(out / "scan") == new
    assert moments["old"] > 10
    assert moments["new"] > 3
    assert moments["aside"] == (exchange == "moved aside")


@posix
def test_killed_at_any_moment_of_the_first_time_a_case_is_whole_or_not_there(
    model: Model, path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(model, [path], tmp_path / "expected", **OLD)
    whole = contents(tmp_path / "expected" / "scan")
    out.mkdir()
    at = 0
    while run_and_kill(lambda: segment(model, path, out, **OLD), tmp_path, at):
        assert not (out / "scan").exists() or contents(out / "scan") == recorded(out / "scan") == whole
        tidy_output(out)
        assert [entry.name for entry in out.iterdir()] in ([], ["scan"])
        at += 1
        if (out / "scan").exists():
            for file in sorted((out / "scan").rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            (out / "scan").rmdir()
    assert contents(out / "scan") == whole
    assert at > 10


@posix
@pytest.mark.parametrize("size", [0, 50, 300, 3000, 20_000])
def test_on_a_full_disk_the_old_case_stays(model: Model, path: Path, tmp_path: Path, size: int) -> None:
    run(model, [path], tmp_path / "out", **OLD)
    old = contents(tmp_path / "out" / "scan")
    with at_most(size):
        (failed,) = run(threshold_model(low=-150), [path], tmp_path / "out", overwrite=True, **OLD, dicom_forms=())
    if failed.error is None:  # nothing of it is as large
        assert size > 3000
        return
    assert isinstance(failed.error, OutputError)
    assert "cannot be written" in str(failed.error)
    assert ".volseg-" not in str(failed.error)
    assert contents(tmp_path / "out" / "scan") == recorded(tmp_path / "out" / "scan") == old
    assert {entry.name for entry in (tmp_path / "out").iterdir()} - {"failures.json"} == {"scan"}


def test_files_that_are_no_outputs_stay(model: Model, path: Path, tmp_path: Path, exchange: str) -> None:
    run(model, [path], tmp_path / "out", **OLD)
    case = tmp_path / "out" / "scan"
    mine = {"notes.txt": "notes", "meshes/mine.stl": "mesh", "pictures/deep/view.png": "picture", ".hidden": "x"}
    for name, text in mine.items():
        (case / name).parent.mkdir(parents=True, exist_ok=True)
        (case / name).write_text(text, encoding="utf-8")
    run(model, [path], tmp_path / "out", overwrite=True)
    assert {name: (case / name).read_text(encoding="utf-8") for name in mine} == mine
    assert contents(case).keys() == {*mine, "labels.nii.gz", "labels.tsv"}
    assert [entry.name for entry in case.parent.iterdir()] == ["scan"]


def test_what_an_earlier_version_left_when_it_was_killed_is_replaced(model: Model, path: Path, tmp_path: Path) -> None:
    """It wrote into the folder itself: outputs without a record, that may be of anything."""
    case = tmp_path / "out" / "scan"
    for name in ("labels.nii.gz", "probabilities.nii.gz", "labels_seg.dcm", "meshes/liver.glb", "meshes/liver.mtl"):
        (case / name).parent.mkdir(parents=True, exist_ok=True)
        (case / name).write_bytes(b"of another scan")
    (case / "notes.txt").write_text("mine", encoding="utf-8")
    run(model, [path], tmp_path / "out")
    assert contents(case).keys() == {"labels.nii.gz", "labels.tsv", "notes.txt"}


@posix
def test_a_linked_case_folder_stays_where_it_is(model: Model, path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "large disk" / "first"
    elsewhere.mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scan").symlink_to(elsewhere)
    run(model, [path], tmp_path / "out")
    (again,) = run(model, [path], tmp_path / "out", overwrite=True)
    assert again.error is None
    assert (tmp_path / "out" / "scan").is_symlink()
    assert recorded(elsewhere) == contents(elsewhere)
    assert [entry.name for entry in elsewhere.parent.iterdir()] == ["first"]


def test_a_file_in_the_place_of_the_folder_is_not_touched(model: Model, path: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scan").write_text("mine", encoding="utf-8")
    (failed,) = run(model, [path], tmp_path / "out")
    assert "a file is where its folder should be" in str(failed.error)
    assert (tmp_path / "out" / "scan").read_text(encoding="utf-8") == "mine"


@posix
@pytest.mark.parametrize("length", [200, 230, 248])
def test_a_name_as_long_as_names_may_be(model: Model, scan: Volume, tmp_path: Path, length: int) -> None:
    for folder in ("a", "b"):
        name = "ä" * (length // 2)
        volume = scan if folder == "a" else scan.with_array(scan.array[::-1])
        volseg.write(volume, tmp_path / folder / f"{name}.nii.gz")
    results = run(model, [tmp_path / folder / f"{name}.nii.gz" for folder in "ab"], tmp_path / "out")
    assert [result.error for result in results] == [None, None]
    assert results[0].files[0].parent.name == name
    again = run(model, [tmp_path / folder / f"{name}.nii.gz" for folder in "ab"], tmp_path / "out", overwrite=True)
    assert [result.files for result in again] == [result.files for result in results]
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_while_one_works_on_a_case_another_waits_for_it(model: Model, path: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    results = []
    scan = find_scan_files([path])
    with claimed_folder(tmp_path / "out", CaseInput("scan", (path,)), scan):
        waiting = threading.Thread(target=lambda: results.extend(run(model, [path], tmp_path / "out")))
        waiting.start()
        time.sleep(0.5)
        assert not (tmp_path / "out" / "scan").exists()
        assert not results
    waiting.join()
    assert [result.error for result in results] == [None]
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["scan"]


def test_of_two_scans_with_one_name_each_has_its_own_folder(model: Model, scan: Volume, tmp_path: Path) -> None:
    """Two calls at the same time, of the same names in other folders."""
    for folder, array in (("a", scan.array), ("b", scan.array[::-1]), ("c", scan.array[:, ::-1])):
        for number in range(3):
            volseg.write(scan.with_array(np.roll(array, number, axis=1)), tmp_path / folder / f"scan{number}.nii.gz")
    results: dict[str, list[volseg.cases.outputs.CaseResult]] = {}  # type: ignore[name-defined]

    def work(folder: str) -> None:
        results[folder] = run(threshold_model(), [tmp_path / folder], tmp_path / "out")

    threads = [threading.Thread(target=work, args=(folder,)) for folder in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list((tmp_path / "out").iterdir())) == 9
    for folder, found in results.items():
        for result in found:
            assert result.error is None
            expected = volseg.read(tmp_path / folder / result.case.paths[0].name).array
            np.testing.assert_array_equal(volseg.read_labels(result.files[0]).array == 5, expected > 100)
    for folder in "abc":
        assert all(result.skipped for result in run(model, [tmp_path / folder], tmp_path / "out"))


_HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from volseg.files.locking import lock_file\n"
    "with lock_file(Path(sys.argv[1]), wait_for='x') as hold:\n"
    "    print(hold.mine, flush=True)\n"
    "    time.sleep(600)\n"
)


@contextmanager
def held_by_another_process(file: Path) -> Iterator[Callable[[], None]]:
    child = subprocess.Popen([sys.executable, "-c", _HOLD, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        yield lambda: (child.kill(), child.wait())  # type: ignore[func-returns-value, return-value]
    finally:
        child.kill()
        child.communicate()


def test_what_is_being_written_is_not_swept_and_what_a_killed_process_left_is(
    model: Model, path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".volseg-other.new-0123abcd").mkdir()
    (out / ".volseg-other.new-0123abcd" / "labels.nii.gz").write_bytes(b"half")
    with held_by_another_process(out / ".volseg-other.lock") as kill:
        run(model, [path], out)
        assert {entry.name for entry in out.iterdir()} == {"scan", ".volseg-other.lock", ".volseg-other.new-0123abcd"}
        kill()
        assert (out / ".volseg-other.lock").exists()
        run(model, [path], out)
    assert {entry.name for entry in out.iterdir()} == {"scan"}


def test_where_there_are_no_locks_nothing_is_swept(
    model: Model, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volseg.files.locking._lock", lambda handle: None)
    (tmp_path / "out" / ".volseg-scan.new-0123abcd").mkdir(parents=True)
    (result,) = run(model, [path], tmp_path / "out")
    assert result.error is None
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"scan", ".volseg-scan.new-0123abcd"}
    with lock_file(tmp_path / "x.lock") as hold:
        assert hold.mine
        assert not hold.certain
