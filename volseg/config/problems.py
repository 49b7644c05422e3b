"""Messages about wrong settings: where each was written, its value, and the nearest known key."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

_MOST = 20  # problems in one message

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 3, 80, 40, 80


def shown(value: object) -> str:
    """Return the `repr` of a value, shortened, as a value may be as long as its file.

    Parameters
    ----------
    value : object
    """
    return _SHORT.repr(value)


def explain(
    error: ValidationError, root: type[BaseModel], places: Mapping[tuple[str, ...], str] | None = None
) -> list[str]:
    """Return one line for each problem.

    Parameters
    ----------
    error : ValidationError
    root : type of BaseModel
        The model that was validated.
    places : mapping of tuple of str to str, optional
        Where each key was written.
    """
    problems = error.errors(include_url=False)
    lines = [_explain(problem, root, places or {}) for problem in problems[:_MOST]]
    more = len(problems) - len(lines)
    if more:
        lines.append(f"and {more} more problems")
    return lines


def _explain(problem: Any, root: type[BaseModel], places: Mapping[tuple[str, ...], str]) -> str:
    keys = tuple(str(part) for part in problem["loc"])
    place = next((f"{places[keys[:n]]}: " for n in range(len(keys), -1, -1) if keys[:n] in places), "")
    name, met = f"{'.'.join(keys)}: " if keys else "", shown(problem["input"])
    if problem["type"] != "extra_forbidden":
        return f"{place}{name}{problem['msg']} (got {met})"
    known = _known_keys(root, keys[:-1])
    near = difflib.get_close_matches(keys[-1], known, n=1)
    hint = f", did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known)}"
    return f"{place}{name}unknown key{hint} (got {met})"


def _known_keys(section: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    for key in path:
        # The index of a list and the name of a label are no fields; their items are of the same section.
        field = section.model_fields.get(key)
        section = (field and _section_in(field.annotation)) or section
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)
