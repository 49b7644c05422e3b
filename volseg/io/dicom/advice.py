"""Advice on DICOM pixels that cannot be decoded: the file is damaged, or its compression is unusual."""

from __future__ import annotations

from typing import Any

from pydicom.encaps import generate_frames
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, RLETransferSyntaxes

from volseg.errors import InputError
from volseg.io.dicom.attributes import DAMAGE, number_of, quiet_pydicom, size_of
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.storage import DicomFile

_COPY = "the file is cut off or damaged, copy it again"
_TOOLS = {
    **dict.fromkeys(JPEGLSTransferSyntaxes, "dcmdjpls or "),
    **dict.fromkeys(RLETransferSyntaxes, "dcmdrle or "),
    **dict.fromkeys(JPEG2000TransferSyntaxes, ""),
}
_JPEG_END, _LONGEST_PADDING = b"\xff\xd9", 64


def undecodable(file: DicomFile, reason: str) -> InputError:
    """Make the error of pixels that cannot be decoded.

    Parameters
    ----------
    file : DicomFile
        The file with the pixels.
    reason : str
        The errors of the decoders.
    """
    try:
        with quiet_pydicom():
            dataset = open_dataset(file)
            advice = _COPY if _is_cut_off(dataset) else _convert(dataset.file_meta.TransferSyntaxUID)
    except DAMAGE:
        advice = _COPY
    return InputError(f"{file}: the pixels cannot be decoded ({reason}); {advice}")


def _convert(syntax: UID) -> str:
    tool = _TOOLS.get(syntax, "dcmdjpeg or ") if syntax.is_encapsulated else ""
    return (
        f"no installed decoder reads this compression, convert it by {tool}gdcmconv --raw; if that fails too, the file "
        "is damaged, copy it again"
    )


def _is_cut_off(dataset: Any) -> bool:
    """Whether frames or the end of a frame are missing."""
    frames = int(number_of(dataset, "NumberOfFrames", 1))
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    keyword = next((name for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if name in dataset), "")
    content = dataset[keyword].value if keyword else b""
    if not syntax.is_encapsulated:
        bits = size_of(dataset, "BitsAllocated") * int(number_of(dataset, "SamplesPerPixel", 1))
        return len(content) < size_of(dataset, "Rows") * size_of(dataset, "Columns") * frames * bits // 8
    found = list(generate_frames(content, number_of_frames=frames))
    if syntax in RLETransferSyntaxes:
        return len(found) < frames
    return len(found) < frames or not all(_JPEG_END in frame[-_LONGEST_PADDING:] for frame in found)
