from __future__ import annotations

import colorsys
import csv
import re
from collections import Counter
from importlib import resources

import pytest
from pydicom.sr.codedict import codes

from volseg.core.anatomy import _key, colour_of, find_structure, words_of
from volseg.core.labelmap import Label, keep_colours_apart

Row = dict[str, str]

_PAIRS = (
    *("kidney", "adrenal_gland", "kidney_cyst", "lung_upper_lobe", "lung_lower_lobe", "subclavian_artery"),
    *("common_carotid_artery", "brachiocephalic_vein", "iliac_artery", "iliac_vena", "humerus", "scapula", "clavicula"),
    *("femur", "hip", "gluteus_maximus", "gluteus_medius", "gluteus_minimus", "autochthon", "iliopsoas"),
)
_SINGLE = (
    *("spleen", "gallbladder", "liver", "stomach", "pancreas", "lung_middle_lobe_right", "esophagus", "trachea"),
    *("thyroid_gland", "small_bowel", "duodenum", "colon", "urinary_bladder", "prostate", "sacrum", "heart", "aorta"),
    *("pulmonary_vein", "brachiocephalic_trunk", "atrial_appendage_left", "superior_vena_cava", "inferior_vena_cava"),
    *("portal_vein_and_splenic_vein", "spinal_cord", "brain", "skull", "sternum", "costal_cartilages"),
)
TOTALSEGMENTATOR = [
    *_SINGLE,
    *(f"{name}_{side}" for name in _PAIRS for side in ("left", "right")),
    *(f"rib_{side}_{number}" for side in ("left", "right") for number in range(1, 13)),
    *(f"vertebrae_{part}{n}" for part, count in (("C", 7), ("T", 12), ("L", 5), ("S", 1)) for n in range(1, count + 1)),
]

# DICOM's dictionary has few muscles; these are codes of SNOMED CT, as 3D Slicer codes TotalSegmentator's classes
# (except gluteus minimus, which it codes as medius).
NOT_DICOM = {"SCT:181674001", "SCT:78333006", "SCT:75297007", "SCT:68455001"}

UNCHANGING = {
    "liver": (201, 113, 79),
    "aorta": (226, 59, 50),
    "kidney_left": (160, 80, 69),
    "kidney_right": (134, 51, 40),
    "vertebrae_L3": (199, 170, 114),
    "rib_right_7": (206, 191, 158),
    "blob": (213, 46, 69),
    "Anterior": (196, 158, 79),
    "my lesion 3": (103, 214, 152),
    "größe": (204, 98, 209),
}


