"""Read DICOM Segmentation objects (PS3.3 C.8.20) from any software as label maps or probabilities.

Omitted frames are background. Segments that overlap are read into several label maps, as one array of labels cannot
hold them.
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
from volseg.io.dicom.seg_grid import on_grid, warn_elsewhere
from volseg.io.dicom.seg_planes import SegmentFrames, not_read, read_frames, without_place
from volseg.io.dicom.storage import DicomFile

_LOG = logging.getLogger(__name__)

_LABEL_MAP_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")
# DICOM's code for the background.
_BACKGROUND = "125040"

_Piece = tuple[tuple[int, slice, slice], NDArray[np.bool_]]


def read_dicom_seg(
    path: Path | DicomFile, *, image: Volume | Grid | None = None, choice: LabelChoice | None = None
) -> tuple[LabelMap, ...]:
    """Read a binary, fractional or label map Segmentation.

    Parameters
    ----------
    path : Path or DicomFile
        The Segmentation.
    image : Volume or Grid, optional
        The image or grid for the labels; each voxel gets the nearest pixel. The default is the grid of the frames
        themselves, from the first to the last stored one.
    choice : LabelChoice, optional
        The wanted segments; the default is all. The frames of others are not decoded.

    Returns
    -------
    tuple of LabelMap
        One, or several if segments overlap: each segment is in the first map in which it overlaps no other. All are on
        one grid: ``array[i, j, k]`` is column i and row j of slice k, slices ascending along their normal. Values are
        those that volseg wrote, else the segment numbers; repeated names get the value as a suffix. A voxel belongs to
        a fractional segment if its value is at least one half (a warning is logged).

    Raises
    ------
    InputError
        The file is not a Segmentation, is damaged, or has no position in the patient; its frames have several
        orientations, or a segment has two frames at one position; its positions are uneven and `image` is missing; or
        `image` lies elsewhere.
    """
    file = path if isinstance(path, DicomFile) else DicomFile(path)
    choice = choice or LabelChoice()
    with _wrapped(file):
        dataset = _open(file)
        frames = read_frames(dataset, file)
        warn_elsewhere(frames, image)
        labels = _labels(dataset, frames)
        if dataset.SegmentationType == "LABELMAP":
            array, grid = on_grid(_label_values(dataset, frames), frames, image)
            return choice.apply((LabelMap.from_array(array, grid, labels=tuple(labels.values())),), file)
        wanted = choice.of(tuple(labels.values()), file)
        labels = {number: label for number, label in labels.items() if label in wanted}
        labelmaps = []
        for pixels, members in _layers(_pieces(dataset, frames, labels), frames, labels):
            array, grid = on_grid(pixels, frames, image)
            labelmaps.append(LabelMap.from_array(array, grid, labels=tuple(members)))
        return tuple(labelmaps)


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
        As for `read_dicom_seg`; also if the Segmentation is not fractional.
    """
    file = path if isinstance(path, DicomFile) else DicomFile(path)
    with _wrapped(file):
        dataset = _open(file)
        if dataset.SegmentationType != "FRACTIONAL":
            raise InputError(f"{file}: is a {dataset.SegmentationType} Segmentation; expected a FRACTIONAL one")
        frames = read_frames(dataset, file)
        warn_elsewhere(frames, image)
        labels = _labels(dataset, frames)
        whole = np.float32(_whole(dataset))
        planes = {}
        for number in labels:
            planes[number] = np.zeros(frames.shape, np.float32)
        for number, plane, pixels in _segment_pixels(dataset, frames, labels):
            planes[number][plane] = pixels / whole
        volumes = {}
        for number, label in labels.items():
            array, grid = on_grid(planes[number], frames, image)
            volumes[label.name] = Volume(array, grid, name=label.name)
    return volumes


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


def _labels(dataset: Dataset, frames: SegmentFrames) -> dict[int, Label]:
    """Return the label of every segment number that is described or used, except the background."""
    labels = _described(dataset, frames.file)
    for number in set(frames.segments) - {0, *labels}:
        labels[number] = Label(number, f"segment_{number}", default_colour(number))
    if len({label.value for label in labels.values()}) < len(labels):
        for number, label in labels.items():
            labels[number] = replace(label, value=number)
    labels = _coloured_apart(labels, dataset)
    uses = Counter(label.name for label in labels.values())
    for number, label in labels.items():
        if uses[label.name] > 1:
            labels[number] = replace(label, name=f"{label.name}_{label.value}")
    return labels


