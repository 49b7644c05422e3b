from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.core.anatomy import colour_of
from volseg.core.labelmap import Label, default_colour
from volseg.errors import InputError
from volseg.files.names import case_name, portable_name
from volseg.io.labels.table import read_label_table, sidecar_path, write_label_table

LABELS = (
    Label(1, "liver, left", (255, 0, 16), "SCT:10200004"),
    Label(7, 'a "quote"', (1, 2, 3)),
    Label(300, "größe", (9, 8, 7)),
)


def test_table_round_trip(tmp_path):
    write_label_table(LABELS, tmp_path / "labels.tsv")
    assert read_label_table(tmp_path / "labels.tsv") == LABELS
    first, second, *_ = (tmp_path / "labels.tsv").read_text(encoding="utf-8").splitlines()
    assert first.split("\t") == ["index", "name", "abbreviation", "color", "mapping", "code"]
    assert second.split("\t") == ["1", "liver, left", "n/a", "#ff0010", "n/a", "SCT:10200004"]


def test_bids_own_integers_are_the_mapping(tmp_path):
    labels = (Label(1, "grey", (1, 2, 3), "1"), Label(2, "other", (4, 5, 6)))
    write_label_table(labels, tmp_path / "a.tsv")
    assert (tmp_path / "a.tsv").read_text(encoding="utf-8") == (
        "index\tname\tabbreviation\tcolor\tmapping\n1\tgrey\tn/a\t#010203\t1\n2\tother\tn/a\t#040506\tn/a\n"
    )
    assert read_label_table(tmp_path / "a.tsv") == labels


def test_a_code_in_the_mapping_is_read_as_older_versions_wrote_it(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("index\tname\tmapping\tcode\n1\tliver\tSCT:10200004\tn/a\n2\tgrey\t1\tSCT:1\n3\tx\tn/a\t\n")
    assert [label.code for label in read_label_table(path)] == ["SCT:10200004", "SCT:1", None]


def test_columns_in_any_order_background_and_byte_order_mark(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("name\tindex\nbackground\t0\nspleen\t4\n", encoding="utf-8-sig")
    assert read_label_table(path) == (Label(4, "spleen", default_colour(4, "spleen")),)


def test_colours_of_the_file_win_and_others_come_from_the_names(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text(
        "index\tname\tcolor\n1\tspleen\t#010203\n2\tliver\t\n3\tLiver\tn/a\n4\tblob\t#c9714f\n5\tx\t#010203\n"
    )
    spleen, liver, twin, blob, last = read_label_table(path)
    assert spleen.colour == last.colour == (1, 2, 3)
    assert blob.colour == colour_of("liver") == (201, 113, 79)
    # Both would have that colour: each is changed a little.
    assert len({liver.colour, twin.colour, blob.colour}) == 3
    assert all(abs(a - b) <= 32 for one in (liver, twin) for a, b in zip(one.colour, blob.colour, strict=True))
    assert read_label_table(path) == (spleen, liver, twin, blob, last)


def test_labels_of_a_dataset_json_have_the_colours_of_their_names(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "aorta": 9, "kidney_left": 2}}))
    assert read_label_table(tmp_path / "dataset.json") == (
        Label(2, "kidney_left", colour_of("left kidney")),
        Label(9, "aorta", colour_of("aorta")),
    )


def test_every_mistake_is_reported_with_its_line(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("index\tname\tcolor\n1\tliver\t#ff0000\nx\tspleen\n2\tkidney\tred\n1\theart\n3\t\n-1\tliver\n")
    with pytest.raises(InputError, match=r"line 3: .*line 4: .*line 5: .*line 6: .*line 7: ") as caught:
        read_label_table(path)
    assert "expected #rrggbb" in str(caught.value)
    assert "1 'heart' repeats 1 'liver'" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"value\tname\n1\ta\n", "has no column index"),
        (b"", "has no column index and name"),
        (b"\xff\xfe\x00binary", "UTF-8"),
        (b"x" * 200_000, "is not a table"),
    ],
)
def test_what_is_no_table(tmp_path, content, message):
    (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_label_table(tmp_path / "a.tsv")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_label_table(tmp_path / "a.tsv")


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "background", "2": "liver", "1": "spleen"},
        {"background": 0, "spleen": 1, "liver": 2},
        {"background": "0", "spleen": "1", "liver": "2"},
    ],
)
def test_dataset_json_both_ways_round(tmp_path, labels):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    found = read_label_table(tmp_path / "dataset.json")
    assert [(label.value, label.name) for label in found] == [(1, "spleen"), (2, "liver")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"labels": {"whole": [1, 2], "liver": 1}}', "'whole' is a region"),
        ('{"labels": {"liver": 1, "ignore": 3}}', "'ignore' label is not supported"),
        ('{"labels": {"liver": 1.5}}', "expected an integer"),
        ('{"labels": {"liver": true}}', "expected an integer"),
        ('{"labels": {"liver": "spleen"}}', "expected an integer"),
        ('{"labels": {"a": 1, "b": 1}}', "repeats"),
        ('{"labels": [1]}', "has no 'labels' object"),
        ("[1]", "has no 'labels' object"),
        ('{"labels": ', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_mistakes_in_dataset_json(tmp_path, content, message):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_label_table(tmp_path / "dataset.json")


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("a.nii.gz", "a"),
        ("a.NII.GZ", "a"),
        ("v1.2.nii", "v1.2"),
        ("a.seg.nrrd", "a"),
        ("1.2.840.10008", "1.2.840.10008"),
        ("a.img.gz", "a"),
        (".nii", ".nii"),
    ],
)
def test_case_name(name, case):
    assert case_name(Path("folder") / name) == case


def test_case_name_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "scan").mkdir()
    monkeypatch.chdir(tmp_path / "scan")
    assert case_name(".") == "scan"


def test_sidecar_lies_beside_the_image():
    assert sidecar_path(Path("out") / "labels.nii.gz") == Path("out") / "labels.tsv"


@pytest.mark.parametrize(
    ("name", "portable"),
    [
        ("left kidney", "left_kidney"),
        ("a/b\\c:d*?", "a_b_c_d"),
        ("../../etc", "etc"),
        ("größe 3.5+", "größe_3.5+"),
        ("NUL", "NUL_"),
        ("com1.txt", "com1.txt_"),
        ("  ", "label_"),
        ("x" * 300, "x" * 80),
    ],
)
def test_portable_name(name, portable):
    assert portable_name(name) == portable


@given(st.text(st.characters(codec="utf-8"), max_size=400) | st.text("腎𠀀é", min_size=60, max_size=300))
def test_any_label_gives_a_file_name_that_file_systems_take(name):
    portable = portable_name(name)
    assert 0 < len(portable) <= 81
    assert len(portable.encode()) <= 201
    assert not set(portable) & set('/\\:*?"<>|\0\n')
