"""The one way in which volseg starts a Python of its own: a decoder, a renderer, the training of a fold."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def child_python(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment that run a module in another process.

    It imports from where this process does, but not from the working folder: a file that lies there under the name of
    a module would be run. Only where volseg itself lies there is it searched, after everything else.

    Parameters
    ----------
    module : str
        Such as ``volseg.io.dicom_decoder``.
    arguments : str
        What it finds in ``sys.argv``.
    """
    home = str(Path(__file__).resolve().parents[1])
    path = [entry for entry in sys.path if entry and not _is_working_folder(entry)]
    path += [] if home in path else [home]
    command = [sys.executable, "-P", "-m", module, *arguments]
    return command, {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def _is_working_folder(entry: str) -> bool:
    try:
        return Path(entry).samefile(".")
    except OSError:  # an entry that is not there, or the folder is gone
        return False
