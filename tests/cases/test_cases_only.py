"""Some labels of a model alone: in every output the rest is background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from threshold_model import run
from torch import Tensor, nn
from typer.testing import CliRunner

from volseg.cli import app
from volseg.config import parse_config
from volseg.core.grid import Grid
from volseg.core.labelmap import Label
from volseg.core.volume import Volume
from volseg.errors import InputError
from volseg.io import read, read_channels, read_labels, write
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.mesh.reading import read_meshes
from volseg.network.file import Model

GRID = Grid.from_spacing((20, 16, 8), (1, 1, 1.2))
# The labels are not in the order of their values, as in some models.
LABELS = (Label(7, "liver", (200, 50, 50)), Label(3, "spleen", (50, 50, 200)), Label(5, "rib left", (9, 9, 9)))


class Bins(nn.Module):
    """Logits of the class with the number nearest to the value of the middle slice."""

    def forward(self, x: Tensor) -> Tensor:
        value = x[:, x.shape[1] // 2]
        return torch.stack([-3 * (value - n) ** 2 for n in range(4)], dim=1)


@pytest.fixture
def model() -> Model:
    window = {"kind": "window", "low": -1000, "high": 1000, "mean": 0, "std": 1}
    config = parse_config(
        {"preparation": {"planes": ["axial"], "spacing_mm": [1, 1, 1.2], "normalisation": [window], "neighbours": 0}}
    )
    return Model(config, LABELS, ("CT",), {"axial.0": Bins()}, fingerprint="f", sha256="s", digest="d")  # type: ignore[arg-type]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    array = np.zeros(GRID.shape, np.int16)
    array[2:8, 3:12, 2:7], array[8:13, 3:12, 2:7], array[14:18, 3:12, 2:7] = 1, 2, 3
    write_dicom_series(Volume(array, GRID, modality="CT"), tmp_path / "slices", description="scan")
    return tmp_path / "slices"


def test_every_output_holds_the_wanted_labels_alone(model: Model, scan: Path, tmp_path: Path) -> None:
    asked = {"probabilities": True, "mesh_formats": ("stl",), "dicom_forms": ("seg", "fractional")}
    (whole,) = run(model, [scan], tmp_path / "whole", **asked)
    (part,) = run(model, [scan], tmp_path / "part", only=("Spleen", "7"), **asked)
    assert not whole.error
    assert not part.error
    all_labels, labels = read_labels(whole.files[0]), read_labels(part.files[0])
    assert [(label.value, label.name) for label in labels.labels] == [(3, "spleen"), (7, "liver")]
    np.testing.assert_array_equal(labels.array, np.where(all_labels.array == 5, 0, all_labels.array))
    folder, other = part.files[0].parent, whole.files[0].parent
    assert sorted(path.name for path in (folder / "meshes").iterdir()) == ["liver.stl", "spleen.stl"]
    for name in ("liver.stl", "spleen.stl"):
        (mine,), (theirs,) = (read_meshes(place / "meshes" / name) for place in (folder, other))
        assert mine.volume_mm3 == pytest.approx(theirs.volume_mm3, rel=1e-3)
    shares, every = (read_channels([place / "probabilities.nii.gz"]) for place in (folder, other))
    assert len(shares) == 2
    for mine, theirs in zip(shares, (every[0], every[2]), strict=True):
        np.testing.assert_array_equal(mine.array, theirs.array)
    image = read(scan)
    assert [label.name for label in read_labels(folder / "labels_seg.dcm", image=image).labels] == ["spleen", "liver"]
    assert {label.name for label in read_labels(folder / "labels_fractional.dcm").labels} == {"liver", "spleen"}


def test_another_choice_is_another_case(model: Model, scan: Path, tmp_path: Path) -> None:
    run(model, [scan], tmp_path / "out", only=("liver",))
    assert run(model, [scan], tmp_path / "out", only=("LIVER",))[0].skipped
    (other,) = run(model, [scan], tmp_path / "out", only=("rib*",))
    assert "differs in --only; add --overwrite" in str(other.error)
    (again,) = run(model, [scan], tmp_path / "out", only=("rib*",), overwrite=True)
    assert [label.name for label in read_labels(again.files[0]).labels] == ["rib left"]


def test_a_label_that_the_model_lacks_is_said_before_any_work(model: Model, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the model: has no label 'brain'; it has 3: liver, spleen, rib left"):
        run(model, [scan], tmp_path / "out", only=("liver", "brain"))
    assert not (tmp_path / "out").exists()


def test_surfaces_of_some_labels_are_those_that_all_together_have(model: Model, scan: Path, tmp_path: Path) -> None:
    (case,) = run(model, [scan], tmp_path / "out", probabilities=True)
    for name, chosen in (("all", []), ("one", ["--only", "spleen"])):
        command = ["mesh", str(case.files[0].parent), "-o", str(tmp_path / name), *chosen]
        assert CliRunner().invoke(app, command).exit_code == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["spleen.stl"]
    assert (tmp_path / "one" / "spleen.stl").read_bytes() == (tmp_path / "all" / "spleen.stl").read_bytes()
    sizes = []
    for chosen in ([], ["--only", "spleen"]):
        command = ["measure", str(case.files[0].parent), "--csv", str(tmp_path / "sizes.csv"), "--overwrite", *chosen]
        assert CliRunner().invoke(app, command).exit_code == 0
        rows = (tmp_path / "sizes.csv").read_text(encoding="utf-8").splitlines()
        sizes.append([row for row in rows if "spleen" in row])
    assert sizes[0] == sizes[1]


def test_labels_of_probabilities_can_be_chosen(model: Model, scan: Path, tmp_path: Path) -> None:
    (case,) = run(model, [scan], tmp_path / "out", probabilities=True)
    probabilities = str(case.files[0].with_name("probabilities.nii.gz"))
    command = ["convert", probabilities, str(tmp_path / "p.dcm"), "--image", str(scan), "--as", "fractional"]
    result = CliRunner().invoke(app, [*command, "--only", "rib*,liver"])
    assert result.exit_code == 0, result.output
    assert {label.name for label in read_labels(tmp_path / "p.dcm").labels} == {"liver", "rib left"}
    back = ["convert", str(tmp_path / "p.dcm"), str(tmp_path / "p.nii.gz"), "--as", "fractional", "--image", str(scan)]
    result = CliRunner().invoke(app, [*back, "--only", "liver"])
    assert result.exit_code == 0, result.output
    write_back = read(tmp_path / "p.nii.gz")
    expected = read_channels([Path(probabilities)])[2].array
    np.testing.assert_allclose(write_back.array, expected, atol=1 / 250)


def test_names_with_commas_and_nothing(tmp_path: Path) -> None:
    array = np.zeros(GRID.shape, np.uint8)
    array[2:8, 3:12, 2:7], array[8:13, 3:12, 2:7] = 1, 2
    from volseg.core.labelmap import LabelMap

    labels = (Label(1, "kidney, left", (1, 2, 3)), Label(2, "spleen", (4, 5, 6)))
    write(LabelMap(array, GRID, labels), tmp_path / "labels.nii.gz")
    command = ["convert", str(tmp_path / "labels.nii.gz"), str(tmp_path / "x.nii.gz"), "--overwrite", "--only"]
    result = CliRunner().invoke(app, [*command, 'spleen, "kidney, left"'])
    assert result.exit_code == 0, result.output
    assert len(read_labels(tmp_path / "x.nii.gz").labels) == 2
    result = CliRunner().invoke(app, [*command, "kidney*"])
    assert [label.name for label in read_labels(tmp_path / "x.nii.gz").labels] == ["kidney, left"]
    for nothing in ("", " , ", "a\rb"):
        assert CliRunner().invoke(app, [*command, nothing]).exit_code == 2
