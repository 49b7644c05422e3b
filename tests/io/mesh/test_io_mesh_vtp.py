"""VTP files as VTK writes them, in every form, and as it should not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from mesh_files import BOUNDS_FROM_LPS, CORNERS, QUADS, TRIANGLES, VOLUME
from vtkmodules.vtkCommonCore import vtkStringArray
from vtkmodules.vtkIOXML import vtkXMLPolyDataWriter

from volseg.errors import InputError
from volseg.io.mesh.reading import read_meshes

QUAD_BOX = pv.PolyData.from_regular_faces(CORNERS, QUADS)
BOX = pv.PolyData.from_regular_faces(CORNERS, TRIANGLES)
STRIPS = BOX.strip()
RED = np.array([200, 10, 30], dtype=np.uint8)
INLINE = ["Ascii", "Binary"]
APPENDED = ["AppendedRaw", "AppendedBase64"]


def write(
    surface: pv.PolyData,
    path: Path,
    *,
    mode: str = "Binary",
    compressor: str = "ZLib",
    order: str = "Little",
    bits: int = 32,
) -> Path:
    writer = vtkXMLPolyDataWriter()
    writer.SetInputData(surface)
    writer.SetFileName(str(path))
    getattr(writer, f"SetDataModeTo{mode[:8] if mode in APPENDED else mode}")()
    writer.SetEncodeAppendedData(mode == "AppendedBase64")
    getattr(writer, f"SetCompressorTypeTo{compressor}")()
    getattr(writer, f"SetByteOrderTo{order}Endian")()
    getattr(writer, f"SetHeaderTypeToUInt{bits}")()
    assert writer.Write()
    return path


def coloured(**arrays: np.ndarray) -> pv.PolyData:
    surface = BOX.copy()
    for name, values in arrays.items():
        (surface.cell_data if len(values) == 12 else surface.point_data)[name] = values
    return surface


@pytest.mark.parametrize("surface", [BOX, QUAD_BOX, STRIPS], ids=["triangles", "quads", "strips"])
@pytest.mark.parametrize("compressor", ["None", "ZLib", "LZ4", "LZMA"])
@pytest.mark.parametrize("mode", INLINE + APPENDED)
@pytest.mark.parametrize(("order", "bits"), [("Little", 32), ("Big", 64)])
def test_every_form_that_vtk_writes(
    tmp_path: Path, surface: pv.PolyData, mode: str, compressor: str, order: str, bits: int
) -> None:
    surface = surface.copy()
    surface["RGB"] = np.tile(RED, (8, 1))
    names = vtkStringArray()
    names.SetName("Names")
    names.InsertNextValue("Größe")
    surface.GetFieldData().AddArray(names)
    surface["Label"] = np.ones(8, dtype=np.int32)
    (mesh,) = read_meshes(write(surface, tmp_path / "a.vtp", mode=mode, compressor=compressor, order=order, bits=bits))
    assert (mesh.name, mesh.colour) == ("Größe", (200, 10, 30))
    assert mesh.is_closed
    assert len(mesh.faces) == 12
    assert mesh.volume_mm3 == pytest.approx(VOLUME)
    np.testing.assert_array_equal(mesh.bounds, BOUNDS_FROM_LPS)


def test_several_blocks_of_compressed_data(tmp_path: Path) -> None:
    ball = pv.Sphere(theta_resolution=100, phi_resolution=100)
    (mesh,) = read_meshes(write(ball, tmp_path / "a.vtp"))
    assert b'header_type="UInt32"' in (tmp_path / "a.vtp").read_bytes()[:200]
    assert mesh.volume_mm3 == pytest.approx(ball.volume, rel=1e-5)


@pytest.mark.parametrize("name", ["RGB", "rgba", "Colors", "Colour"])
@pytest.mark.parametrize(
    "values",
    [RED, [*RED, 255], RED / 255, [*(RED / 255), 1.0], (RED / 255).astype(np.float32), RED.astype(np.uint16) * 257],
)
@pytest.mark.parametrize("count", [8, 12], ids=["points", "cells"])
def test_colours_of_any_form(tmp_path: Path, name: str, values: np.ndarray, count: int) -> None:
    (mesh,) = read_meshes(write(coloured(**{name: np.tile(values, (count, 1))}), tmp_path / "a.vtp"))
    assert mesh.colour == (200, 10, 30)
    assert mesh.is_closed


def test_scalars_of_8_bits_are_colours_and_others_are_not(tmp_path: Path) -> None:
    surface = coloured(drawn=np.tile(RED, (8, 1)), other=np.zeros((8, 3), np.uint8))
    surface.point_data.active_scalars_name = "drawn"
    assert read_meshes(write(surface, tmp_path / "a.vtp"))[0].colour == (200, 10, 30)
    surface = coloured(force=np.tile(RED.astype(float), (8, 1)), RGB=np.zeros((8, 2), np.uint8), Colors=np.arange(8))
    surface.point_data.active_scalars_name = "force"
    assert read_meshes(write(surface, tmp_path / "b.vtp"), colour=(1, 2, 3))[0].colour == (1, 2, 3)


@pytest.mark.parametrize(
    "labels",
    [
        np.ones((8, 2), np.int32),
        np.arange(8),
        np.arange(8.0),
        np.array(list("abcdefgh")),
        np.arange(8, dtype=np.uint8) % 2,
    ],
)
def test_labels_of_another_kind_do_not_tear_a_surface_apart(tmp_path: Path, labels: np.ndarray) -> None:
    (mesh,) = read_meshes(write(coloured(Label=labels), tmp_path / "a.vtp"))
    assert mesh.is_closed
    assert mesh.name == "a"


def test_labels_of_any_value_part_surfaces(tmp_path: Path) -> None:
    both = BOX + BOX.translate((100, 0, 0))
    both["Label"] = np.repeat([-7, 10**9], 8)
    meshes = read_meshes(write(both, tmp_path / "a.vtp"))
    assert [mesh.is_closed for mesh in meshes] == [True, True]


def test_pieces_vertices_and_lines(tmp_path: Path) -> None:
    """Cells other than polygons come first in the cell data, and count."""
    surface = pv.PolyData(CORNERS, faces=np.insert(np.array(TRIANGLES), 0, 3, axis=1).ravel())
    surface.verts, surface.lines = [1, 0, 1, 1], [2, 0, 1]
    shades = np.zeros((15, 3), np.uint8)
    shades[3:] = RED
    surface.cell_data["RGB"] = shades
    path = write(surface, tmp_path / "a.vtp")
    assert read_meshes(path)[0].colour == (200, 10, 30)
    text = path.read_text()
    piece = re.search("<Piece.*</Piece>", text, re.DOTALL)
    assert piece is not None
    path.write_text(text.replace(piece[0], 2 * piece[0] + "<Piece/>"))
    (mesh,) = read_meshes(path)
    assert mesh.volume_mm3 == pytest.approx(2 * VOLUME)


@pytest.mark.parametrize("surface", [pv.PolyData(), pv.PolyData(CORNERS), pv.Line()], ids=["nothing", "points", "line"])
def test_files_without_polygons_are_refused(tmp_path: Path, surface: pv.PolyData) -> None:
    with pytest.raises(InputError, match=r"a\.vtp: holds no triangles"):
        read_meshes(write(surface, tmp_path / "a.vtp"))


@pytest.mark.parametrize("mode", INLINE + APPENDED)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('NumberOfPoints="8"', 'NumberOfPoints="4000000000000"'),
        ('NumberOfPoints="8"', 'NumberOfPoints="7"'),
        ('NumberOfPoints="8"', 'NumberOfPoints="-8"'),
        ('NumberOfPolys="12"', 'NumberOfPolys="4000000000000"'),
        ('NumberOfPolys="12"', 'NumberOfPolys="x"'),
        ('Name="offsets"', 'Name="offset"'),
        ('type="Float64"', 'type="Complex"'),
        ('byte_order="LittleEndian"', 'byte_order="MiddleEndian"'),
        ("<PolyData>", "<ImageData>"),
        ("</VTKFile>", ""),
        ("<VTKFile", "<Other"),
    ],
)
def test_headers_that_lie_are_refused(
    tmp_path: Path, mode: str, old: str, new: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(BOX, tmp_path / "a.vtp", mode=mode)
    data = path.read_bytes()
    assert old.encode() in data
    path.write_bytes(data.replace(old.encode(), new.encode()))
    with pytest.raises(InputError, match=r"a\.vtp: is damaged, cut short or not VTP \(.+\)"):
        read_meshes(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("compressor", ["None", "ZLib", "LZ4", "LZMA"])
@pytest.mark.parametrize("mode", APPENDED)
def test_damaged_and_missing_data_are_refused(
    tmp_path: Path, mode: str, compressor: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(BOX, tmp_path / "a.vtp", mode=mode, compressor=compressor)
    data = path.read_bytes()
    start = data.index(b"_", data.index(b"<AppendedData")) + 1
    end = data.index(b"\n", start) if mode == "AppendedBase64" else data.rindex(b"</AppendedData>")
    # Numbers of bytes and blocks, and the compressed data.
    for place in [*range(start, start + 24), *range(start, end, 7)]:
        path.write_bytes(data[:place] + b"\x7f" + data[place + 1 :])
        try:
            read_meshes(path)
        except InputError as error:
            assert "is damaged, cut short" in str(error)  # noqa: PT017
    for length in range(0, len(data) - 20, 97):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="is damaged, cut short"):
            read_meshes(path)
    assert capfd.readouterr().err == ""


def test_arrays_that_swell_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """A block of a gigabyte of zeros, and a small one that many pieces have."""
    import zlib

    block = zlib.compress(bytes(12_000_000), 9)
    points = '<Points><DataArray type="Float32" NumberOfComponents="3" format="appended" offset="0"/></Points>'
    piece = f'<Piece NumberOfPoints="1000000">{points}</Piece>'
    for pieces, size in ((1, 1 << 30), (1000, 12_000_000)):
        header = np.array([1, size, 0, len(block)], dtype="<u4").tobytes()
        path = tmp_path / "a.vtp"
        path.write_bytes(
            f'<VTKFile compressor="vtkZLibDataCompressor"><PolyData>{piece * pieces}</PolyData>'.encode()
            + b'<AppendedData encoding="raw">_'
            + header
            + block
            + b"</AppendedData></VTKFile>"
        )
        with pytest.raises(InputError, match=r"bytes would become .* GiB, over 100 times as much"):
            read_meshes(path)
