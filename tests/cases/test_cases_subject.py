from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest

from volseg.cases.subject import Subject, read_subject
from volseg.core.anatomy import colour_of
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap, default_colour
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import InputError, UsageError
from volseg.files.atomic import write_text
from volseg.io import read, read_labels, write
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.images.nifti import write_nifti
from volseg.io.labels.table import sidecar_path
from volseg.io.mesh.formats import MESH_SUFFIXES
from volseg.io.mesh.writing import write_mesh
from volseg.io.scan_files import find_scan_files

GRID = Grid.from_spacing((8, 8, 6), (1, 1, 2))


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    array = np.zeros(GRID.shape, dtype=np.int16)
    array[2:6, 2:6, 1:5] = 300
    return write(Volume(array, GRID), tmp_path / "scan.nii.gz")[0]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[3:6, 3:6, 2:4] = 1
    return write(LabelMap(array, GRID, (Label(1, "liver", (200, 90, 60)),)), tmp_path / "seg.nii.gz")[0]


def names(subject: Subject) -> list[str]:
    return [label.name for layer in subject.labels for label in layer.labels]


def test_scan_and_label_map_are_told_apart_by_the_table(scan: Path, labels: Path) -> None:
    subject = read_subject([scan, labels])
    assert subject.volume is not None
    assert subject.volume.array.max() == 300
    assert names(subject) == ["liver"]
    assert [mesh.name for mesh in subject.surfaces()] == ["liver"]


def test_label_map_without_a_table_is_named_by_the_option(scan: Path, labels: Path) -> None:
    sidecar_path(labels).unlink()
    with pytest.raises(UsageError, match="2 scans to look at; give one, and its label map by --segmentation"):
        read_subject([scan, labels])
    subject = read_subject([scan], segmentations=[labels])
    assert names(subject) == ["label_1"]


def test_lone_label_map_is_known_by_the_table_given(labels: Path, tmp_path: Path) -> None:
    table = sidecar_path(labels).rename(tmp_path / "names.tsv")
    subject = read_subject([labels], labels=table)
    assert subject.volume is None
    assert names(subject) == ["liver"]


