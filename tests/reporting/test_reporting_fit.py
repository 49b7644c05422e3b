from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reported_cases import ball_and_bar

import volseg
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.phantoms import make_ct_phantom
from volseg.reporting.fit import edge_contrast, tissues
from volseg.reporting.flags import flag_fit
from volseg.view.sheet_slices import Display


def kinds(scan: volseg.Volume, labels: LabelMap, *, densities: bool = False) -> list[str]:
    """Return how the flags on the fit begin."""
    display = Display.of(scan, [labels])
    assert display.array is not None
    placed = LabelMap(display.values[0], display.grid, labels.labels)
    found = tissues(display.array, placed) if densities else ()
    flags = flag_fit(edge_contrast(display.array, display.values[0], display.grid.spacing), found)
    return [flag.text.split(":")[0] for flag in flags]


def test_labels_that_lie_right_are_not_flagged() -> None:
    assert kinds(*ball_and_bar()) == []
    phantom = make_ct_phantom(seed=1)
    assert kinds(phantom.volume, phantom.labels) == []


def test_labels_that_lie_elsewhere_are_flagged() -> None:
    scan, labels = ball_and_bar()
    moved = LabelMap(np.roll(labels.array, (9, 9, 0), (0, 1, 2)), labels.grid, labels.labels)
    assert kinds(scan, moved) == ["The labels may not fit the scan"]


def test_nothing_is_said_where_nothing_can_be_said() -> None:
    scan, labels = ball_and_bar()
    assert edge_contrast(scan.array, np.zeros_like(labels.array), (1, 1, 2)) is None
    assert edge_contrast(np.zeros(scan.grid.shape), labels.array, (1, 1, 2)) is None
    full = np.ones((4, 4, 4), np.uint8)
    full[0] = 0
    assert edge_contrast(np.random.default_rng(0).normal(size=(4, 4, 4)), full, (1, 1, 1)) is None


def test_tissue_is_known_by_the_names_of_labels() -> None:
    array = np.zeros((20, 20, 20), np.uint8)
    array[:8], array[8:12], array[12:16], array[16:] = 1, 2, 3, 4
    names = ("vertebrae_L1", "lung_upper_lobe_left", "lung tumor", "widget")
    labels = tuple(Label(value, name, (9, 9, 9)) for value, name in enumerate(names, start=1))
    scan = np.where(array == 1, 30.0, -700.0)
    found = tissues(scan, LabelMap(array, Grid.from_spacing(array.shape), labels))
    assert [(one.name, one.kind, one.fits) for one in found] == [
        ("vertebrae_L1", "bone", False),
        ("lung_upper_lobe_left", "lung", True),
    ]


@pytest.mark.parametrize(
    ("higher_mm", "flags"), [(0, ["The labels do not fit the scan", "The labels may not fit the scan"]), (246, [])]
)
def test_the_real_labels_that_lie_elsewhere_by_their_header(
    shared_data: Path, higher_mm: float, flags: list[str]
) -> None:
    scan = volseg.read(shared_data / "ct" / "example_ct.nii.gz")
    labels = volseg.read_labels(shared_data / "ct" / "example_seg.nii.gz")
    affine = labels.grid.affine.copy()
    affine[2, 3] += higher_mm
    placed = LabelMap(labels.array, Grid(labels.grid.shape, affine), labels.labels)
    assert kinds(scan, placed, densities=True) == flags
