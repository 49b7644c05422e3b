"""VTM, VTK's multi-block file for ParaView: a named block for each surface.

The ``.vtm`` is a small XML index; each block is a ``.vtp`` in a folder beside it, ``<file name>-<digest of content>``.
So new content goes to a new folder. The index is replaced last, and only then are the pieces of earlier files removed.
Whenever the process ends, the index refers to pieces that all exist.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from volseg.core.mesh import Mesh
from volseg.errors import DAMAGE, InputError
from volseg.files.atomic import atomic_path, write_text
from volseg.files.names import distinct_names
from volseg.files.regular import file_beside, read_bytes
from volseg.io.mesh.vtp import vtp_bytes

_DIGITS = 12
_LONGEST_INDEX = 1 << 22


def write_vtm(meshes: Sequence[Mesh], target: Path, space: str) -> list[Path]:
    """Write the pieces, then the index; pieces of an earlier file of this name are removed.

    Parameters
    ----------
    meshes : sequence of Mesh
        In the coordinate system of the file, mm.
    target : Path
        The ``.vtm``. A symbolic link stays, and the file that it points to is written.
    space : str
        Name of that system, for the fields ``SPACE``.

    Returns
    -------
    list of Path
        The pieces and, last, the index.
    """
    place = target.resolve() if target.is_symlink() else target
    names = distinct_names(mesh.name for mesh in meshes)
    digest = hashlib.sha256("\n".join(names).encode("utf-8"))
    contents = []
    for number, mesh in enumerate(meshes, 1):
        content = vtp_bytes([mesh], space, first=number)
        contents.append(content)
        digest.update(content)
    folder = place.with_name(f"{place.name}-{digest.hexdigest()[:_DIGITS]}")
    pieces = [folder / f"{name}.vtp" for name in names]
    try:
        for piece, content in zip(pieces, contents, strict=True):
            with atomic_path(piece) as temporary:
                temporary.write_bytes(content)
        write_text(place, _index_text(meshes, pieces, space))
    finally:
        _remove_stale(place)
    return [*pieces, target]


def vtm_blocks(path: Path) -> list[tuple[str, Path]]:
    """Return name and file of each block in a ``.vtm``; blocks without a file are empty.

    Parameters
    ----------
    path : Path
        The ``.vtm``.

    Raises
    ------
    InputError
        The file is not VTM, or has blocks that are missing, not ``.vtp``, outside its folder, or given twice.
    """
    blocks: dict[Path, str] = {}
    for element in _datasets(path):
        named = element.get("file")
        if not named:
            continue
        file = file_beside(path, named)
        if file.suffix.lower() != ".vtp" or file in blocks:
            raise InputError(f"{path}: has the block {named[:80]!r}; expected .vtp files, each once")
        blocks[file] = element.get("name") or file.stem
    return [(name, file) for file, name in blocks.items()]


def _datasets(path: Path) -> list[ElementTree.Element]:
    content = read_bytes(path, most=_LONGEST_INDEX)
    try:
        return list(ElementTree.fromstring(content).iter("DataSet"))
    except DAMAGE as error:
        raise InputError(f"{path}: is damaged or not a VTM file ({error}); expected VTK's multi-block XML") from error


def _index_text(meshes: Sequence[Mesh], pieces: Sequence[Path], space: str) -> str:
    blocks = ""
    for number, (mesh, piece) in enumerate(zip(meshes, pieces, strict=True)):
        file = f"{piece.parent.name}/{piece.name}"
        blocks += f'    <DataSet index="{number}" name={quoteattr(mesh.name)} file={quoteattr(file)}/>\n'
    fields = _field("SPACE", [space]) + _field("Names", [mesh.name for mesh in meshes])
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VTKFile type="vtkMultiBlockDataSet" version="1.0" byte_order="LittleEndian" header_type="UInt32">\n'
        f"  <vtkMultiBlockDataSet>\n{blocks}  </vtkMultiBlockDataSet>\n"
        f"  <FieldData>\n{fields}  </FieldData>\n</VTKFile>\n"
    )


def _field(name: str, texts: Sequence[str]) -> str:
    # VTK's text form of strings: the numbers of their bytes, each string ended by 0.
    codes = " ".join(map(str, "".join(f"{text}\0" for text in texts).encode("utf-8")))
    start = f'<Array type="String" Name="{name}" NumberOfTuples="{len(texts)}" format="ascii">'
    return f"    {start}{codes}</Array>\n"


def _remove_stale(target: Path) -> None:
    """Remove pieces beside an index that it does not refer to; other files in their folders stay."""
    try:
        used = {Path(element.get("file", "")).parent.name for element in _datasets(target)}
    except InputError:
        used = set()
    pattern = re.compile(rf"{re.escape(target.name)}-[0-9a-f]{{{_DIGITS}}}")
    with suppress(OSError):
        for folder in sorted(target.parent.iterdir()):
            if pattern.fullmatch(folder.name) and folder.name not in used:
                _remove_pieces(folder)


def _remove_pieces(folder: Path) -> None:
    # On Windows another program may have them open; the next writing removes them then.
    with suppress(OSError):
        for piece in (*folder.glob("*.vtp"), *folder.glob(".volseg-*.part*")):
            piece.unlink()
        folder.rmdir()
