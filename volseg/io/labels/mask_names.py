"""The name of the structure that a mask shows, by the name of its file."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from volseg.core.anatomy import find_structure
from volseg.files.names import case_name, portable_name

_SEPARATORS = " _-."


def structure_name(file: str, case: str) -> str:
    """Return the name of the structure of a mask: that of its file without the name of its case.

    Parameters
    ----------
    file : str
    case : str
        ``case_1`` in ``case_1_liver.nii.gz``.
    """
    name = case_name(file)
    for rest, beside in ((name.removeprefix(case), 0), (name.removesuffix(case), -1)):
        if rest and rest != name and rest[beside] in _SEPARATORS and rest.strip(_SEPARATORS):
            return rest.strip(_SEPARATORS)
    return name


def structure_names(files: Sequence[str], known: Collection[str] = ()) -> list[str]:
    """Return the names of the structures of all masks of one case, whose name is told by what all files begin with.

    The files have their full names if one of these is that of a structure already (``kidney_left``), or if without
    their beginning one had no letter (``tumour_1``).

    Parameters
    ----------
    files : sequence of str
    known : collection of str
        Names of structures beside those of `volseg.core.anatomy`.

    Examples
    --------
    >>> structure_names(["case_1_liver.nii.gz", "case_1_spleen.nii.gz"])
    ['liver', 'spleen']
    """
    whole = [case_name(file) for file in files]
    further = {same_name(name) for name in known}
    if any(same_name(name) in further or find_structure(name) for name in whole):
        return whole
    names = [structure_name(file, _common_start(whole)) for file in files]
    return names if all(any(map(str.isalpha, name)) for name in names) else whole


def _common_start(names: Sequence[str]) -> str:
    """Return the longest text before a separator with which all names begin; empty if there is none."""
    longest = ""
    for separator in re.finditer(f"[{re.escape(_SEPARATORS)}]", names[0] if names else ""):
        if all(name.startswith(names[0][: separator.end()]) for name in names):
            longest = names[0][: separator.start()]
    return longest


def same_name(name: str) -> str:
    """Return what names have in common that give the same file name, in upper or lower case.

    Parameters
    ----------
    name : str
    """
    return portable_name(name).casefold()
