"""The doors: scans and label maps in and out of files, a room for each kind of format.

Array axes are (I, J, K) and the world is mm, RAS+ behind every door. The formats' libraries are imported when a file of
their kind is first met.
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
