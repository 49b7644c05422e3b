"""The files of a scan: the same in any place, and told from other files and from their earlier contents."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import volseg
from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.io.case_record import CaseRecord
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.scan_files import ScanFiles, find_scan_files

GRID = Grid.from_spacing((4, 5, 6))


def volume(value: int = 0) -> Volume:
    return Volume(np.full(GRID.shape, value, np.int16), GRID, modality="MR")


def recorded(scan: ScanFiles) -> CaseRecord:
    return CaseRecord(files=[], scan=scan.record())


def test_a_folder_its_archive_and_a_copy_are_one_scan(tmp_path: Path) -> None:
    write_dicom_series(volume(), tmp_path / "a", description="head")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "report.txt").write_text("no image", encoding="utf-8")
    archive = Path(shutil.make_archive(str(tmp_path / "c"), "zip", tmp_path / "a"))
    one, two, three = (find_scan_files([path]) for path in (tmp_path / "a", tmp_path / "b", archive))
    assert one.identity == two.identity == three.identity
    assert one.content == two.content == three.content
    assert one.name == two.name == three.name == f"head-{one.identity[:8]}"
    assert all(scan.is_of(recorded(one)) and scan.is_unchanged_since(recorded(one)) for scan in (one, two, three))
    assert str(tmp_path) not in str(one.record())


def test_an_image_is_known_by_its_place_or_its_content(tmp_path: Path) -> None:
    volseg.write(volume(), tmp_path / "a.nii")
    volseg.write(volume(1), tmp_path / "other.nii")
    shutil.copy2(tmp_path / "a.nii", tmp_path / "copy.nii")
    scan, copy, other = (find_scan_files([tmp_path / name]) for name in ("a.nii", "copy.nii", "other.nii"))
    assert copy.is_of(recorded(scan))
    assert copy.is_unchanged_since(recorded(scan))
    assert not other.is_of(recorded(scan))
    state = (tmp_path / "a.nii").stat()
    os.utime(tmp_path / "other.nii", ns=(state.st_atime_ns, state.st_mtime_ns))
    (tmp_path / "moved").mkdir()
    (tmp_path / "other.nii").rename(tmp_path / "moved" / "a.nii")
    other = find_scan_files([tmp_path / "moved" / "a.nii"])
    assert other.state == scan.state  # name, size and time are the same, so only the place tells
    assert not other.is_of(recorded(scan))
    assert not other.is_unchanged_since(recorded(scan))


def test_only_touched_is_unchanged_and_replaced_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    volseg.write(volume(), path)
    before = recorded(find_scan_files([path]))
    os.utime(path, ns=(1, 1))
    assert find_scan_files([path]).is_unchanged_since(before)
    volseg.write(volume(1), path)
    os.utime(path, ns=(1, 1))
    now = find_scan_files([path])
    assert now.is_of(before)
    assert now.state != before.scan.state or now.is_unchanged_since(before)  # type: ignore[union-attr]


def test_the_content_is_not_read_where_names_sizes_and_times_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dicom_series(volume(), tmp_path / "a")
    volseg.write(volume(), tmp_path / "a.nii")
    before = [recorded(find_scan_files([path])) for path in (tmp_path / "a", tmp_path / "a.nii")]
    monkeypatch.delattr("volseg.io.scan_files._digest")
    for record, path in zip(before, (tmp_path / "a", tmp_path / "a.nii"), strict=True):
        scan = find_scan_files([path])
        assert scan.is_of(record)
        assert scan.is_unchanged_since(record)


@pytest.mark.parametrize("change", ["replaced", "touched", "removed", "grown"])
@pytest.mark.parametrize("form", ["a.nii", "a", "a.zip"])
def test_a_change_since_it_was_looked_at_is_noticed(tmp_path: Path, change: str, form: str) -> None:
    write_dicom_series(volume(), tmp_path / "a")
    shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "a")
    volseg.write(volume(), tmp_path / "a.nii")
    scan = find_scan_files([tmp_path / form])
    scan.check_unchanged()
    file = tmp_path / form if form != "a" else tmp_path / "a" / "0003.dcm"
    if change == "replaced":
        shutil.copy2(file, tmp_path / "other")
        (tmp_path / "other").replace(file)
    elif change == "touched":
        os.utime(file)
    elif change == "removed":
        file.unlink()
    else:
        with file.open("ab") as stream:
            stream.write(b"\0")
    with pytest.raises(InputError, match="no output is written"):
        scan.check_unchanged()


def test_files_beside_a_series_do_not_change_it(tmp_path: Path) -> None:
    """Such files are, for example, results in the scan's own folder."""
    write_dicom_series(volume(), tmp_path / "a")
    before = find_scan_files([tmp_path / "a"])
    image = volseg.read(tmp_path / "a")
    labels = volseg.LabelMap.from_array(np.ones(GRID.shape, np.uint8), image.grid)
    volseg.write(labels, tmp_path / "a" / "out" / "labels_seg.dcm", image=image)
    before.check_unchanged()
    after = find_scan_files([tmp_path / "a"])
    assert after.state == before.state
    assert after.content == before.content


def test_voxels_in_files_of_their_own_are_part_of_a_scan(tmp_path: Path) -> None:
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 4\nencoding: raw\nendian: little\nspacings: 1 1 1\n"
    (tmp_path / "list.nhdr").write_text(header + "data file: LIST\none.raw\ntwo.raw\n", encoding="ascii")
    (tmp_path / "one.nhdr").write_text(header + "data file: one.raw\n", encoding="ascii")
    for name in ("one.raw", "two.raw", "three.raw", "pair.hdr", "pair.img"):
        (tmp_path / name).write_bytes(bytes(32))

    def names(path: str) -> set[str]:
        return {file.name for file in find_scan_files([tmp_path / path]).files[0]}

    assert names("list.nhdr") == {"list.nhdr", "one.raw", "two.raw"}
    assert names("one.nhdr") == {"one.nhdr", "one.raw"}
    assert names("pair.hdr") == {"pair.hdr", "pair.img"}
