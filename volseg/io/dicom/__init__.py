"""Reading and writing of DICOM series, segmentations (SEG) and structure sets (RTSTRUCT).

Uses only `volseg.core` and `volseg.files`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volseg.io.dicom.choice import choose_series, choose_series_of
from volseg.io.dicom.damage import DamagedFile
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.derived import referable_source
from volseg.io.dicom.header import FrameHeader, LabelObject, OtherObject, SeriesReference
from volseg.io.dicom.labels import read_dicom_labels
from volseg.io.dicom.listing import Listing, is_dicom, scan_dicom
from volseg.io.dicom.objects import series_of
from volseg.io.dicom.pixels import value_type
from volseg.io.dicom.reading import Arrangement, arrange, read_stack
from volseg.io.dicom.rtstruct_file import StructureSet, read_structure_set
from volseg.io.dicom.seg_reading import read_dicom_probabilities
from volseg.io.dicom.seg_source import checked_source
from volseg.io.dicom.series import Series
from volseg.io.dicom.source import DicomSource
from volseg.io.dicom.stack import Stack, make_stack
from volseg.io.dicom.storage import DicomFile
from volseg.io.dicom.writing import write_dicom_series

if TYPE_CHECKING:
    from volseg.io.dicom.seg_writing import write_dicom_probabilities

__all__ = [
    "Arrangement",
    "DamagedFile",
    "DicomFile",
    "DicomSource",
    "FrameHeader",
    "LabelObject",
    "Listing",
    "OtherObject",
    "Series",
    "SeriesReference",
    "Stack",
    "StructureSet",
    "arrange",
    "checked_source",
    "choose_series",
    "choose_series_of",
    "is_dicom",
    "make_stack",
    "open_dataset",
    "read_dicom_labels",
    "read_dicom_probabilities",
    "read_stack",
    "read_structure_set",
    "referable_source",
    "scan_dicom",
    "series_of",
    "value_type",
    "write_dicom_probabilities",
    "write_dicom_series",
]


def __getattr__(name: str) -> Any:
    # highdicom is loaded only for writing a segmentation.
    if name != "write_dicom_probabilities":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from volseg.io.dicom import seg_writing

    return seg_writing.write_dicom_probabilities
