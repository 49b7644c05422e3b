"""NRRD (.nrrd, .nhdr, Slicer's .seg.nrrd) and MetaImage (.mha, .mhd), by SimpleITK.

ITK's arrays are (k, j, i) and its world LPS+; both are turned here, the latter by `geometry.RAS_TO_LPS` alone.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  (its documentation's name)

from volseg.errors import InputError, OutputError
from volseg.geometry import RAS_TO_LPS, Float, Grid
from volseg.io.atomic import atomic_path
from volseg.io.names import case_name
from volseg.io.voxels import clean_values, make_grid, smallest_integer
from volseg.labelmap import Label, LabelMap, default_colour, label_boxes
from volseg.volume import Volume

_LOG = logging.getLogger(__name__)
_LARGEST_SEGMENT_VALUE = 65535
_STDERR_LOCK = threading.Lock()


def read_itk(path: Path) -> Volume:
    """Read a NRRD or MetaImage file.

    Parameters
    ----------
    path : Path
        ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``; 2D is one slice.

    Returns
    -------
    Volume
        Array (I, J, K): integers as stored, else float32.

    Raises
    ------
    InputError
        Missing, not such a file, damaged, several numbers a voxel, or more than three dimensions.
    GeometryError
        The affine is not finite, singular or absurd.
    """
    grid = read_itk_grid(path)
    with _wrapped(path):
        image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image).T
    return Volume(clean_values(array.reshape(grid.shape, order="F"), path), grid, case_name(path))


def read_itk_grid(path: Path) -> Grid:
    """Read only the grid, from the header; raises as `read_itk`."""
    header = _read_header(path)
    dimension, components = header.GetDimension(), header.GetNumberOfComponents()
    if components > 1:
        raise InputError(
            f"{path}: has {components} numbers a voxel (colours, a vector field, or overlapping segments in layers); "
            "expected one"
        )
    if dimension not in (2, 3):
        raise InputError(f"{path}: has {dimension} dimensions; expected 2 or 3")
    if "complex" in sitk.GetPixelIDValueAsString(header.GetPixelID()):
        raise InputError(f"{path}: has complex voxels; expected one real number a voxel")
    size = [*header.GetSize(), 1]
    return make_grid((size[0], size[1], size[2]), RAS_TO_LPS @ _lps_affine(header, dimension), path)


def read_segments(path: Path) -> tuple[Label, ...]:
    """Read the names and colours that Slicer wrote into a ``.seg.nrrd``; none for other files.

    Slicer allows several segments of one name; each gets its value appended, with a warning.

    Raises
    ------
    InputError
        The file cannot be read, or a segment's entries are not what Slicer writes.
    """
    header = _read_header(path)
    keys = [re.fullmatch(r"Segment(\d+)_(ID|Name)", key) for key in header.GetMetaDataKeys()]
    numbers = sorted({int(match[1]) for match in keys if match})
    entries = [
        {k: _metadata(header, f"Segment{n}_{k}") for k in ("LabelValue", "Name", "ID", "Color")} for n in numbers
    ]
    try:
        labels = tuple(_segment(entry) for entry in entries)
    except (ValueError, InputError) as error:
        raise InputError(f"{path}: has a damaged segment entry ({error}); expected what 3D Slicer writes") from error
    if repeated := sorted(name for name, count in Counter(label.name for label in labels).items() if count > 1):
        _LOG.warning("%s: several segments are called %s; their values are appended", path, ", ".join(repeated))
    return tuple(replace(s, name=f"{s.name}_{s.value}") if s.name in repeated else s for s in labels)


def write_seg_nrrd(labelmap: LabelMap, path: Path) -> None:
    """Write a label map as 3D Slicer's ``.seg.nrrd``: one layer, with names and colours (codes are not written).

    Parameters
    ----------
    labelmap : LabelMap
        Values up to 65535.
    path : Path
        Ends in ``.seg.nrrd``.

    Raises
    ------
    OutputError
        The file cannot be written, or a label value is too large.
    """
    array = labelmap.array
    highest = max((label.value for label in labelmap.labels), default=0)
    if highest > _LARGEST_SEGMENT_VALUE:
        raise OutputError(
            f"{path}: has the label {highest}; .seg.nrrd takes up to {_LARGEST_SEGMENT_VALUE}, write .nii.gz"
        )
    array = array.astype(smallest_integer(highest), copy=False)
    image = sitk.GetImageFromArray(array.T)
    lps = RAS_TO_LPS @ labelmap.grid.affine
    image.SetSpacing(labelmap.grid.spacing)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / labelmap.grid.spacing).ravel().tolist())
    for key, text in _slicer_metadata(labelmap.labels, label_boxes(array)).items():
        image.SetMetaData(key, text)
    with atomic_path(path) as temporary, _quiet():
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise OutputError(f"{path}: cannot be written ({_last_line(error)}); check the disk") from error


def _slicer_metadata(labels: tuple[Label, ...], boxes: Mapping[int, tuple[slice, ...]]) -> dict[str, str]:
    """Return Slicer's header entries (vtkMRMLSegmentationStorageNode); extents are inclusive, absent is 0 -1."""
    entries = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, label in enumerate(labels):
        box = boxes.get(label.value)
        extent = [(s.start, s.stop - 1) for s in box] if box else [(0, -1)] * 3
        segment = {
            "ID": f"Segment_{label.value}",
            "Name": label.name,
            "NameAutoGenerated": "0",
            "Color": " ".join(f"{c / 255:.6g}" for c in label.colour),
            "ColorAutoGenerated": "0",
            "LabelValue": str(label.value),
            "Layer": "0",
            "Extent": " ".join(f"{first} {last}" for first, last in extent),
            "Tags": "",
        }
        entries.update({f"Segment{number}_{key}": text for key, text in segment.items()})
    return entries


