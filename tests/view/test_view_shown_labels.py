"""Labels of several files in one picture are told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap, default_colour
from volseg.view.shown_labels import tell_apart

GRID = Grid.from_spacing((3, 3, 3))
COLOURS = st.sampled_from([(1, 2, 3), (4, 5, 6), default_colour(1), default_colour(2)])
FILES = st.lists(
    st.dictionaries(st.sampled_from(["liver", "spleen", "label_1", "label_2"]), COLOURS, min_size=1),
    min_size=1,
    max_size=4,
)


def label_map(labels: dict[str, tuple[int, int, int]]) -> LabelMap:
    found = tuple(Label(value, name, colour) for value, (name, colour) in enumerate(labels.items(), start=1))
    return LabelMap(np.ones(GRID.shape, np.uint8), GRID, found)


@given(files=FILES)
def test_no_two_files_share_a_name_or_colour(files: list[dict[str, tuple[int, int, int]]]) -> None:
    maps = [label_map(labels) for labels in files]
    shown = tell_apart([(Path(f"{'abcd'[n]}.nii.gz"), [layer]) for n, layer in enumerate(maps)])
    names = [label.name for layer in shown for label in layer.labels]
    assert len(set(names)) == len(names)
    owners = [{label.colour for label in layer.labels} for layer in shown]
    assert sum(map(len, owners)) == len(set.union(*owners))
    for before, after, labels in zip(maps, shown, files, strict=True):
        assert after.array is before.array
        assert [label.value for label in after.labels] == [label.value for label in before.labels]
        for old, new in zip(before.labels, after.labels, strict=True):
            assert (new.name == old.name) == (sum(old.name in other for other in files) == 1)
            assert new.name.startswith(old.name)
        assert len({label.colour for label in after.labels}) >= len(set(labels.values()))
    assert [label.colour for label in shown[0].labels] == [label.colour for label in maps[0].labels]


def test_files_of_one_name_are_called_with_their_folders(tmp_path: Path) -> None:
    one, other = label_map({"liver": (1, 2, 3)}), label_map({"liver": (1, 2, 3)})
    files = [(tmp_path / "a" / "x.nii", [one]), (tmp_path / "b" / "x.nii.gz", [other])]
    assert [layer.labels[0].name for layer in tell_apart(files)] == ["liver (a/x)", "liver (b/x)"]
    outputs = [(tmp_path / case / "labels.nii.gz", [one]) for case in ("first", "second")]
    assert [layer.labels[0].name for layer in tell_apart(outputs)] == ["liver (first)", "liver (second)"]


def test_layers_of_one_file_stay_as_they_are() -> None:
    layers = [label_map({"liver": (1, 2, 3)}), label_map({"lesion": (1, 2, 3)})]
    assert [layer.labels for layer in tell_apart([(Path("a.seg.nrrd"), layers)])] == [layer.labels for layer in layers]
