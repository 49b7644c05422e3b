"""Structure sets as other programs write them, made by hand for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.volume import Volume
from volseg.io.dicom.rtstruct_file import Roi
from volseg.io.dicom.source import DicomSource

GRID = Grid.from_spacing((12, 11, 8), (1.0, 1.0, 2.0), (0, 0, 0))
FRAME = "1.2.840.99.1"


def square(low: float, high: float, z: float) -> NDArray[np.float64]:
    """Corners in LPS mm; GRID's voxel (i, j, k) is at (-i, -j, 2 k) in LPS."""
    return np.array([(-low, -low, z), (-high, -low, z), (-high, -high, z), (-low, -high, z)], dtype=float)


def roi(number: int, *contours: NDArray[np.float64], name: str = "roi", kind: str = "CLOSED_PLANAR") -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName, item.ReferencedFrameOfReferenceUID = number, name, FRAME
    drawing = Dataset()
    drawing.ReferencedROINumber, drawing.ContourSequence = number, []
    for points in contours:
        contour = Dataset()
        contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
        contour.ContourData = [f"{x:.10g}" for x in points.ravel()]
        drawing.ContourSequence.append(contour)
    item.drawing = drawing
    return item


def write_set(path: Path, *rois: Dataset, frame: str = FRAME, explicit: bool = False, undefined: bool = False) -> Path:
    """Write structures; `undefined` marks the ends of sequences in place of giving their lengths."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    dataset.FrameOfReferenceUID = frame
    dataset.StructureSetROISequence = list(rois)
    for item in rois:
        item.ReferencedFrameOfReferenceUID = frame
    dataset.ROIContourSequence = [item.drawing for item in rois]
    if undefined:
        for element in dataset.iterall():
            element.is_undefined_length = element.VR == "SQ"
    dataset.save_as(path, enforce_file_format=True)
    return path


def image(frame: str = FRAME, grid: Grid = GRID) -> Volume:
    return Volume(np.zeros(grid.shape, np.uint8), grid, source=DicomSource("1.2", "1.3", frame, ()))


def counts(labelmap: LabelMap) -> dict[str, int]:
    return {label.name: int(labelmap.mask(label).sum()) for label in labelmap.labels}


def sized(heights: Sequence[float], thickness_mm: float) -> Roi:
    """A structure of a box a height, in slices of a grid without offset: the n-th is n + 1 columns wide."""
    contours = []
    for n, height in enumerate(heights):
        west, east, z = -0.5, n + 0.5, height * thickness_mm
        box = [(west, 0.5, z), (east, 0.5, z), (east, 1.5, z), (west, 1.5, z)]
        contours.append((False, np.array(box, dtype=float)))
    return Roi(1, "sized", None, None, None, "", contours, Counter(), Counter())
