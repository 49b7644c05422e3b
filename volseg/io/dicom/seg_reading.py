"""Read DICOM Segmentation objects (PS3.3 C.8.20), of any writer, as label maps or probabilities.

Frames that a writer left out are background. Where segments overlap, which one array of labels cannot say, there are
several label maps.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels
from pydicom.uid import UID, SegmentationStorage

from volseg.core.grid import Grid
from volseg.core.label_choice import LabelChoice, listed
from volseg.core.labelmap import Label, LabelMap, default_colour, keep_colours_apart
from volseg.core.layers import Layers
from volseg.core.volume import Volume
from volseg.core.voxels import smallest_integer
from volseg.errors import GeometryError, InputError
from volseg.io.dicom.attributes import DAMAGE, quiet_pydicom, text_of
from volseg.io.dicom.codes import label_of
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.header_reading import check_size
from volseg.io.dicom.seg_planes import Planes, not_read, on_grid, per_frame, planes_of, warn_elsewhere, without_place
from volseg.io.dicom.storage import DicomFile

_LOG = logging.getLogger(__name__)

_LABEL_MAP_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")
# DICOM's code for what is no structure.
_BACKGROUND = "125040"

_Piece = tuple[tuple[int, slice, slice], NDArray[np.bool_]]


def read_dicom_seg(
    path: Path | DicomFile, *, image: Volume | Grid | None = None, choice: LabelChoice | None = None
) -> tuple[LabelMap, ...]:
    """Read a binary, fractional or label map Segmentation.

    Parameters
    ----------
    path : Path or DicomFile
        One object.
    image : Volume or Grid, optional
        Where the labels are wanted; each voxel takes the nearest pixel, the same where they coincide. Without it they
        lie on the grid of the frames themselves, from the first to the last one that is there.
    choice : LabelChoice, optional
        Which segments are wanted; all, if it is not given. The frames of others are not decoded.

    Returns
    -------
    tuple of LabelMap
        One; more where segments overlap: each segment is in the first in which it meets no other. All on one grid,
        ``array[i, j, k]`` being column i and row j of slice k, slices ascending along their normal. Values are those
        that volseg wrote, else the segment numbers; names that repeat have the value behind them. Of fractional
        segments, what is at least half (a warning is logged).

    Raises
    ------
    InputError
        Not a Segmentation, damaged, without place in the patient; frames of several orientations, or two frames of a
        segment in one place; no `image` and uneven positions; `image` elsewhere.
    """
    file = path if isinstance(path, DicomFile) else DicomFile(path)
    with _wrapped(file):
        dataset = _open(file)
        planes = planes_of(dataset, file)
        warn_elsewhere(planes, image)
        labels = _labels(dataset, file)
        choice = choice or LabelChoice()
        if dataset.SegmentationType == "LABELMAP":
            whole = _labelmap(_label_values(dataset, planes), tuple(labels.values()), planes, image)
            return choice.apply((whole,), file)
        wanted = choice.of(tuple(labels.values()), file)
        labels = {number: label for number, label in labels.items() if label in wanted}
        layers = _layers(_pieces(dataset, planes, labels), planes, labels)
        return tuple(_labelmap(stack, some, planes, image) for stack, some in layers)


def read_dicom_probabilities(path: Path | DicomFile, *, image: Volume | Grid | None = None) -> dict[str, Volume]:
    """Read a fractional Segmentation as probabilities.

    Parameters
    ----------
    path, image
        As in `read_dicom_seg`.

    Returns
    -------
    dict of str to Volume
        By label name: (I, J, K) float32 from 0 to 1, all on one grid.

    Raises
    ------
    InputError
        As `read_dicom_seg`; also where the Segmentation is not fractional.
    """
    file = path if isinstance(path, DicomFile) else DicomFile(path)
    with _wrapped(file):
        dataset = _open(file)
        if dataset.SegmentationType != "FRACTIONAL":
            raise InputError(f"{file}: is a {dataset.SegmentationType} Segmentation; expected a FRACTIONAL one")
        planes = planes_of(dataset, file)
        warn_elsewhere(planes, image)
        labels = _labels(dataset, file)
        stacks = {number: np.zeros((len(planes.positions), *planes.shape), np.float32) for number in labels}
        for number, plane, pixels in _frames(dataset, planes, labels):
            stacks[number][plane] = pixels / np.float32(_whole(dataset))
        placed = {labels[number].name: on_grid(stack, planes, image) for number, stack in stacks.items()}
    return {name: Volume(array, grid, name=name) for name, (array, grid) in placed.items()}


@contextmanager
def _wrapped(file: DicomFile) -> Iterator[None]:
    try:
        with quiet_pydicom():
            yield
    except GeometryError as error:
        raise InputError(f"{file}: {error}") from error
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{file}: cannot be read as a DICOM Segmentation ({reason}); it may be damaged") from error


def _open(file: DicomFile) -> Dataset:
    dataset: Dataset = open_dataset(file)
    kind = UID(text_of(dataset, "SOPClassUID"))
    if kind not in (SegmentationStorage, _LABEL_MAP_STORAGE):
        raise InputError(f"{file}: is {kind.name or 'no image'}; expected a DICOM Segmentation")
    if what := without_place(dataset):
        raise InputError(f"{file}: {not_read(what)}")
    check_size(file, dataset)
    return dataset


def _whole(dataset: Dataset) -> int:
    return int(dataset.get("MaximumFractionalValue") or 255)


def _labels(dataset: Dataset, file: DicomFile) -> dict[int, Label]:
    """Return the label of every segment number that is described or used, without background."""
    labels = _described(dataset, file)
    for number in set(_segment_numbers(dataset)) - {0, *labels}:
        labels[number] = Label(number, f"segment_{number}", default_colour(number))
    values = Counter(label.value for label in labels.values())
    if max(values.values(), default=1) > 1:
        labels = {number: replace(label, value=number) for number, label in labels.items()}
    labels = _told_apart(labels, dataset)
    names = Counter(label.name for label in labels.values())
    return {
        number: replace(label, name=f"{label.name}_{label.value}") if names[label.name] > 1 else label
        for number, label in labels.items()
    }


def _described(dataset: Dataset, file: DicomFile) -> dict[int, Label]:
    """Return the label of every segment number that is described once and soundly; warn of the others."""
    labels: dict[int, Label] = {}
    problems = []
    numbers = Counter(str(segment.get("SegmentNumber")) for segment in dataset.SegmentSequence)
    for segment in dataset.SegmentSequence:
        name, text = text_of(segment, "SegmentLabel") or "a segment", str(segment.get("SegmentNumber"))
        if not text.isdecimal() or numbers[text] > 1:
            problems.append(f"{name} (number {text}{' is given twice' if numbers[text] > 1 else ''})")
        elif text == "0":
            _refuse_structure_as_background(segment, file)
        else:
            label = label_of(segment)
            # The pixels of a label map are the values, whatever the description says.
            labels[int(text)] = replace(label, value=int(text)) if dataset.SegmentationType == "LABELMAP" else label
    if problems:
        _LOG.warning("%s: names left out, as nobody knows whose they are: %s", file, listed(problems))
    return labels


def _told_apart(labels: dict[int, Label], dataset: Dataset) -> dict[int, Label]:
    """Return labels by segment number with no colour twice but where the file says so."""
    coloured = {str(s.get("SegmentNumber")) for s in dataset.SegmentSequence if s.get("RecommendedDisplayCIELabValue")}
    given = {label.value for number, label in labels.items() if str(number) in coloured}
    return dict(zip(labels, keep_colours_apart(labels.values(), given), strict=True))


def _refuse_structure_as_background(segment: Dataset, file: DicomFile) -> None:
    codes = {str(code.get("CodeValue")) for code in segment.get("SegmentedPropertyTypeCodeSequence") or ()}
    if _BACKGROUND not in codes:
        name = text_of(segment, "SegmentLabel")
        raise InputError(f"{file}: segment 0 is {name!r}; expected background, which 0 is in label maps; renumber it")


def _segment_numbers(dataset: Dataset) -> list[int]:
    """Segment number of every frame; 0 for those of a label map, which hold all segments."""
    if dataset.SegmentationType == "LABELMAP":
        return [0] * len(dataset.PerFrameFunctionalGroupsSequence)
    found = per_frame(dataset, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
    return [int(number) for number in np.broadcast_to(found.ravel(), len(dataset.PerFrameFunctionalGroupsSequence))]


def _frames(dataset: Dataset, planes: Planes, numbers: Collection[int]) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield the segment number, plane and (rows, columns) pixels of every frame of some segments; each pair once."""
    found = _segment_numbers(dataset)
    frames = [frame for frame, number in enumerate(found) if number in numbers]
    met = set()
    for frame, pixels in zip(frames, _pixels(dataset, frames), strict=True):
        number, plane = found[frame], int(planes.of_frames[frame])
        if (number, plane) in met:
            raise InputError(
                f"{planes.file}: segment {number} has two frames in one place (time points?); expected one, split it"
            )
        met.add((number, plane))
        yield number, plane, pixels


