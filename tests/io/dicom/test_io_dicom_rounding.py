from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from handmade_dicom import bare_headers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.inspection import inspect
from volseg.io import read, read_labels, write
from volseg.io.dicom.attributes import last_digit_of
from volseg.io.dicom.header import FrameHeader
from volseg.io.dicom.repair import plan_repair
from volseg.io.dicom.series import group_frames
from volseg.io.dicom.stack import make_stack
from volseg.io.dicom.writing import write_dicom_series
from volseg.verification import verify

grids = st.builds(
    lambda turn, spacing, origin, count: Grid(
        (40, 50, count),
        np.vstack([np.c_[Rotation.from_euler("xyz", turn).as_matrix() * spacing, origin], [0, 0, 0, 1]]),
    ),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(st.floats(0.3, 2), st.floats(0.3, 2), st.floats(0.5, 10)),
    st.tuples(*[st.floats(-300, 300)] * 3),
    st.integers(3, 40),
)


def rounded(frames: list[FrameHeader], position: int | None, orientation: int | None) -> list[FrameHeader]:
    """Write numbers with this many decimals; None does not round them."""
    changed = []
    for frame in frames:
        places = frame.position if position is None else tuple(np.round(frame.position, position))
        axes = frame.orientation if orientation is None else tuple(np.round(frame.orientation, orientation))
        digits = {
            "position_digit": 0.0 if position is None else 10.0**-position,
            "orientation_digit": 0.0 if orientation is None else 10.0**-orientation,
        }
        changed.append(replace(frame, position=places, orientation=axes, **digits))
    return changed


def can_tell(grid: Grid, position: int | None) -> bool:
    """Whether the decimals are fine enough for a missing slice to show."""
    return position is None or 10.0**-position <= 0.24 * np.abs(grid.affine[:3, 2]).max()


@settings(max_examples=300, deadline=None)
@given(grids, st.sampled_from([0, 1, 2, 3, None]), st.sampled_from([2, 3, 4, 6, None]))
def test_an_even_stack_stays_one_however_few_its_decimals(
    grid: Grid, position: int | None, orientation: int | None
) -> None:
    assume(can_tell(grid, position))
    frames = rounded(bare_headers(grid), position, orientation)
    (series,) = group_frames(frames)
    stack = make_stack(series.frames)
    assert plan_repair(stack) is None
    # The largest move by a unit of the last decimals, over the longest way in the stack.
    way = np.linalg.norm(np.multiply(grid.shape, grid.spacing))
    digits = [0 if decimals is None else 10.0**-decimals for decimals in (position, orientation)]
    allowed = 1e-3 + np.sqrt(3) * digits[0] * 2 + 2 * digits[1] * way
    assert stack.grid.distance_mm(grid) <= allowed
    if stack.moved_mm:
        assert "few decimals" in stack.rounding_note
        assert not stack.grid.is_sheared


@settings(max_examples=200, deadline=None)
@given(grids, st.sampled_from([0, 1, 2, 3]), st.data())
def test_a_slice_beside_its_place_by_more_than_the_decimals_is_found(
    grid: Grid, position: int, data: st.DataObject
) -> None:
    assume(can_tell(grid, position))
    frames = bare_headers(grid)
    k = data.draw(st.integers(0, len(frames) - 1))
    usual = max(0.05, 0.01 * grid.spacing[2]) * 4
    shift = max(usual, 4 * 10.0**-position * np.sqrt(3)) + data.draw(st.floats(0.01, 0.3))
    assume(shift < 0.8 * grid.spacing[2] or len(frames) > 3)
    normal = grid.direction[:, 2] * [-1, -1, 1]
    frames[k] = replace(frames[k], position=tuple(np.array(frames[k].position) + shift * normal))
    assume(len({round(float(np.dot(frame.position, normal)), 3) for frame in frames}) == len(frames))
    try:
        assert plan_repair(make_stack(rounded(frames, position, None))) is not None
    except InputError as error:
        assert "slices" in str(error)  # noqa: PT017


