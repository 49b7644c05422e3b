"""Write label maps and probabilities as DICOM Segmentation objects (PS3.3 C.8.20), by highdicom.

Every frame lies where its source frame lies, and refers to it. highdicom is given stand-ins for the source frames,
made of what `DicomSource` knows, as it refuses much of what real files hold: long texts, private kinds of image,
orientations frame by frame. What belongs to patient and study is then taken over from the source as it is.

A label's value is the SegmentNumber of a label map segmentation. The other kinds must count their segments from 1;
there the value stands in SegmentDescription (`volseg.io.terminology.describe_segment`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from highdicom.seg import Segmentation
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.errors import BytesLengthException
from pydicom.pixels import get_encoder
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless, generate_uid
from pydicom.valuerep import DSfloat

from volseg import __version__
from volseg.errors import OutputError, UsageError
from volseg.geometry import RAS_TO_LPS, Float, Grid
from volseg.io.atomic import atomic_path
from volseg.io.dicom_attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom_header import open_dataset
from volseg.io.dicom_source import DicomSource, SourceFrame, values_on_frame
from volseg.io.terminology import describe_segment
from volseg.io.voxels import smallest_integer
from volseg.labelmap import Label, LabelMap

_LOG = logging.getLogger(__name__)

Kind = Literal["binary", "labelmap"]
Compression = Literal["rle", "jpeg-ls", "none"]

_DAMAGE = (*DAMAGE, BytesLengthException)
_SYNTAXES: dict[str, UID] = {"rle": RLELossless, "jpeg-ls": JPEGLSLossless, "none": ExplicitVRLittleEndian}
_MOST_SEGMENTS = 65535
_WHOLE = 255
# Probabilities beyond 0 and 1 by no more than this are rounding.
_ROUNDING = 1e-3
# Parallel frames may be turned against each other by this part of a pixel at the far edge.
_TURN = 0.1
# Frames that are nearer to each other than this part of a pixel are in one place.
_APART = 1e-3
# A pixel centre this near to a voxel centre takes its value.
_ON_VOXEL = 0.02
# Gaps that differ by no more than this part are one spacing.
_EVEN = 0.01
# Stand-ins for source frames are called this and their number; no true UID is (below 2.25 is one number only).
_STAND_IN = "2.25.0."
# Where patient, study and equipment are described; damage elsewhere in the source does not matter.
_GROUPS = (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040)
_PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
_STUDY = ("AccessionNumber", "StudyID", "StudyDate", "StudyTime")
_EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber", "StationName")


def write_dicom_seg(
    labelmap: LabelMap,
    path: Path,
    *,
    source: DicomSource | None,
    kind: Kind = "binary",
    compression: Compression | None = None,
) -> None:
    """Write a label map as one DICOM Segmentation file on the frames of the image that it belongs to.

    Parameters
    ----------
    labelmap : LabelMap
        On any grid in the image's patient space: a pixel of a frame gets the value of the nearest voxel.
    path : Path
        The file to write or replace.
    source : DicomSource
        `Volume.source` of the image.
    kind : 'binary' or 'labelmap'
        A bit for every pixel and segment, which every reader takes, without the frames that would be empty; or the
        label values themselves (up to 65535), smaller and faster, for newer readers.
    compression : 'rle', 'jpeg-ls' or 'none', optional
        Of a labelmap, lossless; RLE where nothing is said. Binary is never compressed.

    Raises
    ------
    OutputError
        The image is not from DICOM or lacks what a Segmentation refers to; its frames are not parallel, differ in size
        or share a place; the label map has no labels, too large values, or lies outside the frames; the file cannot be
        written.
    UsageError
        Unknown kind or compression.

    Notes
    -----
    Where all labels are absent, binary has one empty frame a label and labelmap all frames, empty.
    """
    if kind not in ("binary", "labelmap") or (kind == "binary" and compression not in (None, "none")):
        raise UsageError(f"{kind=}, {compression=}; expected kind 'binary' without compression, or 'labelmap'")
    syntax = _syntax(compression or "rle")
    source = _checked(source, path)
    binary = kind == "binary"
    _check_labels(labelmap.labels, path, counted=binary)
    stack = _on_frames(labelmap, source.frames, counted=binary)
    if labelmap.array.any() and not stack.any():
        raise OutputError(f"{path}: no label lies on a frame of {source.files[0].folder}; give the labels' own image")
    with _wrapped(path):
        header = _read_header(source)
        if binary:
            segmentation = _lay_out(stack if stack.any() else stack[:1], "BINARY", labelmap.labels, source, header)
        else:
            segmentation = _lay_out(np.zeros((len(stack), 1, 1), np.uint8), "LABELMAP", labelmap.labels, source, header)
            frames = [_encode(stack[plane], syntax) for plane, _ in _frame_keys(segmentation)]
            _set_frames(segmentation, frames, source.frames[0], syntax)
        _finish(segmentation, source, header)
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
        From 0 to 1, one a label. Where the pixels of a frame lie between voxels they are interpolated.
    path : Path
        The file to write or replace.
    grid : Grid
        Of the arrays.
    labels : C labels
        What they are the probabilities of.
    source, compression
        As in `write_dicom_seg`; RLE where nothing is said.

    Raises
    ------
    OutputError
        As `write_dicom_seg`; also another number or shape of arrays, or values beyond 0 and 1.
    UsageError
        Unknown compression.
    """
    syntax = _syntax(compression or "rle")
    source = _checked(source, path)
    _check_labels(labels, path, counted=True)
    _check_probabilities(probabilities, grid, len(labels), path)
    with _wrapped(path):
        header = _read_header(source)
        encoded = _encode_fractions(probabilities, grid, source.frames, syntax)
        if not encoded and any(np.any(array) for array in probabilities):
            raise OutputError(f"{path}: nothing lies on a frame of {source.files[0].folder}; give its own image")
        if not encoded:
            empty = _encode(np.zeros((source.frames[0].rows, source.frames[0].columns), np.uint8), syntax)
            encoded = {(0, number): empty for number in range(1, len(labels) + 1)}
        present = np.zeros((len(source.frames), 1, 1, len(labels)), np.float32)
        for plane, number in encoded:
            present[plane, 0, 0, number - 1] = 1
        segmentation = _lay_out(present, "FRACTIONAL", labels, source, header)
        frames = [encoded[key] for key in _frame_keys(segmentation)]
        _set_frames(segmentation, frames, source.frames[0], syntax)
        _finish(segmentation, source, header)
        _save(segmentation, path)


