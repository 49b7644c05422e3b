"""The entries of 3D Slicer in the header of a ``.seg.nrrd``: names, colours, codes and layers of its segments.

Segments that overlap lie in several layers, each a label map. Source: vtkMRMLSegmentationStorageNode and
vtkSlicerTerminologiesModuleLogic of 3D Slicer, https://github.com/Slicer/Slicer.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.anatomy import find_structure
from volseg.core.label_choice import listed
from volseg.core.labelmap import Colour, Label, LabelMap, default_colour, keep_colours_apart, label_boxes
from volseg.core.voxels import smallest_integer
from volseg.files.plain_text import plain

_LOG = logging.getLogger(__name__)
_ENTRY = re.compile(r"Segment(\d{1,9})_(ID|Name|Color|DefaultColor|LabelValue|Layer|Tags)")
_NUMBER = re.compile(r"\s*(\d{1,18})\s*")
_EXTENT = re.compile(r"\s*" + r"\s+".join([r"([+-]?\d{1,9})"] * 6) + r"\s*")
_TERMINOLOGY = "TerminologyEntry:"
_CATEGORIES = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGIONS = "Anatomic codes - DICOM master list"
_NO_CODE = "^^"


@dataclass(frozen=True)
class Segments:
    """The segments of a file.

    Parameters
    ----------
    layers : tuple of tuple of Label
        The labels of each layer.
    are_masks : bool
        Slicer before 4.11 wrote one layer for each segment, not 0 inside, and no values. Such segments are numbered
        from 1.
    """

    layers: tuple[tuple[Label, ...], ...]
    are_masks: bool

    def values_of(self, layer: int, array: NDArray[Any]) -> NDArray[Any]:
        """Return the label values of a layer.

        Parameters
        ----------
        layer : int
        array : (I, J, K) int
            The numbers in the file.
        """
        if not self.are_masks or not self.layers[layer]:
            return array
        value = self.layers[layer][0].value
        return np.asarray((array != 0) * smallest_integer(value).type(value))


def read_segments(entries: Mapping[str, str], layers: int, path: Path) -> Segments | None:
    """Read the segments that a header describes.

    Parameters
    ----------
    entries : mapping
        Keys and values of the header; only those of segments are used.
    layers : int
        Number of numbers a voxel.
    path : Path
        The file, for messages.

    Returns
    -------
    Segments or None
        None if the file has no segments. Names that repeat within a layer have the value appended. Entries that Slicer
        would not write are left out, with a warning: a wrong colour becomes the default one; a segment with an unknown
        layer or value loses its name, while its voxels stay.
    """
    segments = _segments(entries)
    if not segments:
        return None
    are_masks = layers > 1 and not {"LabelValue", "Layer"} & set().union(*segments.values())
    found = _Labels(layers)
    # Segments with a LabelValue come first: a value belongs to the segment that states it.
    for number, segment in sorted(segments.items(), key=lambda item: ("LabelValue" not in item[1], item[0])):
        found.add(number, segment, are_masks=are_masks)
    if found.problems:
        _LOG.warning("%s: not what 3D Slicer writes, left out: %s", path, listed(found.problems))
    return Segments(found.by_layer(path), are_masks)


def _segments(entries: Mapping[str, str]) -> dict[int, dict[str, str]]:
    """Return the entries of each segment by its number; a segment has an ID or a name."""
    found: dict[int, dict[str, str]] = {}
    for key, text in entries.items():
        if match := _ENTRY.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = text
    return {number: segment for number, segment in found.items() if {"ID", "Name"} & segment.keys()}


class _Labels:
    """Labels of each layer, from the sound entries of segments."""

    def __init__(self, layers: int) -> None:
        self.labels: list[dict[int, Label]] = [{} for _ in range(layers)]
        self.coloured: list[set[int]] = [set() for _ in range(layers)]
        self.problems: list[str] = []

    def add(self, number: int, segment: Mapping[str, str], *, are_masks: bool) -> None:
        """Add the label of a segment, or a problem."""
        name = _name(number, segment)
        layer = number if are_masks else _number(segment.get("Layer") or "0")
        value = number + 1 if are_masks else _number(segment.get("LabelValue") or "1")
        if layer is None or layer >= len(self.labels):
            self.problems.append(f"{name} (layer {segment.get('Layer', number)!r:.30} of {len(self.labels)})")
        elif not value:
            self.problems.append(f"{name} (LabelValue {segment['LabelValue']!r:.30})")
        elif twin := self.labels[layer].get(value):
            self.problems.append(f"{name} (has the value {value}, as {twin.name} has)")
        else:
            self._put(layer, value, name, segment)

    def _put(self, layer: int, value: int, name: str, segment: Mapping[str, str]) -> None:
        colour = self._colour(segment, name)
        if colour:
            self.coloured[layer].add(value)
        code = _code(segment.get("Tags", ""))
        self.labels[layer][value] = Label(value, name, colour or default_colour(value, name), code)

    def _colour(self, segment: Mapping[str, str], name: str) -> Colour | None:
        text = segment.get("Color", "").strip() or segment.get("DefaultColor", "").strip()
        try:
            red, green, blue = (round(255 * float(part)) for part in text.split())
        except (ValueError, OverflowError):
            self.problems.extend([f"the colour of {name} ({text!r:.30})"] if text else [])
            return None
        if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
            self.problems.append(f"the colour of {name} ({text!r:.30})")
            return None
        return red, green, blue

    def by_layer(self, path: Path) -> tuple[tuple[Label, ...], ...]:
        """Return the labels of each layer, with unique names."""
        layers = []
        for labels, coloured in zip(self.labels, self.coloured, strict=True):
            apart = keep_colours_apart([labels[value] for value in sorted(labels)], coloured)
            layers.append(_with_unique_names(apart, path))
        return tuple(layers)


def _name(number: int, segment: Mapping[str, str]) -> str:
    return plain(segment.get("Name", "")).strip() or plain(segment.get("ID", "")).strip() or f"segment_{number}"


def _number(text: str) -> int | None:
    match = _NUMBER.fullmatch(text)
    return int(match[1]) if match else None


def extent_start(entries: Mapping[str, str], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the index of the first voxel of a file by Slicer 4, where the origin is that of index 0, 0, 0.

    Later versions write ReferenceImageExtentOffset and the origin of the first voxel; for them the index is 0, 0, 0.

    Parameters
    ----------
    entries : mapping
        Keys and values of the header.
    shape : (I, J, K)
        Of the image.
    """
    match = _EXTENT.fullmatch(entries.get("Segmentation_Extent", ""))
    if match is None or "Segmentation_ReferenceImageExtentOffset" in entries:
        return 0, 0, 0
    i, i_last, j, j_last, k, k_last = map(int, match.groups())
    return (i, j, k) if (i_last - i + 1, j_last - j + 1, k_last - k + 1) == shape else (0, 0, 0)


