"""DICOM objects that volseg reads but does not write: multi-frame images and mosaics, made by hand for tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, generate_uid

from volseg.core.grid import RAS_TO_LPS, Grid
from volseg.core.volume import Volume
from volseg.io.dicom.frames import Layout
from volseg.io.dicom.header import FrameHeader
from volseg.io.dicom.storage import DicomFile
from volseg.io.dicom.writing import write_dicom_series


def _first_slice(volume: Volume, path: Path) -> Any:
    """A classic slice with all that patient, study and series need, to be made into something else."""
    scratch = path.with_name(f"{path.stem}-scratch")
    files = write_dicom_series(volume, scratch)
    dataset = pydicom.dcmread(files[0])
    for file in files:
        file.unlink()
    scratch.rmdir()
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, keyword)
    del dataset.SpacingBetweenSlices
    return dataset


def orientation(volume: Volume) -> list[float]:
    """The six numbers of ImageOrientationPatient."""
    return (RAS_TO_LPS[:3, :3] @ volume.grid.direction)[:, :2].T.ravel().tolist()


def position(volume: Volume, k: int) -> list[float]:
    """The three numbers of ImagePositionPatient of a slice."""
    return (RAS_TO_LPS[:3, :3] @ volume.grid.to_world([0, 0, k])).tolist()


def _item(**values: object) -> list[Dataset]:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return [item]


def write_enhanced(volumes: Sequence[Volume], path: Path, *, order: Sequence[int] | None = None) -> Path:
    """Write volumes of one grid as time points of an Enhanced MR image, frames in any order."""
    dataset = _first_slice(volumes[0], path)
    frames = [(t, k) for t in range(len(volumes)) for k in range(volumes[0].grid.shape[2])]
    frames = [frames[n] for n in order] if order is not None else frames
    spacing = volumes[0].grid.spacing
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    dataset.Modality, dataset.NumberOfFrames, dataset.ImageType = (
        "MR",
        len(frames),
        ["ORIGINAL", "PRIMARY", "M", "NONE"],
    )
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        del dataset[keyword]
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(PixelSpacing=[spacing[1], spacing[0]], SliceThickness=spacing[2])
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=orientation(volumes[0]))
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for t, k in frames:
        group = Dataset()
        group.PlanePositionSequence = _item(ImagePositionPatient=position(volumes[0], k))
        group.PixelValueTransformationSequence = _item(RescaleSlope=1 + t, RescaleIntercept=t, RescaleType="US")
        group.FrameContentSequence = _item(
            StackID="1",
            InStackPositionNumber=k + 1,
            TemporalPositionIndex=t + 1,
            DimensionIndexValues=[1, k + 1, t + 1],
        )
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    stored = [volumes[t].array[:, :, k].T for t, k in frames]
    dataset.PixelData = np.stack(stored).astype("<i2").tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def _csa_header(tags: dict[str, list[str]]) -> bytes:
    """Siemens' private header: names, and values as texts (format SV10)."""
    content = b"SV10\4\3\2\1" + struct.pack("<2I", len(tags), 77)
    for name, values in tags.items():
        content += name.encode().ljust(64, b"\0") + struct.pack("<i4s3i", len(values), b"FD\0\0", 4, len(values), 77)
        for value in values:
            data = value.encode() + b"\0"
            content += struct.pack("<4i", len(data), len(data), 77, len(data)) + data + bytes(-len(data) % 4)
    return content


def _tiled(volume: Volume, across: int, down: int) -> Any:
    columns, rows, count = volume.grid.shape
    picture = np.zeros((down * rows, across * columns), np.int16)
    for k in range(count):
        row, column = divmod(k, across)
        picture[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns] = volume.array[:, :, k].T
    return picture


