"""Write label maps and probabilities as DICOM Segmentation objects (PS3.3 C.8.20), by highdicom.

Every frame has the position of its source frame and refers to it (`volseg.io.dicom.seg_source`).

In a label map segmentation the SegmentNumber is the label's value. The other kinds must number their segments from 1;
their SegmentDescription holds the value (`volseg.io.dicom.codes.describe_segment`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from highdicom.seg import Segmentation
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid

from volseg._version import __version__
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.core.voxels import smallest_integer
from volseg.errors import OutputError, UsageError
from volseg.files.atomic import atomic_path
from volseg.io.dicom.attributes import DAMAGE, quiet_pydicom
from volseg.io.dicom.codes import describe_segment
from volseg.io.dicom.seg_source import checked_source, finish, frame_keys, positive, read_segmentation_header, stand_ins
from volseg.io.dicom.source import DicomSource, SourceFrame, values_on_frame

Kind = Literal["binary", "labelmap"]
Compression = Literal["rle", "jpeg-ls", "none"]

_SYNTAXES: dict[str, UID] = {"rle": RLELossless, "jpeg-ls": JPEGLSLossless, "none": ExplicitVRLittleEndian}
_MOST_SEGMENTS = 65535
_WHOLE = 255
# Probabilities may exceed 0 and 1 by this much because of rounding.
_ROUNDING = 1e-3
# A pixel centre at most this far from a voxel centre gets its value.
_ON_VOXEL = 0.02


def write_dicom_seg(
    labelmap: LabelMap,
    path: Path,
    *,
    source: DicomSource | None,
    kind: Kind = "binary",
    compression: Compression | None = None,
) -> None:
    """Write a label map as one DICOM Segmentation file on the frames of its image.

    Parameters
    ----------
    labelmap : LabelMap
        On any grid in the image's patient space: a pixel of a frame gets the value of the nearest voxel.
    path : Path
        The file to write or replace.
    source : DicomSource
        `Volume.source` of the image.
    kind : 'binary' or 'labelmap'
        ``binary`` stores a bit for every pixel and segment, without empty frames; every program reads it. ``labelmap``
        stores the label values (up to 65535); it is smaller and faster, but only newer programs read it.
    compression : 'rle', 'jpeg-ls' or 'none', optional
        Lossless compression of a labelmap; RLE by default. Binary is never compressed.

    Raises
    ------
    OutputError
        The image is not from DICOM or lacks an identifier; its frames are not parallel, differ in size or share a
        position; the label map has no labels, too large values, or lies outside the frames; the file cannot be
        written.
    UsageError
        Unknown kind or compression.

    Notes
    -----
    If no voxel has a label, binary has one empty frame for each label, and labelmap has all frames, empty.
    """
    if kind not in ("binary", "labelmap") or (kind == "binary" and compression not in (None, "none")):
        raise UsageError(f"{kind=}, {compression=}; expected kind 'binary' without compression, or 'labelmap'")
    syntax = _syntax(compression or "rle")
    source = checked_source(source, path)
    binary = kind == "binary"
    _check_labels(labelmap.labels, path, counted=binary)
    stack = _on_frames(labelmap, source.frames, counted=binary)
    if labelmap.array.any() and not stack.any():
        raise OutputError(f"{path}: no label lies on a frame of {source.files[0].folder}; give the labels' own image")
    with _wrapped(path):
        header = read_segmentation_header(source)
        if binary:
            segmentation = _lay_out(stack if stack.any() else stack[:1], "BINARY", labelmap.labels, source, header)
        else:
            segmentation = _lay_out(np.zeros((len(stack), 1, 1), np.uint8), "LABELMAP", labelmap.labels, source, header)
            frames = [_encode(stack[plane], syntax) for plane, _ in frame_keys(segmentation)]
            _set_frames(segmentation, frames, source.frames[0], syntax)
        finish(segmentation, source, header)
        _save(segmentation, path)


def write_dicom_probabilities(
    probabilities: NDArray[Any] | Sequence[NDArray[Any]],
    path: Path,
    *,
    grid: Grid,
    labels: Sequence[Label],
    source: DicomSource | None,
    compression: Compression | None = None,
) -> None:
    """Write probabilities as one fractional DICOM Segmentation file, in steps of 1/255.

    Parameters
    ----------
    probabilities : (C, I, J, K) float, or C arrays (I, J, K)
        From 0 to 1, one array for each label. They are interpolated if the pixels of a frame lie between voxels.
    path : Path
        The file to write or replace.
    grid : Grid
        Grid of the arrays.
    labels : C labels
        The label of each array.
    source, compression
        As in `write_dicom_seg`; RLE by default.

    Raises
    ------
    OutputError
        As for `write_dicom_seg`; also a wrong number or shape of arrays, or values outside 0 to 1.
    UsageError
        Unknown compression.
    """
    syntax = _syntax(compression or "rle")
    source = checked_source(source, path)
    _check_labels(labels, path, counted=True)
    _check_probabilities(probabilities, grid, len(labels), path)
    with _wrapped(path):
        header = read_segmentation_header(source)
        encoded = _encode_fractions(probabilities, grid, source.frames, syntax)
        if not encoded:
            if any(map(np.any, probabilities)):
                raise OutputError(f"{path}: no values lie on a frame of {source.files[0].folder}; give their own image")
            empty = _encode(np.zeros((source.frames[0].rows, source.frames[0].columns), np.uint8), syntax)
            for number in range(1, len(labels) + 1):
                encoded[0, number] = empty
        present = np.zeros((len(source.frames), 1, 1, len(labels)), np.float32)
        for plane, number in encoded:
            present[plane, 0, 0, number - 1] = 1
        segmentation = _lay_out(present, "FRACTIONAL", labels, source, header)
        frames = [encoded[key] for key in frame_keys(segmentation)]
        _set_frames(segmentation, frames, source.frames[0], syntax)
        finish(segmentation, source, header)
        _save(segmentation, path)


@contextmanager
def _wrapped(path: Path) -> Iterator[None]:
    """Turn errors of highdicom and pydicom into an OutputError, and silence their warnings about inherited values."""
    try:
        with quiet_pydicom():
            yield
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:300]
        raise OutputError(f"{path}: cannot be made a DICOM Segmentation ({reason}); write .nii.gz instead") from error


def _syntax(compression: str) -> UID:
    if compression not in _SYNTAXES:
        raise UsageError(f"compression is {compression!r}; expected one of {', '.join(_SYNTAXES)}")
    return _SYNTAXES[compression]


def _check_labels(labels: Sequence[Label], path: Path, *, counted: bool) -> None:
    if not labels:
        raise OutputError(f"{path}: there are no labels; a DICOM Segmentation needs at least one")
    highest = len(labels) if counted else max(label.value for label in labels)
    if highest > _MOST_SEGMENTS:
        raise OutputError(f"{path}: has the segment number {highest}; expected at most {_MOST_SEGMENTS}, write .nii.gz")


def _check_probabilities(maps: Any, grid: Grid, count: int, path: Path) -> None:
    shapes = list(map(np.shape, maps))
    if shapes != [grid.shape] * count:
        raise OutputError(f"{path}: probabilities have the shapes {shapes}; expected {count} of {grid.shape}")
    for array in maps:
        lowest, highest = float(np.min(array)), float(np.max(array))
        # Written so that NaN fails.
        if not (lowest >= -_ROUNDING and highest <= 1 + _ROUNDING):
            raise OutputError(f"{path}: probabilities go from {lowest:g} to {highest:g}; expected 0 to 1")


def _on_frames(labelmap: LabelMap, frames: Sequence[SourceFrame], *, counted: bool) -> NDArray[Any]:
    """(F, rows, columns) label values, or their numbers in the list of labels from 1; 0 is background."""
    values = np.zeros(len(labelmap.labels) + 1, np.int64)
    values[1:] = [label.value for label in labelmap.labels]
    dtype = smallest_integer(len(values) if counted else int(values[-1]))
    stack = np.zeros((len(frames), frames[0].rows, frames[0].columns), dtype)
    for plane, frame in zip(stack, frames, strict=True):
        found = values_on_frame(frame, labelmap.array, labelmap.grid)
        plane[...] = np.searchsorted(values, found) if counted else found
    return stack


def _encode_fractions(
    maps: Any, grid: Grid, frames: Sequence[SourceFrame], syntax: UID
) -> dict[tuple[int, int], bytes]:
    """Encode the frames that are not empty, by plane and segment number."""
    encoded = {}
    for number, array in enumerate(maps, start=1):
        values = np.asarray(array, np.float32)
        for plane, frame in enumerate(frames):
            found = values_on_frame(frame, values, grid, linear=not _meets_voxels(frame, grid))
            pixels = np.rint(found.clip(0, 1) * _WHOLE).astype(np.uint8)
            if pixels.any():
                encoded[plane, number] = _encode(pixels, syntax)
    return encoded


def _encode(pixels: NDArray[Any], syntax: UID) -> bytes:
    """Encode one frame of 8 or 16 bits."""
    if not syntax.is_encapsulated:
        return pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    bits = 8 * pixels.itemsize
    data: bytes = get_encoder(syntax).encode(
        pixels,
        # pydicom would use GDCM first, which ends the process at RLE frames with an odd number of bytes.
        encoding_plugin="pylibjpeg" if syntax == RLELossless else "",
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        number_of_frames=1,
        samples_per_pixel=1,
        bits_allocated=bits,
        bits_stored=bits,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    )
    return data


def _meets_voxels(frame: SourceFrame, grid: Grid) -> bool:
    """Whether all pixel centres of a frame are voxel centres."""
    # The first pixel, the steps along columns and rows, and the far ends.
    columns, rows = frame.columns - 1, frame.rows - 1
    pixels = np.array([[0, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [columns, 0, 0, 1], [0, rows, 0, 1]])
    ijk = grid.to_voxel((pixels @ frame.plane.T)[:, :3])
    return bool(np.abs(ijk - np.rint(ijk)).max() < _ON_VOXEL)


def _lay_out(
    pixels: NDArray[Any], kind: str, labels: Sequence[Label], source: DicomSource, header: Dataset
) -> Segmentation:
    """Let highdicom make the object of (F, rows, columns) pixels; one pixel a frame is enough before `_set_frames`."""
    segments = []
    for place, label in enumerate(labels, start=1):
        segments.append(describe_segment(label, label.value if kind == "LABELMAP" else place))
    return Segmentation(
        stand_ins(source, header, pixels.shape[1:3])[: len(pixels)],
        pixels,
        kind,
        segments,
        series_instance_uid=generate_uid(prefix=None),
        series_number=1000 + int(positive(header, "SeriesNumber") or 0) % 1_000_000_000,
        series_description="volseg segmentation",
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer="volseg",
        manufacturer_model_name="volseg",
        software_versions=__version__,
        device_serial_number="none",
        content_label="SEGMENTATION",
        max_fractional_value=_WHOLE,
        omit_empty_frames=kind != "LABELMAP" and bool(pixels.any()),
        specific_character_set=None,
    )


def _set_frames(segmentation: Segmentation, frames: list[bytes], source: SourceFrame, syntax: UID) -> None:
    """Replace the one-pixel frames that highdicom made by encoded frames.

    highdicom would hold all pixels of all segments several times, and call the encoder that `_encode` avoids.
    """
    segmentation.Rows, segmentation.Columns = source.rows, source.columns
    segmentation.file_meta.TransferSyntaxUID = syntax
    data = encapsulate(frames) if syntax.is_encapsulated else b"".join(frames)
    segmentation.PixelData = data + b"\0" * (len(data) % 2)


def _save(segmentation: Segmentation, path: Path) -> None:
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary)
