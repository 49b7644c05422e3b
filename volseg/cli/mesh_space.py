"""The option --space of every command that writes surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from volseg.errors import UsageError

Space = Annotated[
    str | None,
    typer.Option(
        "--space",
        help="Of surfaces: lps (3D Slicer, DICOM) or ras; written into the file. {mesh.framed} has its own. "
        "Default lps.",
    ),
]


def parse_space(space: str | None, formats: Sequence[str]) -> str:
    """Return the coordinate system for surfaces in these formats.

    Parameters
    ----------
    space : str, optional
        The option, in lower or upper case.
    formats : sequence of str
        Names of mesh formats; empty if no surfaces are written.

    Raises
    ------
    UsageError
        The value is unknown, or no format has a choice.
    """
    from volseg.io.mesh import MESH_FORMATS, SPACES

    if space is None:
        return "lps"
    if space.lower() not in SPACES:
        raise UsageError(f"--space {space} is unknown; choose {' or '.join(SPACES)}")
    if not formats:
        raise UsageError(f"--space {space} goes with --mesh FORMAT; give that too, or leave it out")
    frames = {name.upper(): MESH_FORMATS[name].frame for name in formats}
    if all(frames.values()):
        fixed = " and ".join(f"{name}, which has a fixed frame ({frame})" for name, frame in frames.items())
        raise UsageError(f"--space has no meaning for {fixed}; leave it out")
    return space.lower()
