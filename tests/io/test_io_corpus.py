"""Readers graded on difficult files with independent references; `load` is the adapter that the grader calls."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

import volseg
import volseg.io.dicom  # the grader forks for each file: what all of them load, they load once
import volseg.io.images.nifti_header
from volseg.errors import InputError
from volseg.io import read_all, read_label_layers

# Named volumes, or one slice, are what is asked for and what the manifest allows, but the grader has no truth for them
# and takes any answer for a wrong one. Here each is compared with nibabel or pydicom instead.
WITHOUT_TRUTH = {"dicom-gzip-named", "mgz-float", "nii-2d-extension", "nii-4d-oblique", "nii-4d-scaled", "nii2-4d"}
# The same of the derived cases. Infinities are replaced with a warning; 5D is named volumes; the label cases are sound
# images, which only `read_labels` and `verify` must refuse; nibabel mends the zero spacing of pixdim-zero as it writes.
DERIVED_WITHOUT_TRUTH = {
    "m-lab-float-half",
    "m-lab-negative",
    "m-lab-shift-1mm",
    "m-nii-4d",
    "m-nii-5d",
    "m-nii-nan-inf",
    "m-nii-pixdim-zero",
}
# Three patients in one folder are not graded at all.
UNGRADED = {"ct-dicomdir-three-patients"}


def load(path: str) -> list[tuple[NDArray[Any], NDArray[np.float64]]]:
    """Read everything at a path."""
    return [(volume.array, volume.grid.affine) for volume in volseg.read_all(path).values()]


def load_labels(path: str) -> list[tuple[NDArray[Any], NDArray[np.float64]]]:
    """Read label maps."""
    return [(layer.array, layer.grid.affine) for layer in read_label_layers(path)]


@pytest.fixture(scope="module")
def hard(shared_data: Path) -> Path:
    folder = shared_data / "hard"
    if not (folder / "tools" / "score.py").is_file():
        pytest.skip("the corpus of difficult files (shared/data/hard) is not here")
    return folder


@pytest.fixture(scope="module")
def manifest(hard: Path) -> dict[str, Any]:
    cases = json.loads((hard / "manifest.json").read_text(encoding="utf-8"))["cases"]
    return {case["id"]: case for case in cases}


def grade(tools: Path, result: Path, *options: str | Path, reader: str = "load") -> dict[str, tuple[str, str]]:
    """Grade a reader of this file by the program of the corpus; what is not right, and why."""
    command = [sys.executable, tools / "score.py", f"test_io_corpus:{reader}", "--json", result, *options]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": paths})
    grades = json.loads(result.read_text(encoding="utf-8"))
    assert len(grades) >= (90 if reader == "load" else 10)
    return {entry["id"]: (entry["grade"], entry["why"]) for entry in grades if entry["grade"] != "right"}


def test_no_difficult_file_is_read_wrong(hard: Path, tmp_path: Path) -> None:
    wrong = grade(hard / "tools", tmp_path / "grades.json")
    assert set(wrong) <= WITHOUT_TRUTH | UNGRADED, wrong


def test_no_derived_file_is_read_wrong(hard: Path, tmp_path: Path) -> None:
    derived = tmp_path / "derived"
    subprocess.run([sys.executable, hard / "tools" / "mutate.py", derived], check=True, capture_output=True)
    wrong = grade(hard / "tools", tmp_path / "grades.json", "--root", derived)
    assert set(wrong) <= DERIVED_WITHOUT_TRUTH, wrong
    # As label maps; that one lies 1 mm beside another is nothing that it says by itself.
    only = ("--root", derived, "--only", "m-lab-")
    assert set(grade(hard / "tools", tmp_path / "labels.json", *only, reader="load_labels")) == {"m-lab-shift-1mm"}
    assert not volseg.verify(derived / "m-nii-ok.nii", derived / "m-lab-shift-1mm.nii").agrees
    assert volseg.verify(derived / "m-nii-ok.nii", derived / "m-lab-flipped-storage.nii").agrees
    assert not list(tmp_path.rglob("PWNED*"))


@pytest.mark.parametrize("case", sorted(WITHOUT_TRUTH - {"dicom-gzip-named"}))
def test_named_volumes_are_those_of_nibabel(hard: Path, manifest: dict[str, Any], case: str) -> None:
    path = hard / manifest[case]["path"]
    image = nibabel.load(path)
    expected = np.asarray(image.dataobj, dtype=np.float64)
    if expected.ndim == 2:
        expected = expected[:, :, None, None]
    volumes = list(read_all(path).values())
    assert len(volumes) == expected.shape[3]
    for n, volume in enumerate(volumes):
        np.testing.assert_allclose(volume.array, expected[..., n], rtol=1e-6)
        np.testing.assert_allclose(volume.grid.affine, image.affine, atol=1e-4)


def test_gzipped_dicom_is_the_file_inside(hard: Path, manifest: dict[str, Any]) -> None:
    path = hard / manifest["dicom-gzip-named"]["path"]
    with gzip.open(path) as stream:
        dataset = pydicom.dcmread(stream)
    (volume,) = read_all(path).values()
    np.testing.assert_array_equal(volume.array[:, :, 0], dataset.pixel_array.T)
    x, y, z = dataset.ImagePositionPatient
    np.testing.assert_allclose(volume.grid.origin, [-x, -y, z], atol=1e-4)


def test_patients_and_series_are_never_mixed(hard: Path, manifest: dict[str, Any]) -> None:
    case = manifest["ct-dicomdir-three-patients"]
    volumes = read_all(hard / case["path"])
    counts: dict[str, int] = {}
    for volume in volumes.values():
        datasets = [pydicom.dcmread(file.path, stop_before_pixels=True) for file in volume.source.files]
        assert len({(dataset.PatientID, dataset.SeriesInstanceUID) for dataset in datasets}) == 1
        counts[datasets[0].SeriesInstanceUID] = counts.get(datasets[0].SeriesInstanceUID, 0) + len(datasets)
        assert volume.modality != "CR"
    assert max(counts.values()) > 3


def test_mask_on_another_grid_is_never_taken_for_the_image_s(hard: Path, manifest: dict[str, Any]) -> None:
    case = manifest["nii-mask-other-grid"]
    (mask,), image = read_label_layers(hard / case["path"]), volseg.read(hard / case["image"])
    assert mask.grid.shape != image.grid.shape
    assert not mask.grid.is_close(image.grid)


def test_structure_set_without_its_images_is_refused(hard: Path, manifest: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="its scan does not lie beside it; give its scan"):
        read_label_layers(hard / manifest["rtstruct-no-images"]["path"])
