"""Arrays as text in a page: base64 of gzip of their bytes. ``assets/codec.js`` unpacks them."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LEVEL = 6
Block = dict[str, Any]


def packed(array: NDArray[np.unsignedinteger[Any]], *, differences: bool = False) -> Block:
    """Pack numbers in Fortran order, so that the first axis of a volume runs fastest.

    Parameters
    ----------
    array : uint8, uint16 or uint32, any shape
    differences : bool
        Store the difference to the number before, modulo the range of the type; it takes less room where neighbours
        are alike.
    """
    flat = array.ravel(order="F")
    if differences:
        flat = np.diff(flat, prepend=flat.dtype.type(0))
    # The first bytes of all numbers come first: the higher bytes are mostly alike, and gzip finds that.
    planes = flat.astype(flat.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, flat.dtype.itemsize).T
    return {"type": array.dtype.name, "differences": differences, "data": zipped(planes.tobytes())}


def zipped(content: bytes) -> str:
    """Return base64 of gzip of bytes; the same bytes always give the same text.

    Parameters
    ----------
    content : bytes
    """
    return base64.b64encode(gzip.compress(content, _LEVEL, mtime=0)).decode("ascii")
