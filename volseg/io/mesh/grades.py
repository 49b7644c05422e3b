"""The grades of surfaces as a table, tab-separated: a row each, with the columns of `volseg.core.mesh.Quality`."""

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
        Meshes without grades are left out.
    path : Path
        A name that ends in ``.tsv``.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    columns, rows = ["surface"], []
    for mesh in meshes:
        if mesh.quality:
            grades = mesh.quality.values()
            columns = ["surface", *grades]
            rows.append([mesh.name, *grades.values()])
    return write_table(path, columns, rows, delimiter="\t")
