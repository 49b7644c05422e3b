"""Ratings that people have saved from the pages of a report: JSON files that lie beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from volseg.errors import InputError
from volseg.files.regular import read_json

_LOG = logging.getLogger(__name__)
_LARGEST = 1 << 22


class Rating(BaseModel):
    """What somebody thinks of the labels of a case.

    Parameters
    ----------
    case : str
    rating : {"good", "minor", "bad"}
        Minor: small corrections are needed.
    comment : str
    date : str
        ISO 8601.
    labels : str
        Start of the SHA-256 of the label map that was rated.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    case: str
    rating: Literal["good", "minor", "bad"]
    comment: str = Field(default="", max_length=10_000)
    date: str = ""
    labels: str = ""


def read_ratings(folders: Iterable[Path]) -> dict[tuple[str, str], Rating]:
    """Read the files ``*rating*.json`` of folders: one rating each, or a list of them.

    Parameters
    ----------
    folders : iterable of Path
        Those that do not exist have none.

    Returns
    -------
    dict of (case, labels) to Rating
        The latest of each. Files that hold something else are left out, with a warning.
    """
    found: dict[tuple[str, str], Rating] = {}
    for folder in folders:
        for path in sorted(folder.glob("*rating*.json")):
            for rating in _read(path):
                key = rating.case, rating.labels
                if key not in found or found[key].date <= rating.date:
                    found[key] = rating
    return found


def _read(path: Path) -> list[Rating]:
    try:
        content = read_json(path, most=_LARGEST)
        return [Rating.model_validate(entry) for entry in (content if isinstance(content, list) else [content])]
    except (InputError, ValidationError) as error:
        _LOG.warning("%s: is no rating as a report saves it, and is left out (%s)", path, str(error).split("\n")[0])
        return []
