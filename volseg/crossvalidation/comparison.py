"""Two cross-validations, compared case by case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon

from volseg.errors import InputError
from volseg.evaluation import summarise
from volseg.files.regular import read_json

# A row for each case and label, before and after clean-up: 1000 cases of 100 labels are 60 MB.
_LONGEST_RESULT = 1 << 28


def compare_runs(first: Path, second: Path) -> dict[str, float | int]:
    """Compare the class-mean Dice of two cross-validations case by case.

    Parameters
    ----------
    first, second : path
        ``crossval.json``, or the folders that hold them.

    Returns
    -------
    dict
        ``n`` common cases, the ``mean`` of first - second, its 95 % bootstrap interval (``low``, ``high``), and ``p``
        of Wilcoxon's signed-rank test, two-sided.

    Raises
    ------
    InputError
        A file is missing or something else, or they have no case in common.
    """
    ours, theirs = class_means(first), class_means(second)
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        raise InputError(f"{second}: has no case in common with {first}")
    differences = np.array([ours[case] - theirs[case] for case in common])
    found = summarise(differences.tolist())
    p = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return {"n": len(common), "mean": found.mean, "low": found.low, "high": found.high, "p": p}


def class_means(path: Path) -> dict[str, float]:
    """Read the class-mean Dice of each case of a cross-validation.

    Parameters
    ----------
    path : path
        ``crossval.json``, or the folder that holds it.

    Raises
    ------
    InputError
        The file is missing or something else.
    """
    file = path / "crossval.json" if path.is_dir() else path
    try:
        rows = read_json(file, most=_LONGEST_RESULT)["rows"]
        dices: dict[str, list[float]] = {}
        for row in rows:
            if row["dice"] is not None:
                dices.setdefault(str(row["case"]), []).append(float(row["dice"]))
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{file}: is not the result of a cross-validation ({error})") from error
    return {case: float(np.mean(values)) for case, values in dices.items()}
