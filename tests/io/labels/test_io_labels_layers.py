"""Layers of labels, in as few as they need."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.io.labels.layers import join_layers

GRID = Grid.from_spacing((3, 2, 2))
MASK = arrays(bool, GRID.shape, elements=st.booleans(), fill=st.just(False))


def layer(mask: np.ndarray, value: int, name: str) -> LabelMap:
    return LabelMap(mask * np.uint16(value), GRID, (Label(value, name, (1, 2, 3)),))


@given(st.lists(st.tuples(MASK, st.integers(1, 400), st.sampled_from("abcdef")), max_size=6))
def test_every_label_keeps_its_voxels_value_and_name_and_layers_stay_that_cannot_be_joined(
    parts: list[tuple[np.ndarray, int, str]],
) -> None:
    joined = join_layers([layer(*part) for part in parts])
    found = sorted((label.value, label.name, m.mask(label).tobytes()) for m in joined for label in m.labels)
    assert found == sorted((value, name, mask.tobytes()) for mask, value, name in parts)
    for n, later in enumerate(joined):
        for label in later.labels:
            for home in joined[:n]:
                meets = bool((later.mask(label) & (home.array != 0)).any())
                alike = any(label.value == other.value or label.name == other.name for other in home.labels)
                assert meets or alike
