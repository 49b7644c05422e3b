"""Structures chosen by name or value when a file is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.core.grid import Grid
from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import Label, LabelMap, default_colour
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError
from volseg.io import read, read_label_layers, read_labels, write
from volseg.io.dicom.rtstruct_writing import write_rtstruct
from volseg.io.dicom.seg_writing import write_dicom_probabilities, write_dicom_seg
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.images.itk import write_seg_nrrd

NAMES = ("Liver", "rib left 1", "rib left 2", "7", "GTV [1]", "Übersicht")
LABELS = tuple(
    Label(value, name, default_colour(value)) for value, name in zip((1, 2, 3, 9, 7, 12), NAMES, strict=True)
)
GRID = Grid.from_spacing((12, 10, 7), (1, 1, 2), (0, 0, 0))


def phantom() -> LabelMap:
    array = np.zeros(GRID.shape, np.uint8)
    for n, label in enumerate(LABELS):
        array[2 * n, 2:8, 1:6] = label.value
    return LabelMap(array, GRID, LABELS)


def names(layers: tuple[LabelMap, ...]) -> list[str]:
    return [label.name for layer in layers for label in layer.labels]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["liver"], ["Liver"]),
        (["LIVER", "rib*"], ["Liver", "rib left 1", "rib left 2"]),
        (["RIB left ?"], ["rib left 1", "rib left 2"]),
        (["gtv [1]"], ["GTV [1]"]),
        # A name goes before a value, a value before a pattern.
        (["7"], ["7"]),
        (["9", "12"], ["7", "Übersicht"]),
        (["ÜBERSICHT", " liver "], ["Liver", "Übersicht"]),
        (["*"], list(NAMES)),
        ([], list(NAMES)),
        (None, list(NAMES)),
    ],
)
def test_names_values_and_patterns(only: list[str] | None, expected: list[str]) -> None:
    assert [label.name for label in LabelChoice(only).of(LABELS, "x")] == expected


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(InputError, match=r"x: has no label 'lung'; it has 6: Liver, rib left 1, .*, Übersicht$"):
        LabelChoice(["liver", "lung"]).of(LABELS, "x")
    many = [Label(n, f"rib {n}", (0, 0, 0)) for n in range(1, 42)]
    with pytest.raises(InputError, match=r"has no label '42'; it has 41: rib 1, .*, rib 20 and 21 more"):
        LabelChoice(["42"]).of(many, "x")
    with pytest.raises(InputError, match="has no label ''; it has none"):
        LabelChoice([""]).of((), "x")


TEXTS = st.text(alphabet="aB[]*?1 ", min_size=1).map(str.strip).filter(bool)


@given(st.lists(TEXTS, min_size=1, unique_by=str.casefold), st.data())
def test_every_name_as_it_stands_chooses_its_label_alone(texts: list[str], data: st.DataObject) -> None:
    labels = [Label(value, name, (0, 0, 0)) for value, name in enumerate(texts, start=1_000_000)]
    wanted = data.draw(st.lists(st.sampled_from(labels), min_size=1))
    expected = tuple(label for label in labels if label in wanted)
    for change in (str, str.upper, str.lower):
        assert LabelChoice([change(label.name) for label in wanted]).of(labels, "x") == expected
    assert LabelChoice([str(label.value) for label in wanted]).of(labels, "x") == expected


@pytest.fixture
def scan(tmp_path: Path) -> Volume:
    write_dicom_series(Volume(np.zeros(GRID.shape, np.int16), GRID, modality="CT"), tmp_path / "scan")
    return read(tmp_path / "scan")


def written(form: str, labelmap: LabelMap, folder: Path, scan: Volume) -> Path:
    path = folder / ("labels" + {"nii": ".nii.gz", "nrrd": ".seg.nrrd"}.get(form, ".dcm"))
    if form in ("nii", "nrrd"):
        write(labelmap, path)
    elif form == "rtstruct":
        write_rtstruct(labelmap, path, source=scan.source)
    elif form == "fractional":
        maps = [labelmap.mask(label).astype(np.float32) for label in labelmap.labels]
        write_dicom_probabilities(maps, path, grid=labelmap.grid, labels=labelmap.labels, source=scan.source)
    else:
        write_dicom_seg(labelmap, path, source=scan.source, kind=form)
    return path


@pytest.mark.parametrize("form", ["nii", "nrrd", "rtstruct", "binary", "labelmap", "fractional"])
@pytest.mark.parametrize("only", [["rib*", "liver"], ["12"], ["gtv [[]1]"]])
def test_every_format_gives_the_wanted_labels_as_they_are_without_a_choice(
    form: str, only: list[str], tmp_path: Path, scan: Volume
) -> None:
    path = written(form, phantom(), tmp_path, scan)
    whole, found = read_labels(path, image=scan), read_labels(path, image=scan, only=only)
    assert found.labels == LabelChoice(only).of(whole.labels, path)
    wanted = [label.value for label in found.labels]
    np.testing.assert_array_equal(found.array, np.where(np.isin(whole.array, wanted), whole.array, 0))
    assert found.array.any()
    with pytest.raises(InputError, match=r"labels\..*: has no label 'lung'; it has 6: Liver, "):
        read_labels(path, image=scan, only=["lung"])


@pytest.mark.parametrize("form", ["nii", "nrrd", "rtstruct", "binary", "labelmap"])
def test_the_names_of_a_table_are_those_to_choose_by(form: str, tmp_path: Path, scan: Volume) -> None:
    path = written(form, phantom(), tmp_path, scan)
    table = tmp_path / "mine.tsv"
    table.write_text("index\tname\n3\tmine\n1\tyours\n77\tabsent\n", encoding="utf-8")
    found = read_labels(path, image=scan, labels=table, only=["MINE", "label_12"])
    assert [(label.value, label.name) for label in found.labels] == [(3, "mine"), (12, "label_12")]
    with pytest.raises(InputError, match="has no label 'liver'; it has 6: "):
        read_labels(path, image=scan, labels=table, only=["liver"])


def test_values_without_a_name(tmp_path: Path) -> None:
    write(LabelMap.from_array(phantom().array, GRID), tmp_path / "a.nii.gz")
    (tmp_path / "a.tsv").unlink()
    found = read_labels(tmp_path / "a.nii.gz", only=["9", "label_2"])
    assert [label.value for label in found.labels] == [2, 9]


def overlapping() -> tuple[LabelMap, ...]:
    first, second = np.zeros(GRID.shape, np.uint8), np.zeros(GRID.shape, np.uint8)
    first[2:9, 2:8, 1:6], second[4:6, 2:8, 1:6] = 1, 1
    return (
        LabelMap(first, GRID, (Label(1, "liver", (1, 1, 1)), Label(2, "nothing", (1, 1, 2)))),
        LabelMap(second, GRID, (Label(1, "tumour", (1, 1, 3)),)),
    )


def test_layers_without_a_wanted_label_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    write_seg_nrrd(overlapping(), path)
    with pytest.raises(AmbiguousError, match=r"its labels overlap, .*choose among them by name \(--only NAME,\.\.\.\)"):
        read_labels(path)
    found = read_labels(path, only=["tumour"])
    assert [label.name for label in found.labels] == ["tumour"]
    np.testing.assert_array_equal(found.array, overlapping()[1].array)
    assert names(read_label_layers(path, only=["1"])) == ["liver", "tumour"]
