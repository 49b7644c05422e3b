"""Which prediction belongs to which reference: by case name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from volseg.core.labelmap import LabelMap
from volseg.errors import InputError
from volseg.files.names import case_name
from volseg.io import Catalogue
from volseg.io.case_record import read_record
from volseg.io.labels import find_label_maps, single_label_map

Source = str | Path | LabelMap | Mapping[str, Path | LabelMap]
Pair = tuple[Path | LabelMap, Path | LabelMap]


def pair_cases(
    predictions: Source, references: Source, *, known: Collection[str] = ()
) -> tuple[dict[str, Pair], dict[str, InputError], list[str]]:
    """Pair predictions and references.

    Parameters
    ----------
    predictions, references : path, LabelMap, or mapping of case name to path or LabelMap
        Paths as for `find_label_maps`. A prediction without a reference of its case name is also paired by the name of
        its scan's folder or archive. One prediction and one reference are a pair whatever their names, if one of them
        is neither a folder of cases nor a mapping.
    known : collection of str
        Names of structures, as for `find_label_maps`.

    Returns
    -------
    pairs : dict of case name to (prediction, reference)
        Sorted by name.
    unmatched : dict of str to InputError
        Predictions without a reference.
    left : list of str
        References without a prediction.

    Raises
    ------
    InputError
        There are no label maps, two files are of one case, or no prediction has a reference.
    """
    ours, theirs = _find_cases(predictions, known), _find_cases(references, known)
    if len(ours) == len(theirs) == 1 and (_is_single(predictions, known) or _is_single(references, known)):
        (name,) = ours
        return {name: (ours[name], next(iter(theirs.values())))}, {}, []
    called = _by_input(ours, theirs)
    for name in ours.keys() & theirs.keys():
        called[name] = name
    pairs = {name: (ours[name], theirs[called[name]]) for name in sorted(called)}
    shown = f"{', '.join(sorted(theirs)[:3])}{', ...' if len(theirs) > 3 else ''}"
    rule = f"references are found by case name, here {shown}"
    unmatched = {}
    for name in sorted(ours.keys() - called.keys()):
        unmatched[name] = InputError(f"no reference; {rule}")
    if not pairs:
        raise InputError(f"no reference for any of {len(ours)} predictions: {', '.join(unmatched)}; {rule}")
    return pairs, unmatched, sorted(theirs.keys() - called.values())


def _by_input(ours: Mapping[str, Path | LabelMap], theirs: Mapping[str, Path | LabelMap]) -> dict[str, str]:
    """Return the reference of each prediction that is named after the folder or archive of its scan.

    Predictions that have a reference of their own name are left out, and so are several predictions of one scan.
    """
    stems = {}
    for name in ours.keys() - theirs.keys():
        path = ours[name]
        record = read_record(path.parent) if isinstance(path, Path) else None
        if record is not None and record.input:
            stems[name] = case_name(record.input[0]).removesuffix("_0000")
    counts = Counter(stems.values())
    free = theirs.keys() - ours.keys()
    return {name: stem for name, stem in stems.items() if stem in free and counts[stem] == 1}


def _find_cases(source: Source, known: Collection[str]) -> dict[str, Path | LabelMap]:
    """Return the label maps of a source by case name."""
    if isinstance(source, LabelMap):
        return {"case": source}
    if isinstance(source, Mapping):
        return dict(source)
    found = find_label_maps(source, known=known)
    if not found:
        raise InputError(
            f"{source}: no label maps here; expected files <case>.nii.gz, folders <case>/labels.nii.gz, or folders of "
            "masks; if these are not named after common structures, give a table of their names (--labels)"
        )
    return dict(found)


def _is_single(source: Source, known: Collection[str]) -> bool:
    if isinstance(source, str | Path):
        return single_label_map(Catalogue(Path(source)), known=known) is not None
    return isinstance(source, LabelMap)
