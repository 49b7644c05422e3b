from __future__ import annotations

import numpy as np
import pytest

from volseg.geometry import Grid
from volseg.labelmap import LabelMap
from volseg.mesh import Mesh
from volseg.phantoms import sphere_labelmap
from volseg.surface import extract_surfaces
from volseg.surface.simplify import simplify_mesh


@pytest.fixture(scope="module")
def sphere() -> Mesh:
    (mesh,) = extract_surfaces(sphere_labelmap(Grid.from_spacing((40, 40, 40)), radius_mm=15))
    return mesh


@pytest.mark.parametrize("keep", [0.5, 0.1])
def test_fraction_of_triangles_for_the_same_shape(sphere: Mesh, keep: float) -> None:
    simpler = simplify_mesh(sphere, keep=keep)
    assert len(simpler.faces) == pytest.approx(keep * len(sphere.faces), rel=0.02)
    assert simpler.is_closed
    assert simpler.volume_mm3 == pytest.approx(sphere.volume_mm3, rel=0.01)
    assert (simpler.name, simpler.colour) == (sphere.name, sphere.colour)


def test_keeping_all_changes_nothing(sphere: Mesh) -> None:
    assert simplify_mesh(sphere, keep=1) is sphere


def test_small_shape_keeps_more() -> None:
    array = np.zeros((5, 5, 5), dtype=np.uint8)
    array[2, 2, 2] = 1
    (mesh,) = extract_surfaces(LabelMap.from_array(array, Grid.from_spacing(array.shape)))
    assert simplify_mesh(mesh, keep=0.01) is mesh


def test_labels_that_keep_more_are_named_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    array = sphere_labelmap(Grid.from_spacing((40, 40, 40)), radius_mm=15).array.copy()
    array[1, 1, 1], array[38, 38, 38] = 2, 3
    extract_surfaces(LabelMap.from_array(array, Grid.from_spacing(array.shape)), simplify=0.1)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "more than 10% of the triangles kept" in record.message
    assert record.message.endswith("shape: label_2 (100%), label_3 (100%)")
