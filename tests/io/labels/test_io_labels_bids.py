from __future__ import annotations

import json

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.io.labels.bids import is_dseg, write_dseg_json

CODED = Label(1, "liver", (255, 0, 0), "SCT:10200004")
PLAIN = Label(2, "größe", (0, 99, 0))


def labelmap(*labels: Label) -> LabelMap:
    return LabelMap(np.zeros((4, 3, 2), np.uint8), Grid.from_spacing((4, 3, 2), (0.75, 0.75, 3)), labels)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("sub-01_dseg.nii.gz", True),
        ("sub-01_space-orig_dseg.nii", True),
        ("labels.nii.gz", False),
        ("dseg.nii.gz", False),
        ("sub-01_dseg.seg.nrrd", False),
    ],
)
def test_which_names_are_segmentations(name, is_one):
    assert is_dseg(name) == is_one


def test_what_is_always_said(tmp_path):
    written = write_dseg_json(labelmap(PLAIN), tmp_path / "sub-01_dseg.nii.gz")
    assert written == tmp_path / "sub-01_dseg.json"
    assert json.loads(written.read_text(encoding="utf-8")) == {
        "Description": "Discrete segmentation, number of labels: 1; see sub-01_dseg.tsv",
        "SpatialReference": "orig",
    }


def test_what_the_caller_knows(tmp_path):
    sources = ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"]
    written = write_dseg_json(labelmap(CODED, PLAIN), tmp_path / "sub-01_dseg.nii", manual=False, sources=sources)
    content = json.loads(written.read_text(encoding="utf-8"))
    assert content["Manual"] is False
    assert content["Sources"] == sources
    assert set(content["code"]) == {"LongName", "Description"}


@pytest.mark.parametrize(
    ("name", "given", "reference"),
    [
        ("sub-01_space-orig_dseg.nii.gz", None, "orig"),
        ("sub-01_space-MNI152NLin6Asym_dseg.nii.gz", None, None),
        ("sub-01_space-mine_dseg.nii.gz", "bids::mine.nii.gz", "bids::mine.nii.gz"),
    ],
)
def test_the_space_is_only_said_where_it_is_known(tmp_path, name, given, reference):
    written = write_dseg_json(labelmap(PLAIN), tmp_path / name, spatial_reference=given)
    assert json.loads(written.read_text(encoding="utf-8")).get("SpatialReference") == reference


def test_a_resolution_in_the_name_is_described(tmp_path):
    written = write_dseg_json(labelmap(PLAIN), tmp_path / "sub-01_res-lo_dseg.nii.gz")
    assert json.loads(written.read_text(encoding="utf-8"))["Resolution"] == "0.75 x 0.75 x 3 mm"
