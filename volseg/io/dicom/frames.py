"""The frames of one DICOM instance: one, the frames of a multi-frame image, or the tiles of a mosaic.

Multi-frame: PS3.3 C.7.6.16 (functional groups). Mosaics are private forms of Siemens, which places the corner of the
whole mosaic as if it were one slice of that size, and of United Imaging, which lists the position of every tile.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pydicom.datadict import keyword_for_tag
from pydicom.tag import BaseTag, Tag

from volseg.io.dicom.attributes import DAMAGE, Attributes, number_of, numbers_of, size_of, text_of
from volseg.io.dicom.dataset import check_values

# Functional groups with attributes that a single-frame instance has at its top level.
_GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "FrameContentSequence",
    "MREchoSequence",
    "MRDiffusionSequence",
    "MRModifierSequence",
    "MRImageFrameTypeSequence",
    "MRTimingAndRelatedParametersSequence",
    "CTImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "ParametricMapFrameTypeSequence",
    "CardiacSynchronizationSequence",
    "CTXRayDetailsSequence",
    "CTReconstructionSequence",
    "RealWorldValueMappingSequence",
)
_DIRECTION = "DiffusionGradientDirectionSequence"
# Each frame takes 2 kB and 0.1 ms before a pixel is read.
_MOST_FRAMES = 100_000
_SLICE_VECTOR = 0x00540080
_SIEMENS_TILES, _UIH_TILES, _UIH_ITEMS = 0x0019100A, 0x00651050, 0x00651051


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of the frames in the pixels of an instance.

    Parameters
    ----------
    kind : {"single", "frames", "mosaic"}
        A mosaic has its tiles side by side, row by row, in one image.
    count : int
        Number of frames.
    rows, columns : int
        Size of a frame.
    """

    kind: Literal["single", "frames", "mosaic"]
    count: int
    rows: int
    columns: int

    @property
    def tiles_in_a_row(self) -> int:
        """Number of tiles in a row of a mosaic, which is as nearly square as possible."""
        return math.ceil(math.sqrt(self.count))


def is_mosaic(dataset: Attributes) -> bool:
    """Whether the header of an instance declares a mosaic: its slices side by side in one image.

    Parameters
    ----------
    dataset : Attributes
        The header.
    """
    return bool({"MOSAIC", "VFRAME"} & set(text_of(dataset, "ImageType").split("\\")))


