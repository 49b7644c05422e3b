"""Planes of frames: checks, order, levels and evenness, for images and segmentations alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from volseg.errors import InputError
from volseg.io.dicom.planes import PlaneStack, directions_of, even_within_mm, levels_of, normal_of, planes_of


class Frame(NamedTuple):
    position: tuple[float, ...] | None = (1, 2, 3)
    orientation: tuple[float, ...] | None = (1, 0, 0, 0, 1, 0)
    pixel_spacing: tuple[float, ...] | None = (0.9, 0.7)

    def __str__(self) -> str:
        return "a frame"


def stack(heights: list[float], *, beside: list[float] | None = None) -> PlaneStack:
    """Axial planes of 0.7 x 0.9 mm pixels at some heights, shifted along the columns."""
    shifts = beside or [0.0] * len(heights)
    frames = [Frame(position=(0, shift, height)) for height, shift in zip(heights, shifts, strict=True)]
    planes = planes_of(frames, directions_of(frames))
    return PlaneStack(planes=planes, normal=normal_of(planes[0]), columns=20, rows=10)


def test_a_plane_maps_columns_and_rows_to_the_patient() -> None:
    frame = Frame(orientation=(0, 1, 0, 0, 0, -1))
    (plane,) = planes_of([frame], directions_of([frame]))
    # PixelSpacing is between rows, then between columns.
    np.testing.assert_allclose(plane @ [2, 0, 0, 1], [1, 2 + 2 * 0.7, 3, 1])
    np.testing.assert_allclose(plane @ [0, 3, 0, 1], [1, 2, 3 - 3 * 0.9, 1])
    np.testing.assert_allclose(normal_of(plane), [-1, 0, 0])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame(position=None), "ImagePositionPatient is missing, so the slice has no position"),
        (Frame(orientation=None, pixel_spacing=None), "ImageOrientationPatient, PixelSpacing is missing"),
        (Frame(pixel_spacing=(0, 1)), r"PixelSpacing is \[0, 1\]; expected two numbers above 0"),
        (Frame(pixel_spacing=(1, 1e5)), "expected millimetres of a patient"),
        (Frame(position=(0, 0, 1e7)), "expected millimetres of a patient"),
        (Frame(orientation=(1, 0, 0, 1, 0, 0)), "expected two perpendicular unit vectors"),
        (Frame(orientation=(1, 0, 0, 0, 0.99, 0)), "expected two perpendicular unit vectors"),
    ],
)
def test_the_first_frame_without_a_usable_place_is_named(frame: Frame, message: str) -> None:
    with pytest.raises(InputError, match=f"a frame: .*{message}"):
        directions_of([Frame(), frame, Frame(position=(0, 0, 1e9))])


def test_orientations_with_few_decimals_pass() -> None:
    frame = Frame(orientation=(0.99, 0.1, 0, -0.1, 0.99, 0))
    with pytest.raises(InputError):
        directions_of([frame])
    assert directions_of([frame], last_digit=0.01).shape == (1, 3, 2)


def test_levels_are_counted_from_below_in_the_order_that_is_given() -> None:
    assert levels_of(np.array([5.0, 0, 5.001, 2.5, 0]), 0.1).tolist() == [2, 0, 2, 1, 0]
    assert levels_of(np.array([7.0]), 0.1).tolist() == [0]


@pytest.mark.parametrize(
    ("heights", "step", "expected"),
    [
        ([0, 2, 4, 6], 2, [0, 1, 2, 3]),
        ([0, 2, 8.01, 10], 2, [0, 1, 4, 5]),
        ([0, 2, 5, 7], 2, None),
        ([0, 2, 4], 5, None),
        ([0, 2, 4], 1e-6, None),
    ],
)
def test_slices_of_planes_with_gaps(heights: list[float], step: float, expected: list[int] | None) -> None:
    slices = stack(heights).slices_with(step)
    assert (None if slices is None else slices.tolist()) == expected


def test_planes_that_are_shifted_sideways_fit_no_grid_unless_they_are_tilted() -> None:
    tilted = stack([0, 2, 4], beside=[0, 0.5, 1])
    assert tilted.is_even
    assert not tilted.is_straight
    assert tilted.drift_mm == pytest.approx(1)
    assert tilted.slices_with(2) is not None
    shifted = stack([0, 2, 4], beside=[0, 0.5, 0])
    assert not shifted.is_even
    assert shifted.slices_with(2) is None
    # Along the normal all are equally far apart.
    assert shifted.even_gap_mm == pytest.approx(2)


def test_what_is_even() -> None:
    assert [even_within_mm(spacing) for spacing in (0.1, 2, 10)] == pytest.approx([0.025, 0.05, 0.1])
    assert stack([0, 2.04, 4]).is_even
    assert stack([0, 2.04, 4]).even_gap_mm == pytest.approx(2)
    assert not stack([0, 2.2, 4]).is_even
    assert stack([0, 2.2, 4]).even_gap_mm is None
    assert stack([0, 2, 6, 8, 10]).usual_gap_mm == pytest.approx(2)
    assert stack([0]).is_even
    assert stack([0]).even_gap_mm is None
