"""The grades of surfaces as a table, tab-separated: a row for each, columns as of `volseg.core.mesh.Quality`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.core.mesh import Mesh
from volseg.files.tables import write_table


def write_report(meshes: Sequence[Mesh], path: Path) -> Path:
    """Write the table; a file of that name is replaced.

    Parameters
    ----------
    meshes : sequence of Mesh
        Those without grades are left out.
    path : Path
        A name that ends in ``.tsv``.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    graded = [(mesh.name, mesh.quality.values()) for mesh in meshes if mesh.quality]
    columns = ["surface", *(graded[0][1] if graded else ())]
    return write_table(path, columns, [[name, *grades.values()] for name, grades in graded], delimiter="\t")
