"""Write a volume as a classic CT or MR image series, one file for each slice."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.intensity import is_like_ct
from volseg.core.volume import MODALITIES, Volume
from volseg.errors import OutputError
from volseg.files.folders import atomic_folder
from volseg.io.dicom.derived import inherit_patient, unknown_patient
from volseg.io.dicom.source import DicomSource
from volseg.io.dicom.texts import decimal, fit_text

_LOG = logging.getLogger(__name__)
_INT16 = np.iinfo(np.int16)
_MOST_PIXELS, _LARGEST_VALUE = 65535, 1e12


def write_dicom_series(volume: Volume, folder: str | Path, *, description: str = "volseg phantom") -> list[Path]:
    """Write a volume as a new DICOM image series, with slices along the third array axis.

    A volume from DICOM keeps its patient, study and frame of reference; any other volume has no patient.

    Parameters
    ----------
    volume : Volume
        On any grid without shear, also oblique or left-handed. Its modality is CT or MR; if it is None, the values
        decide, with a warning.
    folder : path
        It is made if missing. Files with the same names are replaced. All slices appear at once.
    description : str
        SeriesDescription, at most 64 characters.

    Returns
    -------
    list of Path
        ``0001.dcm`` and so on, in slice order: Explicit VR Little Endian, signed 16 bit. Whole numbers that span
        less than 65,536 are kept exactly; others are rounded to 65,535 steps between minimum and maximum.

    Raises
    ------
    OutputError
        The grid is sheared, the modality is another one, values are NaN or Inf, a text does not fit DICOM, the folder
        has other DICOM files (they would mix with the series), or a file cannot be written.
    """
    folder = Path(folder)
    volume = _with_modality(volume, folder)
    count = volume.grid.shape[2]
    digits = max(4, len(str(count)))
    paths = [folder / f"{k:0{digits}d}.dcm" for k in range(1, count + 1)]
    _check(volume, folder, paths, description)
    slope, intercept = _rescale(volume.array)
    if float(slope) != 1:
        _LOG.warning("%s: the values do not fit 16 bits; rounded to steps of %g", folder, float(slope))
    template = _template(volume, folder, slope, intercept)
    template.SeriesDescription = description
    # A series with missing slices looks like a shorter one.
    with atomic_folder(folder) as whole:
        for k, path in enumerate(paths):
            dataset = _place(template, volume, k)
            stored = np.rint((volume.array[:, :, k].astype(np.float64) - float(intercept)) / float(slope))
            dataset.PixelData = stored.clip(_INT16.min, _INT16.max).astype("<i2").T.tobytes()
            dataset.save_as(whole / path.name, enforce_file_format=True)
    return paths


def _with_modality(volume: Volume, folder: Path) -> Volume:
    """Return the volume with its modality, which is chosen by its values if it is unknown."""
    if volume.modality is not None:
        return volume
    chosen, why = ("CT", "are") if is_like_ct(volume.array) else ("MR", "are not")
    _LOG.warning(
        "%s: the modality of the scan is unknown; written as %s, as its values %s like those of CT in HU; choose by "
        "modality (--modality %s)",
        *(folder, chosen, why, "|".join(MODALITIES)),
    )
    return replace(volume, modality=chosen)


def _check(volume: Volume, folder: Path, paths: list[Path], text: str) -> None:
    if volume.grid.is_sheared:
        raise OutputError(f"{folder}: the grid is sheared, but volseg writes straight DICOM slices; resample it first")
    if volume.modality not in MODALITIES:
        raise OutputError(
            f"{folder}: modality is {volume.modality!r}; volseg writes {' and '.join(MODALITIES)}, of which one can be "
            "chosen (--modality)"
        )
    _check_values(volume.array, folder)
    if fit_text(text) != text:
        raise OutputError(f"{folder}: text {text[:80]!r} does not fit DICOM; expected 64 characters, no backslash")
    if max(volume.grid.shape[:2]) > _MOST_PIXELS:
        raise OutputError(
            f"{folder}: slices of {volume.grid.shape[:2]} pixels do not fit DICOM; expected {_MOST_PIXELS}"
        )
    _check_folder(_source_of(volume), folder, paths)


def _check_values(array: NDArray[Any], folder: Path) -> None:
    if not np.isfinite(array).all():
        raise OutputError(f"{folder}: the volume holds NaN or Inf, which DICOM cannot store; replace them")
    farthest = max(abs(float(array.min())), abs(float(array.max())))
    if farthest >= _LARGEST_VALUE:
        raise OutputError(f"{folder}: has the value {farthest:g}, which does not fit DICOM's decimals; write .nii.gz")


def _check_folder(source: DicomSource | None, folder: Path, paths: list[Path]) -> None:
    if source is not None:
        read = {file.path.resolve() for file in source.files}
        if not read.isdisjoint(path.resolve() for path in paths):
            raise OutputError(f"{folder}: holds the files that the volume was read from; choose another folder")
    others = sorted(set(folder.glob("*.dcm")) - set(paths))
    if others:
        raise OutputError(f"{folder}: holds other DICOM files ({others[0].name}); choose an empty folder")


def _source_of(volume: Volume) -> DicomSource | None:
    return volume.source if isinstance(volume.source, DicomSource) else None


def _rescale(array: NDArray[Any]) -> tuple[DSfloat, DSfloat]:
    """Slope and intercept, exact in DICOM's 16 characters, that map all values to int16."""
    lowest, highest = float(array.min()), float(array.max())
    if highest - lowest <= _INT16.max - _INT16.min and (
        array.dtype.kind != "f" or bool((array == np.rint(array)).all())
    ):
        fits = _INT16.min <= lowest and highest <= _INT16.max
        return decimal(1.0), decimal(0.0 if fits else lowest - _INT16.min)
    # 65,534 of 65,535 steps: room for the rounding of slope and intercept to decimals.
    slope = decimal((highest - lowest) / 65534 or 1.0)
    return slope, decimal((highest + lowest) / 2)


