"""Label maps in files: which files they are, the layers of their labels, and the names of their labels."""

from __future__ import annotations

from volseg.io.labels.bids import is_dseg
from volseg.io.labels.files import (
    MASKS_FOLDER,
    case_of,
    check_labels,
    find_label_maps,
    has_label_table,
    is_even,
    names_of,
    names_volume,
    single_label_map,
)
from volseg.io.labels.layers import one_slice_advice
from volseg.io.labels.mask_folder import mask_files, name_labels, read_mask_files
from volseg.io.labels.mask_names import same_name, structure_name, structure_names
from volseg.io.labels.nifti_names import read_header_labels
from volseg.io.labels.table import labels_from_json, read_label_table, read_table, sidecar_path, write_label_table

__all__ = [
    "MASKS_FOLDER",
    "case_of",
    "check_labels",
    "find_label_maps",
    "has_label_table",
    "is_dseg",
    "is_even",
    "labels_from_json",
    "mask_files",
    "name_labels",
    "names_of",
    "names_volume",
    "one_slice_advice",
    "read_header_labels",
    "read_label_table",
    "read_mask_files",
    "read_table",
    "same_name",
    "sidecar_path",
    "single_label_map",
    "structure_name",
    "structure_names",
    "write_label_table",
]
