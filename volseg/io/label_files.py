"""Which label maps a path stands for."""

from __future__ import annotations

from pathlib import Path

from volseg.errors import InputError
from volseg.io.names import ITK_SUFFIXES, case_name, has_suffix

_LISTED_SUFFIXES = (".nii.gz", ".nii", ".hdr", *ITK_SUFFIXES)
_OUTPUT_NAMES = ("labels.nii.gz", "labels.nii", "labels.seg.nrrd")


def find_label_maps(path: str | Path) -> dict[str, Path]:
    """Find the label maps that a path stands for; no file is opened.

    Parameters
    ----------
    path : path
        A file; a folder of files ``<case>.<suffix>``; the output folder of one case, with ``labels.nii.gz``,
        ``labels.nii`` or ``labels.seg.nrrd``; or a folder of such folders.

    Returns
    -------
    dict of str to Path
        Case name to file; empty for a folder without any.

    Raises
    ------
    InputError
        Nothing is there, or two files are one case.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if own := single_label_map(path):
        return {_name(own): own}
    files = [file for file in sorted(path.iterdir()) if not file.name.startswith(".")]
    outputs = [own for file in files if file.is_dir() and (own := single_label_map(file))]
    flat = [file for file in files if file.is_file() and has_suffix(file, _LISTED_SUFFIXES)]
    cases: dict[str, Path] = {}
    for file in (*outputs, *flat):
        name = _name(file)
        if name in cases:
            raise InputError(f"{file} and {cases[name]} are both case {name!r}; keep one of them in {path}")
        cases[name] = file
    return cases


def single_label_map(path: Path) -> Path | None:
    """Return a file itself, and the label map of the output folder of one case; None for all else."""
    if path.is_file():
        return path
    return next((path / name for name in _OUTPUT_NAMES if (path / name).is_file()), None)


def _name(path: Path) -> str:
    """Return the case name: of the folder where the file has the one name that all outputs have."""
    return path.resolve().parent.name if path.name in _OUTPUT_NAMES else case_name(path)