def _template(volume: Volume, folder: Path, slope: DSfloat, intercept: DSfloat) -> Dataset:
    """Attributes that all slices share (PS3.3 A.3 CT Image, A.4 MR Image)."""
    is_ct = volume.modality == "CT"
    source = _source_of(volume)
    dataset = _of_patient(source)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage if is_ct else MRImageStorage
    dataset.Modality = "CT" if is_ct else "MR"
    dataset.SeriesInstanceUID = generate_uid(prefix=None)
    dataset.SeriesNumber, dataset.AcquisitionNumber = 1, 1
    dataset.Manufacturer = "volseg"
    dataset.PatientPosition = dataset.get("PatientPosition", "")
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if is_ct else "OTHER"]
    if is_ct:
        dataset.KVP = None
        # A CT that was not read from DICOM has no unit; it is usually HU.
        unit = volume.unit or ("HU" if source is None else "US")
        dataset.RescaleType = "HU" if unit == "HU" else "US"
    else:
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "RM", "NONE", ""
        dataset.MRAcquisitionType, dataset.EchoTime, dataset.EchoTrainLength = "", None, None
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    _describe_pixels(dataset, volume.grid)
    return dataset


def _of_patient(source: DicomSource | None) -> Dataset:
    """Return a data set with patient, study and frame of reference of the source, or new ones without a patient."""
    if source is None:
        dataset = unknown_patient()
        dataset.StudyInstanceUID = dataset.FrameOfReferenceUID = ""
    else:
        dataset = inherit_patient(source)
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = source.study_uid, source.frame_of_reference_uid
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if not dataset.get(keyword):
            setattr(dataset, keyword, generate_uid(prefix=None))
    return dataset


def _describe_pixels(dataset: Dataset, grid: Grid) -> None:
    """Set the storage of pixels, and the size and orientation of slices."""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.Columns, dataset.Rows = grid.shape[:2]
    between_columns, between_rows, between_slices = map(decimal, grid.spacing)
    dataset.PixelSpacing = [between_rows, between_columns]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = between_slices
    directions = (RAS_TO_LPS[:3, :3] @ grid.direction)[:, :2]
    dataset.ImageOrientationPatient = list(map(decimal, directions.T.ravel()))


def _place(template: Dataset, volume: Volume, k: int) -> Dataset:
    """Attributes of one slice: identity, number, position."""
    dataset = Dataset(template)
    dataset.file_meta = FileMetaDataset(template.file_meta)
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.InstanceNumber = k + 1
    position = RAS_TO_LPS[:3, :3] @ volume.grid.to_world([0, 0, k])
    dataset.ImagePositionPatient = list(map(decimal, position))
    return dataset