@settings(max_examples=200, deadline=None)
@given(grids, st.sampled_from([0, 1, 2, 3, None]), st.data())
def test_no_missing_inner_slice_hides_behind_few_decimals(
    grid: Grid, position: int | None, data: st.DataObject
) -> None:
    assume(can_tell(grid, position))
    frames = bare_headers(grid)
    del frames[data.draw(st.integers(1, len(frames) - 2))]
    assume(len(frames) > 2)
    assert plan_repair(make_stack(rounded(frames, position, None))) is not None


@settings(max_examples=150, deadline=None)
@given(grids, st.sampled_from([2, 3, 4]), st.data())
def test_orientations_that_differ_in_the_last_decimal_are_one(
    grid: Grid, orientation: int, data: st.DataObject
) -> None:
    noise = st.lists(st.sampled_from([-0.1, 0.0, 0.1]), min_size=6, max_size=6)
    moved = []
    for frame in bare_headers(grid):  # as a scanner that computes them anew for each slice
        axes = np.add(frame.orientation, np.multiply(data.draw(noise), 10.0**-orientation))
        moved.append(replace(frame, orientation=tuple(axes)))
    (series,) = group_frames(rounded(moved, None, orientation))
    stack = make_stack(series.frames)
    assert plan_repair(stack) is None
    assert not np.ptp(stack.planes[:, :3, :2], axis=0).any()


@pytest.mark.parametrize("decimals", [3, 4, 6])
def test_a_slice_that_is_really_turned_is_found(decimals: int) -> None:
    frames = rounded(bare_headers(Grid.from_spacing((200, 200, 6), (1, 1, 3))), None, decimals)
    turn = Rotation.from_euler("z", 5 * 10.0**-decimals).as_matrix()
    axes = (turn @ np.reshape(frames[2].orientation, (2, 3)).T).T.ravel()
    frames[2] = replace(frames[2], orientation=tuple(np.round(axes, decimals)))
    stack = make_stack(frames)
    # Moves below the usual tolerance of 0.05 mm at the corners are ignored.
    if 200 * 5 * 10.0**-decimals < 0.05:
        assert plan_repair(stack) is None
        return
    with pytest.raises(InputError, match="is rotated against the first"):
        plan_repair(stack)


def test_a_tilted_gantry_with_few_decimals_is_still_tilted() -> None:
    grid = Grid.from_spacing((40, 50, 9), (1, 1, 5))
    frames = [
        replace(frame, position=tuple(np.add(frame.position, [0, 1.3 * k, 0])))
        for k, frame in enumerate(bare_headers(grid))
    ]
    repair = plan_repair(make_stack(rounded(frames, 1, 2)))
    assert repair is not None
    assert "the stack is tilted by 14.6 degrees" in repair.what


@pytest.mark.parametrize(
    ("value", "digit"),
    [(["1", "0", "-3"], 1.0), (["1.5", "2", "3.25"], 0.01), (["1.0", "2.0"], 0.1), (["1.5e-3"], 1e-4), (None, 0.0)],
)
def test_what_the_last_decimal_is_worth(value: Any, digit: float) -> None:
    assert last_digit_of({"ImagePositionPatient": value}, "ImagePositionPatient") == pytest.approx(digit)


# ------------------------------------------------------------------------------------------------------- in files

OBLIQUE = Grid(
    (16, 12, 8),
    np.vstack(
        [
            np.c_[
                Rotation.from_euler("xyz", [0.134, 0.21, -0.08]).as_matrix() * [0.86, 0.86, 7.0], [20.03, 11.07, 5.02]
            ],
            [0, 0, 0, 1],
        ]
    ),
)


def write_rounded(folder: Path, position: int, orientation: int) -> Volume:
    array = np.arange(np.prod(OBLIQUE.shape), dtype=np.int16).reshape(OBLIQUE.shape)
    scan = Volume(array, OBLIQUE, modality="MR")
    for path in write_dicom_series(scan, folder, description="oblique"):
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient = [f"{float(x):.{position}f}" for x in dataset.ImagePositionPatient]
        dataset.ImageOrientationPatient = [f"{float(x):.{orientation}f}" for x in dataset.ImageOrientationPatient]
        dataset.save_as(path)
    return scan