def table() -> list[Row]:
    text = resources.files("volseg.core").joinpath("anatomy.tsv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def names_of(row: Row) -> list[str]:
    return [row["name"], *(row["aliases"].split(";") if row["aliases"] != "n/a" else [])]


def test_every_row_is_well_formed() -> None:
    rows = table()
    assert all(list(row) == ["name", "aliases", "code", "colour"] for row in rows)
    assert all(row["name"] == row["name"].strip() and row["name"] for row in rows)
    assert all(re.fullmatch(r"#[0-9a-f]{6}", row["colour"]) for row in rows)
    assert all(re.fullmatch(r"SCT:[1-9]\d{4,17}|n/a", row["code"]) for row in rows)
    twice = [colour for colour, count in Counter(row["colour"] for row in rows).items() if count > 1]
    assert twice == []


def test_every_name_and_alias_finds_its_own_row() -> None:
    for row in table():
        for name in names_of(row):
            found = find_structure(name)
            assert found is not None, name
            assert (found.name, found.code or "n/a", found.side) == (row["name"], row["code"], None), name


def test_no_two_names_mean_the_same_after_normalisation() -> None:
    keys = Counter(_key(name) for row in table() for name in names_of(row))
    assert [key for key, count in keys.items() if count > 1] == []


def test_codes_are_those_of_dicom() -> None:
    meanings: dict[str, set[str]] = {}
    for code in codes.SCT.concepts.values():
        meanings.setdefault(f"SCT:{code.value}", set()).update(words_of(code.meaning))
    own = set()
    for row in table():
        if row["code"] not in meanings:
            own.add(row["code"])
            continue
        words = {word for name in names_of(row) for word in words_of(name)}
        assert words & meanings[row["code"]], (row["name"], row["code"], meanings[row["code"]])
    assert own == NOT_DICOM | {"n/a"}


def test_all_classes_of_totalsegmentator_are_known() -> None:
    assert len(TOTALSEGMENTATOR) == len(set(TOTALSEGMENTATOR)) == 117
    assert [name for name in TOTALSEGMENTATOR if find_structure(name) is None] == []
    assert len({colour_of(name) for name in TOTALSEGMENTATOR}) == 117


@pytest.mark.parametrize(
    ("name", "structure", "side", "code"),
    [
        ("liver", "liver", None, "SCT:10200004"),
        (" LIVER ", "liver", None, "SCT:10200004"),
        ("Kidney_R", "kidney", "right", "SCT:64033007"),
        ("l-kidney", "kidney", "left", "SCT:64033007"),
        ("LeftKidney", "kidney", "left", "SCT:64033007"),
        ("kidneys", "kidney", None, "SCT:64033007"),
        ("arteries", "artery", None, None),
        ("Tumour", "tumor", None, "SCT:108369006"),
        ("oesophagus", "esophagus", None, "SCT:32849002"),
        # The side belongs to the structure.
        ("heart_ventricle_left", "left ventricle", None, "SCT:87878005"),
        ("left atrium", "left atrium", None, "SCT:82471001"),
        ("lung_middle_lobe_right", "middle lobe of right lung", None, "SCT:72481006"),
        # Families.
        ("vertebrae_L1", "vertebra L1", None, "SCT:66794005"),
        ("L1 vertebra", "vertebra L1", None, "SCT:66794005"),
        ("thoracic vertebra 12", "vertebra T12", None, "SCT:23215003"),
        ("rib_left_7", "rib 7", "left", "SCT:113197003"),
        ("Rib 07 R", "rib 7", "right", "SCT:113197003"),
        ("ribs", "rib", None, "SCT:113197003"),
        # Common data sets.
        ("PZ", "peripheral zone of prostate", None, "SCT:279706003"),
        ("colon cancer primaries", "colon cancer", None, None),
        ("postcava", "inferior vena cava", None, "SCT:64131007"),
        ("Left-Hippocampus", "hippocampus", "left", "SCT:5366008"),
        ("hippocampus_anterior", "anterior hippocampus", None, None),
    ],
)
def test_a_name_is_found_however_it_is_written(name: str, structure: str, side: str | None, code: str | None) -> None:
    found = find_structure(name)
    assert found is not None
    assert (found.name, found.side) == (structure, side)
    if code is not None:
        assert found.code == code


@pytest.mark.parametrize(
    "name",
    # More or fewer words than a structure has, two sides, names of several things, nothing.
    [
        *("liver segment 4", "lobe", "left right kidney", "left left kidney", "anterior", "L1", "T1", "vertebra L 1"),
        *("rib 13", "vertebra C8", "left", "blob", "---", ""),
    ],
)
def test_nothing_is_guessed(name: str) -> None:
    assert find_structure(name) is None


def test_sides_have_one_hue_and_differ_slightly() -> None:
    for row in table():
        colours = [colour_of(name) for name in (row["name"], f"left {row['name']}", f"right {row['name']}")]
        if find_structure(f"left {row['name']}") is None:
            continue
        assert len(set(colours)) == 3, row["name"]
        assert max(abs(a - b) for other in colours[1:] for a, b in zip(colours[0], other, strict=True)) <= 31
    left, right = colour_of("thing L"), colour_of("R thing")
    assert left != right
    hues = [colorsys.rgb_to_hsv(*(c / 255 for c in colour))[0] for colour in (left, right, colour_of("thing"))]
    assert max(hues) - min(hues) < 0.02


def test_colours_follow_convention() -> None:
    for name in ("aorta", "iliac artery", "left atrium", "pulmonary vein"):
        red, green, blue = colour_of(name)
        assert red > 1.4 * max(green, blue), name
    for name in ("vein", "inferior vena cava", "portal vein", "pulmonary artery"):
        red, green, blue = colour_of(name)
        assert blue > 1.2 * max(green, red), name
    for name in ("femur", "rib_left_3", "vertebrae_T4", "skull"):
        red, green, blue = colour_of(name)
        assert red > green > blue > 100, name


def test_colours_never_change() -> None:
    assert {name: colour_of(name) for name in UNCHANGING} == UNCHANGING


def test_colours_of_other_names_are_neither_dark_nor_pale_nor_few() -> None:
    colours = [colour_of(f"thing {number}") for number in range(500)]
    for colour in colours:
        _, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in colour))
        assert 0.48 <= saturation <= 0.82
        assert 0.74 <= value <= 0.93
    assert len(set(colours)) > 490
    assert colour_of("Thing_4") == colour_of("thing 4") != colour_of("thing 5")


def test_names_without_words_have_colours() -> None:
    assert colour_of("---") != colour_of("+++")
    assert colour_of("肝臓") != colour_of("脾臓")
    assert colour_of("L") != colour_of("R")


def test_labels_of_one_map_are_told_apart() -> None:
    names = [name for row in table() for name in names_of(row)]
    names += [f"{side} {row['name']}" for row in table() for side in ("left", "right")]
    labels = [Label(value, name, colour_of(name)) for value, name in enumerate(names, start=1)]
    apart = keep_colours_apart(labels)
    assert len({label.colour for label in apart}) == len(labels)
    assert apart == keep_colours_apart(labels)
