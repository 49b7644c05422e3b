"""A path is looked at once: how often folders are listed, and files parsed or decoded.

The counted calls lie below the functions of volseg, which may move: the system's listing of a folder, pydicom's parsing
of a data set, the opening of a NIfTI file's voxels. A parse counts as one of a header, unless the data set has pixels
or contours: these are read once on their own. A full scan of a folder parses the header of every file; so the file that
is parsed least says how many there were.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import volseg
from volseg.cases.subject import read_subject
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.volume import Volume
from volseg.io.dicom import dataset as dicom_dataset
from volseg.io.dicom.storage import DicomFile
from volseg.io.dicom.writing import write_dicom_series
from volseg.io.images import nifti

SLICES = 4
Verb = Callable[[Path, Path], bool]
PIXELS, CONTOURS = "PixelData", "ROIContourSequence"


class Counts:
    """How often each folder was listed, and each DICOM file parsed for its header or for its content."""

    def __init__(self) -> None:
        self.listings: Counter[Path] = Counter()
        self.headers: Counter[Path] = Counter()
        self.contents: Counter[Path] = Counter()

    def at_most(self) -> tuple[int, int, int]:
        """Listings of a folder, parses of a file's header, and of its content: the most of any one."""
        listings, headers, contents = (
            max(counted.values(), default=0) for counted in (self.listings, self.headers, self.contents)
        )
        return listings, headers, contents

    def describe(self) -> str:
        listings, headers, contents = self.at_most()
        scans, parses = min(self.headers.values()), sum(self.headers.values())
        return (
            f"{scans} scans; at most {headers} parses of a header, {contents} of a content, {listings} listings of a "
            f"folder; in all {parses} parses of headers, {sum(self.listings.values())} listings"
        )


@contextmanager
def counted(patch: pytest.MonkeyPatch) -> Iterator[Counts]:
    counts, opened = Counts(), list[tuple[Any, Path]]()
    scandir, listdir = os.scandir, os.listdir
    open_file, parse = DicomFile.open, dicom_dataset.read_partial

    def listed(function: Callable[[Any], Any]) -> Callable[..., Any]:
        def listing(path: Any = ".") -> Any:
            counts.listings[Path(path)] += 1
            return function(path)

        return listing

    def opening(file: DicomFile) -> Any:
        stream = open_file(file)
        opened.append((stream, file.path))
        return stream

    def parsing(stream: Any, *arguments: Any, **options: Any) -> Any:
        found = parse(stream, *arguments, **options)
        path = next(path for other, path in opened if other is stream)
        (counts.contents if PIXELS in found or CONTOURS in found else counts.headers)[path] += 1
        return found

    with patch.context() as inner:
        inner.setattr(os, "scandir", listed(scandir))
        inner.setattr(os, "listdir", listed(listdir))
        inner.setattr(DicomFile, "open", opening)
        inner.setattr(dicom_dataset, "read_partial", parsing)
        yield counts


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A CT series of a few slices with an RTSTRUCT beside it."""
    folder = tmp_path / "study"
    grid = Grid.from_spacing((16, 14, SLICES), (1.0, 1.0, 2.0), (0, 0, 0))
    write_dicom_series(Volume(np.zeros(grid.shape, np.int16), grid, modality="CT"), folder)
    scan = volseg.read(folder)
    array = np.zeros(scan.grid.shape, np.uint8)
    array[4:9, 4:9, 1:3] = 1
    labels = LabelMap(array, scan.grid, (Label(1, "cube", (200, 60, 10)),))
    volseg.write(labels, folder / "RS.dcm", image=scan, form="rtstruct")
    return folder


def read(study: Path, _: Path) -> bool:
    return volseg.read(study).grid.shape[2] == SLICES


def read_labels(study: Path, _: Path) -> bool:
    return volseg.read_labels(study / "RS.dcm", image=study).labels[0].name == "cube"


def convert(study: Path, target: Path) -> bool:
    return (target / "labels.nii.gz") in volseg.convert(study, target / "labels.nii.gz", image=study)


def verify(study: Path, _: Path) -> bool:
    return bool(volseg.verify(study, study / "RS.dcm"))


def view(study: Path, _: Path) -> bool:
    return len(read_subject([study], segmentations=[study / "RS.dcm"]).labels) == 1


def not_yet(reason: str, *values: Any) -> Any:
    """Mark files that are looked at more than once today; a mark that no longer holds fails, and is then taken off."""
    return pytest.param(*values, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason))


@pytest.mark.parametrize("verb", [read, read_labels, convert, verify, view])
def test_a_folder_is_listed_once_and_a_file_parsed_once(
    verb: Verb, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted(monkeypatch) as counts:
        worked = verb(study, tmp_path)
    if not worked or len(counts.headers) < SLICES:  # no AssertionError, which is expected where the counts are too high
        pytest.fail(f"{verb.__name__} has not read the study")
    assert counts.at_most() == (1, 1, 1), counts.describe()


@pytest.mark.parametrize(
    ("what", "has_names"), [("labelsTr", True), ("labelsTr", False), ("imagesTr", True), ("imagesTr", False)]
)
def test_a_file_is_decoded_once_before_the_first_step_of_training(
    what: str, has_names: bool, dataset_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from volseg.training.events import Planned
    from volseg.training.loop import iterate_training

    decoded: Counter[str] = Counter()
    opened = nifti.opened

    def opening(path: Path) -> Any:
        if path.parent.name == what:
            decoded[path.name] += 1
        return opened(path)

    if not has_names:
        (dataset_folder / "dataset.json").unlink()
    monkeypatch.setattr(nifti, "opened", opening)
    events = iterate_training(dataset_folder, tmp_path / "run")
    while not isinstance(next(events), Planned):
        pass
    events.close()
    if len(decoded) < 4:  # so many are trained on; those held out are not needed yet
        pytest.fail("training has not read the cases")
    assert set(decoded.values()) == {1}, dict(decoded)
