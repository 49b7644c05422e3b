"""Decode DICOM pixels; as a program, in a process of its own, so that a crash of a native decoder costs one scan.

The program reads requests from standard input and answers on standard output until the input ends. A request is a
line of JSON (``size`` of the file, ``pictures`` wanted), then the file. An answer is a line of JSON (``shape`` and
``dtype``, or ``error``, or ``missing`` package), then the values.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import apply_modality_lut, get_decoder
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, RLETransferSyntaxes

from volseg.errors import MissingPackageError
from volseg.io.dicom_attributes import DAMAGE, quiet_pydicom
from volseg.io.dicom_header import read_dataset

# Measured: pyjpegls takes half of GDCM's time, pylibjpeg's RLE a quarter of pydicom's; all give the same values.
_QUICKEST = {
    **dict.fromkeys(JPEGLSTransferSyntaxes, "pyjpegls"),
    **dict.fromkeys(RLETransferSyntaxes, "pylibjpeg"),
    **dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg"),
}


def decode(dataset: Any, frames: Sequence[int] | None) -> NDArray[Any]:
    """Decode pictures of a data set.

    Parameters
    ----------
    dataset : pydicom Dataset
        With its pixels.
    frames : sequence of int, or None
        Which frames, from 0; None for the single picture.

    Returns
    -------
    (N, rows, columns)
        Stored values, without bits that BitsStored does not cover; after the modality look-up table where there is one.

    Raises
    ------
    MissingPackageError
        No installed package decodes the transfer syntax.
    One of `DAMAGE`
        The pixels are damaged, or not as the header says.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    decoder = _decoder(syntax)
    plugin = _QUICKEST.get(syntax, "")
    options = {"decoding_plugin": plugin if plugin in decoder.available_plugins else "", "raw": True}
    if frames is None:
        values = decoder.as_array(dataset, index=None, **options)[0][None]
    else:
        values = np.stack([decoder.as_array(dataset, index=index, **options)[0] for index in frames])
    if dataset.get("ModalityLUTSequence"):
        values = apply_modality_lut(values, dataset)
    return np.asarray(values)


def _decoder(syntax: Any) -> Any:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise MissingPackageError(
            f"the pixels are compressed with {syntax.name}, which no decoder with a free licence reads here; convert "
            "the files, for example with dcmdjpeg or gdcmconv --raw"
        ) from error
    if not decoder.is_available:
        packages = "; or ".join(decoder.missing_dependencies)
        raise MissingPackageError(f"the pixels are compressed with {syntax.name}; install {packages}")
    return decoder


def _answer(data: bytes, pictures: Sequence[int] | None) -> tuple[dict[str, Any], NDArray[Any] | None]:
    try:
        with quiet_pydicom():
            values = decode(read_dataset(io.BytesIO(data)), pictures)
    except MissingPackageError as error:
        return {"missing": str(error)}, None
    except DAMAGE as error:
        return {"error": " ".join(str(error).split())[:300] or type(error).__name__}, None
    return {"shape": values.shape, "dtype": values.dtype.str}, np.ascontiguousarray(values)


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while line := requests.readline():
        request = json.loads(line)
        head, values = _answer(requests.read(request["size"]), request["pictures"])
        answers.write(json.dumps(head).encode() + b"\n")
        if values is not None:
            answers.write(values.data)
        answers.flush()


if __name__ == "__main__":
    # Native libraries print to standard output; what they say must not be taken for an answer.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, channel)
