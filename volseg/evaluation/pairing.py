"""Which prediction belongs to which reference: by case name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from volseg.errors import InputError
from volseg.io.names import ITK_SUFFIXES, case_name, has_suffix
from volseg.labelmap import LabelMap

Source = str | Path | LabelMap | Mapping[str, LabelMap]
Pair = tuple[Path | LabelMap, Path | LabelMap]

_LISTED_SUFFIXES = (".nii.gz", ".nii", ".hdr", *ITK_SUFFIXES)
_OUTPUT_NAMES = ("labels.nii.gz", "labels.nii", "labels.seg.nrrd")


def pair_cases(predictions: Source, references: Source) -> tuple[dict[str, Pair], list[str]]:
    """Pair predictions and references.

    Parameters
    ----------
    predictions, references : path, LabelMap, or mapping of case name to LabelMap
        A file, a folder of files ``<case>.<suffix>``, a folder of output folders ``<case>/labels.nii.gz``, or one
        such output folder. One prediction and one reference are a pair whatever their names.

    Returns
    -------
    pairs : dict of case name to (prediction, reference)
        Sorted by name.
    left : list of str
        References without a prediction.

    Raises
    ------
    InputError
        Nothing is there, two files are one case, or predictions have no reference (all of them are named).
    """
    ours, theirs = find_cases(predictions), find_cases(references)
    if len(ours) == 1 and len(theirs) == 1 and _is_single(predictions) and _is_single(references):
        (name,) = ours
        return {name: (ours[name], next(iter(theirs.values())))}, []
    if unmatched := sorted(set(ours) - set(theirs)):
        shown = ", ".join(sorted(theirs)[:3])
        raise InputError(
            f"no reference for {len(unmatched)} of {len(ours)} predictions: {', '.join(unmatched)}; "
            f"references are found by case name, here {shown}{', ...' if len(theirs) > 3 else ''}"
        )
    return {name: (ours[name], theirs[name]) for name in sorted(ours)}, sorted(set(theirs) - set(ours))


def find_cases(source: Source) -> dict[str, Path | LabelMap]:
    """Return the label maps of a source by case name."""
    if isinstance(source, LabelMap):
        return {"case": source}
    if isinstance(source, Mapping):
        return dict(source)
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if path.is_file():
        return {_name(path): path}
    if (own := _output_of(path)) is not None:
        return {_name(own): own}
    return _list_folder(path)


def _list_folder(folder: Path) -> dict[str, Path | LabelMap]:
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    outputs = [own for path in files if path.is_dir() and (own := _output_of(path)) is not None]
    flat = [path for path in files if path.is_file() and has_suffix(path, _LISTED_SUFFIXES)]
    cases: dict[str, Path | LabelMap] = {}
    for path in (*outputs, *flat):
        name = _name(path)
        if name in cases:
            raise InputError(f"{path} and {cases[name]} are both case {name!r}; keep one of them in {folder}")
        cases[name] = path
    if not cases:
        raise InputError(f"{folder}: no label maps here; expected files <case>.nii.gz or folders <case>/labels.nii.gz")
    return cases


def _output_of(folder: Path) -> Path | None:
    """Return the label map of an output folder of one case."""
    return next((folder / name for name in _OUTPUT_NAMES if (folder / name).is_file()), None)


def _name(path: Path) -> str:
    """Return the case name: of the folder where the file has the one name that all outputs have."""
    return path.resolve().parent.name if path.name in _OUTPUT_NAMES else case_name(path)


def _is_single(source: Source) -> bool:
    if isinstance(source, str | Path):
        path = Path(source)
        return path.is_file() or _output_of(path) is not None
    return isinstance(source, LabelMap)
