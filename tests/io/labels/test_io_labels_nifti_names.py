"""Names of labels in NIfTI headers, as TotalSegmentator writes them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.core.labelmap import Label, default_colour
from volseg.inspection import inspect
from volseg.io import read_labels
from volseg.io.labels.files import has_label_table
from volseg.io.labels.nifti_names import read_header_labels
from volseg.io.labels.table import write_label_table

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>  <Date><![CDATA[2013-07-14T05:45:09]]></Date>   '
    '<VolumeInformation Index="0">   <LabelTable>'
)
TAIL = "  </LabelTable>  <StudyMetaDataLinkSet>  </StudyMetaDataLinkSet>  </VolumeInformation></CaretExtension>"
ONE = '<Label Key="1" Red="0" Green="1" Blue="0.2" Alpha="1"><![CDATA[liver]]></Label>'


def saved(path: Path, *contents: str | bytes, array: np.ndarray | None = None) -> Path:
    image = nibabel.Nifti1Image(np.ones((3, 3, 3), np.uint8) if array is None else array, np.eye(4))
    for content in contents:
        data = content.encode() if isinstance(content, str) else content
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, data))
    image.to_filename(path)
    return path


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20).filter(
    str.strip
)


@given(
    names=st.dictionaries(st.integers(1, 60_000), NAMES, min_size=1, max_size=8).filter(
        lambda d: len({name.strip() for name in d.values()}) == len(d)
    ),
    colour=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_any_names_and_colours_are_read(tmp_path_factory, names: dict[int, str], colour: tuple[int, int, int]) -> None:
    red, green, blue = (c / 255 for c in colour)
    rgb = f'Red="{red}" Green="{green}" Blue="{blue}" Alpha="1"'
    rows = [f'<Label Key="{key}" {rgb}><![CDATA[{name.replace("]]>", "")}]]></Label>' for key, name in names.items()]
    path = saved(tmp_path_factory.mktemp("noise") / "labels.nii", HEAD + "\n".join(rows) + TAIL)
    found = read_header_labels(path)
    assert {label.value: label.name for label in found} == {
        key: name.replace("]]>", "").strip() for key, name in names.items()
    }
    assert {label.colour for label in found} == {colour}


def test_names_of_a_label_map_are_those_of_its_header_unless_there_is_a_table(tmp_path: Path) -> None:
    path = saved(tmp_path / "labels.nii.gz", "a comment", HEAD + ONE + TAIL)
    assert has_label_table(path)
    (liver,) = read_labels(path).labels
    assert (liver.value, liver.name, liver.colour) == (1, "liver", (0, 255, 51))
    write_label_table([Label(1, "given", (1, 2, 3))], tmp_path / "given.tsv")
    assert [label.name for label in read_labels(path, labels=tmp_path / "given.tsv").labels] == ["given"]
    write_label_table([Label(1, "beside", (1, 2, 3))], tmp_path / "labels.tsv")
    assert [label.name for label in read_labels(path).labels] == ["beside"]


def test_background_further_tables_and_missing_colours(tmp_path: Path) -> None:
    rows = '<Label Key="0" Red="0"><![CDATA[???]]></Label><Label Key="2" Red="nan" Green="x">spleen</Label>'
    second = '<VolumeInformation Index="1"><LabelTable><Label Key="1">other</Label></LabelTable></VolumeInformation>'
    path = saved(tmp_path / "labels.nii", HEAD + rows + TAIL.replace("</CaretExtension>", second + "</CaretExtension>"))
    assert read_header_labels(path) == (Label(2, "spleen", default_colour(2, "spleen")),)


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
BODY = "<CaretExtension><VolumeInformation><LabelTable>"


@pytest.mark.parametrize(
    "content",
    [
        BOMB + BODY + '<Label Key="1">&c;</Label>' + TAIL,
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">' + BODY + ONE + TAIL,
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + BODY + '<Label Key="1">&a;</Label>' + TAIL,
        HEAD + ONE,
        HEAD + ONE.replace('"1"', '"-1"', 1) + TAIL,
        HEAD + ONE.replace('"1"', '"one"', 1) + TAIL,
        HEAD + ONE.replace("liver", "") + TAIL,
        HEAD + ONE + ONE + TAIL,
        HEAD + ONE.replace("liver", "x" * 2000) + TAIL,
        HEAD + ONE.replace("liver", "&undefined;").replace("<![CDATA[", "").replace("]]>", "") + TAIL,
        HEAD.replace("UTF-8", "no-such-code") + ONE + TAIL,
        (HEAD + ONE + TAIL).encode()[:200] + b"\xff\xfe" + TAIL.encode(),
        b"<LabelTable>" * 200_000,
        HEAD + '<Label Key="1">a</Label>' + " " * (9 << 20) + TAIL,
    ],
    ids=[  # themselves, they would be ten million letters
        *("bomb", "file", "entity", "cut off", "negative", "no number", "no name", "twice", "long name", "undefined"),
        *("encoding", "no UTF-8", "deep", "large"),
    ],
)
def test_what_is_damaged_or_hostile_is_left_out_with_a_notice(
    tmp_path: Path, content: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved(tmp_path / "labels.nii", content)
    assert [label.name for label in read_labels(path).labels] == ["label_1"]
    assert [
        record.getMessage().count("the names of labels in its header are damaged") for record in caplog.records
    ] == [1]
    assert len(caplog.records[0].getMessage()) < 600


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_extension_hurts(tmp_path_factory, noise: bytes, at: int) -> None:
    good = (HEAD + ONE + TAIL).encode()
    path = saved(tmp_path_factory.mktemp("noise") / "labels.nii", noise, good[:at] + noise + good[at:])
    assert len(read_labels(path).labels) <= 1


def test_too_many_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "".join(f'<Label Key="{n}">n{n}</Label>' for n in range(1, 65_600))
    assert read_header_labels(saved(tmp_path / "labels.nii", HEAD + rows + TAIL)) == ()
    assert "more than 65535 labels" in caplog.text


def test_other_files_have_none(tmp_path: Path) -> None:
    assert read_header_labels(saved(tmp_path / "plain.nii.gz")) == ()
    assert read_header_labels(tmp_path / "missing.nii.gz") == ()
    assert not has_label_table(tmp_path / "plain.nii.gz")


def test_an_inspection_names_them(tmp_path: Path) -> None:
    saved(tmp_path / "labels.nii.gz", HEAD + ONE + TAIL)
    (entry,) = inspect(tmp_path / "labels.nii.gz").entries
    assert entry.contents == ("liver",)
