"""What masks are named after their files."""

from __future__ import annotations

import pytest

from volseg.io.labels import structure_name, structure_names


@pytest.mark.parametrize(
    ("file", "case", "structure"),
    [
        ("case_1_liver.nii.gz", "case_1", "liver"),
        ("liver-case_1.nii.gz", "case_1", "liver"),
        ("case_12_liver.nii.gz", "case_1", "case_12_liver"),
        ("case_1.nii.gz", "case_1", "case_1"),
        ("kidney_left.seg.nrrd", "s1", "kidney_left"),
    ],
)
def test_the_name_of_a_case_is_no_part_of_the_structure(file: str, case: str, structure: str) -> None:
    assert structure_name(file, case) == structure


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["case_1_liver.nii.gz", "case_1_spleen.nii.gz", "case_1_stomach.nii.gz"], ["liver", "spleen", "stomach"]),
        (["case_1_liver.nii.gz", "case_1_liver_tumor.nii.gz"], ["liver", "liver_tumor"]),
        (["s.1-a.nii", "s.1-b.nrrd"], ["a", "b"]),
        (["kidney_left.nii.gz", "kidney_right.nii.gz"], ["kidney_left", "kidney_right"]),
        (["tumour_1.nii.gz", "tumour_2.nii.gz"], ["tumour_1", "tumour_2"]),
        (["case_1.nii.gz", "case_1_tumour.nii.gz"], ["case_1", "case_1_tumour"]),
        (["node_a.nii.gz", "node_b.nii.gz"], ["a", "b"]),
        (["spot.nii.gz", "stain.nii.gz"], ["spot", "stain"]),
        ([], []),
    ],
)
def test_what_all_files_begin_with_is_the_case(files: list[str], names: list[str]) -> None:
    assert structure_names(files) == names


def test_names_of_a_table_are_whole() -> None:
    assert structure_names(["node_a.nii.gz", "node_b.nii.gz"], ["Node_B"]) == ["node_a", "node_b"]