def test_lone_label_map_without_a_table_is_known_by_its_values(labels: Path, caplog: pytest.LogCaptureFixture) -> None:
    sidecar_path(labels).unlink()
    with caplog.at_level(logging.WARNING):
        subject = read_subject([labels])
    assert subject.volume is None
    assert subject.labels
    assert "shown as a label map" in caplog.text
    assert read_subject([labels], threshold=0.5).volume is not None


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.int16, -1000, 1000), (np.uint8, 0, 120), (np.uint8, 0, 256)])
def test_scans_of_few_values_stay_scans(dtype: type[np.generic], low: int, high: int, tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(low, high, GRID.shape).astype(dtype)
    subject = read_subject([write(Volume(array, GRID), tmp_path / "mr.nii.gz")[0]])
    assert subject.volume is not None
    assert not subject.labels


def test_real_label_maps_and_8_bit_scans_are_told_apart(shared_data: Path) -> None:
    folder = shared_data / "hippocampus"
    assert read_subject([folder / "imagesTr" / "hippocampus_075.nii.gz"]).volume is not None
    assert read_subject([folder / "labelsTr" / "hippocampus_075.nii.gz"]).labels
    assert read_subject([shared_data / "ct" / "example_seg.nii.gz"]).labels


def test_folder_of_cases_stands_for_its_only_one(labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for case in ("a", "b"):
        (out / case).mkdir(parents=True)
        (out / case / "labels.nii.gz").write_bytes(labels.read_bytes())
    with pytest.raises(UsageError, match=r"out: 2 cases to look at \(a, b\); give one"):
        read_subject([out])
    (out / "b" / "labels.nii.gz").unlink()
    assert read_subject([out]).labels


@pytest.mark.parametrize("working", [".", "/"])
def test_predicted_case_brings_its_scan(
    working: str, scan: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from another folder than that in which it was predicted: it is looked for around the case."""
    case = tmp_path / "out" / "case"
    case.mkdir(parents=True)
    labels.rename(case / "labels.nii.gz")
    sidecar_path(labels).rename(case / "labels.tsv")
    record = {"input": [scan.name], "files": [], "scan": find_scan_files([scan]).record().model_dump()}
    write_text(case / "run.json", json.dumps(record))
    monkeypatch.chdir(tmp_path if working == "." else working)
    subject = read_subject([case])
    assert subject.volume is not None
    assert subject.volume.array.max() == 300
    assert names(subject) == ["liver"]


def test_a_case_whose_scan_is_another_one_by_now_is_shown_without_it(
    scan: Path, labels: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = tmp_path / "out" / "case"
    case.mkdir(parents=True)
    labels.rename(case / "labels.nii.gz")
    record = {"input": [scan.name], "files": [], "scan": find_scan_files([scan]).record().model_dump()}
    write_text(case / "run.json", json.dumps(record))
    scan.write_bytes(scan.read_bytes() + b"\0")
    assert read_subject([case]).volume is None
    assert "was changed, or is neither in this folder nor in a folder above the case" in caplog.text


@pytest.mark.parametrize("run", [None, "{", '{"input": []}', "[1]", '{"input": ["gone.nii.gz"], "files": []}'])
def test_case_whose_scan_is_gone_is_shown_without_it(
    run: str | None, labels: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = tmp_path / "case"
    case.mkdir()
    labels.rename(case / "labels.nii.gz")
    if run is not None:
        write_text(case / "run.json", run)
    with caplog.at_level(logging.WARNING):
        subject = read_subject([case])
    assert subject.volume is None
    assert subject.labels
    assert "shown without its scan" in caplog.text


def test_threshold_gives_a_surface_and_its_outline_in_one_colour(scan: Path) -> None:
    subject = read_subject([scan], threshold=150)
    (mesh,) = subject.surfaces()
    (outlines,) = subject.outlines()
    assert outlines.labels == (Label(1, "threshold 150", mesh.colour),)
    assert mesh.name == "threshold 150"
    assert outlines.array.sum() == 4 * 4 * 4
    assert np.allclose(mesh.bounds.mean(axis=0), (3.5, 3.5, 5), atol=0.1)


def test_voxels_at_the_threshold_are_outside_of_surface_and_outline() -> None:
    array = np.zeros(GRID.shape, dtype=np.int16)
    array[1:7, 1:7, 1:5] = 150
    array[2:6, 2:6, 2:4] = 300
    subject = Subject(volume=Volume(array, GRID), threshold=150)
    (outlines,) = subject.outlines()
    assert outlines.array.sum() == 4 * 4 * 2


def test_single_slice_has_no_surface_but_outlines(caplog: pytest.LogCaptureFixture) -> None:
    grid = Grid.from_spacing((4, 4, 1))
    labels = LabelMap.from_array(np.ones(grid.shape, dtype=np.uint8), grid)
    with caplog.at_level(logging.WARNING):
        assert Subject(labels=(labels,)).surfaces() == []
    assert "--contact-sheet" in caplog.text
    assert Subject(labels=(labels,)).outlines() == (labels,)


@pytest.mark.parametrize("suffix", ["obj", "vtm"])
def test_meshes_come_with_their_names_and_colours(suffix: str, tmp_path: Path) -> None:
    vertices, faces = np.eye(4)[:, :3] * 30, [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]
    meshes = [Mesh(vertices, np.array(faces), name, (9, n, 9)) for n, name in enumerate(("liver", "spleen"))]
    found = read_subject([write_mesh(meshes, tmp_path / f"all.{suffix}")]).surfaces()
    assert [(mesh.name, mesh.colour) for mesh in found] == [(mesh.name, mesh.colour) for mesh in meshes]
    np.testing.assert_allclose(found[0].bounds, meshes[0].bounds)


def test_meshes_without_colours_have_those_of_their_names(tmp_path: Path) -> None:
    tetrahedron = Mesh(np.eye(4)[:, :3] * 30, np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]))
    names = ("a/liver.stl", "a/kidney_left.stl", "b/liver.stl")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    files = [write_mesh([tetrahedron], tmp_path / name) for name in names]
    # If a name occurs twice, as in two predictions, the second is told apart.
    expected = [colour_of("liver"), colour_of("left kidney"), default_colour(3)]
    assert [mesh.colour for mesh in read_subject(files).surfaces()] == expected


def test_what_does_not_fit_together_is_refused(scan: Path, labels: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to look at"):
        read_subject([])
    with pytest.raises(UsageError, match=r"--labels needs a label map; give one by --segmentation"):
        read_subject([scan], labels=sidecar_path(labels), threshold=3)
    with pytest.raises(InputError, match="has no volume '2'; expected one of seg"):
        read_subject([labels], series="2")
    with pytest.raises(UsageError, match="--only needs a label map"):
        read_subject([scan], only=["liver"], threshold=3)
    with pytest.raises(InputError, match=re.escape(f"expected {', '.join(MESH_SUFFIXES)}")):
        read_subject([tmp_path / "x.step"])
    with pytest.raises(UsageError, match="--threshold 3 needs a scan"):
        read_subject([labels], threshold=3)
    with pytest.raises(InputError, match="no such file"):
        read_subject([tmp_path / "none.nii.gz"])


def test_contours_are_shown_on_the_scan_that_is_given(scan: Path, labels: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_dicom_series(read(scan), tmp_path / "scans" / name, description=name)
    image = read(tmp_path / "scans", series="second")
    contours = write(read_labels(labels), tmp_path / "rs" / "rs.dcm", image=image, form="rtstruct")[0]
    for inputs, segmentation in (([tmp_path / "scans"], [contours]), ([contours, tmp_path / "scans"], [])):
        subject = read_subject(inputs, segmentations=segmentation)
        assert subject.volume is not None
        assert subject.volume.name == "second"
        assert [layer.array.sum() for layer in subject.labels] == [3 * 3 * 2]


def test_emptiness_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(Volume(np.zeros(GRID.shape, np.int16), GRID), tmp_path / "empty.nii.gz")[0]
    read_subject([path])
    assert "every voxel is 0, so it has nothing to show" in caplog.text


def test_several_label_maps_are_shown_together(scan: Path, labels: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.nii.gz"
    other.write_bytes(labels.read_bytes())
    subject = read_subject([scan], segmentations=[labels, other, labels])
    assert names(subject) == ["liver", "label_1"]
    sidecar_path(other).write_bytes(sidecar_path(labels).read_bytes())
    for found in (read_subject([scan], segmentations=[labels, other]), read_subject([scan, labels, other])):
        assert names(found) == ["liver (seg)", "liver (other)"]
        assert len({mesh.colour for mesh in found.surfaces()}) == 2
        assert len(found.outlines()) == 2
    found = read_subject([scan, labels], segmentations=[other], only=["LIVER"])
    assert names(found) == ["liver (other)", "liver (seg)"]


def test_overlapping_labels_of_a_file_are_layers(scan: Path, tmp_path: Path) -> None:
    masks = np.zeros((*GRID.shape, 3), np.uint8)
    masks[2:6, 2:6, 1:5, :2], masks[0, 0, 0, 2] = 1, 1
    write_nifti(masks, GRID, tmp_path / "masks.nii.gz")
    subject = read_subject([scan], segmentations=[tmp_path / "masks.nii.gz"])
    assert [[label.name for label in layer.labels] for layer in subject.labels] == [["label_1", "label_3"], ["label_2"]]
    assert [mesh.name for mesh in subject.surfaces()] == ["label_1", "label_3", "label_2"]
    assert names(read_subject([scan], segmentations=[tmp_path / "masks.nii.gz"], only=["label_2"])) == ["label_2"]


def test_series_chooses_from_the_scan_or_by_name_from_labels(tmp_path: Path) -> None:
    scans = np.zeros((*GRID.shape, 2), np.int16)
    scans[2:6, 2:6, 1:5, 1] = 300
    write_nifti(scans, GRID, tmp_path / "scan.nii.gz")
    volumes = np.zeros((*GRID.shape, 2), np.uint8)
    volumes[3:6, 3:6, 2:4, 1], volumes[3, 3, 3, 0], volumes[4, 4, 3, 0] = 1, 1, 2
    write_nifti(volumes, GRID, tmp_path / "seg.nii.gz")
    write_nifti(scans[..., 1], GRID, tmp_path / "one.nii.gz")
    subject = read_subject([tmp_path / "one.nii.gz"], segmentations=[tmp_path / "seg.nii.gz"], series="seg_1")
    assert subject.volume is not None
    assert names(subject) == ["label_1"]
    lone = read_subject([tmp_path / "seg.nii.gz"], series="1")
    assert lone.volume is None
    assert [layer.array.sum() for layer in lone.labels] == [18]
    write_nifti(volumes[..., 1], GRID, tmp_path / "map.nii.gz")
    for series in ("1", "scan_1"):
        subject = read_subject([tmp_path / "scan.nii.gz"], segmentations=[tmp_path / "map.nii.gz"], series=series)
        assert subject.volume is not None
        assert subject.volume.array.max() == 300
    with pytest.raises(UsageError, match="--series 1 chooses a volume of a scan or label map; give one"):
        read_subject([], series="1")


def test_folder_of_masks_is_one_label_map(scan: Path, tmp_path: Path) -> None:
    folder = tmp_path / "case" / "segmentations"
    for n, name in enumerate(("liver", "spleen")):
        mask = np.zeros(GRID.shape, np.uint8)
        mask[2 + n, 2:5, 2:5] = 1
        write_nifti(mask, GRID, folder / f"{name}.nii.gz")
    for given in (folder, tmp_path / "case"):
        assert names(read_subject([scan, given])) == ["liver", "spleen"]
    assert names(read_subject([folder], only=["spleen"])) == ["spleen"]
    assert names(read_subject([scan], segmentations=[folder])) == ["liver", "spleen"]
