from __future__ import annotations

import csv
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.core.labelmap import Label
from volseg.errors import InputError
from volseg.files.plain_text import plain
from volseg.files.tables import as_cell, as_text, write_table
from volseg.io.labels.table import read_label_table, write_label_table

HOSTILE = st.text(
    st.sampled_from("=+-@＝＋－＠'\"\t\r\n\x1b\x00\x07\x85\u2028\u202e\u200c |,;1aé腎\U0001f9e0")
    | st.characters(codec="utf-8"),
    max_size=12,
)


@given(HOSTILE)
def test_a_cell_starts_no_formula_and_holds_no_control_character(text: str) -> None:
    cell = as_cell(text)
    if not re.fullmatch(r"[+-](\d+\.?\d*(e[+-]?\d+)?|inf)", cell, re.ASCII):
        assert cell.strip()[:1] not in tuple("=+-@＝＋－＠")
    assert not any(unicodedata.category(c) in ("Cc", "Zl", "Zp") or c == "\u202e" for c in cell)
    assert as_text(cell) == plain(text)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        (" @SUM(A1)", "' @SUM(A1)"),
        ("＝cmd", "'＝cmd"),
        ("'=x", "''=x"),
        ("'kept", "'kept"),
        ("-12.5", "-12.5"),
        ("-1e-05", "-1e-05"),
        ("-1+2", "'-1+2"),
        ("a\x1b[31mb\nc", "a?[31mb c"),
        ("می\u200cروم", "می\u200cروم"),
    ],
)
def test_cells(text: str, cell: str) -> None:
    assert as_cell(text) == cell


@given(st.lists(st.tuples(HOSTILE, HOSTILE, st.floats(allow_nan=False)), max_size=4), st.sampled_from(",\t"))
def test_any_row_is_one_row(tmp_path_factory, rows, delimiter) -> None:
    path = write_table(tmp_path_factory.getbasetemp() / "t.csv", ["a", "b", "c"], rows, delimiter=delimiter)
    with path.open(encoding="utf-8", newline="") as stream:
        found = list(csv.reader(stream, delimiter=delimiter))
    assert found == [["a", "b", "c"], *([as_cell(a), as_cell(b), str(c)] for a, b, c in rows)]
    assert len(path.read_bytes().splitlines()) == len(rows) + 1


@given(st.lists(HOSTILE, min_size=1, max_size=6, unique=True))
def test_any_names_of_labels_can_be_read_back(tmp_path_factory, names) -> None:
    labels = []
    for value, name in enumerate(names, start=1):
        try:
            labels.append(Label(value, name, (value, 2, 3), "SCT:=1"))
        except InputError:  # empty, or a text that no file can hold
            continue
    path = tmp_path_factory.getbasetemp() / "labels.tsv"
    write_label_table(labels, path)
    found = read_label_table(path)
    assert [(label.value, label.colour, label.code) for label in found] == [
        (label.value, label.colour, label.code) for label in labels
    ]
    assert len({label.name for label in found}) == len(labels)
    assert all(f.name.startswith(plain(label.name).strip()) for f, label in zip(found, labels, strict=True))


def test_names_that_become_equal_get_their_values(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    write_label_table([Label(3, "a\nb", (1, 2, 3)), Label(5, "a b", (1, 2, 4)), Label(7, " a b", (1, 2, 5))], path)
    assert [label.name for label in read_label_table(path)] == ["a b", "a b_5", "a b_7"]
