from __future__ import annotations

import gzip
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.io.dicom.stream import BoundedStream, ReadBudget, SwollenError, UnpackedStream

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 300_000)),
        st.tuples(st.just("seek"), st.integers(0, 300_000)),
        st.tuples(st.just("skip"), st.integers(-50, 200_000)),
        st.tuples(st.just("end"), st.integers(-50, 0)),
    ),
    max_size=12,
)


class Frugal(io.BytesIO):
    """A file that says how much it was asked for at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.most = max(self.most, size or 0)
        return super().read(size)


def apply(stream: Any, step: tuple[str, int]) -> Any:
    kind, number = step
    if kind == "read":
        return stream.read(number)
    if kind == "seek":
        return stream.seek(number)
    if kind == "skip":
        return stream.seek(max(stream.tell() + number, 0))
    return stream.seek(number, io.SEEK_END)


@given(content=st.binary(min_size=60, max_size=400).map(lambda part: part * 500), steps=STEPS)
def test_an_unpacked_stream_is_the_file_inside(content: bytes, steps: list[tuple[str, int]]) -> None:
    file = io.BytesIO(content)
    stream = BoundedStream(UnpackedStream(io.BytesIO(content), len(content), len(content)), len(content))
    for step in steps:
        assert apply(stream, step) == apply(file, step)
        assert stream.tell() == file.tell()


def test_only_what_is_read_is_unpacked() -> None:
    packed = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(bytes(1 << 24))))
    stream = UnpackedStream(packed, 1 << 24, 1 << 20)
    assert stream.read(8) == bytes(8)
    assert packed.tell() < 1 << 18
    with pytest.raises(SwollenError, match="unpacks to more than 1048576 bytes, as a decompression bomb does"):
        stream.read()
    assert packed.tell() <= (1 << 20) + 1
    with pytest.raises(SwollenError, match="unpacks to more"):
        stream.read(1 << 21)


@given(asked=st.integers(1 << 17, (1 << 32) - 1), place=st.integers(0, 1000))
def test_no_more_is_asked_for_than_there_is(asked: int, place: int) -> None:
    file = Frugal(bytes(1000))
    stream = BoundedStream(file, 1000)
    stream.seek(place)
    assert stream.read(asked) == bytes(1000 - place)
    assert file.most <= 1000 - place


def test_reads_are_counted_over_all_streams_of_a_budget() -> None:
    budget = ReadBudget()
    budget.left = 3
    with BoundedStream(io.BytesIO(b"abc"), 3, budget) as one:
        assert one.read(1) + one.read(1) == b"ab"
    other = BoundedStream(io.BytesIO(b"abc"), 3, budget)
    assert other.read() == b"abc"
    with pytest.raises(ValueError, match=r"takes more than \d+ reads; expected fewer elements"):
        other.read()
