"""ISA-L and zlib read the same from every gzip, whole or damaged, and read what the other writes."""

from __future__ import annotations

import gzip
import random
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from volseg.errors import InputError
from volseg.files import streams

LABELS = np.repeat(np.random.default_rng(0).integers(0, 5, 800).astype(np.uint8), 17).tobytes()
NOISE = np.random.default_rng(0).normal(0, 30, 4000).astype(np.int16).tobytes()


def fixed_codes() -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31, 8, zlib.Z_FIXED)
    return packer.compress(LABELS) + packer.flush()


WHOLE = [
    *(gzip.compress(LABELS, level) for level in (0, 1, 9)),
    *(gzip.compress(NOISE, level) for level in (1, 6)),
    gzip.compress(b""),
    fixed_codes(),
]


@pytest.fixture
def isal():
    return pytest.importorskip("isal.igzip").IGzipFile


def damaged(blob: bytes, rng: random.Random) -> bytes:
    other, there = rng.choice(WHOLE), rng.randrange(2, len(blob))
    flipped = bytearray(blob)
    flipped[there] ^= 1 << rng.randrange(8)
    variants = {
        "cut": blob[:there],
        "flipped": bytes(flipped),
        "garbage behind": blob + rng.randbytes(20),
        "zeros behind": blob + bytes(700),
        "two members": blob + other,
        "second member cut": blob + other[: rng.randrange(len(other))],
        "byte inserted": blob[:there] + b"\x55" + blob[there:],
        "checksum": blob[:-5] + bytes([blob[-5] ^ 1]) + blob[-4:],
        "size": blob[:-1] + bytes([blob[-1] ^ 1]),
    }
    return variants[rng.choice(list(variants))]


def content_of(path: Path) -> bytes | None:
    try:
        with streams.opened(path) as stream:
            return stream.read()
    except InputError:
        return None


def test_both_read_and_refuse_the_same(tmp_path, monkeypatch, isal):
    rng, path, refused = random.Random(0), tmp_path / "a.gz", 0
    for number in range(400):
        blob = rng.choice(WHOLE)
        path.write_bytes(damaged(blob, rng) if number > 20 else blob)
        monkeypatch.setattr(streams, "GzipFile", gzip.GzipFile)
        expected = content_of(path)
        monkeypatch.setattr(streams, "GzipFile", isal)
        assert content_of(path) == expected
        refused += expected is None
    assert 100 < refused < 350


@pytest.mark.parametrize("content", [LABELS, NOISE, b""])
def test_zlib_reads_what_isal_writes_and_equal_content_gives_equal_files(monkeypatch, isal, content):
    monkeypatch.setattr(streams, "GzipFile", isal)
    written = []
    for _ in range(2):
        buffer = BytesIO()
        with streams.compressed(buffer, Path("a.nii.gz")) as stream:
            stream.write(content)
        written.append(buffer.getvalue())
    assert gzip.decompress(written[0]) == content
    assert written[0] == written[1]
    assert written[0][4:8] == bytes(4)  # no time