@contextmanager
def _wrapped(path: Path) -> Iterator[None]:
    """Turn what highdicom and pydicom raise into an OutputError, and keep their warnings on inherited values quiet."""
    try:
        with quiet_pydicom():
            yield
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:300]
        raise OutputError(f"{path}: cannot be made a DICOM Segmentation ({reason}); write .nii.gz instead") from error


def _syntax(compression: str) -> UID:
    if compression not in _SYNTAXES:
        raise UsageError(f"compression is {compression!r}; expected one of {', '.join(_SYNTAXES)}")
    return _SYNTAXES[compression]


def _checked(source: Any, path: Path) -> DicomSource:
    """Return the source if a Segmentation can refer to it and lie on its frames."""
    if not isinstance(source, DicomSource) or not source.frames:
        raise OutputError(f"{path}: the image is not from DICOM, which a DICOM Segmentation refers to; write .nii.gz")
    frames = source.frames
    needed = {
        "StudyInstanceUID": source.study_uid,
        "SeriesInstanceUID": source.series_uid,
        "FrameOfReferenceUID": source.frame_of_reference_uid,
        "SOPClassUID": all(frame.sop_class_uid for frame in frames),
        "SOPInstanceUID": all(frame.sop_instance_uid for frame in frames),
    }
    if missing := ", ".join(name for name, there in needed.items() if not there):
        raise OutputError(f"{frames[0].file}: has no {missing}, which a DICOM Segmentation refers to; write .nii.gz")
    problem = _problem(frames)
    if problem is not None:
        raise OutputError(f"{frames[0].file.folder}: {problem}; a DICOM Segmentation cannot refer to it, write .nii.gz")
    return source


def _problem(frames: Sequence[SourceFrame]) -> str | None:
    """Say why a Segmentation cannot lie on these frames."""
    if len({(frame.sop_instance_uid, frame.frame) for frame in frames}) < len(frames):
        return "several slices are tiles of one picture (mosaic) or one instance was met twice"
    if len(sizes := {(frame.columns, frame.rows) for frame in frames}) > 1:
        return f"the frames have {len(sizes)} sizes"
    edges = np.array([frame.plane[:3, :2] * (frame.columns, frame.rows) for frame in frames])
    pixel = np.linalg.norm(frames[0].plane[:3, :2], axis=0).min()
    if np.abs(edges - edges[0]).max() > _TURN * pixel:
        return "the frames are not parallel or differ in pixel spacing"
    if len(frames) > 1 and np.diff(_heights(frames)).min() < _APART * pixel:
        return "several frames lie in one place"
    return None


