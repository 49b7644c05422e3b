"""The files of a folder at any depth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from volseg.errors import InputError


@dataclass(frozen=True)
class FolderFiles:
    """The files of a folder, in the order of their paths, folder by folder.

    Parameters
    ----------
    paths : tuple of Path
        Hidden files, and folders met again through a link, are left out; broken links, pipes and devices are not.
    error : InputError, optional
        Why a folder in it could not be listed; the first one.
    """

    paths: tuple[Path, ...]
    error: InputError | None

    def checked(self) -> tuple[Path, ...]:
        """Return the files; raise the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.paths


def list_files(folder: Path) -> FolderFiles:
    """List the files of a folder at any depth."""
    errors: list[InputError] = []

    def note(error: OSError) -> None:
        text = f"{error.filename}: folder cannot be listed ({error.strerror}); check its rights"
        errors.append(InputError(text))

    met: set[str] = set()
    paths: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=note, followlinks=True):
        real = os.path.realpath(root)
        if real in met:
            folders.clear()
            continue
        met.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                paths.append(Path(root, name))
    return FolderFiles(tuple(paths), errors[0] if errors else None)
