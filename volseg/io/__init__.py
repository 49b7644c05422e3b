"""Reading and writing of scans and label maps, with a room for each kind of format.

Array axes are (I, J, K) and the world is mm, RAS+, whatever the format. The library of a format is imported when the
first file of that format is read or written.
"""

from __future__ import annotations

from volseg.io.catalogue import Catalogue, DicomScan, ImageScan, Scan, look
from volseg.io.labels.reading import read_label_layers, read_labels, read_layers
from volseg.io.scans import count_volumes, read, read_all, read_channels, read_grid, read_scan_of
from volseg.io.writing import LABEL_FORMS, write

__all__ = [
    "LABEL_FORMS",
    "Catalogue",
    "DicomScan",
    "ImageScan",
    "Scan",
    "count_volumes",
    "look",
    "read",
    "read_all",
    "read_channels",
    "read_grid",
    "read_label_layers",
    "read_labels",
    "read_layers",
    "read_scan_of",
    "write",
]