def _heights(frames: Sequence[SourceFrame]) -> Float:
    """(F,) mm along the normal, ascending."""
    normal = np.cross(frames[0].plane[:3, 0], frames[0].plane[:3, 1])
    return np.sort(np.array([frame.plane[:3, 3] @ normal for frame in frames]) / np.linalg.norm(normal))


def _check_labels(labels: Sequence[Label], path: Path, *, counted: bool) -> None:
    if not labels:
        raise OutputError(f"{path}: there are no labels; a DICOM Segmentation describes at least one")
    highest = len(labels) if counted else max(label.value for label in labels)
    if highest > _MOST_SEGMENTS:
        raise OutputError(f"{path}: has the segment number {highest}; expected at most {_MOST_SEGMENTS}, write .nii.gz")


def _check_probabilities(maps: Any, grid: Grid, count: int, path: Path) -> None:
    if len(maps) != count or any(np.shape(array) != grid.shape for array in maps):
        shapes = [np.shape(array) for array in maps]
        raise OutputError(f"{path}: probabilities have the shapes {shapes}; expected {count} of {grid.shape}")
    for array in maps:
        lowest, highest = float(np.min(array)), float(np.max(array))
        # Written so that NaN fails.
        if not (lowest >= -_ROUNDING and highest <= 1 + _ROUNDING):
            raise OutputError(f"{path}: probabilities go from {lowest:g} to {highest:g}; expected 0 to 1")


def _on_frames(labelmap: LabelMap, frames: Sequence[SourceFrame], *, counted: bool) -> NDArray[Any]:
    """(F, rows, columns) label values, or their places in the list of labels from 1; 0 is background."""
    values = np.array([0, *(label.value for label in labelmap.labels)])
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
        # GDCM, which pydicom would take first, ends the process at RLE frames of an odd number of bytes.
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
    # The first pixel, the steps along columns and rows, and where they have led to at the far ends.
    pixels = [[0, 0], [1, 0], [0, 1], [frame.columns - 1, 0], [0, frame.rows - 1]]
    ijk = grid.to_voxel((np.array([[column, row, 0, 1] for column, row in pixels]) @ frame.plane.T)[:, :3])
    return bool(np.abs(ijk - np.rint(ijk)).max() < _ON_VOXEL)


def _read_header(source: DicomSource) -> Dataset:
    """Read what is said of patient, study and equipment in the first instance; what cannot be read is left out."""
    first = source.frames[0]
    try:
        dataset = open_dataset(first.file, stop_before_pixels=True)
        uid = text_of(dataset, "SOPInstanceUID")
    except _DAMAGE as error:
        raise OutputError(f"{first.file}: the image's file cannot be read any more ({error})") from error
    if uid != first.sop_instance_uid:
        raise OutputError(f"{first.file}: is now the instance {uid!r}, not that which was read; read the image again")
    header = Dataset()
    for tag in dataset.keys():  # noqa: SIM118 (a loop over values would convert them all)
        if tag.group in _GROUPS:
            try:
                header.add(_decoded(dataset[tag]))
            except _DAMAGE as error:
                _LOG.warning("%s: %s is damaged and not taken over (%s)", first.file, tag, error)
    return header


def _decoded(element: Any) -> Any:
    if element.VR == "SQ":
        for item in element.value:
            item.decode()
    return element


def _stand_ins(source: DicomSource, header: Dataset, shape: tuple[int, ...]) -> list[Dataset]:
    """Make a classic single-frame header for every frame, with nothing in it that highdicom does not need."""
    frames = source.frames
    columns_rows = RAS_TO_LPS[:3, :3] @ frames[0].plane[:3, :2]
    spacing = np.linalg.norm(columns_rows, axis=0)
    gaps = np.diff(_heights(frames))
    template = Dataset()
    template.SOPClassUID = CTImageStorage
    template.StudyInstanceUID, template.SeriesInstanceUID = source.study_uid, source.series_uid
    template.FrameOfReferenceUID = source.frame_of_reference_uid
    template.Modality = "CT"
    for keyword in (*_PATIENT, *_STUDY):
        setattr(template, keyword, None)
    for keyword in (*_EQUIPMENT, "PositionReferenceIndicator"):
        if keyword in header:
            template[keyword] = header[keyword]
    template.Rows, template.Columns = shape
    template.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[0])]
    template.ImageOrientationPatient = [_decimal(cosine) for cosine in (columns_rows / spacing).T.ravel()]
    between = _positive(header, "SpacingBetweenSlices") if not gaps.size else float(gaps.mean())
    template.SliceThickness = _decimal(_positive(header, "SliceThickness") or between or 1.0)
    if between and (not gaps.size or np.ptp(gaps) <= _EVEN * between):
        template.SpacingBetweenSlices = _decimal(between)
    return [_stand_in(template, number, frame) for number, frame in enumerate(frames, start=1)]


