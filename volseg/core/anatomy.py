"""Common structures by name: their SNOMED CT codes and the colours that atlases give them.

The table is ``anatomy.tsv``: tab-separated, columns ``name``, ``aliases`` (joined by ``;``), ``code`` (``SCT:...``) and
``colour`` (``#rrggbb``); ``n/a`` marks an empty cell. Ambiguous names are left out, so that nothing is guessed. A name
that is not in the table still has a colour of its own (`colour_of`).
"""

from __future__ import annotations

import colorsys
import csv
import hashlib
import io
import re
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

Words = tuple[str, ...]
_Rgb = tuple[int, int, int]

_SIDES = {"left": "left", "right": "right", "l": "left", "r": "right"}
_IGNORED = {"of", "the"}
_ABSENT = "n/a"
# The share by which the left side of a pair is mixed with white, and the right one with black.
_LIGHTER, _DARKER = 0.12, 0.09


@dataclass(frozen=True, slots=True)
class Structure:
    """The entry of the table for a name.

    Parameters
    ----------
    name : str
        The name in the table, without a side.
    code : str or None
        SNOMED CT code of the structure without its side, such as ``SCT:10200004``; None if no concept is known to fit.
    colour : (red, green, blue), 0 to 255
        Left and right differ slightly.
    side : {"left", "right"}, optional
        Given if the side is no part of the structure's own name: for ``left kidney``, but not ``left ventricle``.
    """

    name: str
    code: str | None
    colour: _Rgb
    side: str | None = None


def find_structure(name: str) -> Structure | None:
    """Look a name up in the table.

    Parameters
    ----------
    name : str
        In any case and order of words, singular or plural, with ``_``, ``-`` or spaces; ``left``, ``right``, ``L`` or
        ``R`` may stand anywhere as a word: ``Kidney_R``, ``rib_left_07``, ``vertebrae L1``.

    Returns
    -------
    Structure or None
        None for a name that is not in the table.
    """
    words, rows = _key(name), _rows()
    if words in rows:
        return rows[words]
    rest, side = _without_side(words)
    if side is None or rest not in rows:
        return None
    return replace(rows[rest], colour=_on_side(rows[rest].colour, side), side=side)


def colour_of(name: str) -> _Rgb:
    """Return the colour (red, green, blue) of a name: the table's, or one that is computed from the name.

    Parameters
    ----------
    name : str
        As for `find_structure`. The same name always has the same colour.
    """
    found = find_structure(name)
    if found is not None:
        return found.colour
    words, side = _without_side(_key(name))
    digest = hashlib.sha256(" ".join(words or [name]).encode()).digest()
    hue, saturation, value = int.from_bytes(digest[:4]) / 2**32, digest[4] / 255, digest[5] / 255
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.5 + 0.3 * saturation, 0.75 + 0.17 * value)
    colour = round(255 * red), round(255 * green), round(255 * blue)
    return colour if side is None else _on_side(colour, side)


def words_of(text: str) -> Words:
    """Return the words of a name in American spelling and alphabetical order.

    Parameters
    ----------
    text : str
        ``Kidney right``, ``right_kidney`` and ``RightKidney`` have the same words.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    # Tumour, oedema, haemorrhage; the words that a name is compared with go through the same changes.
    spelled = re.sub(r"our\b", "or", re.sub(r"ae|oe", "e", spaced.lower().replace("_", " ")))
    words = []
    for word in re.split(r"[\W_]+", spelled):
        if word and word not in _IGNORED:
            words.append(word)
    return tuple(sorted(words))


def _key(name: str) -> Words:
    """Words of a name in the singular, sides written out, numbers without leading zeros; in alphabetical order."""
    key = []
    for word in words_of(name):
        key.append(_SIDES.get(word) or _singular(word.lstrip("0") or word))
    return tuple(sorted(key))


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    # Pelvis, humerus, abscess and short words are no plurals.
    return word[:-1] if re.fullmatch(r".{2,}[^isu]s", word) else word


def _without_side(words: Words) -> tuple[Words, str | None]:
    """Take the side out of words; words without exactly one side, or only a side, are not changed."""
    if words.count("left") + words.count("right") != 1 or len(words) == 1:
        return words, None
    side = "left" if "left" in words else "right"
    place = words.index(side)
    return words[:place] + words[place + 1 :], side


def _on_side(colour: _Rgb, side: str) -> _Rgb:
    """Make a colour slightly lighter for left, or darker for right; its hue stays."""
    goal, share = (255, _LIGHTER) if side == "left" else (0, _DARKER)
    red, green, blue = (round(c + share * (goal - c)) for c in colour)
    return red, green, blue


@cache
def _rows() -> dict[Words, Structure]:
    """Return the rows of the table by the words of their names and aliases."""
    text = resources.files("volseg.core").joinpath("anatomy.tsv").read_text(encoding="utf-8")
    rows = {}
    for row in csv.DictReader(io.StringIO(text), delimiter="\t"):
        red, green, blue = bytes.fromhex(row["colour"].removeprefix("#"))
        structure = Structure(row["name"], None if row["code"] == _ABSENT else row["code"], (red, green, blue))
        aliases = [] if row["aliases"] == _ABSENT else row["aliases"].split(";")
        for name in (row["name"], *aliases):
            rows[_key(name)] = structure
    return rows
