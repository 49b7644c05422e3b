"""The values of a stack's slices: decoded, and rescaled slice by slice."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import groupby
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from volseg.child_python import child_python
from volseg.errors import InputError, MissingPackageError
from volseg.io.dicom_attributes import DAMAGE, quiet_pydicom
from volseg.io.dicom_decoder import decode
from volseg.io.dicom_files import DicomFile
from volseg.io.dicom_header import FrameHeader, open_dataset

# Slices for which a further decoder process pays: each takes half a second to start.
_SLICES_PER_PROCESS = 24
_MOST_PROCESSES = 8
_SECONDS_PER_REQUEST = 300.0


def read_values(frames: Sequence[FrameHeader]) -> NDArray[Any]:
    """Read the rescaled values of slices.

    Parameters
    ----------
    frames : sequence of FrameHeader
        All of one size.

    Returns
    -------
    (I, J, K) array, F-ordered
        ``[i, j, k]`` is column i and row j of slice k after RescaleSlope and RescaleIntercept: integers of the smallest
        type that holds what the headers allow, or float32 where a rescaled value need not be whole.

    Raises
    ------
    InputError
        Pixels are missing, damaged, or go beyond what the header says; RescaleSlope is 0; a decoder crashed.
    MissingPackageError
        No installed package decodes the pixels.
    """
    shape = frames[0].columns, frames[0].rows, len(frames)
    try:
        array: NDArray[Any] = np.empty(shape, value_type(frames), order="F")
    except MemoryError as error:
        raise InputError(f"{frames[0].file.folder}: {shape} values do not fit into memory") from error
    count = min(max(len(frames) // _SLICES_PER_PROCESS, 1), os.cpu_count() or 1, _MOST_PROCESSES)
    if not UID(frames[0].transfer_syntax).is_encapsulated or not sys.executable:
        for chunk in _chunks(frames, size=len(frames)):
            _store(array, frames, chunk, _decode_here(frames[chunk[0]].file, _pictures(frames, chunk)))
        return array
    chunks = list(_chunks(frames, size=-(-len(frames) // count)))
    with _decoders(count) as decoders, ThreadPoolExecutor(count) as pool:

        def read_chunk(chunk: list[int]) -> None:
            decoder = decoders.get()
            try:
                _store(array, frames, chunk, decoder.decode(frames[chunk[0]].file, _pictures(frames, chunk)))
            finally:
                decoders.put(decoder)

        list(pool.map(read_chunk, chunks))
    return array


def value_type(frames: Sequence[FrameHeader]) -> np.dtype[Any]:
    """Return the smallest type for every value that the headers allow.

    Raises
    ------
    InputError
        A RescaleSlope is 0.
    """
    for header in frames:
        if header.slope == 0:
            raise InputError(f"{header}: RescaleSlope is 0, which makes all values equal; expected another number")
    if any(header.slope != 1 or header.intercept != round(header.intercept) for header in frames):
        return np.dtype(np.float32)
    if any(header.is_float for header in frames):
        return np.dtype(np.float32)
    lowest = min((-(2 ** (h.bits - 1)) if h.signed else 0) + h.intercept for h in frames)
    highest = max(2 ** (h.bits - 1 if h.signed else h.bits) - 1 + h.intercept for h in frames)
    for bits in (16, 32):
        if -(2 ** (bits - 1)) <= lowest and highest < 2 ** (bits - 1):
            return np.dtype(f"int{bits}")
    return np.dtype(np.int64)


def _chunks(frames: Sequence[FrameHeader], *, size: int) -> Iterator[list[int]]:
    """Numbers of slices that are read from one file together, `size` at most."""
    for _, numbers in groupby(range(len(frames)), key=lambda k: frames[k].file):
        together = list(numbers)
        yield from (together[start : start + size] for start in range(0, len(together), size))


def _pictures(frames: Sequence[FrameHeader], chunk: Sequence[int]) -> list[int] | None:
    """Which frames of the file a chunk is; None where the file is one picture."""
    return [frames[k].index for k in chunk] if frames[chunk[0]].layout.kind == "frames" else None


def _decode_here(file: DicomFile, pictures: Sequence[int] | None) -> NDArray[Any]:
    try:
        with quiet_pydicom():
            return decode(open_dataset(file), pictures)
    except MissingPackageError as error:
        raise MissingPackageError(f"{file}: {error}") from error
    except DAMAGE as error:
        raise _undecodable(file, " ".join(str(error).split())[:300]) from error


def _undecodable(file: DicomFile, reason: str) -> InputError:
    return InputError(f"{file}: the pixels cannot be decoded ({reason}); copy the file again")


def _store(array: NDArray[Any], frames: Sequence[FrameHeader], chunk: Sequence[int], decoded: NDArray[Any]) -> None:
    """Rescale decoded pictures into their slices."""
    for number, k in enumerate(chunk):
        header = frames[k]
        pixels = _tile(decoded[0], header) if header.layout.kind == "mosaic" else decoded[number]
        if pixels.shape != (header.rows, header.columns):
            raise InputError(
                f"{header}: the pixels decode to shape {pixels.shape}; expected {header.rows} rows, {header.columns} "
                "columns"
            )
        with np.errstate(over="ignore"):  # what becomes infinite is counted and replaced with all that is not finite
            array[:, :, k] = _rescaled(pixels, header, array.dtype).T


def _tile(picture: NDArray[Any], header: FrameHeader) -> NDArray[Any]:
    row, column = divmod(header.index, header.layout.tiles_in_a_row)
    top, left = row * header.rows, column * header.columns
    return picture[top : top + header.rows, left : left + header.columns]


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


class _Decoder:
    """A process that runs `volseg.io.dicom_decoder`; it is started when it is needed, and anew after a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, file: DicomFile, pictures: Sequence[int] | None) -> NDArray[Any]:
        try:
            with file.open() as stream:
                data = stream.read()
        except DAMAGE as error:
            raise _undecodable(file, str(error)) from error
        late = threading.Event()

        def end(process: subprocess.Popen[bytes]) -> None:  # a decoder may also run without end on damaged data
            late.set()
            process.kill()

        try:
            self._process = self._process or _start()
            timer = threading.Timer(_SECONDS_PER_REQUEST, end, [self._process])
            timer.start()
            try:
                answer, values = _ask(self._process, data, pictures)
            finally:
                timer.cancel()
        except (OSError, ValueError, TypeError):  # half an answer, none, or nobody there to be asked
            answer, values = {}, None
        except BaseException:
            self.stop()
            raise
        if values is not None:
            return values
        if "missing" in answer:
            raise MissingPackageError(f"{file}: {answer['missing']}")
        if "error" not in answer:
            self.stop()
            reason = f"took more than {_SECONDS_PER_REQUEST:g} s" if late.is_set() else "crashed"
            raise _undecodable(file, f"the decoder {reason}")
        raise _undecodable(file, answer["error"])

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was still to be sent has nobody to read it
                if pipe is not None:
                    pipe.close()
        self._process = None


