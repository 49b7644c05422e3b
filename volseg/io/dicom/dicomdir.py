"""DICOMDIR: the list of the files on a medium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from volseg.errors import InputError
from volseg.io.dicom.attributes import DAMAGE
from volseg.io.dicom.dataset import open_dataset
from volseg.io.dicom.storage import DicomFile


def files_of_dicomdir(path: Path) -> Iterator[DicomFile]:
    """Read the list of files in a DICOMDIR.

    Parameters
    ----------
    path : Path
        The DICOMDIR; the names in it are relative to its folder.

    Raises
    ------
    InputError
        The DICOMDIR is damaged, or lists files that are missing or outside its folder.
    """
    files = []
    for name in _names_in(path):
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{path}: lists {name}, which lies outside its folder; not read")
        files.append(path.parent / name)
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        first = f" ({missing[0]})" if missing else ""
        raise InputError(
            f"{path}: lists {len(files)} files, of which {len(missing)} are missing{first}; copy the whole medium, or "
            "give the folder that holds the images"
        )
    for file in files:
        yield DicomFile(file)


def _names_in(path: Path) -> list[Path]:
    names = []
    try:
        directory = open_dataset(DicomFile(path))
        for record in directory.get("DirectoryRecordSequence") or ():
            parts = record.get("ReferencedFileID")
            if parts:
                names.append(Path(parts) if isinstance(parts, str) else Path(*parts))
    except DAMAGE as error:
        raise InputError(f"{path}: damaged DICOMDIR ({error}); give the folder that holds the images") from error
    return names
