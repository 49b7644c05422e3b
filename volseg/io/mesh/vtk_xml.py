"""Arrays in VTK's XML files, read without VTK.

VTK's reader trusts the header: a damaged header ends the whole process, or makes it run forever. Format:
https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html
"""

from __future__ import annotations

import base64
import lzma
import re
import zlib
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from volseg.io.mesh.content import check_growth

_TYPES = {
    **{"Int8": "i1", "Int16": "i2", "Int32": "i4", "Int64": "i8"},
    **{"UInt8": "u1", "UInt16": "u2", "UInt32": "u4", "UInt64": "u8"},
    **{"Float32": "f4", "Float64": "f8", "String": "u1"},
}
_ORDERS = {"LittleEndian": "<", "BigEndian": ">"}
_COMPRESSORS = {"": "", "vtkZLibDataCompressor": "zlib", "vtkLZMADataCompressor": "lzma", "vtkLZ4DataCompressor": "lz4"}
_APPENDED = re.compile(rb"<AppendedData([^>]{0,200})>\s*_")
_MOST_ELEMENTS = 200_000


@dataclass
class VtkXml:
    """A file of VTK's XML formats.

    Parameters
    ----------
    root : Element
    size : int
        Size of the file in bytes.
    order : {"<", ">"}
        Byte order of its arrays.
    length : dtype
        Type of the numbers before binary data.
    compressor : {"", "zlib", "lzma", "lz4"}
    appended : bytes
        Data of the arrays of format ``appended``.
    is_raw : bool
        Whether these data are raw, not base64.
    taken : int
        Bytes of the arrays read so far; several arrays may use the same data.
    """

    root: ElementTree.Element
    size: int
    order: str
    length: np.dtype[Any]
    compressor: str
    appended: bytes
    is_raw: bool
    taken: int = 0

    @classmethod
    def parse(cls, data: bytes) -> VtkXml:
        """Parse the bytes of a file; appended data, which may not be XML, are cut out first."""
        appended, is_raw = b"", False
        if start := _APPENDED.search(data):
            end = data.rindex(b"</AppendedData>")
            appended, is_raw = data[start.end() : end], b"raw" in start[1]
            data = data[: start.start()] + data[end + len(b"</AppendedData>") :]
        if data.count(b"<") > _MOST_ELEMENTS:
            raise ValueError(f"it has more than {_MOST_ELEMENTS} elements")
        root = ElementTree.fromstring(data)
        if root.tag != "VTKFile":
            raise ValueError(f"it is <{root.tag[:40]}>; expected <VTKFile>")
        order = _ORDERS[root.get("byte_order", "LittleEndian")]
        length = np.dtype(order + _TYPES[root.get("header_type", "UInt32")])
        compressor = _COMPRESSORS[root.get("compressor", "")]
        return cls(root, len(data) + len(appended), order, length, compressor, appended, is_raw)

    def array(self, element: ElementTree.Element) -> NDArray[Any]:
        """Return the numbers in a ``DataArray``, one row for each tuple if it has several components."""
        kind = np.dtype(self.order + _TYPES[element.get("type", "")])
        if element.get("format", "ascii") == "ascii":
            wide = np.float64 if kind.kind == "f" else np.int64
            values = np.fromstring(element.text or "", wide, sep=" ").astype(kind)
        else:
            values = np.frombuffer(self._content(element), kind)
        components = int(element.get("NumberOfComponents", "1"))
        return values.reshape(-1, components) if components > 1 else values

    def texts(self, element: ElementTree.Element) -> tuple[str, ...]:
        """Return the strings in an ``Array`` of type ``String``."""
        return tuple(text.decode("utf-8", errors="replace") for text in self.array(element).tobytes().split(b"\0")[:-1])

    def _content(self, element: ElementTree.Element) -> bytes:
        if element.get("format") == "appended":
            source = _Source(self.appended, self.is_raw, int(element.get("offset", "")))
        else:
            source = _Source("".join((element.text or "").split()).encode("ascii"), is_raw=False)
        width = self.length.itemsize
        # The size of the array; or the number of its blocks, the size of each, of the last (0: it is full), and their
        # compressed sizes.
        (count,) = self._numbers(source.take(0, width))
        if not self.compressor:
            self._check_growth(count)
            return source.take(0, width + count)[width:]
        _, full, last, *stored = self._numbers(source.take(0, (3 + count) * width))
        sizes = [full] * (count - 1) + [last or full] if count else []
        self._check_growth(sum(sizes))
        blocks = source.take(source.width_of((3 + count) * width), sum(stored))
        ends = list(accumulate(stored))
        return b"".join(
            _decompress(blocks[end - length : end], size, self.compressor)
            for end, length, size in zip(ends, stored, sizes, strict=True)
        )

    def _check_growth(self, size: int) -> None:
        self.taken += size
        check_growth(self.taken, self.size)

    def _numbers(self, data: bytes) -> list[int]:
        numbers: list[int] = np.frombuffer(data, self.length).tolist()
        return numbers


@dataclass(frozen=True)
class _Source:
    """Binary data from a position on, raw or in base64; each piece of base64 is encoded separately."""

    data: bytes
    is_raw: bool
    origin: int = 0

    def width_of(self, size: int) -> int:
        """Return the length of `size` bytes in this encoding."""
        return size if self.is_raw else -(-size // 3) * 4

    def take(self, start: int, size: int) -> bytes:
        """Return `size` bytes of the piece that starts at `start`."""
        start += self.origin
        end = start + self.width_of(size)
        if not 0 <= start <= end <= len(self.data):
            raise ValueError(f"an array has {size} bytes, the file {len(self.data) - start}")
        piece = self.data[start:end]
        return piece if self.is_raw else base64.b64decode(piece, validate=True)[:size]


def _decompress(data: bytes, size: int, compressor: str) -> bytes:
    if compressor == "lz4":
        content = _decompress_lz4(data, size)
    else:
        stream = zlib.decompressobj() if compressor == "zlib" else lzma.LZMADecompressor()
        try:
            content = stream.decompress(data, size + 1)
        except lzma.LZMAError as error:
            raise ValueError(str(error)) from error
    if len(content) != size:
        raise ValueError(f"a block has {len(content)} bytes of {size}")
    return content


def _decompress_lz4(data: bytes, size: int) -> bytes:
    """Decompress by VTK, as Python has no LZ4; VTK respects the bounds."""
    from vtkmodules.vtkCommonCore import vtkObject
    from vtkmodules.vtkIOCore import vtkLZ4DataCompressor

    content = bytearray(size)
    shown = vtkObject.GetGlobalWarningDisplay()
    vtkObject.SetGlobalWarningDisplay(0)
    size = vtkLZ4DataCompressor().Uncompress(data, len(data), content, size)
    vtkObject.SetGlobalWarningDisplay(shown)
    return bytes(content[:size])