def _start() -> subprocess.Popen[bytes]:
    command, environment = child_python("volseg.io.dicom_decoder")
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def _ask(
    process: subprocess.Popen[bytes], data: bytes, pictures: Sequence[int] | None
) -> tuple[dict[str, Any], NDArray[Any] | None]:
    """Send a request as `volseg.io.dicom_decoder` has it; the answer, and the values if there are any."""
    requests, answers = process.stdin, process.stdout
    if requests is None or answers is None:
        return {}, None
    requests.write(json.dumps({"size": len(data), "pictures": pictures}).encode() + b"\n" + data)
    requests.flush()
    answer = json.loads(answers.readline() or "{}")
    if "shape" not in answer:
        return answer, None
    size = math.prod(answer["shape"]) * np.dtype(answer["dtype"]).itemsize
    values = np.frombuffer(bytearray(answers.read(size)), answer["dtype"]).reshape(answer["shape"])
    return answer, values


@contextmanager
def _decoders(count: int) -> Iterator[SimpleQueue[_Decoder]]:
    """Give decoder processes to take turns with; they end here."""
    decoders = [_Decoder() for _ in range(count)]
    queue: SimpleQueue[_Decoder] = SimpleQueue()
    for decoder in decoders:
        queue.put(decoder)
    try:
        yield queue
    finally:
        for decoder in decoders:
            decoder.stop()