def _segment(entry: dict[str, str]) -> Label:
    # Slicer before 4.11 wrote no value: one segment a layer, with value 1.
    value = int(entry["LabelValue"] or 1)
    if not entry["Color"].strip():
        return Label(value, entry["Name"] or entry["ID"], default_colour(value))
    red, green, blue = (round(255 * float(c)) for c in entry["Color"].split())
    return Label(value, entry["Name"] or entry["ID"], (red, green, blue))


def _metadata(header: Any, key: str) -> str:
    return str(header.GetMetaData(key)) if header.HasMetaDataKey(key) else ""


def _read_header(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty; expected a NRRD or MetaImage file")
    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    with _wrapped(path):
        header.ReadImageInformation()
    return header


def _lps_affine(header: Any, dimension: int) -> Float:
    affine = np.eye(4)
    direction = np.reshape(header.GetDirection(), (dimension, dimension))
    affine[:dimension, :dimension] = direction * header.GetSpacing()
    affine[:dimension, 3] = header.GetOrigin()
    return affine


@contextmanager
def _wrapped(path: Path) -> Iterator[None]:
    """Turn ITK's failures, and what MetaIO only prints (it goes on with wrong voxels), into an InputError."""
    failure: RuntimeError | None = None
    with _quiet() as printed:
        try:
            yield
        except RuntimeError as error:
            failure = error
    text = " ".join(printed.text.split())
    if failure or "MetaImage:" in text or "Uncompress failed" in text:
        reason = text or _last_line(failure)
        raise InputError(f"{path}: is not a NRRD or MetaImage file, damaged or cut off ({reason})") from failure


@dataclass
class _Printed:
    text: str = field(default="")


@contextmanager
def _quiet() -> Iterator[_Printed]:
    """Catch what native code prints on stderr; MetaIO writes to the file descriptor, past every ITK switch."""
    printed = _Printed()
    with _STDERR_LOCK, tempfile.TemporaryFile() as capture:
        saved = os.dup(2)
        os.dup2(capture.fileno(), 2)
        try:
            yield printed
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            capture.seek(0)
            printed.text = capture.read().decode("utf-8", errors="replace")


def _last_line(error: Exception | None) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[-1]
