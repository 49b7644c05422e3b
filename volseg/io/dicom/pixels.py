"""The values of a stack's slices, decoded and rescaled slice by slice."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from volseg.cores import count_cores
from volseg.errors import InputError, MissingPackageError, at, reason
from volseg.files.streams import most_unpacked
from volseg.io.dicom.advice import undecodable
from volseg.io.dicom.attributes import DAMAGE, quiet_pydicom
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.decoder import decode, decoders
from volseg.io.dicom.decoder_process import DecoderProcess, decoder_processes
from volseg.io.dicom.header import FrameHeader
from volseg.io.dicom.stream import SwollenError

# A further decoder process is worth its start of half a second from this number of slices on.
_SLICES_PER_PROCESS = 24
_MOST_PROCESSES = 8


def read_values(frames: Sequence[FrameHeader]) -> NDArray[Any]:
    """Read the rescaled values of slices.

    Parameters
    ----------
    frames : sequence of FrameHeader
        Slices of one size.

    Returns
    -------
    (I, J, K) array, F-ordered
        ``[i, j, k]`` is column i and row j of slice k after RescaleSlope and RescaleIntercept: integers of the smallest
        type that holds what the headers allow, or float32 if a rescaled value need not be whole.

    Raises
    ------
    InputError
        Pixels are missing, damaged or beyond the range of the header; RescaleSlope is 0; no decoder reads them.
    MissingPackageError
        No installed package decodes the pixels.
    """
    shape, dtype = (frames[0].columns, frames[0].rows, len(frames)), value_type(frames)
    _check_growth(frames, dtype)
    try:
        array: NDArray[Any] = np.empty(shape, dtype, order="F")
    except MemoryError as error:
        raise InputError(f"{frames[0].file.folder}: {shape} values do not fit into memory") from error
    count = min(max(len(frames) // _SLICES_PER_PROCESS, 1), count_cores(), _MOST_PROCESSES)
    for_others = []
    for chunk in _chunks(frames, size=-(-len(frames) // count)):
        if not sys.executable or not UID(frames[chunk[0]].transfer_syntax).is_encapsulated:
            _read_here(array, frames, chunk)
        else:
            for_others.append(chunk)
    if for_others:
        _read_elsewhere(array, frames, for_others, min(count, len(for_others)))
    return array


def _read_elsewhere(
    array: NDArray[Any], frames: Sequence[FrameHeader], chunks: Sequence[list[int]], count: int
) -> None:
    """Read chunks of slices in `count` other processes."""
    with decoder_processes(count) as free, ThreadPoolExecutor(count) as pool:

        def read_chunk(chunk: list[int]) -> None:
            process = free.get()
            try:
                _store(array, frames, chunk, _decode_in(process, frames, chunk))
            finally:
                free.put(process)

        list(pool.map(read_chunk, chunks))


def _check_growth(frames: Sequence[FrameHeader], dtype: np.dtype[Any]) -> None:
    """Refuse slices that become far larger than their files, as no real scan does."""
    needed = len(frames) * frames[0].rows * frames[0].columns * dtype.itemsize
    there = sum(file.stored_size() for file in {frame.file for frame in frames})
    if needed > most_unpacked(there):
        raise InputError(
            f"{frames[0].file.folder}: {there} bytes would unpack to {needed}, as a decompression bomb does; if "
            "that is right, unpack or decompress the files first (gdcmconv --raw)"
        )


def value_type(frames: Sequence[FrameHeader]) -> np.dtype[Any]:
    """Return the smallest type that holds every value that the headers allow.

    Parameters
    ----------
    frames : sequence of FrameHeader
        The slices of a volume.

    Raises
    ------
    InputError
        A RescaleSlope is 0.
    """
    for header in frames:
        if header.slope == 0:
            raise InputError(f"{header}: RescaleSlope is 0, which makes all values equal; expected another number")
    lowest, highest = np.inf, -np.inf
    for header in frames:
        if not _gives_integers(header):
            return np.dtype(np.float32)
        least = -(2 ** (header.bits - 1)) if header.signed else 0
        lowest = min(lowest, least + header.intercept)
        highest = max(highest, least + 2**header.bits - 1 + header.intercept)
    for bits in (16, 32):
        if -(2 ** (bits - 1)) <= lowest and highest < 2 ** (bits - 1):
            return np.dtype(f"int{bits}")
    return np.dtype(np.int64)


def _gives_integers(header: FrameHeader) -> bool:
    return not header.is_float and header.slope == 1 and header.intercept == round(header.intercept)


def _chunks(frames: Sequence[FrameHeader], *, size: int) -> Iterator[list[int]]:
    """Yield numbers of slices that are read from one file together, at most `size`."""
    for _, numbers in groupby(range(len(frames)), key=lambda k: frames[k].file):
        together = list(numbers)
        for start in range(0, len(together), size):
            yield together[start : start + size]


def _frame_numbers(frames: Sequence[FrameHeader], chunk: Sequence[int]) -> list[int] | None:
    """Return the numbers of a chunk's frames in the file; None if the file is not multi-frame."""
    return [frames[k].index for k in chunk] if frames[chunk[0]].layout.kind == "frames" else None