def layout_of(dataset: Any) -> Layout:
    """Return the number and layout of the frames in an instance.

    Parameters
    ----------
    dataset : Dataset
        The header without pixels; for a mosaic with all other elements.

    Raises
    ------
    ValueError
        Impossible numbers.
    """
    rows, columns = size_of(dataset, "Rows"), size_of(dataset, "Columns")
    frames = int(number_of(dataset, "NumberOfFrames", 1))
    if not 1 <= frames <= _MOST_FRAMES:
        raise ValueError(f"NumberOfFrames is {frames}; expected 1 to {_MOST_FRAMES}")
    if frames > 1 or "PerFrameFunctionalGroupsSequence" in dataset:
        return Layout("frames", frames, rows, columns)
    if not is_mosaic(dataset):
        return Layout("single", 1, rows, columns)
    tiles = _tiles(dataset)
    across = math.ceil(math.sqrt(tiles))
    down = math.ceil(tiles / across) if _UIH_TILES in dataset else across  # Siemens also has empty rows of tiles
    if rows % down or columns % across:
        raise ValueError(f"its mosaic of {tiles} slices does not divide {rows} rows and {columns} columns")
    return Layout("mosaic", tiles, rows // down, columns // across)


def frames_in(dataset: Any, layout: Layout) -> Iterator[Attributes]:
    """Yield the attributes of every frame, flat as in a single-frame instance.

    Parameters
    ----------
    dataset : Dataset
        The header without pixels; for a mosaic with all other elements.
    layout : Layout
        From `layout_of`.

    Raises
    ------
    ValueError
        Functional groups or positions do not fit the number of frames.
    """
    if layout.kind == "mosaic":
        yield from _of_tiles(dataset, layout)
    elif layout.kind == "single":
        yield dataset
    elif "PerFrameFunctionalGroupsSequence" in dataset:
        yield from _of_groups(dataset)
    else:
        yield from _of_film(dataset, layout.count)


def attributes_of_frames(dataset: Any, groups: Sequence[str] = _GROUPS) -> Iterator[ChainMap[str, Any]]:
    """Yield the functional groups of each frame, flat: its own attributes first, then the shared ones.

    Parameters
    ----------
    dataset : Dataset
        A multi-frame image or segmentation.
    groups : sequence of str
        The wanted functional groups; others are not parsed.

    Raises
    ------
    ValueError
        The number of described frames differs from NumberOfFrames.
    """
    count = int(number_of(dataset, "NumberOfFrames", 1))
    items = dataset.PerFrameFunctionalGroupsSequence
    if len(items) != count:
        raise ValueError(f"NumberOfFrames is {count}, but PerFrameFunctionalGroupsSequence has {len(items)} items")
    tags = [Tag(group) for group in groups]
    shared: dict[str, Any] = {}
    if dataset.get("SharedFunctionalGroupsSequence"):
        shared = _flat(dataset.SharedFunctionalGroupsSequence[0], tags)
    for item in items:
        yield ChainMap(_flat(item, tags), shared)


def _of_groups(dataset: Any) -> Iterator[Attributes]:
    top = _flat_top(dataset)
    for number, attributes in enumerate(attributes_of_frames(dataset), start=1):
        yield ChainMap({"InstanceNumber": number}, *attributes.maps, top)


def _flat_top(dataset: Any) -> dict[str, Any]:
    return {keyword: dataset.get(keyword) for keyword in dataset.dir()}


def _flat(item: Any, groups: Sequence[BaseTag]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    present = item.keys()
    for group in groups:
        if group not in present:
            continue
        for attributes in item[group].value or ():
            check_values(attributes)
            for tag in tuple(attributes.keys()):
                if keyword := _keyword(tag):
                    flat[keyword] = attributes[tag].value
    for direction in flat.get(_DIRECTION) or ():
        flat["DiffusionGradientOrientation"] = direction.get("DiffusionGradientOrientation")
    return flat


@lru_cache(maxsize=1 << 10)
def _keyword(tag: BaseTag) -> str:
    return str(keyword_for_tag(tag))


def _of_film(dataset: Any, count: int) -> Iterator[Attributes]:
    """Yield frames without functional groups: a stack if the header has one position and a distance of slices.

    Nuclear medicine declares how its frames differ (PS3.3 C.8.4.8): they are a stack only if the slice alone varies.
    """
    top = _flat_top(dataset)
    detectors = dataset.get("DetectorInformationSequence")
    if detectors:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
            top[keyword] = top.get(keyword) or detectors[0].get(keyword)
    positions = _film_positions(top, _slice_numbers(dataset, count))
    if positions is None and count > 1:
        top["ImagePositionPatient"] = top["ImageOrientationPatient"] = None
    for number in range(count):
        own: dict[str, Any] = {"InstanceNumber": number + 1}
        if positions is not None:
            own["ImagePositionPatient"] = positions[number]
        yield ChainMap(own, top)


def _film_positions(top: Attributes, numbers: list[int] | None) -> list[list[float]] | None:
    """Return the positions of stacked frames, LPS mm; None if the header does not declare a stack."""
    position = numbers_of(top, "ImagePositionPatient", 3)
    orientation = numbers_of(top, "ImageOrientationPatient", 6)
    # Negative if the frames of a nuclear medicine tomogram run against their normal.
    step = number_of(top, "SpacingBetweenSlices", 0) or number_of(top, "SliceThickness", 0)
    if position is None or numbers is None:
        return None
    if len(numbers) > 1 and (orientation is None or not step):
        return None
    normal = np.cross(orientation[:3], orientation[3:]) if orientation else np.zeros(3)
    above = np.array(numbers)[:, None] - 1
    positions: list[list[float]] = (np.array(position) + normal * step * above).tolist()
    return positions


def _slice_numbers(dataset: Any, count: int) -> list[int] | None:
    """Return the slice number of each frame, from 1; None if frames also differ in something else."""
    pointer = dataset.get("FrameIncrementPointer")
    pointers = {pointer} if isinstance(pointer, int) else set(pointer or ())
    for tag in pointers - {_SLICE_VECTOR}:
        if not _is_constant(dataset.get(tag)):
            return None
    numbers = list(map(int, dataset.get("SliceVector") or range(1, count + 1)))
    return numbers if sorted(numbers) == list(range(1, count + 1)) else None


def _is_constant(vector: Any) -> bool:
    """Whether an index is the same in all frames: a vector of one number; a time is never the same."""
    if vector is None or not isinstance(vector.value, Sequence):
        return False
    return len(set(vector.value)) <= 1


def _tiles(dataset: Any) -> int:
    for tag in (_SIEMENS_TILES, _UIH_TILES):
        if tag in dataset:
            return int(dataset[tag].value)
    tiles = _siemens(dataset).get("NumberOfImagesInMosaic", {}).get("items")
    if not tiles:
        raise ValueError("it is a mosaic without a number of slices; convert it by dcm2niix, or export slices")
    return int(tiles[0])


def _of_tiles(dataset: Any, layout: Layout) -> Iterator[Attributes]:
    top = _flat_top(dataset)
    if _UIH_ITEMS in dataset:
        places = [numbers_of(item, "ImagePositionPatient", 3) for item in dataset[_UIH_ITEMS].value]
        if len(places) != layout.count:
            raise ValueError(f"its mosaic has {layout.count} slices, but {len(places)} positions")
    else:
        places = [*_siemens_places(dataset, layout)]
    for place in places:
        yield ChainMap({"ImagePositionPatient": place}, top)


def _siemens_places(dataset: Any, layout: Layout) -> Iterator[tuple[float, ...]]:
    """Position of the first pixel of every tile, LPS mm.

    The corner of the first tile is half the difference between mosaic and tile size away from the mosaic's corner. The
    others follow along the normal in Siemens' private header, which may be opposite to that of rows and columns.
    """
    header = _siemens(dataset).get("SliceNormalVector", {}).get("items")
    corner, axes = numbers_of(dataset, "ImagePositionPatient", 3), numbers_of(dataset, "ImageOrientationPatient", 6)
    spacing, step = numbers_of(dataset, "PixelSpacing", 2), abs(number_of(dataset, "SpacingBetweenSlices", 0))
    if corner is None or axes is None or spacing is None or not step or not header or len(header) != 3:
        raise ValueError(
            "its mosaic lacks position, orientation, spacing, or Siemens' private header with the slice normal"
        )
    row, column = np.array(axes[:3]), np.array(axes[3:])
    wider, higher = size_of(dataset, "Columns") - layout.columns, size_of(dataset, "Rows") - layout.rows
    first = np.array(corner) + row * spacing[1] * wider / 2 + column * spacing[0] * higher / 2
    normal = np.cross(row, column)
    normal *= math.copysign(step, float(normal @ np.array(header, dtype=float)))
    for number in range(layout.count):
        yield tuple((first + normal * number).tolist())


def _siemens(dataset: Any) -> Mapping[str, Any]:
    """Read Siemens' private image header; empty if it is missing or damaged."""
    from nibabel.nicom.csareader import CSAReadError, get_csa_header

    # NameError: nibabel's reader uses an unset variable if a header is cut off.
    damage: tuple[type[Exception], ...] = (CSAReadError, NameError, *DAMAGE)
    try:
        header = get_csa_header(dataset, "image")
    except damage:
        return {}
    return header["tags"] if header else {}
