"""The entry ``doubt`` of ``run.json``: how well the labels are expected to be, and where to look first."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from volseg.prediction.doubt import Doubt

_DOUBT = TypeAdapter(Doubt)


def read_doubt(entry: Any) -> Doubt:
    """Return the entry, or where it is missing or of another form, an empty one that says so.

    Parameters
    ----------
    entry : Any
        As in ``run.json``.
    """
    if entry is None:
        return nothing_known("run.json has no doubt: the case was predicted by a version that did not judge it")
    try:
        return _DOUBT.validate_python(entry)
    except ValidationError:
        return nothing_known("the doubt in run.json is of another form; predict the case anew (--overwrite)")


def nothing_known(reason: str) -> Doubt:
    """Return a doubt without figures.

    Parameters
    ----------
    reason : str
        Why there are none.
    """
    return Doubt(None, None, 0, None, None, None, (reason,), ())