def write_mosaic(volume: Volume, path: Path) -> Path:
    """Write a volume as a Siemens mosaic; its first tile is the volume's first slice, whichever way that is."""
    dataset = _first_slice(volume, path)
    columns, rows, count = volume.grid.shape
    side = int(np.ceil(np.sqrt(count)))
    picture = _tiled(volume, side, side)
    spacing = volume.grid.spacing
    axes = np.reshape(orientation(volume), (2, 3))
    half = axes[0] * spacing[0] * (side - 1) * columns / 2 + axes[1] * spacing[1] * (side - 1) * rows / 2
    normal = np.subtract(position(volume, 1), position(volume, 0)) / spacing[2]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    dataset.Rows, dataset.Columns = picture.shape
    dataset.PixelSpacing = [spacing[1], spacing[0]]
    dataset.SpacingBetweenSlices = spacing[2]
    dataset.ImageOrientationPatient = axes.ravel().tolist()
    dataset.ImagePositionPatient = (np.array(position(volume, 0)) - half).tolist()
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    tags = {"NumberOfImagesInMosaic": [str(count)], "SliceNormalVector": [f"{x:.10f}" for x in normal]}
    block.add_new(0x10, "OB", _csa_header(tags))
    dataset.PixelData = picture.astype("<i2").tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_united_imaging(volume: Volume, path: Path) -> Path:
    """Write a volume as a United Imaging mosaic, which lists the position of every tile."""
    dataset = _first_slice(volume, path)
    count = volume.grid.shape[2]
    across = int(np.ceil(np.sqrt(count)))
    picture = _tiled(volume, across, int(np.ceil(count / across)))
    spacing = volume.grid.spacing
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "VFRAME"]
    dataset.Rows, dataset.Columns = picture.shape
    dataset.PixelSpacing, dataset.SliceThickness = [spacing[1], spacing[0]], spacing[2]
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = orientation(volume), position(volume, 0)
    block = dataset.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", str(count))
    block.add_new(0x51, "SQ", [_item(ImagePositionPatient=position(volume, k))[0] for k in range(count)])
    dataset.PixelData = picture.astype("<i2").tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_film(volume: Volume, path: Path, **values: object) -> Path:
    """Write a volume as a multi-frame image without functional groups; `values` replace its elements."""
    dataset = _first_slice(volume, path)
    spacing = volume.grid.spacing
    dataset.NumberOfFrames = volume.grid.shape[2]
    dataset.PixelSpacing, dataset.SpacingBetweenSlices = [spacing[1], spacing[0]], spacing[2]
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = orientation(volume), position(volume, 0)
    dataset.PixelData = volume.array.T.astype("<i2").tobytes()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def jpeg_of_blocks(values: Sequence[Sequence[int]], *, bits: int = 12) -> bytes:
    """Write a JPEG Extended stream with these values for its blocks of 8 x 8 pixels: no loss, as each is even.

    ITU T.81, process 4: one quantiser of 8, so that the coefficient of a block is its value less half the range; four
    bits say how long the difference to the block before is, then it follows, then the end of the block.
    """
    rows, columns = 8 * len(values), 8 * len(values[0])
    text, last = "", 0
    for value in (int(value) - (1 << bits - 1) for row in values for value in row):
        step, last = value - last, value
        length = abs(step).bit_length()
        text += f"{length:04b}" + (f"{step + (step < 0) * ((1 << length) - 1):0{length}b}" if length else "") + "0"
    text += "1" * (-len(text) % 8)

    def segment(mark: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, mark, len(content) + 2) + content

    return b"".join(
        (
            b"\xff\xd8",
            segment(0xDB, bytes([0] + [8] * 64)),
            segment(0xC1, struct.pack(">BHHBBBB", bits, rows, columns, 1, 1, 0x11, 0)),
            segment(0xC4, bytes([0x00, 0, 0, 0, 14, *[0] * 12, *range(14)])),
            segment(0xC4, bytes([0x10, 1, *[0] * 15, 0])),
            segment(0xDA, bytes([1, 1, 0, 0, 63, 0])),
            int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00"),
            b"\xff\xd9",
        )
    )


def bare_headers(grid: Grid, **values: object) -> list[FrameHeader]:
    """Headers of an unsheared grid's slices that say little but where they are; `values` are set over it."""
    affine = RAS_TO_LPS @ grid.affine
    directions = RAS_TO_LPS[:3, :3] @ grid.direction
    absent = dict.fromkeys(("refusal", "instance_number", "slice_spacing", "thickness", "unit", "padding"))
    same = {
        **dict.fromkeys(FrameHeader.__dataclass_fields__, ""),
        **absent,
        "layout": Layout("single", 1, grid.shape[1], grid.shape[0]),
        "identity": {},
        "traits": {},
        "position_digit": 0.0,
        "orientation_digit": 0.0,
        "columns": grid.shape[0],
        "rows": grid.shape[1],
        "orientation": tuple(directions[:, :2].T.ravel()),
        "pixel_spacing": (grid.spacing[1], grid.spacing[0]),
        **values,
    }
    own = (
        {
            "file": DicomFile(Path(f"{k}.dcm")),
            "sop_instance_uid": generate_uid(),
            "position": tuple(affine[:3, 3] + k * affine[:3, 2]),
        }
        for k in range(grid.shape[2])
    )
    return [FrameHeader(**{**same, **some}) for some in own]  # type: ignore[arg-type]
