"""BIDS derivatives: the files beside a discrete segmentation, ``<entities>_dseg.nii.gz``.

Its label table is ``<entities>_dseg.tsv`` (`volseg.io.labels.table`). This module writes ``<entities>_dseg.json``. It
describes the image and the columns that are not BIDS's own. ``dataset_description.json`` belongs to the dataset and is
not written. Source: BIDS specification, "Imaging data types" of derivatives, https://bids-specification.readthedocs.io.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from volseg.core.labelmap import LabelMap
from volseg.files.atomic import write_text
from volseg.files.names import case_name, has_suffix
from volseg.io.labels.table import CODE_COLUMN, label_columns, sidecar_path


def is_dseg(path: str | Path) -> bool:
    """Whether a file name is that of a discrete segmentation in BIDS.

    Parameters
    ----------
    path : path
    """
    return has_suffix(path, ("_dseg.nii", "_dseg.nii.gz"))


def write_dseg_json(
    labelmap: LabelMap,
    path: str | Path,
    *,
    manual: bool | None = None,
    sources: Sequence[str] = (),
    spatial_reference: str | None = None,
) -> Path:
    """Write the JSON file beside a discrete segmentation.

    Parameters
    ----------
    labelmap : LabelMap
        The labels in the image.
    path : path
        The image, ``<entities>_dseg.nii.gz``.
    manual : bool, optional
        Whether the segmentation was drawn by hand; left out if not known.
    sources : sequence of str
        BIDS URIs of the source files, such as ``bids:raw:sub-01/anat/sub-01_T1w.nii.gz``.
    spatial_reference : str, optional
        URI or BIDS path of the image to which it is aligned. By default it is ``orig``, the space of its own scan,
        unless the file name has another ``space`` entity.

    Returns
    -------
    Path
        ``<entities>_dseg.json``.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    path = Path(path)
    content: dict[str, Any] = {
        "Description": f"Discrete segmentation, number of labels: {len(labelmap.labels)}; see {sidecar_path(path).name}"
    }
    if reference := spatial_reference or ("orig" if _entity(path, "space") in (None, "orig") else None):
        content["SpatialReference"] = reference
    if manual is not None:
        content["Manual"] = manual
    if sources:
        content["Sources"] = list(sources)
    if _entity(path, "res") is not None:  # then BIDS requires it
        content["Resolution"] = "{:.4g} x {:.4g} x {:.4g} mm".format(*labelmap.grid.spacing)
    if CODE_COLUMN in label_columns(labelmap.labels):
        content[CODE_COLUMN] = {
            "LongName": "Terminology code",
            "Description": "Meaning of the label, as scheme:value; the schemes are DICOM's, such as SCT for SNOMED CT",
        }
    sidecar = path.with_name(case_name(path) + ".json")
    write_text(sidecar, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return sidecar


def _entity(path: Path, key: str) -> str | None:
    match = re.search(rf"(?:^|_){key}-([^_]+)", case_name(path))
    return match[1] if match else None
