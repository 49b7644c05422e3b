"""Decoders of some forms of JPEG that installed packages read, but pydicom's own plugins do not.

Each is a plugin of pydicom: it gets a compressed frame and a DecodeRunner with the header, and returns the
values as bytes, row by row.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from pydicom.uid import UID, JPEGExtended12Bit, JPEGLSTransferSyntaxes

GDCM_12_BIT, PYJPEGLS_PADDED = "gdcm-12-bit", "pyjpegls-padded"
# pydicom takes this, `is_available` and the functions from a module of plugins.
DECODER_DEPENDENCIES = {
    JPEGExtended12Bit: ("python-gdcm>=3.0.24",),
    **dict.fromkeys(JPEGLSTransferSyntaxes, ("pyjpegls>=1.4",)),
}
_ALLOCATED, _BITS = 16, 12
# Lossy compression may exceed the highest value near an edge.
_OVERSHOOT = 1.1
_END = b"\xff\xd9"
# JPEG-LS data may themselves end in a byte of zeros.
_MOST_KEPT = 2


def is_available(uid: UID) -> bool:
    """Whether there is a plugin for a transfer syntax, and the package that it uses is installed."""
    return uid in DECODER_DEPENDENCIES and find_spec("gdcm" if uid == JPEGExtended12Bit else "jpeg_ls") is not None


def add_plugins(decoder: Any, syntax: UID) -> None:
    """Add the plugins of this module to the pydicom Decoder of a transfer syntax.

    Parameters
    ----------
    decoder : pydicom Decoder
        The decoder of the transfer syntax.
    syntax : UID
        The transfer syntax.
    """
    name, function = PYJPEGLS_PADDED, "decode_padded_jpeg_ls"
    if syntax == JPEGExtended12Bit:
        name, function = GDCM_12_BIT, "decode_jpeg_12_bit"
    if is_available(syntax) and name not in decoder.available_plugins:
        decoder.add_plugin(name, (__name__, function))


def decode_jpeg_12_bit(content: bytes, runner: Any) -> bytes:
    """Decode JPEG Extended with 12 bits by GDCM.

    Raises
    ------
    ValueError
        GDCM cannot decode it, or its values have more bits than the header allows.
    """
    import gdcm

    if (runner.samples_per_pixel, runner.bits_allocated) != (1, _ALLOCATED):
        raise ValueError(f"{runner.samples_per_pixel} values of {runner.bits_allocated} bits a pixel; expected 1 of 16")
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(content)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType(str(runner.photometric_interpretation))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(JPEGExtended12Bit))))
    # The header is not needed: GDCM cuts off other bits, and JPEG numbers have no sign.
    image.SetPixelFormat(gdcm.PixelFormat(1, _ALLOCATED, _BITS, _BITS - 1, 0))
    text = image.GetBuffer()
    if text is None:
        raise ValueError("GDCM does not decode it")
    values = np.frombuffer(text.encode("utf-8", "surrogateescape"), "<u2")  # its wrapper returns bytes as text
    highest = (1 << runner.bits_stored) - 1
    if values.max(initial=0) > _OVERSHOOT * highest:
        raise ValueError(f"it has values with more than the {runner.bits_stored} bits of BitsStored")
    clipped: bytes = np.minimum(values, highest).astype("<u2").tobytes()
    return clipped


def decode_padded_jpeg_ls(content: bytes, runner: Any) -> bytes | bytearray:
    """Decode JPEG-LS with zeros before its end, which pyjpegls refuses as left-over data.

    Raises
    ------
    ValueError
        It has no zeros there, or pyjpegls does not read the rest to its end.
    """
    from pydicom.pixels.decoders import pyjpegls

    body = content.rstrip(b"\0")
    data = body.removesuffix(_END).rstrip(b"\0")
    zeros = len(body) - len(_END) - len(data)
    if not body.endswith(_END) or not zeros:
        raise ValueError("it has no zeros before its end")
    for kept in range(min(zeros, _MOST_KEPT)):
        try:
            return pyjpegls._decode_frame(data + bytes(kept) + _END, runner)
        except RuntimeError as error:
            reason = error
    raise ValueError(f"without zeros before its end: {reason}")
