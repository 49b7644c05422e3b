"""Writing of surface meshes: one or several surfaces to a file, one or several files at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from volseg.core.mesh import Mesh
from volseg.errors import InputError, UsageError
from volseg.files.names import distinct_names
from volseg.files.plain_text import plain
from volseg.io.mesh.formats import MESH_FORMATS, SPACES, MeshFormat

# The name of a file that holds all surfaces of a case.
TOGETHER = "surfaces"


def parse_formats(text: str) -> tuple[str, ...]:
    """Split ``stl,glb`` into names of formats without repeats.

    Parameters
    ----------
    text : str
        Names in `MESH_FORMATS`, in lower or upper case, with or without a dot, separated by commas.

    Raises
    ------
    UsageError
        The text is empty, or has a format that volseg does not write.
    """
    names: dict[str, None] = {}
    for part in text.split(","):
        name = part.strip().lower().removeprefix(".")
        if name not in MESH_FORMATS:
            raise UsageError(f"mesh format {name!r} is unknown; choose from {', '.join(MESH_FORMATS)}")
        names[name] = None
    return tuple(names)


def write_meshes(
    meshes: Iterable[Mesh], folder: str | Path, *, formats: Sequence[str] = ("stl",), space: str = "lps"
) -> list[Path]:
    """Write each mesh to its own files, ``<name>.<format>``; existing files are replaced.

    A VTM file holds several surfaces, so all meshes are in one file, ``surfaces.vtm``, with its folder of blocks.

    Parameters
    ----------
    meshes : iterable of Mesh
        World mm, RAS+. Names are made portable; if two become the same on any file system, the later one gets a number.
    folder : path
        Made if missing.
    formats : sequence of str
        Names in `volseg.io.mesh.formats.MESH_FORMATS`, such as ``stl`` and ``glb``.
    space : {"lps", "ras"}
        Coordinate system of the files; GLB has its own.

    Returns
    -------
    list of Path
        The files written, mesh by mesh, then files that hold all meshes; also the material file of an OBJ and the
        blocks of a VTM.

    Raises
    ------
    UsageError
        Unknown format or space.
    OutputError
        The folder cannot be written.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import sphere_labelmap
    >>> labels = sphere_labelmap(volseg.Grid.from_spacing((32, 32, 32)), radius_mm=10)
    >>> meshes = volseg.extract_surfaces(labels)
    >>> [path.name for path in volseg.write_meshes(meshes, "meshes", formats=["stl", "glb"])]
    ['sphere.stl', 'sphere.glb']
    """
    files = []
    for path, some in mesh_targets(meshes, folder, formats=formats):
        files += write_mesh_files(some, path, space=space)
    return files


def mesh_targets(
    meshes: Iterable[Mesh], folder: str | Path, *, formats: Sequence[str] = ("stl",)
) -> list[tuple[Path, list[Mesh]]]:
    """Return the files that `write_meshes` writes, and the meshes of each.

    Parameters
    ----------
    meshes : iterable of Mesh
    folder : path
    formats : sequence of str
        As for `write_meshes`.
    """
    rows = [MESH_FORMATS[name] for name in parse_formats(",".join(formats))]
    parts = list(meshes)
    targets: list[tuple[Path, list[Mesh]]] = []
    for name, mesh in zip(distinct_names(mesh.name for mesh in parts), parts, strict=True):
        targets += [(Path(folder) / f"{name}{row.suffix}", [mesh]) for row in rows if not row.together]
    if parts:
        targets += [(Path(folder) / f"{TOGETHER}{row.suffix}", parts) for row in rows if row.together]
    return targets


def replaced_by(path: Path) -> list[Path]:
    """Return the files that `write_mesh` to a path replaces if they exist.

    Parameters
    ----------
    path : Path
        Its suffix gives the format.

    Raises
    ------
    UsageError
        Unknown format.
    """
    companion = _format_of(path).companion
    return [path] if companion is None else [companion(path), path]


def write_mesh(meshes: Mesh | Sequence[Mesh], path: str | Path, *, space: str = "lps") -> Path:
    """Write one mesh, or several together, to one file.

    Whether several meshes in one file keep their names and colours depends on the format; see `MeshFormat`.
    An OBJ has its colours in an ``.mtl`` beside it, a VTM its surfaces in a folder ``<file>-<digest>`` beside it.

    Parameters
    ----------
    meshes : Mesh or sequence of Mesh
        World mm, RAS+.
    path : path
        Replaced if it exists. Its suffix, such as ``.stl``, gives the format: one of
        `volseg.io.mesh.formats.MESH_FORMATS`.
    space : {"lps", "ras"}
        Coordinate system of the file; GLB has its own.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UsageError
        Unknown format or space.
    InputError
        There is no mesh, or a mesh has no faces.
    OutputError
        The file cannot be written.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import sphere_labelmap
    >>> labels = sphere_labelmap(volseg.Grid.from_spacing((32, 32, 32)), radius_mm=10)
    >>> volseg.write_mesh(volseg.extract_surfaces(labels), "sphere.stl").name
    'sphere.stl'
    """
    return write_mesh_files(meshes, path, space=space)[-1]


def write_mesh_files(meshes: Mesh | Sequence[Mesh], path: str | Path, *, space: str = "lps") -> list[Path]:
    """Do as `write_mesh`, and return every file that was written, the one at `path` last.

    Parameters
    ----------
    meshes : Mesh or sequence of Mesh
    path : path
    space : {"lps", "ras"}
        As for `write_mesh`.
    """
    several = [meshes] if isinstance(meshes, Mesh) else list(meshes)
    target = Path(path)
    row = _format_of(target)
    if space not in SPACES:
        raise UsageError(f"space {space!r} is unknown; choose from {', '.join(SPACES)}")
    if not several or not all(len(mesh.faces) for mesh in several):
        raise InputError(f"{target}: there is no mesh to write, or a mesh has no faces; expected surfaces")
    signs = 1 if row.frame else SPACES[space]
    placed = [replace(mesh, name=plain(mesh.name), vertices=mesh.vertices * signs) for mesh in several]
    return row.write(placed, target, space.upper())


def _format_of(path: Path) -> MeshFormat:
    name = path.suffix.lower().removeprefix(".")
    if name not in MESH_FORMATS:
        raise UsageError(f"{path}: mesh format {name!r} is unknown; choose from {', '.join(MESH_FORMATS)}")
    return MESH_FORMATS[name]