def _stand_in(template: Dataset, number: int, frame: SourceFrame) -> Dataset:
    dataset = Dataset()
    dataset.update(template)
    dataset.SOPInstanceUID = f"{_STAND_IN}{number}"
    dataset.ImagePositionPatient = [_decimal(x) for x in (RAS_TO_LPS @ frame.plane)[:3, 3]]
    return dataset


def _decimal(value: float) -> DSfloat:
    return DSfloat(float(value), auto_format=True)


def _positive(header: Dataset, keyword: str) -> float | None:
    try:
        value = float(header.get(keyword) or 0)
    except (TypeError, ValueError):
        return None
    return value if 0 < value < np.inf else None


def _lay_out(
    pixels: NDArray[Any], kind: str, labels: Sequence[Label], source: DicomSource, header: Dataset
) -> Segmentation:
    """Let highdicom make the object of (F, rows, columns) pixels; one of each is enough where `_set_frames` follows."""
    numbers = [label.value for label in labels] if kind == "LABELMAP" else range(1, len(labels) + 1)
    return Segmentation(
        _stand_ins(source, header, pixels.shape[1:3])[: len(pixels)],
        pixels,
        kind,
        [describe_segment(label, number) for label, number in zip(labels, numbers, strict=True)],
        series_instance_uid=generate_uid(prefix=None),
        series_number=1000 + int(_positive(header, "SeriesNumber") or 0) % 1_000_000_000,
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
    """Put encoded frames in the place of the one-pixel frames that highdicom laid out.

    highdicom would hold all pixels of all segments several times, and call the encoder that `_encode` avoids.
    """
    segmentation.Rows, segmentation.Columns = source.rows, source.columns
    segmentation.file_meta.TransferSyntaxUID = syntax
    data = encapsulate(frames) if syntax.is_encapsulated else b"".join(frames)
    segmentation.PixelData = data + b"\0" * (len(data) % 2)


def _frame_keys(segmentation: Dataset) -> Iterator[tuple[int, int]]:
    """Yield the plane of every frame, and its segment number or 0, while the references are those to stand-ins."""
    shared = segmentation.SharedFunctionalGroupsSequence[0].get("SegmentIdentificationSequence")
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        image = item.DerivationImageSequence[0].SourceImageSequence[0]
        identified = item.get("SegmentIdentificationSequence") or shared
        number = identified[0].ReferencedSegmentNumber if identified else 0
        yield _plane_of(image), int(number)


def _plane_of(image: Dataset) -> int:
    return int(image.ReferencedSOPInstanceUID.removeprefix(_STAND_IN)) - 1


def _finish(segmentation: Segmentation, source: DicomSource, header: Dataset) -> None:
    """Put the true references in the place of those to stand-ins, and take over what belongs to patient and study."""
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        (image,) = item.DerivationImageSequence[0].SourceImageSequence
        # Frames of one place share this item.
        if image.ReferencedSOPInstanceUID.startswith(_STAND_IN):
            frame = source.frames[_plane_of(image)]
            image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_instance_uid
            if frame.frame is not None:
                image.ReferencedFrameNumber = frame.frame
    instances = dict.fromkeys((frame.sop_class_uid, frame.sop_instance_uid) for frame in source.frames)
    references = [_reference(*instance) for instance in instances]
    segmentation.SourceImageSequence = references
    segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence = references
    attributes = Dataset()
    attributes.update(header)
    attributes.SOPClassUID, attributes.SOPInstanceUID = CTImageStorage, f"{_STAND_IN}1"
    segmentation.copy_patient_and_study_information(attributes)
    texts = (segment.get("TrackingID", "") for segment in segmentation.SegmentSequence)
    charset = header.get("SpecificCharacterSet") if all(map(str.isascii, texts)) else "ISO_IR 192"
    if charset:
        segmentation.SpecificCharacterSet = charset


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return reference


def _save(segmentation: Segmentation, path: Path) -> None:
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary)