def segment_entries(layers: Sequence[LabelMap]) -> dict[str, str]:
    """Return Slicer's header entries for layers.

    Parameters
    ----------
    layers : sequence of LabelMap
        On one grid.
    """
    entries = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    number = 0
    for layer, labelmap in enumerate(layers):
        boxes = label_boxes(labelmap.array)
        for label in labelmap.labels:
            segment = {
                "ID": f"Segment_{label.value}" if layer == 0 else f"Segment_{layer}_{label.value}",
                "Name": plain(label.name),
                "NameAutoGenerated": "0",
                "Color": " ".join(f"{c / 255:.6g}" for c in label.colour),
                "ColorAutoGenerated": "0",
                "LabelValue": str(label.value),
                "Layer": str(layer),
                "Extent": _extent(boxes.get(label.value)),
                "Tags": _tags(label),
            }
            for key, text in segment.items():
                entries[f"Segment{number}_{key}"] = text
            number += 1
    return entries


def _extent(box: Sequence[slice] | None) -> str:
    """Write the first and last index along each axis; 0 and -1 for an absent label."""
    if box is None:
        return "0 -1 0 -1 0 -1"
    return " ".join(f"{side.start} {side.stop - 1}" for side in box)


def _with_unique_names(labels: Sequence[Label], path: Path) -> tuple[Label, ...]:
    counts = Counter(label.name for label in labels)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        _LOG.warning("%s: several segments are called %s; their values are appended", path, ", ".join(repeated))
    unique = []
    for label in labels:
        unique.append(replace(label, name=f"{label.name}_{label.value}") if label.name in repeated else label)
    return tuple(unique)


def _code(tags: str) -> str | None:
    """Return ``scheme:value`` of the segment's type: tags end in ``|``, terminologies are context~category~type~..."""
    entry = next((tag for tag in tags.split("|") if tag.startswith(_TERMINOLOGY)), "")
    concepts = entry.split("~")
    parts = concepts[2].split("^") if len(concepts) > 2 else []
    if len(parts) != 3:
        return None
    scheme, value = plain(parts[0]).strip(), plain(parts[1]).strip()
    return f"{scheme}:{value}" if scheme and value else None


def _tags(label: Label) -> str:
    """Write the code of a label, or of its name, as an entry of Slicer's terminology, with category and side."""
    structure = find_structure(label.name)
    code = label.code or (structure.code if structure else None)
    if code is None or re.search(r"[~^|]", code):
        return ""
    from volseg.io.dicom.codes import code_text, coding_of

    coding = coding_of(label)
    if code_text(coding.type) != code:
        return ""
    concepts = map(_concept, (coding.category, coding.type, coding.side))
    return _TERMINOLOGY + "~".join([_CATEGORIES, *concepts, _REGIONS, _NO_CODE, _NO_CODE]) + "|"


def _concept(code: Any) -> str:
    if not code:
        return _NO_CODE
    return "^".join(re.sub(r"[~^|]", "_", part) for part in (code.scheme_designator, code.value, code.meaning))