def _read_here(array: NDArray[Any], frames: Sequence[FrameHeader], chunk: Sequence[int]) -> None:
    """Read the slices of one file in this process, frame by frame."""
    file = frames[chunk[0]].file
    try:
        with quiet_pydicom():
            dataset = open_dataset(file)
            if _frame_numbers(frames, chunk) is None:
                _store(array, frames, chunk, decode(dataset, None))
            else:
                for k in chunk:
                    _store(array, frames, [k], decode(dataset, [frames[k].index]))
    except MissingPackageError as error:
        raise MissingPackageError(f"{file}: {error}") from error
    except SwollenError as error:
        raise InputError(f"{file}: {error}") from error
    except DAMAGE as error:
        raise undecodable(file, reason(error)) from error


def _decode_in(process: DecoderProcess, frames: Sequence[FrameHeader], chunk: Sequence[int]) -> NDArray[Any]:
    """Decode the slices of one file in another process, by the first decoder that can."""
    first = frames[chunk[0]]
    with at(first.file):
        found = decoders(first.transfer_syntax)
    try:
        with first.file.open() as stream:
            data = stream.read()
    except SwollenError as error:
        raise InputError(f"{first.file}: {error}") from error
    except DAMAGE as error:
        raise undecodable(first.file, reason(error)) from error
    pixels, reasons = [first.rows * first.columns] * len(chunk), []
    if first.layout.kind == "mosaic":
        pixels = [first.rows * first.columns * first.layout.tiles_in_a_row**2]
    for decoder in found:
        values = process.decode(data, _frame_numbers(frames, chunk), pixels=pixels, decoder=decoder)
        if not isinstance(values, str):
            return values
        reasons.append(values if values.startswith(decoder) else f"{decoder}: {values}")
    raise undecodable(first.file, "; ".join(reasons))


def _store(array: NDArray[Any], frames: Sequence[FrameHeader], chunk: Sequence[int], decoded: NDArray[Any]) -> None:
    """Rescale decoded frames into their slices."""
    for number, k in enumerate(chunk):
        header = frames[k]
        pixels = _tile(decoded[0], header) if header.layout.kind == "mosaic" else decoded[number]
        if pixels.shape != (header.rows, header.columns):
            raise InputError(
                f"{header}: the pixels decode to shape {pixels.shape}; expected {header.rows} rows, {header.columns} "
                "columns"
            )
        with np.errstate(over="ignore"):  # infinite values are counted and replaced later
            array[:, :, k] = _rescaled(pixels, header, array.dtype).T


def _tile(frame: NDArray[Any], header: FrameHeader) -> NDArray[Any]:
    row, column = divmod(header.index, header.layout.tiles_in_a_row)
    top, left = row * header.rows, column * header.columns
    return frame[top : top + header.rows, left : left + header.columns]


def _rescaled(pixels: NDArray[Any], header: FrameHeader, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        if header.slope == 1 and header.intercept == 0:
            return pixels
        return pixels.astype(np.float64) * header.slope + header.intercept
    shift, held, limits = int(header.intercept), np.iinfo(pixels.dtype), np.iinfo(dtype)
    if limits.min <= held.min + shift and held.max + shift <= limits.max:
        return pixels.astype(dtype) + dtype.type(shift) if shift else pixels
    lowest, highest = int(pixels.min()) + shift, int(pixels.max()) + shift
    if lowest < limits.min or highest > limits.max:
        raise InputError(f"{header}: values go beyond the {header.bits} bits that its BitsStored promises")
    return (pixels.astype(np.int64) + shift).astype(dtype)
