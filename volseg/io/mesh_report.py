"""The grades of surfaces as a table, tab-separated: a row for each surface, columns as in `volseg.mesh.Quality`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from volseg.io.atomic import write_text
from volseg.io.names import no_formula
from volseg.mesh import Mesh


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
    rows = [{"surface": no_formula(mesh.name), **mesh.quality.values()} for mesh in meshes if mesh.quality]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["surface"], delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return path
