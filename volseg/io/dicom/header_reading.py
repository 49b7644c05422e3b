"""Reading the header of one DICOM file: its frames, or the kind of another object."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydicom.uid import UID

from volseg.io.dicom.attributes import (
    DAMAGE,
    Attributes,
    last_digit_of,
    modality_table,
    number_of,
    numbers_of,
    quiet_pydicom,
    size_of,
    text_of,
)
from volseg.io.dicom.dataset import has_mark, open_dataset, parse_dataset
from volseg.io.dicom.frames import Layout, frames_in, is_mosaic, layout_of
from volseg.io.dicom.header import LABEL_KINDS, LOOSE_IDENTITY, STRICT_IDENTITY, FrameHeader, OtherObject
from volseg.io.dicom.objects import LABEL_TAGS, label_object
from volseg.io.dicom.storage import DicomFile

_PARAMETRIC_MAP = "Parametric Map Storage"
_NEWER_THAN_PYDICOM = {"1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage"}
# No codec compresses a scan this much; an empty frame may be, up to the second number of bytes.
_MOST_COMPRESSED, _ALWAYS_ALLOWED = 1000, 1 << 26
_MOST_BITS = 64
_MARK_END = 132
# A data set without preamble starts with its file meta or its identifying group, in little endian.
_BARE_GROUPS = (b"\x02\x00", b"\x08\x00")
_TAG_LINES = (
    *STRICT_IDENTITY,
    *LOOSE_IDENTITY,
    "SOPClassUID SOPInstanceUID SeriesInstanceUID ImageType EchoNumbers EchoTime InstanceNumber",
    "Rows Columns SamplesPerPixel PhotometricInterpretation NumberOfFrames",
    "BitsAllocated BitsStored PixelRepresentation",
    "ImagePositionPatient ImageOrientationPatient PixelSpacing SpacingBetweenSlices SliceThickness",
    "RescaleSlope RescaleIntercept RescaleType Units ModalityLUTSequence PixelPaddingValue FrameIncrementPointer",
    "AcquisitionNumber TemporalPositionIdentifier TemporalPositionIndex TriggerTime DiffusionBValue InversionTime",
    "DiffusionGradientOrientation FlipAngle ComplexImageComponent AcquisitionTime ContentTime KVP ConvolutionKernel",
    "NominalPercentageOfCardiacPhase SliceVector EnergyWindowVector DetectorVector PhaseVector RotationVector",
    "RRIntervalVector TimeSlotVector AngularViewVector TimeSliceVector",
    "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence DetectorInformationSequence",
    *LABEL_TAGS,
)
_TAGS = " ".join(_TAG_LINES).split()
# Traits that may distinguish volumes with one series and the same positions, in the order in which they are tried.
_TRAITS = {
    "stack": ("StackID",),
    "echo": ("EffectiveEchoTime", "EchoTime"),
    "b": ("DiffusionBValue",),
    "component": ("ComplexImageComponent",),
    "type": ("FrameType", "ImageType"),
    "time": ("TemporalPositionIndex", "TemporalPositionIdentifier"),
    "acquisition": ("FrameAcquisitionNumber", "AcquisitionNumber"),
    "trigger": ("NominalCardiacTriggerDelayTime", "TriggerTime"),
    "inversion": ("InversionTime",),
    "flip": ("FlipAngle",),
    "kvp": ("KVP",),
    "kernel": ("ConvolutionKernel",),
    "phase": ("NominalPercentageOfCardiacPhase",),
    "direction": ("DiffusionGradientOrientation",),
    "acquired": ("AcquisitionTime",),
    "content": ("ContentTime",),
}


def starts_as_dicom(file: DicomFile) -> bool:
    """Whether a file starts with a preamble and DICOM's mark, or as a data set without a preamble does.

    Parameters
    ----------
    file : DicomFile
        Where it is stored.
    """
    start = file.start(_MARK_END)
    if has_mark(start):
        return True
    # Group, then an element number below 0x100, as in the first attributes of both groups.
    return len(start) == _MARK_END and start[:2] in _BARE_GROUPS and start[3] == 0


def read_headers(file: DicomFile) -> list[FrameHeader] | OtherObject:
    """Read the headers of the frames in one DICOM file.

    Parameters
    ----------
    file : DicomFile
        Where it is stored.

    Raises
    ------
    One of `volseg.io.dicom.attributes.DAMAGE`
        The file is cut off, or a value in it is invalid.
    """
    with quiet_pydicom():
        with file.open() as stream:
            dataset = parse_dataset(stream, stop_before_pixels=True, specific_tags=_TAGS)
            ends = not stream.read(1)
        kind = _kind_of(dataset)
        if not _is_image(kind, dataset):
            return _other_object(dataset, file, kind.removesuffix(" Storage"))
        if is_mosaic(dataset):  # its geometry is in private elements
            dataset = open_dataset(file, stop_before_pixels=True)
        dataset.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
        if ends and not UID(dataset.TransferSyntaxUID).is_deflated:
            raise ValueError("it ends before its pixels: it is cut off or has no pixels")
        check_size(file, dataset)
        layout, found, refusal = _layout_and_frames(dataset)
        identity = _identity(dataset)
        return [_frame_header(file, n, layout, refusal, identity, attributes) for n, attributes in enumerate(found)]


def _is_image(kind: str, dataset: Any) -> bool:
    if "Image Storage" in kind or kind == _PARAMETRIC_MAP:
        return True
    # An unknown class, but with pixels.
    return "Storage" not in kind and "Rows" in dataset


def _other_object(dataset: Any, file: DicomFile, kind: str) -> OtherObject:
    modality = text_of(dataset, "Modality")
    if kind in LABEL_KINDS:
        return label_object(dataset, file, kind, modality)
    return OtherObject(file, kind, modality)


def _kind_of(dataset: Any) -> str:
    """Return the name of the SOP class, or the UID of a class that pydicom does not know."""
    uids = text_of(dataset, "SOPClassUID"), text_of(dataset.file_meta, "MediaStorageSOPClassUID")
    for uid in filter(None, uids):
        name: str = _NEWER_THAN_PYDICOM.get(uid) or UID(uid).name
        if name != uid:
            return name
    # A UID that is cut off belongs to no class, and nothing follows it.
    if "Rows" not in dataset and ("SOPInstanceUID" not in dataset or not any(uids)):
        raise ValueError("SOPClassUID is missing or unknown, the file may be cut off")
    return uids[0] or uids[1]


def _layout_and_frames(dataset: Any) -> tuple[Layout, list[Attributes], str | None]:
    """Return the layout of the frames, the attributes of each, and the reason why they cannot be slices of a volume."""
    whole = Layout("single", 1, size_of(dataset, "Rows"), size_of(dataset, "Columns"))
    if (refusal := _refusal(dataset)) is not None:
        return whole, [dataset], refusal
    try:
        layout = layout_of(dataset)
        return layout, list(frames_in(dataset, layout)), None
    except ValueError as error:
        if not is_mosaic(dataset):
            raise
        return whole, [dataset], str(error)


def check_size(file: DicomFile, dataset: Any) -> None:
    """Refuse a header that promises more pixels than its file can hold, before memory is allocated.

    Parameters
    ----------
    file : DicomFile
        Where it is stored.
    dataset : Dataset
        Its header.

    Raises
    ------
    ValueError
        It promises too many pixels.
    """
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    pixels = size_of(dataset, "Rows") * size_of(dataset, "Columns") * int(number_of(dataset, "NumberOfFrames", 1))
    needed = pixels * int(number_of(dataset, "BitsAllocated", 16)) // 8
    there = file.size() * (_MOST_COMPRESSED if syntax.is_encapsulated or syntax.is_deflated else 1)
    if needed > there and needed > _ALWAYS_ALLOWED * syntax.is_encapsulated:
        raise ValueError(
            f"its header asks for {needed} bytes of pixels, the file has {there}; it is cut off or damaged"
        )


def _frame_header(
    file: DicomFile,
    index: int,
    layout: Layout,
    refusal: str | None,
    identity: Mapping[str, str],
    attributes: Attributes,
) -> FrameHeader:
    gap, thickness = _optional(attributes, "SpacingBetweenSlices"), _optional(attributes, "SliceThickness")
    instance = _optional(attributes, "InstanceNumber")
    slope_and_intercept = _rescale(attributes)
    return FrameHeader(
        file=file,
        index=index,
        layout=layout,
        sop_class_uid=text_of(attributes, "SOPClassUID"),
        sop_instance_uid=text_of(attributes, "SOPInstanceUID"),
        series_uid=text_of(attributes, "SeriesInstanceUID"),
        identity=identity,
        image_type=text_of(attributes, "ImageType"),
        echo=text_of(attributes, "EchoNumbers"),
        instance_number=None if instance is None else int(instance),
        traits=_traits(attributes),
        refusal=refusal,
        rows=layout.rows,
        columns=layout.columns,
        position=numbers_of(attributes, "ImagePositionPatient", 3),
        orientation=numbers_of(attributes, "ImageOrientationPatient", 6),
        pixel_spacing=numbers_of(attributes, "PixelSpacing", 2),
        position_digit=last_digit_of(attributes, "ImagePositionPatient"),
        orientation_digit=last_digit_of(attributes, "ImageOrientationPatient"),
        slice_spacing=abs(gap or thickness or 0.0) or None,
        thickness=abs(thickness or 0.0) or None,
        slope=slope_and_intercept[0],
        intercept=slope_and_intercept[1],
        unit=_unit(attributes, identity.get("Modality", "")),
        bits=_bits(attributes),
        # Float pixels are in another attribute after the header, without BitsStored.
        is_float=_is_parametric_map(attributes) and attributes.get("BitsStored") is None,
        signed=number_of(attributes, "PixelRepresentation", 0) == 1 and modality_table(attributes) is None,
        padding=_optional(attributes, "PixelPaddingValue"),
        inverted=text_of(attributes, "PhotometricInterpretation") == "MONOCHROME1",
        transfer_syntax=text_of(attributes, "TransferSyntaxUID"),
    )


def _identity(dataset: Any) -> dict[str, str]:
    """Return the attributes of patient, study and series that have a readable value."""
    found = {}
    for keyword in (*STRICT_IDENTITY, *LOOSE_IDENTITY):
        with suppress(*DAMAGE):
            found[keyword] = text_of(dataset, keyword)
    return {keyword: text for keyword, text in found.items() if text}


def _optional(attributes: Attributes, keyword: str) -> float | None:
    """Return a number that is not essential for the volume; None if it is absent or not a number."""
    try:
        numbers = numbers_of(attributes, keyword, 1)
    except ValueError:
        return None
    return numbers[0] if numbers else None


def _is_parametric_map(attributes: Attributes) -> bool:
    return bool(UID(text_of(attributes, "SOPClassUID")).name == _PARAMETRIC_MAP)


def _rescale(attributes: Attributes) -> tuple[float, float]:
    """Slope and intercept; 1 and 0 if a look-up table replaces them, which is applied when pixels are decoded."""
    if modality_table(attributes) is not None:
        return 1.0, 0.0
    if _is_parametric_map(attributes):
        return number_of(attributes, "RealWorldValueSlope", 1.0), number_of(attributes, "RealWorldValueIntercept", 0.0)
    return number_of(attributes, "RescaleSlope", 1.0), number_of(attributes, "RescaleIntercept", 0.0)


def _bits(attributes: Attributes) -> int:
    """Return the number of bits of a value."""
    if (table := modality_table(attributes)) is not None:
        return int(table.LUTDescriptor[2])
    bits = int(number_of(attributes, "BitsStored", 16))
    if not 1 <= bits <= _MOST_BITS:
        raise ValueError(f"BitsStored is {bits}; expected 1 to {_MOST_BITS}")
    return bits


def _traits(attributes: Attributes) -> dict[str, str]:
    traits = {name: text_of(attributes, *keywords) for name, keywords in _TRAITS.items()}
    # The standard declares what varies between frames by these indices; each is a trait of its own.
    indices = text_of(attributes, "DimensionIndexValues")
    for number, index in enumerate(indices.split("\\"), start=1):
        traits[f"dimension{number}_"] = index
    return traits


def _refusal(dataset: Any) -> str | None:
    """Return the reason why an image of this kind cannot be a slice of a volume; None if it can."""
    photometric = text_of(dataset, "PhotometricInterpretation")
    if number_of(dataset, "SamplesPerPixel", 1) != 1 or not photometric.startswith("MONOCHROME"):
        return f"a colour image ({photometric or 'unknown colours'}) is not a scan; expected MONOCHROME2"
    return None


def _unit(attributes: Attributes, modality: str) -> str | None:
    if (text_of(attributes, "RescaleType") or ("HU" if modality == "CT" else "")) == "HU":
        return "HU"
    return text_of(attributes, "Units") or None
