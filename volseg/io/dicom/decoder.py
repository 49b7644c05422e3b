"""Decode DICOM pixels; also a program for a separate process, so that a crash of a native decoder costs one scan.

The program reads requests from standard input and answers on standard output until the input ends. A request is a
line of JSON (``size`` of the file, wanted ``frames``, ``decoder``, ``memory`` limit), then the file. An
answer is a line of JSON (``shape`` and ``dtype``, or ``error``), then the values.
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
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGExtended12Bit, JPEGLSTransferSyntaxes, RLETransferSyntaxes

from volseg.errors import MissingPackageError, reason
from volseg.files.native import limit_memory
from volseg.io.dicom.attributes import DAMAGE, modality_table, quiet_pydicom
from volseg.io.dicom.dataset import parse_dataset
from volseg.io.dicom.plugins import GDCM_12_BIT, PYJPEGLS_PADDED, add_plugins

# Measured: pyjpegls takes half of GDCM's time, pylibjpeg's RLE a quarter of pydicom's; all give the same values. Of
# 1000 damaged streams the second decoder never read one that the first refused; pydicom's RLE would, Pillow does not.
_PREFERRED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(JPEGLSTransferSyntaxes, ("pyjpegls", PYJPEGLS_PADDED, "gdcm")),
    **dict.fromkeys(RLETransferSyntaxes, ("pylibjpeg",)),
    **dict.fromkeys(JPEG2000TransferSyntaxes, ("pylibjpeg", "gdcm")),
    JPEGExtended12Bit: (GDCM_12_BIT, "gdcm", "pillow"),
}
_REFUSALS: tuple[type[Exception], ...] = (MissingPackageError, *DAMAGE)
# The text of pydicom before the reason of each decoder.
_NO_DECODER = "available plugins: "


def decoders(syntax: str) -> tuple[str, ...]:
    """Return the installed decoders of a transfer syntax in the order of their use; "" means pydicom's choice.

    Parameters
    ----------
    syntax : str
        UID of the transfer syntax.

    Raises
    ------
    MissingPackageError
        No installed package decodes it.
    """
    decoder = _decoder(UID(syntax))
    found = tuple(decoder.available_plugins)
    return tuple(name for name in _PREFERRED.get(syntax, found) if name in found) or ("",)


def decode(dataset: Any, frames: Sequence[int] | None, *, decoder: str = "") -> NDArray[Any]:
    """Decode frames of a data set.

    Parameters
    ----------
    dataset : pydicom Dataset
        The data set with its pixels.
    frames : sequence of int, or None
        The wanted frames, from 0; None for a file with a single frame.
    decoder : str
        One of `decoders`.

    Returns
    -------
    (N, rows, columns)
        Stored values, without bits beyond BitsStored; after the modality look-up table if the data set has one.

    Raises
    ------
    MissingPackageError
        No installed package decodes the transfer syntax.
    One of `DAMAGE`
        The pixels are damaged, or contradict the header.
    """
    read = _decoder(dataset.file_meta.TransferSyntaxUID).as_array
    options = {"decoding_plugin": decoder, "raw": True}
    if frames is None:
        values = read(dataset, index=None, **options)[0][None]
    else:
        values = np.stack([read(dataset, index=index, **options)[0] for index in frames])
    if modality_table(dataset) is not None:
        values = apply_modality_lut(values, dataset)
    return np.asarray(values)


def _decoder(syntax: UID) -> Any:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise MissingPackageError(
            f"the pixels are compressed with {syntax.name}, and no decoder with a free licence reads this; convert "
            "the files, for example with dcmdjpeg or gdcmconv --raw"
        ) from error
    add_plugins(decoder, syntax)
    if not decoder.is_available:
        packages = "; or ".join(decoder.missing_dependencies)
        raise MissingPackageError(f"the pixels are compressed with {syntax.name}; install {packages}")
    return decoder


def _answer(data: bytes, request: dict[str, Any]) -> tuple[dict[str, Any], NDArray[Any] | None]:
    try:
        with quiet_pydicom():
            values = decode(parse_dataset(io.BytesIO(data)), request["frames"], decoder=request["decoder"])
    except _REFUSALS as error:
        return {"error": reason(error).rpartition(_NO_DECODER)[2]}, None
    return {"shape": values.shape, "dtype": values.dtype.str}, np.ascontiguousarray(values)


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the input ends."""
    while line := requests.readline():
        request = json.loads(line)
        limit_memory(request["memory"])
        head, values = _answer(requests.read(request["size"]), request)
        answers.write(json.dumps(head).encode() + b"\n")
        if values is not None:
            answers.write(values.data)
        answers.flush()


if __name__ == "__main__":
    # Native libraries print to standard output; that text must not be taken for an answer.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, channel)
