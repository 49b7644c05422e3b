"""One DICOM file's header: what the reader must know of it before it looks at a pixel."""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

# Everything that pydicom and its decoders were seen to raise on damaged files.
DAMAGE = (
    InvalidDicomError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

_TAGS = [
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID",
    "SeriesNumber SeriesDescription Modality ImageType EchoNumbers EchoTime",
    "Rows Columns SamplesPerPixel PhotometricInterpretation NumberOfFrames BitsStored PixelRepresentation",
    "ImagePositionPatient ImageOrientationPatient PixelSpacing SpacingBetweenSlices SliceThickness",
    "RescaleSlope RescaleIntercept RescaleType Units ModalityLUTSequence",
]


@dataclass(frozen=True, slots=True)
class OtherObject:
    """A DICOM file that holds no image: a segmentation, structure set, report, dose, directory."""

    path: Path
    kind: str
    modality: str


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """What one image file says of itself; lengths in mm, directions and positions in LPS+.

    `refusal` says why this kind of image cannot be a slice of a volume here, or is None. Missing geometry is None.
    """

    path: Path
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    number: str
    description: str
    modality: str
    echo: str
    refusal: str | None
    rows: int
    columns: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    slice_spacing: float | None
    slope: float
    intercept: float
    unit: str | None
    bits: int
    signed: bool
    inverted: bool


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings on values it could still read from the user, who can do nothing about them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def has_dicom_mark(path: Path) -> bool:
    """Whether a file has ``DICM`` behind a preamble of 128 bytes."""
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def read_header(path: Path) -> SliceHeader | OtherObject:
    """Read the header of one DICOM file.

    Raises
    ------
    One of `DAMAGE`
        The file is cut off, or a value in it has no meaning.
    """
    tags = [tag for line in _TAGS for tag in line.split()]
    with quiet_pydicom():
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
        kind = UID(_text(dataset, "SOPClassUID") or _text(dataset.file_meta, "MediaStorageSOPClassUID")).name
        if not kind and "Rows" not in dataset:
            raise ValueError("SOPClassUID is missing, the file may be cut off")
        if "Image Storage" not in kind and ("Storage" in kind or "Rows" not in dataset):
            return OtherObject(path, kind.removesuffix(" Storage"), _text(dataset, "Modality"))
        return _slice_header(path, dataset)


def _slice_header(path: Path, dataset: Any) -> SliceHeader:
    spacings = [_number(dataset, "SpacingBetweenSlices", 0.0), _number(dataset, "SliceThickness", 0.0)]
    modality = _text(dataset, "Modality")
    return SliceHeader(
        path=path,
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
        number=_text(dataset, "SeriesNumber"),
        description=_text(dataset, "SeriesDescription"),
        modality=modality,
        echo=f"{_text(dataset, 'EchoNumbers')} {_text(dataset, 'EchoTime')}",
        refusal=_refusal(dataset),
        rows=_size(dataset, "Rows"),
        columns=_size(dataset, "Columns"),
        position=_numbers(dataset, "ImagePositionPatient", 3),
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        pixel_spacing=_numbers(dataset, "PixelSpacing", 2),
        slice_spacing=next((abs(spacing) for spacing in spacings if spacing), None),
        slope=_number(dataset, "RescaleSlope", 1.0),
        intercept=_number(dataset, "RescaleIntercept", 0.0),
        unit=_unit(dataset, modality),
        bits=int(_number(dataset, "BitsStored", 16)),
        signed=_number(dataset, "PixelRepresentation", 0) == 1,
        inverted=_text(dataset, "PhotometricInterpretation") == "MONOCHROME1",
    )


def _refusal(dataset: Any) -> str | None:
    """Say why an image of this kind cannot be a slice of a volume."""
    photometric = _text(dataset, "PhotometricInterpretation")
    frames = int(_number(dataset, "NumberOfFrames", 1))
    if "MOSAIC" in _text(dataset, "ImageType").split("\\"):
        return "a mosaic (all slices side by side in one picture) is not read; convert it with dcm2niix"
    if frames > 1 or "Enhanced" in UID(_text(dataset, "SOPClassUID")).name:
        return f"a multi-frame image ({frames} frames in one file) is not read; convert it with dcm2niix"
    if _number(dataset, "SamplesPerPixel", 1) != 1 or not photometric.startswith("MONOCHROME"):
        return f"a colour image ({photometric or 'unknown colours'}) is not a scan; expected MONOCHROME2"
    if "ModalityLUTSequence" in dataset:
        return "its values need a look-up table (ModalityLUTSequence), which is not read; convert it with dcm2niix"
    return None


def _unit(dataset: Any, modality: str) -> str | None:
    if _text(dataset, "RescaleType", "HU" if modality == "CT" else "") == "HU":
        return "HU"
    return _text(dataset, "Units") or None


def _text(dataset: Any, keyword: str, default: str = "") -> str:
    value = dataset.get(keyword)
    if value is None or isinstance(value, str):
        return (value or default).strip("\0 ")
    return "\\".join(map(str, value)) if hasattr(value, "__iter__") else str(value)


def _numbers(dataset: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    value = dataset.get(keyword)
    if value is None or value == "" or (hasattr(value, "__len__") and not len(value)):
        return None
    numbers = tuple(map(float, value)) if hasattr(value, "__iter__") else (float(value),)
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{keyword} is {list(numbers)}; expected {count} finite number(s)")
    return numbers


def _number(dataset: Any, keyword: str, default: float) -> float:
    numbers = _numbers(dataset, keyword, 1)
    return default if numbers is None else numbers[0]


def _size(dataset: Any, keyword: str) -> int:
    size = int(_number(dataset, keyword, 0))
    if size < 1:
        raise ValueError(f"{keyword} is {size} or missing; expected at least 1")
    return size
