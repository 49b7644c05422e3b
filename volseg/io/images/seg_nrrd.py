"""What 3D Slicer writes into the header of a ``.seg.nrrd``: names, colours, codes and layers of its segments.

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
        Of each layer.
    are_masks : bool
        Slicer before 4.11 wrote a layer for each segment, not 0 where it is, and no values: they are numbered from 1.
    """

    layers: tuple[tuple[Label, ...], ...]
    are_masks: bool

    def values_of(self, layer: int, array: NDArray[Any]) -> NDArray[Any]:
        """Return the label values of a layer."""
        if not self.are_masks or not self.layers[layer]:
            return array
        value = self.layers[layer][0].value
        return np.asarray((array != 0) * smallest_integer(value).type(value))


def read_segments(entries: Mapping[str, str], layers: int, path: Path) -> Segments | None:
    """Read the segments that a header describes.

    Parameters
    ----------
    entries : mapping
        Keys and values of the header; those of segments are used.
    layers : int
        How many numbers a voxel has.
    path : Path
        The file, for messages.

    Returns
    -------
    Segments or None
        None where the file says nothing of segments. Names that repeat within a layer have the value behind them. An
        entry that is not what Slicer writes is left out, with a warning: a colour becomes the default one; a segment
        whose place or value is unknown loses its name, while its voxels stay.
    """
    segments: dict[int, dict[str, str]] = {}
    for key, text in entries.items():
        if match := _ENTRY.fullmatch(key):
            segments.setdefault(int(match[1]), {})[match[2]] = text
    segments = {number: segment for number, segment in segments.items() if {"ID", "Name"} & segment.keys()}
    if not segments:
        return None
    are_masks = layers > 1 and not any("LabelValue" in segment or "Layer" in segment for segment in segments.values())
    found = _Labels(layers)
    # Of two that claim one value it belongs to the one that says so.
    for number, segment in sorted(segments.items(), key=lambda item: ("LabelValue" not in item[1], item[0])):
        found.add(number, segment, are_masks=are_masks)
    if found.problems:
        _LOG.warning("%s: not what 3D Slicer writes, left out: %s", path, listed(found.problems))
    return Segments(found.by_layer(path), are_masks)


class _Labels:
    """Labels of each layer, as far as the entries of their segments are sound."""

    def __init__(self, layers: int) -> None:
        self.labels: list[dict[int, Label]] = [{} for _ in range(layers)]
        self.coloured: list[set[int]] = [set() for _ in range(layers)]
        self.problems: list[str] = []

    def add(self, number: int, segment: Mapping[str, str], *, are_masks: bool) -> None:
        """Add the label of a segment, or say why not."""
        name = plain(segment.get("Name", "")).strip() or plain(segment.get("ID", "")).strip() or f"segment_{number}"
        layer = number if are_masks else _number(segment.get("Layer") or "0")
        value = number + 1 if are_masks else _number(segment.get("LabelValue") or "1")
        if layer is None or layer >= len(self.labels):
            self.problems.append(f"{name} (layer {segment.get('Layer', number)!r:.30} of {len(self.labels)})")
        elif not value:
            self.problems.append(f"{name} (LabelValue {segment['LabelValue']!r:.30})")
        elif twin := self.labels[layer].get(value):
            self.problems.append(f"{name} (has the value {value}, as {twin.name} has)")
        else:
            colour = self._colour(segment, name)
            self.coloured[layer].update([value] if colour else [])
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
        """Return the labels of each layer, of which no two have one name."""
        pairs = zip(self.labels, self.coloured, strict=True)
        apart = (keep_colours_apart([layer[v] for v in sorted(layer)], given) for layer, given in pairs)
        return tuple(_with_unique_names(labels, path) for labels in apart)


def _number(text: str) -> int | None:
    match = _NUMBER.fullmatch(text)
    return int(match[1]) if match else None


def extent_start(entries: Mapping[str, str], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the index that Slicer 4 gave to the first voxel of a file, if its origin is that of index 0, 0, 0.

    Later ones write ReferenceImageExtentOffset, and the origin of the first voxel.
    """
    match = _EXTENT.fullmatch(entries.get("Segmentation_Extent", ""))
    if match is None or "Segmentation_ReferenceImageExtentOffset" in entries:
        return 0, 0, 0
    i, i_last, j, j_last, k, k_last = map(int, match.groups())
    return (i, j, k) if (i_last - i + 1, j_last - j + 1, k_last - k + 1) == shape else (0, 0, 0)


def segment_entries(layers: Sequence[LabelMap]) -> dict[str, str]:
    """Return Slicer's header entries for layers; extents are inclusive, that of an absent label is 0 -1."""
    entries = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    number = 0
    for layer, labelmap in enumerate(layers):
        boxes = label_boxes(labelmap.array)
        for label in labelmap.labels:
            box = boxes.get(label.value)
            extent = [(s.start, s.stop - 1) for s in box] if box else [(0, -1)] * 3
            segment = {
                "ID": f"Segment_{label.value}" if layer == 0 else f"Segment_{layer}_{label.value}",
                "Name": plain(label.name),
                "NameAutoGenerated": "0",
                "Color": " ".join(f"{c / 255:.6g}" for c in label.colour),
                "ColorAutoGenerated": "0",
                "LabelValue": str(label.value),
                "Layer": str(layer),
                "Extent": " ".join(f"{first} {last}" for first, last in extent),
                "Tags": _tags(label),
            }
            entries.update({f"Segment{number}_{key}": text for key, text in segment.items()})
            number += 1
    return entries


def _with_unique_names(labels: Sequence[Label], path: Path) -> tuple[Label, ...]:
    repeated = sorted(name for name, count in Counter(label.name for label in labels).items() if count > 1)
    if repeated:
        _LOG.warning("%s: several segments are called %s; their values are appended", path, ", ".join(repeated))
    return tuple(replace(s, name=f"{s.name}_{s.value}") if s.name in repeated else s for s in labels)


def _code(tags: str) -> str | None:
    """Return ``scheme:value`` of the segment's type: tags end in ``|``, terminologies are context~category~type~..."""
    entry = next((tag for tag in tags.split("|") if tag.startswith(_TERMINOLOGY)), "")
    concepts = [concept.split("^") for concept in entry.split("~")]
    if len(concepts) < 3 or len(concepts[2]) != 3:
        return None
    scheme, value, _ = (plain(part).strip() for part in concepts[2])
    return f"{scheme}:{value}" if scheme and value else None


def _tags(label: Label) -> str:
    """Write a label's code, else that of its name, as Slicer's terminology, which wants a category too, and a side."""
    structure = find_structure(label.name)
    code = label.code or (structure.code if structure else None)
    if code is None or re.search(r"[~^|]", code):
        return ""
    from volseg.io.dicom.codes import code_text, coding_of

    coding = coding_of(label)
    if code_text(coding.type) != code:
        return ""
    concepts = [_concept(c) if c else _NO_CODE for c in (coding.category, coding.type, coding.side)]
    return _TERMINOLOGY + "~".join([_CATEGORIES, *concepts, _REGIONS, _NO_CODE, _NO_CODE]) + "|"


def _concept(code: Any) -> str:
    return "^".join(re.sub(r"[~^|]", "_", part) for part in (code.scheme_designator, code.value, code.meaning))
