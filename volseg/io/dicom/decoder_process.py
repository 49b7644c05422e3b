"""Processes that decode DICOM pixels, with bounds on their memory and time; see `volseg.io.dicom.decoder`."""

from __future__ import annotations

import json
import math
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.child_python import child_python

# Memory for each pixel of a frame during decoding (JPEG 2000 takes most), and for each value of all frames.
_BYTES_PER_PIXEL, _BYTES_PER_VALUE = 64, 16
_ALWAYS_BYTES = 1 << 29
_SECONDS, _SECONDS_PER_PIXEL = 30.0, 4e-6


class DecoderProcess:
    """A process that runs `volseg.io.dicom.decoder`. It is started on demand, and again after a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def decode(
        self, data: bytes, frames: Sequence[int] | None, *, pixels: Sequence[int], decoder: str
    ) -> NDArray[Any] | str:
        """Decode frames of a file.

        Parameters
        ----------
        data : bytes
            The file.
        frames : sequence of int, or None
            The wanted frames, from 0; None for a file with a single frame.
        pixels : sequence of int
            Number of pixels of each frame, which bounds memory and time.
        decoder : str
            One of `volseg.io.dicom.decoder.decoders`.

        Returns
        -------
        (N, rows, columns), or str
            The values, or the reason why decoding failed.
        """
        late = threading.Event()

        def end(process: subprocess.Popen[bytes]) -> None:  # a decoder may never end on damaged data
            late.set()
            process.kill()

        memory = _ALWAYS_BYTES + 3 * len(data) + _BYTES_PER_PIXEL * max(pixels) + _BYTES_PER_VALUE * sum(pixels)
        seconds = _SECONDS + _SECONDS_PER_PIXEL * sum(pixels)
        request = {"size": len(data), "frames": frames, "decoder": decoder, "memory": memory}
        try:
            self._process = self._process or _start()
            timer = threading.Timer(seconds, end, [self._process])
            timer.start()
            try:
                answer = _ask(self._process, json.dumps(request).encode() + b"\n" + data)
            finally:
                timer.cancel()
        except (OSError, ValueError, TypeError):  # an incomplete answer, no answer, or no process
            answer = ""
        except BaseException:
            self.stop()
            raise
        if isinstance(answer, str) and not answer:
            self.stop()
            return f"the decoder {f'took more than {seconds:.0f} s' if late.is_set() else 'crashed'}"
        return answer

    def stop(self) -> None:
        """End the process."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # unsent data have no reader
                if pipe is not None:
                    pipe.close()
        self._process = None


def _start() -> subprocess.Popen[bytes]:
    command, environment = child_python("volseg.io.dicom.decoder")
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def _ask(process: subprocess.Popen[bytes], request: bytes) -> NDArray[Any] | str:
    """Send a request; return the values, or the reason of a failure, or an empty text if there is no answer."""
    requests, answers = process.stdin, process.stdout
    if requests is None or answers is None:
        return ""
    requests.write(request)
    requests.flush()
    answer = json.loads(answers.readline() or "{}")
    if "shape" not in answer:
        return str(answer.get("error", ""))
    size = math.prod(answer["shape"]) * np.dtype(answer["dtype"]).itemsize
    return np.frombuffer(bytearray(answers.read(size)), answer["dtype"]).reshape(answer["shape"])


@contextmanager
def decoder_processes(count: int) -> Iterator[SimpleQueue[DecoderProcess]]:
    """Yield decoder processes to use in turn, and end them afterwards.

    Parameters
    ----------
    count : int
        Number of processes.
    """
    decoders = [DecoderProcess() for _ in range(count)]
    queue: SimpleQueue[DecoderProcess] = SimpleQueue()
    for decoder in decoders:
        queue.put(decoder)
    try:
        yield queue
    finally:
        for decoder in decoders:
            decoder.stop()
