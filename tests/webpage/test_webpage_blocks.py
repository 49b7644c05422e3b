from __future__ import annotations

import base64
import gzip

import numpy as np
import pytest

from volseg.webpage.blocks import Block, packed


def unpacked(block: Block) -> np.ndarray:
    """Do what ``codec.js`` does."""
    kind = np.dtype(block["type"])
    planes = np.frombuffer(gzip.decompress(base64.b64decode(block["data"])), np.uint8)
    flat = np.zeros(len(planes) // kind.itemsize, kind)
    for byte, plane in enumerate(planes.reshape(kind.itemsize, -1)):
        flat += plane.astype(kind) * kind.type(256**byte)
    return np.cumsum(flat, dtype=kind) if block["differences"] else flat


@pytest.mark.parametrize("differences", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_numbers_come_back_in_fortran_order(kind: type, differences: bool) -> None:
    array = np.random.default_rng(3).integers(0, np.iinfo(kind).max, (5, 4, 3), dtype=kind, endpoint=True)
    assert np.array_equal(unpacked(packed(array, differences=differences)), array.ravel(order="F"))


def test_the_same_numbers_give_the_same_text() -> None:
    array = np.arange(100, dtype=np.uint16)
    assert packed(array) == packed(array.copy())
