from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from volseg.core.anatomy import words_of
from volseg.core.labelmap import Label, default_colour
from volseg.io.dicom.codes import _concepts, code_text, coding_of, describe_segment, label_of
from volseg.io.labels.table import read_table

ANATOMY, ALTERED = "123037004", "49755003"
LEFT, RIGHT = "7771000", "24028007"


def coded(name: str, code: str | None = None) -> tuple[str, str | None, str, str | None]:
    coding = coding_of(Label(1, name, (1, 2, 3), code))
    return coding.category.value, code_text(coding.type), coding.type.meaning, coding.side and coding.side.value


@pytest.mark.parametrize(
    ("name", "code", "meaning", "side"),
    [
        ("liver", "SCT:10200004", "Liver", None),
        ("Liver", "SCT:10200004", "Liver", None),
        ("right_kidney", "SCT:64033007", "Kidney", RIGHT),
        ("Kidney right", "SCT:64033007", "Kidney", RIGHT),
        ("LeftKidney", "SCT:64033007", "Kidney", LEFT),
        ("lung_upper_lobe_left", "SCT:45653009", "Upper lobe of lung", LEFT),
        # The side is part of the concept itself.
        ("lung middle-lobe, right", "SCT:72481006", "Middle lobe of right lung", None),
        ("left_atrium", "SCT:82471001", "Left atrium", None),
        ("oesophagus", "SCT:32849002", "Esophagus", None),
        # From the table of anatomy: words that the dictionary lacks, L and R, plurals, concepts that DICOM lacks.
        ("vertebrae_L1", "SCT:66794005", "L1 vertebra", None),
        ("rib_left_7", "SCT:113197003", "Rib", LEFT),
        ("lungs", "SCT:39607008", "Lung", None),
        ("Kidney_R", "SCT:64033007", "Kidney", RIGHT),
        ("small bowel", "SCT:30315005", "Small intestine", None),
        ("gluteus_minimus_right", "SCT:75297007", "gluteus minimus", RIGHT),
    ],
)
def test_a_name_finds_its_concept(name, code, meaning, side):
    assert coded(name) == (ANATOMY, code, meaning, side)


@pytest.mark.parametrize(
    "name",
    # No concept; more or fewer words than a concept; two concepts; two sides; words of SNOMED that are no structure.
    ["blob", "liver segment 4", "lobe", "bone", "left right kidney", "table", "lead", "normal", "vertebrae_L9", "---"],
)
def test_anything_else_gets_a_private_code_of_its_own(name):
    coding = coding_of(Label(1, name, (1, 2, 3)))
    assert coding.category.value == ANATOMY
    assert (coding.type.scheme_designator, coding.type.meaning, coding.side) == ("99VOLSEG", name, None)
    assert len(coding.type.value) <= 16
    assert code_text(coding.type) is None
    assert coding.type == coding_of(Label(7, name, (9, 9, 9))).type
    assert coding.type.value != coding_of(Label(1, name + "2", (1, 2, 3))).type.value


def test_the_table_of_anatomy_agrees_with_dicoms_own_words():
    """Names of the table that DICOM's lists of structures have too get the same code in both."""
    words = _concepts()
    for row in read_table(Path(str(resources.files("volseg.core").joinpath("anatomy.tsv"))), delimiter="\t")[1]:
        for name in (row[1]["name"], *row[1]["aliases"].split(";")):
            concept = words.get(words_of(name))
            assert concept is None or row[1]["code"] == f"SCT:{concept.value}", name


def test_private_codes_never_change():
    assert coding_of(Label(1, "blob", (1, 2, 3))).type.value == "fa2c8cc4f28176bb"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("tumour", "SCT:108369006"),
        ("Neoplasm", "SCT:108369006"),
        ("lesion", "SCT:52988006"),
        ("oedema", "SCT:79654002"),
    ],
)
def test_what_is_not_normal_is_altered(name, code):
    assert coded(name)[:2] == (ALTERED, code)


