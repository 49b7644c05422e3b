"""Reading VTP, VTK's XML file of surfaces: polygons and strips, colours, labels, names and coordinate system."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float
from volseg.io.mesh.content import MOST_SURFACES, Integers, MeshContent, check_corners, to_bytes, triangulate
from volseg.io.mesh.vtk_xml import VtkXml

_COLOURS = ("rgb", "rgba", "color", "colors", "colour", "colours")


@dataclass(frozen=True)
class _Piece:
    points: Float
    faces: Integers
    colours: NDArray[np.uint8] | None
    labels: Integers | None


def parse_vtp(data: bytes) -> MeshContent:
    """Parse the surfaces of a VTP file.

    Parameters
    ----------
    data : bytes
        Bytes of the file. Colours are arrays of points or cells with 3 or 4 components that are named as colours
        (``RGB``, ``Colors``), or 8-bit scalars. Integers ``Label`` of points number the surfaces; the fields ``Names``
        and ``SPACE`` give their names and the coordinate system. Other arrays are ignored.

    Raises
    ------
    ValueError, or another of `volseg.errors.DAMAGE`
        The file is not VTP, is damaged or cut short.
    """
    file = VtkXml.parse(data)
    points, faces, colours, numbers = [], [], [], []
    start = 0
    for piece in _pieces(file):
        points.append(piece.points)
        faces.append(piece.faces + start)
        colours.append(piece.colours)
        numbers.append(piece.labels)
        start += len(piece.points)
    labels = _of_all(numbers)
    return MeshContent(
        vertices=np.concatenate(points),
        faces=np.concatenate(faces),
        tag="".join(f"SPACE={text}" for text in _field(file, "SPACE")),
        colours=_of_all(colours),
        parts=None if labels is None else labels - 1,
        names=_field(file, "Names"),
    )


def _pieces(file: VtkXml) -> list[_Piece]:
    """Read the pieces of a file; a file without pieces gives one without points."""
    surface = file.root.find("PolyData")
    if surface is None:
        raise ValueError(f"it holds {file.root.get('type')}; expected PolyData")
    entries = surface.findall("Piece")
    if len(entries) > MOST_SURFACES:
        raise ValueError(f"it has {len(entries)} pieces; expected at most {MOST_SURFACES}")
    return [_read_piece(file, entry) for entry in entries] or [_no_piece()]


def _of_all(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """Join the arrays of all pieces; None if a piece lacks one."""
    there = [array for array in arrays if array is not None]
    return np.concatenate(there) if len(there) == len(arrays) else None


def _field(file: VtkXml, name: str) -> tuple[str, ...]:
    """Return the texts of a field of the file; the last, if several have that name."""
    entries = file.root.findall(f".//FieldData/*[@Name='{name}']")
    return tuple(file.texts(entries[-1])) if entries else ()


def _no_piece() -> _Piece:
    return _Piece(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64), None, None)


def _read_piece(file: VtkXml, piece: Element) -> _Piece:
    points = _points(file, piece)
    faces, owners, cells = [], [], _count(piece, "Verts") + _count(piece, "Lines")
    for kind in ("Polys", "Strips"):
        corners, sizes = _cells(file, piece, kind)
        triangles, owner = triangulate(corners, sizes, strips=kind == "Strips")
        faces.append(triangles)
        owners.append(owner + cells)
        cells += len(sizes)
    joined, owner = np.concatenate(faces), np.concatenate(owners)
    check_corners(joined, len(points))
    colours = _colours(file, piece, "PointData", len(points))
    if colours is not None:
        colours = colours[joined[:, 0]]
    elif (of_cells := _colours(file, piece, "CellData", cells)) is not None:
        colours = of_cells[owner]
    labels = _labels(file, piece, len(points))
    return _Piece(points, joined, colours, None if labels is None else labels[joined[:, 0]])


def _count(piece: Element, kind: str) -> int:
    return int(piece.get(f"NumberOf{kind}", "0"))


def _points(file: VtkXml, piece: Element) -> Float:
    entry = piece.find("Points/DataArray")
    points = np.zeros((0, 3)) if entry is None else file.array(entry).reshape(-1, 3)
    if len(points) != _count(piece, "Points"):
        raise ValueError(f"it has {len(points)} points of {_count(piece, 'Points')}")
    return points.astype(np.float64)


def _cells(file: VtkXml, piece: Element, kind: str) -> tuple[Integers, Integers]:
    """Return the corners of all cells of a kind, and the number of corners of each."""
    if not _count(piece, kind):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    entries: dict[str | None, Element] = {}
    for entry in piece.iterfind(f"{kind}/DataArray"):
        entries[entry.get("Name")] = entry
    ends = file.array(entries["offsets"]).astype(np.int64)
    if len(ends) != _count(piece, kind):
        raise ValueError(f"it has {len(ends)} {kind} of {_count(piece, kind)}")
    return file.array(entries["connectivity"]).astype(np.int64), np.diff(ends, prepend=0)


def _colours(file: VtkXml, piece: Element, kind: str, count: int) -> NDArray[np.uint8] | None:
    for entry, is_scalars in _arrays(piece, kind):
        called_so = (entry.get("Name") or "").lower() in _COLOURS
        if entry.get("NumberOfComponents") in ("3", "4") and (
            called_so or (is_scalars and entry.get("type") == "UInt8")
        ):
            values = file.array(entry)
            if len(values) != count:
                raise ValueError(f"it has {len(values)} colours of {count}")
            return to_bytes(values, values.dtype)
    return None


def _labels(file: VtkXml, piece: Element, count: int) -> Integers | None:
    for entry, _ in _arrays(piece, "PointData"):
        if entry.get("Name") == "Label" and "Int" in (entry.get("type") or ""):
            values = file.array(entry)
            return values.astype(np.int64) if values.shape == (count,) else None
    return None


def _arrays(piece: Element, kind: str) -> Iterator[tuple[Element, bool]]:
    """Yield the arrays of points or cells, and whether each is marked as the scalars."""
    for group in piece.iterfind(kind):
        for entry in group.iterfind("DataArray"):
            yield entry, entry.get("Name") == group.get("Scalars")
