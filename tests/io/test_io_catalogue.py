from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, InputError
from volseg.io import Catalogue, look, read, read_all, read_grid, read_label_layers, read_labels, write
from volseg.io.dicom import write_dicom_series
from volseg.io.images.nifti import write_nifti

GRID = Grid.from_spacing((6, 5, 4), (1.0, 1.0, 2.0), (10, 20, 30))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two CT series, 0 and 1, a segmentation and a structure set of the second, and a NIfTI file."""
    folder = tmp_path / "study"
    for number in range(2):
        volume = Volume(np.full(GRID.shape, number, np.int16), GRID, modality="CT")
        write_dicom_series(volume, folder / f"series{number}", description=f"series {number}")
    image = read(folder, series="series 1")
    array = np.zeros(GRID.shape, np.uint8)
    array[1:4, 1:4, 1:3] = 1
    for form in ("seg", "rtstruct"):
        write(LabelMap(array, GRID, (Label(1, "liver", (0, 200, 0)),)), folder / f"{form}.dcm", image=image, form=form)
    write(image, folder / "scan.nii.gz")
    return folder


def received(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.dcm"))}


def test_scans_of_a_folder(study: Path) -> None:
    found = look(study)
    assert found.is_dicom
    assert [scan.name for scan in found.scans()] == ["series 0", "series 1"]
    assert all(scan.grid.is_close(scan.read().grid, tolerance_mm=0) for scan in found.scans())
    assert [scan.read().array.max() for scan in found.scans()] == [0, 1]
    assert [path.name for path in found.image_files] == ["scan.nii.gz"]
    with pytest.raises(AmbiguousError, match="2 DICOM series; choose one by number"):
        found.scan()
    of = look(study / "rtstruct.dcm").label_object
    assert found.scan(of=of).name == "series 1"
    assert found.scan("series 0", of=of).name == "series 0"
    assert found.label_object is None  # there are two
    assert found.structures is None
    assert [labels.names for labels in found.dicom.labels] == [("liver",)] * 2


def test_volumes_of_a_file(tmp_path: Path) -> None:
    array = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    write_nifti(array, Grid.from_spacing((2, 3, 4)), tmp_path / "a.nii.gz")
    found = look(tmp_path / "a.nii.gz")
    assert not found.is_dicom
    assert [scan.name for scan in found.scans()] == [f"a_{n}" for n in range(5)]
    assert found.scans()[3].origin == f"{tmp_path / 'a.nii.gz'}, volume a_3"
    np.testing.assert_array_equal(found.scan("a_3").read().array, array[..., 3])
    with pytest.raises(AmbiguousError, match="holds 5 volumes"):
        found.scan()


def test_what_was_looked_at_is_known(study: Path) -> None:
    structures = look(study / "rtstruct.dcm")
    assert structures.is_dicom
    whole = look(study, known=structures)
    (header,) = structures.dicom.contents.values()
    assert any(content is header for content in whole.dicom.contents.values())
    assert look(study, known=whole) is whole


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_bytes_are_read_as_the_files_are(study: Path, packed: object) -> None:
    files = {name: packed(content) for name, content in received(study).items()}  # type: ignore[operator]
    volume, expected = read(files, series="series 1"), read(study, series="series 1")
    np.testing.assert_array_equal(volume.array, expected.array)
    assert volume.grid.is_close(expected.grid, tolerance_mm=0)
    assert list(read_all(files)) == ["series 0", "series 1"]
    with pytest.raises(AmbiguousError, match=r"<bytes>: 2 DICOM series"):
        read_grid(files)
    for name in ("seg.dcm", "rtstruct.dcm"):
        labels = read_labels({name: files[name]}, image=files)
        np.testing.assert_array_equal(labels.array, read_labels(study / name, image=study).array)
    (layer,) = read_label_layers({name: files[name] for name in files if name != "seg.dcm"})  # the scan is among them
    assert layer.labels[0].name == "liver"


def test_segmentations_are_written_for_a_scan_in_memory(study: Path, tmp_path: Path) -> None:
    image = read(received(study), series="series 1")
    array = (np.indices(GRID.shape)[0] > 2).astype(np.uint8)
    labels = LabelMap(array, image.grid, (Label(1, "half", (200, 0, 0)),))
    only = {name: content for name, content in received(study).items() if name.startswith("series1")}
    for form, scan in (("seg", image), ("rtstruct", only)):
        write(labels, tmp_path / f"{form}.dcm", image=scan, form=form)
        np.testing.assert_array_equal(read_labels(tmp_path / f"{form}.dcm", image=study).array, array)


def test_damaged_bytes_are_named(study: Path) -> None:
    files = received(study / "series0")
    name = next(iter(files))
    with pytest.raises(InputError, match=rf"<bytes>.{name}: damaged DICOM file"):
        read(files | {name: files[name][:300]})
    with pytest.raises(InputError, match=r"<bytes>: 'a' and './a' are one name; expected different ones"):
        read({"a": files[name], "./a": files[name]})
    with pytest.raises(InputError, match="<bytes>: no DICOM objects among these bytes; readable are NIfTI"):
        read({"a.txt": b"text"})
    with pytest.raises(InputError, match="<bytes>: no DICOM objects"):
        read_labels({})


def test_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: no such file or folder"):
        look(tmp_path / "none")
    (tmp_path / "empty.nii").touch()
    with pytest.raises(InputError, match=r"empty\.nii: is empty; expected NIfTI \(\.nii, "):
        look(tmp_path / "empty.nii")
    found = Catalogue(tmp_path / "none")
    assert (found.is_dicom, found.image_files, found.label_object) == (False, [], None)
