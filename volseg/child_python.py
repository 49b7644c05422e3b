"""How volseg starts another Python process: for a decoder, a renderer, or the training of a fold."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HOME = Path(__file__).resolve().parents[1]


def child_python(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment that run a module in another process.

    The process imports from the same folders as this one, except from the working folder, where any file with the name
    of a module would be run. If volseg itself is in the working folder, that one is kept.

    Parameters
    ----------
    module : str
        Name of a module, such as ``volseg.io.dicom.decoder``.
    *arguments : str
        Its ``sys.argv[1:]``.
    """
    path = []
    for entry in sys.path:
        if not _is(entry, ".") or _is(entry, _HOME):
            path.append(entry or str(_HOME))
    command = [sys.executable, "-P", "-m", module, *arguments]
    return command, {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def _is(entry: str, folder: str | Path) -> bool:
    try:
        return Path(entry).samefile(folder)
    except OSError:  # the entry does not exist
        return False
