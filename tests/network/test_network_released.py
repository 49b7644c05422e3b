"""The models that come with volseg: there, documented, small, and right about scans of their kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import volseg
from volseg.errors import InputError
from volseg.evaluation.metrics import dice
from volseg.network.file import released_models


def test_the_hippocampus_model_is_small_and_has_a_card() -> None:
    file = released_models()["hippocampus"]
    assert file.stat().st_size < 20e6
    card = file.with_suffix(".md").read_text(encoding="utf-8")
    for needed in ("CC BY-SA 4.0", "Intended use", "Out-of-fold", "volseg train", "Not a medical device"):
        assert needed in card


def test_a_released_model_is_loaded_by_name() -> None:
    model = volseg.load_model("hippocampus")
    assert [label.name for label in model.labels] == ["Anterior", "Posterior"]
    assert sorted(model.networks) == ["axial.all", "coronal.all", "sagittal.all"]
    assert model.temperature != 1
    assert model.path == released_models()["hippocampus"]


def test_it_is_of_todays_format_and_its_weights_are_those_of_the_card(caplog: pytest.LogCaptureFixture) -> None:
    model = volseg.load_model("hippocampus")
    assert not caplog.text
    assert model.sha256 in released_models()["hippocampus"].with_suffix(".md").read_text(encoding="utf-8")


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hippocampus").mkdir()
    with pytest.raises(InputError, match=r"hippocampus.model.safetensors: no such model file"):
        volseg.load_model("hippocampus")


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(
        InputError, match=r"liver: no such model file; .* one of the models that come with volseg: hippo"
    ):
        volseg.load_model("liver")


def test_it_finds_the_hippocampus_in_dicom_crops(shared_data: Path) -> None:
    for folder in sorted((shared_data / "dicom").glob("hippocampus_crop_*")):
        scan = volseg.read(folder)
        labels = volseg.predict(volseg.load_model("hippocampus"), scan, device="cpu").labels
        assert labels.grid.is_close(scan.grid)
        measured = volseg.measure(labels)
        # Adult hippocampi have about 1.5 to 5 ml; the anterior part lies in front of the posterior.
        extents = [entry.by_voxels for entry in measured]
        assert all(extents)
        assert 1.5 < sum(extent.volume_ml for extent in extents if extent) < 6
        front, back = (np.array(extent.centre_mm) for extent in extents if extent)
        assert front[1] > back[1] + 10


def test_it_knows_its_training_cases(shared_data: Path) -> None:
    model = volseg.load_model("hippocampus")
    folder = shared_data / "hippocampus"
    for path in sorted((folder / "labelsTr").glob("*.nii.gz"))[:3]:
        reference = volseg.read_labels(path)
        found = volseg.predict(model, volseg.read(folder / "imagesTr" / path.name), device="cpu").labels
        assert all(dice(found.mask(label), reference.mask(label)) > 0.8 for label in model.labels)
