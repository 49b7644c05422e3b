"""Damaged mesh files: whatever bytes or numbers are changed, reading ends with surfaces or with one clear error."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from mesh_files import (
    CORNERS,
    QUADS,
    TRIANGLES,
    box_3mf,
    glb_bytes,
    glb_parts,
    model_3mf,
    obj_text,
    package_3mf,
    ply_bytes,
    stl_bytes,
    stl_text,
)

from volseg.core.mesh import Mesh
from volseg.errors import InputError
from volseg.io.mesh.formats import MESH_SUFFIXES
from volseg.io.mesh.reading import read_meshes
from volseg.io.mesh.writing import write_mesh

FILES_OF_A_FORMAT = 120
MOST_BYTES = 1536 << 20
NUMBER = re.compile(rb"(?<![\w#])-?\d+(\.\d+)?")
NUMBERS = [
    *(b"0", b"-1", b"1", b"255", b"65536", b"2147483647", b"-2147483648", b"4294967296", b"9223372036854775807"),
    *(
        b"18446744073709551616",
        b"4000000000000",
        b"1" * 5000,
        b"1e308",
        b"1e999",
        b"nan",
        b"-inf",
        b"",
        b"x",
        b"[]",
        b"{}",
    ),
]
READ_ALL = """
import pathlib, sys
if sys.platform == "linux":
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
from volseg.errors import InputError
from volseg.io.mesh.reading import read_meshes
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    print(path, flush=True)
    try:
        read_meshes(path)
    except InputError as error:
        assert str(path.stem) in str(error), error
"""


def vtp_bytes(folder: Path, **options: object) -> bytes:
    surface = pv.PolyData.from_regular_faces(CORNERS, QUADS)
    surface["RGB"], surface["Label"] = np.full((8, 3), 9, np.uint8), np.ones(8, np.int32)
    surface.save(folder / "a.vtp", **options)
    return (folder / "a.vtp").read_bytes()


def sound_files(suffix: str, folder: Path) -> list[bytes]:
    """Return files in the variants of other programs, or as volseg writes them if there are no variants."""
    mine = write_mesh(Mesh(CORNERS, np.array(TRIANGLES), "box"), folder / f"mine{suffix}").read_bytes()
    if suffix == ".vtp":
        return [vtp_bytes(folder, binary=False), vtp_bytes(folder, binary=True), mine]
    mixed = [*QUADS[:3], *TRIANGLES[6:]]
    colours = {name: ("uchar", [9] * 12) for name in ("red", "green", "blue")}
    others = {
        ".stl": [stl_text().encode(), stl_bytes()],
        ".ply": [
            ply_bytes(form, faces=faces, of_faces=colours)
            for form in ("ascii", "binary_little_endian", "binary_big_endian")
            for faces in (TRIANGLES, mixed)
        ],
        ".obj": [f"o a\nusemtl a\n{obj_text()}".encode()],
        ".vtm": [b'<VTKFile><DataSet name="a" file="1/a.vtp"/><DataSet name="b" file="b.vtp"/></VTKFile>'],
        ".glb": [glb_bytes(*glb_parts())],
        ".3mf": [model_3mf(box_3mf(), '<item objectid="1" transform="1 0 0 0 1 0 0 0 1 5 6 7"/>').encode()],
    }
    return others.get(suffix, [mine])


def damaged(data: bytes, dice: random.Random) -> bytes:
    content = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 4])):
        place = dice.randrange(max(len(content), 1))
        match dice.randrange(6):
            case 0:
                content[place : place + 1] = bytes([dice.randrange(256)])
            case 1:
                del content[place : place + dice.choice([1, 4, 100])]
            case 2:
                content[place:place] = content[: dice.choice([1, 4, 100])]
            case 3:
                content[place : place + 4] = dice.choice([b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f"])
            case _:
                if found := list(NUMBER.finditer(bytes(content))):
                    number = dice.choice(found)
                    content[number.start() : number.end()] = dice.choice(NUMBERS)
    return bytes(content)


def wrapped(suffix: str) -> Callable[[bytes], bytes]:
    """Return what makes a file of what was damaged: of 3MF that is the model within, of GLB the lengths stay right."""
    if suffix == ".3mf":
        return package_3mf
    if suffix == ".glb":
        return lambda data: data[:8] + len(data).to_bytes(4, "little") + data[12:]
    return bytes


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_damaged_files_end_in_surfaces_or_one_error(tmp_path: Path, suffix: str) -> None:
    dice = random.Random(suffix)
    sound = sound_files(suffix, tmp_path)
    finish = wrapped(suffix)
    folder = tmp_path / "damaged"
    folder.mkdir()
    for number in range(FILES_OF_A_FORMAT):
        (folder / f"{number}{suffix}").write_bytes(finish(damaged(dice.choice(sound), dice)))
    command = [sys.executable, "-W", "error", "-c", READ_ALL, str(folder), str(MOST_BYTES)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout.splitlines()[-1:]
    assert len(run.stdout.splitlines()) == FILES_OF_A_FORMAT


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_what_is_no_regular_file_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match=r"no such file"):
        read_meshes(tmp_path / f"none{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        read_meshes(tmp_path / f"folder{suffix}")
    (tmp_path / f"empty{suffix}").touch()
    with pytest.raises(InputError, match=rf"empty\{suffix}: "):
        read_meshes(tmp_path / f"empty{suffix}")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        (tmp_path / f"link{suffix}").symlink_to("/dev/zero")
        for name in ("pipe", "link"):
            with pytest.raises(InputError, match="is a pipe or device"):
                read_meshes(tmp_path / f"{name}{suffix}")


@pytest.mark.parametrize(
    "text", ["<a>" * 100_000, "<!DOCTYPE a [<!ENTITY b '" + "c" * 999 + "'>]><VTKFile>" + "&b;" * 99_999]
)
@pytest.mark.parametrize("suffix", [".vtp", ".vtm"])
def test_deep_and_swelling_xml_is_refused(tmp_path: Path, suffix: str, text: str) -> None:
    (tmp_path / f"a{suffix}").write_text(text)
    with pytest.raises(InputError, match=rf"a\{suffix}: is damaged"):
        read_meshes(tmp_path / f"a{suffix}")