def test_one_word_of_a_name_makes_it_altered():
    assert coded("GTV_Mass")[:2] == (ALTERED, None)
    assert coded("liver tumor")[:2] == (ALTERED, None)
    assert coded("normal tissue here")[:2] == (ANATOMY, None)


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        ("Leber", "SCT:10200004", (ANATOMY, "SCT:10200004", "Liver", None)),
        ("spleen", "SCT:10200004", (ANATOMY, "SCT:10200004", "Liver", None)),
        ("left kidney", "SCT:64033007", (ANATOMY, "SCT:64033007", "Kidney", LEFT)),
        ("GTV", "SCT:108369006", (ALTERED, "SCT:108369006", "Neoplasm", None)),
        ("thing", "SCT:12345", (ANATOMY, "SCT:12345", "thing", None)),
        ("my lesion", "SCT:12345", (ALTERED, "SCT:12345", "my lesion", None)),
        ("liver", "SRT:T-62000", (ANATOMY, "SRT:T-62000", "liver", None)),
        # The code is not scheme:value, so the name decides.
        ("liver", "62000", (ANATOMY, "SCT:10200004", "Liver", None)),
    ],
)
def test_the_code_of_the_label_wins(name, code, expected):
    assert coded(name, code) == expected


def test_meanings_fit_dicom():
    meaning = coding_of(Label(1, "a\\b\n" + "x" * 100, (1, 2, 3))).type.meaning
    assert meaning == "a_b_" + "x" * 60


def test_code_text_reads_every_kind_of_code_value():
    item = Dataset()
    assert code_text(item) is None
    item.CodingSchemeDesignator = "FMA"
    assert code_text(item) is None
    item.LongCodeValue = "1" * 20
    assert code_text(item) == "FMA:" + "1" * 20
    assert code_text(CodedConcept("T-62000", "SRT", "Liver")) == "SRT:T-62000"
    assert code_text(Code("10200004", "SCT", "Liver")) == "SCT:10200004"


@pytest.mark.parametrize(
    "label",
    [
        Label(300, "Wirbelsäule", (255, 0, 10), "SCT:421060004"),
        Label(7, "blob", (1, 2, 3)),
        Label(2**40, "x\\y" * 50, (255, 255, 255), "FMA:" + "1" * 20),
    ],
)
def test_a_segment_gives_back_its_label(label):
    segment = describe_segment(label, 5)
    assert segment.SegmentNumber == 5
    assert len(segment.SegmentLabel) <= 64
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentAlgorithmName == "volseg"
    assert segment.TrackingUID != describe_segment(label, 5).TrackingUID
    assert label_of(segment) == label


def test_side_is_a_modifier_of_the_type():
    segment = describe_segment(Label(1, "kidney_left", (1, 2, 3)), 1)
    (modifier,) = segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert modifier.CodeMeaning == "Left"
    assert label_of(segment) == Label(1, "kidney_left", (1, 2, 3), "SCT:64033007")


def test_segments_of_others():
    segment = describe_segment(Label(300, "Liver", (1, 2, 3)), 5)
    segment.SegmentDescription = "drawn by hand"
    segment.TrackingID = "Finding 1"
    del segment.RecommendedDisplayCIELabValue
    assert label_of(segment) == Label(5, "Liver", default_colour(5, "liver"), "SCT:10200004")
    segment.SegmentLabel = ""
    segment.SegmentDescription = "volseg label x"
    assert label_of(segment).name == "Liver"
    segment.SegmentLabel = "renamed elsewhere"
    segment.SegmentDescription = "volseg label 3"
    assert label_of(segment) == Label(3, "renamed elsewhere", default_colour(3, "renamed elsewhere"), "SCT:10200004")
    del segment.SegmentedPropertyTypeCodeSequence, segment.SegmentLabel
    assert label_of(segment) == Label(3, "segment_5", default_colour(3))