@pytest.mark.parametrize(("position", "orientation"), [(1, 6), (0, 6), (1, 3), (2, 3)])
def test_values_are_kept_and_labels_of_the_true_grid_agree(
    tmp_path: Path, position: int, orientation: int, caplog: pytest.LogCaptureFixture
) -> None:
    scan = write_rounded(tmp_path / "scan", position, orientation)
    volume = read(tmp_path / "scan", strict=True)
    wanted = scan.array if np.dot(volume.grid.affine[:3, 2], OBLIQUE.affine[:3, 2]) > 0 else scan.array[:, :, ::-1]
    np.testing.assert_array_equal(volume.array, wanted)
    assert volume.grid.spacing[2] == pytest.approx(7, abs=10.0**-position)
    assert not volume.grid.is_sheared
    assert "resampled at" not in caplog.text
    labels = LabelMap((volume.array % 7 == 0).astype(np.uint8), volume.grid, (Label(1, "one", (200, 0, 0)),))
    for name in ("labels.nii.gz", "labels.seg.nrrd", "seg.dcm", "rtstruct.dcm"):
        form = {"form": "rtstruct"} if name.startswith("rt") else {}
        image = {"image": volume} if name.endswith(".dcm") else {}
        write(labels, tmp_path / name, **image, **form)
        found = verify(tmp_path / "scan", tmp_path / name)
        assert found.agrees, (name, found.describe())
        again = read_labels(tmp_path / name, image=volume)
        assert again.grid.shape == labels.grid.shape
        if name != "rtstruct.dcm":
            np.testing.assert_array_equal(again.array, labels.array)


def test_labels_on_the_grid_before_rounding_agree_and_others_do_not(tmp_path: Path) -> None:
    write_rounded(tmp_path / "scan", 1, 6)
    volume = read(tmp_path / "scan")
    ascending = np.dot(volume.grid.affine[:3, 2], OBLIQUE.affine[:3, 2]) > 0
    flip = np.diag([1.0, 1, 1 if ascending else -1, 1])
    flip[2, 3] = 0 if ascending else 7
    true = Grid(OBLIQUE.shape, OBLIQUE.affine @ flip)
    array = np.zeros(true.shape, np.uint8)
    array[4:9, 3:8, 2:5] = 1
    moved = true.affine.copy()
    moved[:3, 3] += moved[:3, 0]
    for name, affine, agrees in (("true", true.affine, True), ("moved", moved, False)):
        write(LabelMap(array, Grid(true.shape, affine), (Label(1, "one", (200, 0, 0)),)), tmp_path / f"{name}.nii.gz")
        assert verify(tmp_path / "scan", tmp_path / f"{name}.nii.gz").agrees == agrees


@pytest.mark.parametrize("headers", [True, False])
def test_that_the_decimals_decide_is_told(tmp_path: Path, headers: bool) -> None:
    write_rounded(tmp_path, 0, 6)
    (entry,) = inspect(tmp_path, headers=headers).entries
    assert entry.repair is None
    assert any("written with few decimals" in note for note in entry.notes)


def test_the_given_positions_with_one_decimal(found: Path, tmp_path: Path) -> None:
    folder = found / "positions-one-decimal"
    volume = read(folder, strict=True)
    i, j, k = np.indices((16, 12, 8))
    np.testing.assert_array_equal(volume.array, 3 * i + 50 * j + 700 * k)
    assert volume.grid.spacing == pytest.approx((0.86, 0.86, 7), abs=0.02)
    labels = LabelMap((i + j + k > 12).astype(np.uint8), volume.grid, (Label(1, "one", (200, 0, 0)),))
    write(labels, tmp_path / "labels.nii.gz")
    assert verify(folder, tmp_path / "labels.nii.gz").agrees