def _pixels(dataset: Dataset, frames: list[int]) -> Iterator[NDArray[Any]]:
    """Yield the (rows, columns) stored pixels of some frames, in ascending order."""
    if dataset.BitsAllocated != 1 or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        if frames:  # an empty list would mean all
            yield from iter_pixels(dataset, indices=frames)
        return
    # Bits run on from frame to frame; pydicom 3.0 loses the last bits of frames that do not begin with a byte.
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    size = dataset.Rows * dataset.Columns
    if 8 * packed.size < size * dataset.NumberOfFrames:
        raise ValueError(f"PixelData holds {packed.size} bytes, fewer than {dataset.NumberOfFrames} frames have")
    for frame in frames:
        start = frame * size
        bits = np.unpackbits(packed[start // 8 : (start + size + 7) // 8], bitorder="little")
        yield bits[start % 8 :][:size].reshape(dataset.Rows, dataset.Columns)


def _label_values(dataset: Dataset, planes: Planes) -> NDArray[Any]:
    """(P, rows, columns) label values of a label map segmentation."""
    stack = np.zeros((len(planes.positions), *planes.shape), np.dtype(f"u{dataset.BitsAllocated // 8}"))
    padding = int(dataset.get("PixelPaddingValue") or 0)
    for _, plane, pixels in _frames(dataset, planes, [0]):
        stack[plane] = np.where(pixels == padding, 0, pixels) if padding else pixels
    return stack


def _pieces(dataset: Dataset, planes: Planes, labels: dict[int, Label]) -> dict[int, list[_Piece]]:
    """Return the masks of every segment, each cut to the rows and columns where it is: a fraction of the frames."""
    threshold = 1
    if dataset.SegmentationType == "FRACTIONAL":
        threshold = (_whole(dataset) + 1) // 2
        _LOG.warning("%s: is fractional; what is at least one half becomes a label, the rest is lost", planes.file)
    pieces: dict[int, list[_Piece]] = {number: [] for number in labels}
    for number, plane, pixels in _frames(dataset, planes, labels):
        mask = pixels >= threshold
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            box = plane, slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            pieces[number].append((box, mask[box[1:]].copy()))
    return pieces


def _layers(
    pieces: dict[int, list[_Piece]], planes: Planes, labels: dict[int, Label]
) -> list[tuple[NDArray[Any], tuple[Label, ...]]]:
    """Lay every segment into the first layer in which it meets no other."""
    dtype = smallest_integer(max((label.value for label in labels.values()), default=1))
    layers = Layers((len(planes.positions), *planes.shape), dtype)
    for number in sorted(pieces):
        layers.add(labels[number], partial(_parts, pieces[number]))
    return [(stack, tuple(members)) for stack, members in layers.filled]


def _parts(pieces: list[_Piece], stack: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    for box, mask in pieces:
        yield stack[box], mask


def _labelmap(stack: NDArray[Any], labels: tuple[Label, ...], planes: Planes, image: Volume | Grid | None) -> LabelMap:
    array, grid = on_grid(stack, planes, image)
    return LabelMap.from_array(array, grid, labels=labels)
