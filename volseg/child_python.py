"""The one way in which volseg starts a Python of its own: a decoder, a renderer, the training of a fold."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HOME = Path(__file__).resolve().parents[1]


def child_python(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment that run a module in another process.

    It imports from where this process does, but not from the working folder, where a file under the name of a module
    would be run; unless volseg itself lies there.

    Parameters
    ----------
    module : str
        Such as ``volseg.io.dicom.decoder``.
    arguments : str
        What it finds in ``sys.argv``.
    """
    path = [entry or str(_HOME) for entry in sys.path if not _is(entry, ".") or _is(entry, _HOME)]
    command = [sys.executable, "-P", "-m", module, *arguments]
    return command, {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def _is(entry: str, folder: str | Path) -> bool:
    try:
        return Path(entry).samefile(folder)
    except OSError:  # an entry that is not there
        return False
