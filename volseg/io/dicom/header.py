"""Headers of the frames in a DICOM file: everything the reader needs before it reads pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.uid import UID

from volseg.io.dicom.attributes import (
    quiet_pydicom,
)
from volseg.io.dicom.frames import Layout
from volseg.io.dicom.storage import DicomFile

# Attributes that identify frames. Frames that differ in one of the first are never one volume; for the others see
# `volseg.io.dicom.identity`.
STRICT_IDENTITY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "SeriesNumber"),
    *("FrameOfReferenceUID", "Modality"),
)
LOOSE_IDENTITY = (
    *("SeriesDescription", "ProtocolName", "BodyPartExamined", "Laterality", "PatientPosition", "SeriesDate"),
    *("SeriesTime", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "InstitutionName", "StationName"),
    *("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber"),
)


STRUCTURE_SET = "RT Structure Set"
LABEL_KINDS = ("Segmentation", "Label Map Segmentation", STRUCTURE_SET)


@dataclass(frozen=True)
class SeriesReference:
    """The DICOM series that something is or refers to.

    Parameters
    ----------
    series_uids : tuple of str
        SeriesInstanceUID of each; empty if unknown.
    frame_of_reference_uid : str
        FrameOfReferenceUID of the patient space; empty if unknown.
    instance_uids : frozenset of str
        SOPInstanceUID of its slices, which distinguish volumes of one series; empty if unknown.
    patient_id : str
        PatientID; empty if unknown.
    """

    series_uids: tuple[str, ...]
    frame_of_reference_uid: str
    instance_uids: frozenset[str] = frozenset()
    patient_id: str = ""


@dataclass(frozen=True)
class OtherObject:
    """A DICOM file that holds no image: a report, dose, directory, or a `LabelObject`."""

    file: DicomFile
    kind: str
    modality: str


@dataclass(frozen=True)
class LabelObject(OtherObject):
    """The header of a segmentation or structure set.

    Parameters
    ----------
    names : tuple of str
        Names of its structures.
    reference : SeriesReference
        The scan that it was made on.
    problem : str, optional
        Reason why it is not read.
    """

    names: tuple[str, ...]
    reference: SeriesReference
    problem: str | None = None

    @property
    def is_contours(self) -> bool:
        """Whether it is a structure set (RTSTRUCT): contours, which have no grid of their own."""
        return self.kind == STRUCTURE_SET


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Header of one frame in a file; lengths in mm, directions and positions in LPS+.

    `index` counts the frames of the file from 0; `layout` says how they are stored. `refusal` is the reason why this
    kind of image cannot be a slice of a volume here, or None. Missing geometry is None. `identity` holds the attributes
    of patient, study and series that have a value. `traits` may distinguish volumes that share a series and positions,
    for example time point and b-value. `position_digit` and `orientation_digit` are the value of one unit in the last
    decimal of positions and orientations as written.
    """

    file: DicomFile
    index: int
    layout: Layout
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    identity: Mapping[str, str]
    image_type: str
    echo: str
    instance_number: int | None
    traits: Mapping[str, str]
    refusal: str | None
    rows: int
    columns: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    position_digit: float
    orientation_digit: float
    slice_spacing: float | None
    thickness: float | None
    slope: float
    intercept: float
    unit: str | None
    bits: int
    signed: bool
    is_float: bool
    padding: float | None
    inverted: bool
    transfer_syntax: str

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID; this and the texts that follow are empty if the file has none."""
        return self.identity.get("StudyInstanceUID", "")

    @property
    def patient_id(self) -> str:
        """PatientID."""
        return self.identity.get("PatientID", "")

    @property
    def number(self) -> str:
        """SeriesNumber."""
        return self.identity.get("SeriesNumber", "")

    @property
    def description(self) -> str:
        """SeriesDescription."""
        return self.identity.get("SeriesDescription", "")

    @property
    def modality(self) -> str:
        """Modality."""
        return self.identity.get("Modality", "")

    @property
    def frame_of_reference_uid(self) -> str:
        """FrameOfReferenceUID."""
        return self.identity.get("FrameOfReferenceUID", "")

    @property
    def is_auxiliary(self) -> bool:
        """Whether it is a localizer or a screen capture, not part of a scan."""
        with quiet_pydicom():
            kind = UID(self.sop_class_uid).name
        return "LOCALIZER" in self.image_type.split("\\") or "Secondary Capture" in kind

    @property
    def frame_number(self) -> int | None:
        """Number of the frame in a multi-frame instance, from 1; else None."""
        return self.index + 1 if self.layout.kind == "frames" else None

    def __str__(self) -> str:
        return str(self.file) if self.layout.kind == "single" else f"{self.file} (frame {self.index + 1})"
