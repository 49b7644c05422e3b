"""Headers that lie, or hold more than anybody can wait for."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

import volseg
from volseg.core.grid import Grid
from volseg.core.volume import Volume
from volseg.errors import InputError, VolsegError
from volseg.io import read
from volseg.io.dicom.attributes import DAMAGE
from volseg.io.dicom.dataset import check_values, open_dataset, parse_dataset
from volseg.io.dicom.storage import DicomFile
from volseg.io.dicom.stream import BoundedStream
from volseg.io.dicom.writing import write_dicom_series

ONE_FILE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    grid = Grid.from_spacing((6, 5, 1), (0.7, 0.9, 2.0), (10, -20, 30))
    volume = Volume(np.arange(30, dtype=np.int16).reshape(6, 5, 1), grid, modality="CT")
    return write_dicom_series(volume, tmp_path / "scan")[0]


def insert(file: Path, content: bytes) -> None:
    """Put bytes in front of the pixels."""
    data = file.read_bytes()
    start = data.rindex(b"\xe0\x7f\x10\x00O")
    file.write_bytes(data[:start] + content + data[start:])


class Watched(io.BytesIO):
    """A file that keeps how much it was asked for at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.most = max(self.most, size or 0)
        return super().read(size)


@pytest.mark.parametrize("vr", [b"OB", b"OW", b"UT", b"UN", b"SQ"])
@pytest.mark.parametrize("length", [1 << 20, 0x7FFFFFFF, 0xFFFFFFF0])
def test_a_length_beyond_the_file_takes_no_memory(file: Path, vr: bytes, length: int) -> None:
    insert(file, struct.pack("<HH2sHI", 0x0029, 0x1010, vr, 0, length))
    content = Watched(file.read_bytes())
    with suppress(*DAMAGE):
        parse_dataset(BoundedStream(content, file.stat().st_size))
    assert 0 < content.most <= 1 << 16
    with pytest.raises(InputError, match=r"0001\.dcm: "):
        read(file)


@ONE_FILE
@given(place=st.integers(132, 2000), value=st.binary(min_size=1, max_size=8))
def test_overwritten_headers_are_read_or_refused(file: Path, place: int, value: bytes) -> None:
    content = bytearray(file.read_bytes())
    place = min(place, len(content) - len(value))
    content[place : place + len(value)] = value
    changed = file.with_name("changed.dcm")
    changed.write_bytes(content)
    with suppress(VolsegError):
        read(changed)


def test_elements_are_counted(file: Path) -> None:
    numbers = np.zeros(30_000, [("group", "<u2"), ("element", "<u2"), ("vr", "S2"), ("length", "<u2")])
    numbers["group"], numbers["element"], numbers["vr"] = 0x0029, np.arange(30_000) + 0x1000, b"LO"
    insert(file, numbers[:10_000].tobytes())
    assert read(file).array.max() == 29
    insert(file, numbers[10_000:].tobytes())
    with pytest.raises(InputError, match="it has more than 20000 elements"):
        read(file)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "PixelSpacing", "SeriesDescription", "SliceVector"])
def test_long_texts_and_numbers_are_refused(file: Path, keyword: str) -> None:
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    vr = pydicom.datadict.dictionary_VR(keyword)
    dataset.add_new(keyword, vr, [1] * 600_000 if vr == "US" else "1234")
    dataset.save_as(file, implicit_vr=True)
    if vr != "US":
        content = file.read_bytes()
        tag = pydicom.datadict.tag_for_keyword(keyword)
        start = content.index(struct.pack("<HHI", tag >> 16, tag & 0xFFFF, 4))
        value = b"1\\" * 600_000
        head = struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value))
        file.write_bytes(content[:start] + head + value + content[start + 12 :])
    with pytest.raises(InputError, match=r"has 1200000 bytes; expected at most 1048576"):
        read(file)


def test_binary_values_may_be_long(file: Path) -> None:
    dataset = pydicom.dcmread(file)
    dataset.add_new(0x00290010, "LO", "MAKER")
    dataset.add_new(0x00291010, "OB", bytes(1 << 21))
    dataset.save_as(file)
    assert read(file).array.max() == 29
    check_values(dataset)


@pytest.mark.parametrize("defined", [False, True])
def test_sequences_of_long_headers_are_counted(file: Path, defined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volseg.io.dicom.dataset._LONG_HEADER", 1 << 12)
    dataset = pydicom.dcmread(file)
    dataset.ReferencedImageSequence = []
    for _ in range(50):
        item, inner = Dataset(), Dataset()
        inner.ReferencedSOPInstanceUID = "1.2.3"
        item.PurposeOfReferenceCodeSequence, item.ReferencedSOPInstanceUID = [inner], "1.2.3.4.5.6"
        dataset.ReferencedImageSequence.append(item)
    dataset["ReferencedImageSequence"].is_undefined_length = not defined
    dataset.save_as(file)
    found = open_dataset(DicomFile(file))
    assert [
        item.PurposeOfReferenceCodeSequence[0].ReferencedSOPInstanceUID for item in found.ReferencedImageSequence
    ] == ["1.2.3"] * 50
    assert found == dataset
    monkeypatch.setattr("volseg.io.dicom.stream._MOST_READS", 200)
    # pydicom makes of any failure in a sequence one of its own.
    with pytest.raises((ValueError, OSError), match=r"takes more than 200 reads|No tag to read"):
        open_dataset(DicomFile(file))


def test_deep_sequences_are_damage(file: Path) -> None:
    level = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    data = file.read_bytes()
    start = data.rindex(b"\xe0\x7f\x10\x00O")
    file.write_bytes(data[:start] + level * 20_000 + data[start:])
    with pytest.raises(InputError, match=r"damaged DICOM file"):
        read(file)


@pytest.mark.parametrize("frames", [100_001, 1_000_000, 2**31])
def test_no_image_has_so_many_frames(file: Path, frames: int) -> None:
    dataset = pydicom.dcmread(file)
    dataset.NumberOfFrames = frames
    dataset.save_as(file)
    with pytest.raises(InputError, match=r"NumberOfFrames is \d+; expected 1 to 100000|its header asks for"):
        read(file)


def test_the_given_structure_set(shared_data: Path) -> None:
    path = shared_data / "found" / "memoryerror-in-dicom" / "rt.dcm"
    if not path.is_file():
        pytest.skip("the files that others found are not here")
    (entry,) = volseg.inspect(path).entries
    assert entry.kind == "DICOM RT Structure Set"