def _described(dataset: Dataset, file: DicomFile) -> dict[int, Label]:
    """Return the label of every segment number with one valid description; warn of the others."""
    labels: dict[int, Label] = {}
    problems = []
    uses = Counter(str(segment.get("SegmentNumber")) for segment in dataset.SegmentSequence)
    for segment in dataset.SegmentSequence:
        name = text_of(segment, "SegmentLabel") or "a segment"
        text = str(segment.get("SegmentNumber"))
        if not text.isdecimal() or uses[text] > 1:
            problems.append(f"{name} (number {text}{' is given twice' if uses[text] > 1 else ''})")
        elif text == "0":
            _refuse_structure_as_background(segment, file)
        else:
            label = label_of(segment)
            # The pixels of a label map are its values, whatever the description.
            labels[int(text)] = replace(label, value=int(text)) if dataset.SegmentationType == "LABELMAP" else label
    if problems:
        _LOG.warning("%s: names left out, as their segments are ambiguous: %s", file, listed(problems))
    return labels


def _coloured_apart(labels: dict[int, Label], dataset: Dataset) -> dict[int, Label]:
    """Return labels by segment number; no colour is used twice unless the file has it twice."""
    given = set()
    for segment in dataset.SegmentSequence:
        number = str(segment.get("SegmentNumber"))
        if segment.get("RecommendedDisplayCIELabValue") and number.isdecimal() and int(number) in labels:
            given.add(labels[int(number)].value)
    return dict(zip(labels, keep_colours_apart(labels.values(), given), strict=True))


def _refuse_structure_as_background(segment: Dataset, file: DicomFile) -> None:
    for code in segment.get("SegmentedPropertyTypeCodeSequence") or ():
        if str(code.get("CodeValue")) == _BACKGROUND:
            return
    name = text_of(segment, "SegmentLabel")
    raise InputError(f"{file}: segment 0 is {name!r}; expected background, as label maps use 0 for it; renumber it")


def _segment_pixels(
    dataset: Dataset, frames: SegmentFrames, numbers: Collection[int]
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Yield segment number, plane and (rows, columns) pixels of every frame of some segments; each pair is unique."""
    wanted = [frame for frame, number in enumerate(frames.segments) if number in numbers]
    met = set()
    for frame, pixels in zip(wanted, _stored_pixels(dataset, wanted), strict=True):
        number, plane = frames.segments[frame], int(frames.planes[frame])
        if (number, plane) in met:
            raise InputError(
                f"{frames.file}: segment {number} has two frames at one position (time points?); expected one, split it"
            )
        met.add((number, plane))
        yield number, plane, pixels


def _stored_pixels(dataset: Dataset, frames: list[int]) -> Iterator[NDArray[Any]]:
    """Yield the (rows, columns) stored pixels of some frames, in ascending order."""
    if dataset.BitsAllocated != 1 or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        if frames:  # an empty list would mean all
            yield from iter_pixels(dataset, indices=frames)
        return
    # Frames of bits are packed without gaps; pydicom 3.0 loses the last bits of frames that do not begin with a byte.
    packed = np.frombuffer(dataset.PixelData, np.uint8)
    size = dataset.Rows * dataset.Columns
    if 8 * packed.size < size * dataset.NumberOfFrames:
        raise ValueError(f"PixelData holds {packed.size} bytes, fewer than {dataset.NumberOfFrames} frames have")
    for frame in frames:
        start = frame * size
        bits = np.unpackbits(packed[start // 8 : (start + size + 7) // 8], bitorder="little")
        yield bits[start % 8 :][:size].reshape(dataset.Rows, dataset.Columns)


def _label_values(dataset: Dataset, frames: SegmentFrames) -> NDArray[Any]:
    """(P, rows, columns) label values of a label map segmentation."""
    values = np.zeros(frames.shape, np.dtype(f"u{dataset.BitsAllocated // 8}"))
    padding = int(dataset.get("PixelPaddingValue") or 0)
    for _, plane, pixels in _segment_pixels(dataset, frames, [0]):
        values[plane] = np.where(pixels == padding, 0, pixels) if padding else pixels
    return values


def _pieces(dataset: Dataset, frames: SegmentFrames, labels: dict[int, Label]) -> dict[int, list[_Piece]]:
    """Return the masks of every segment, each cropped to its rows and columns: a small part of the frames."""
    threshold = 1
    if dataset.SegmentationType == "FRACTIONAL":
        threshold = (_whole(dataset) + 1) // 2
        _LOG.warning("%s: is fractional; values of at least one half become a label, others are lost", frames.file)
    pieces: dict[int, list[_Piece]] = {}
    for number in labels:
        pieces[number] = []
    for number, plane, pixels in _segment_pixels(dataset, frames, labels):
        mask = pixels >= threshold
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            box = plane, slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            pieces[number].append((box, mask[box[1:]].copy()))
    return pieces


def _layers(
    pieces: dict[int, list[_Piece]], frames: SegmentFrames, labels: dict[int, Label]
) -> list[tuple[NDArray[Any], list[Label]]]:
    """Put every segment into the first layer in which it overlaps no other."""
    highest = max((label.value for label in labels.values()), default=1)
    layers = Layers(frames.shape, smallest_integer(highest))
    for number in sorted(pieces):
        layers.add(labels[number], partial(_parts, pieces[number]))
    return layers.filled


def _parts(pieces: list[_Piece], layer: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    for box, mask in pieces:
        yield layer[box], mask
