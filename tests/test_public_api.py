"""The public interface: every name of `volseg.__all__` with its signature, and the fields and methods of its classes.

The snapshot is `public_api.txt` beside this file. Where a change of it is meant, write it anew, look at the difference,
and name it in the changelog::

    python tests/test_public_api.py
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import numpy.typing as npt
import pydantic
import pytest

import volseg

SNAPSHOT = Path(__file__).with_name("public_api.txt")
_STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
_PLAIN = (str, int, float, tuple, type(None))


def public_api() -> str:
    """Describe all public names; types are given as in the code, so the place of a module does not show."""
    lines = [line for name in sorted(volseg.__all__) for line in _described(name, getattr(volseg, name))]
    return "\n".join(lines) + "\n"


def _described(name: str, thing: Any) -> Iterator[str]:
    if inspect.isclass(thing):
        yield from _class(name, thing)
    else:
        yield f"{name}{_signature(thing)}"
        yield from _options(thing)
    yield ""


def _class(name: str, thing: type) -> Iterator[str]:
    """Describe a class, and of a configuration the sections in it too, as users write their keys."""
    is_model = issubclass(thing, pydantic.BaseModel)
    yield f"class {name}" + (_signature(thing) if _parameters(thing) and not is_model else "")
    yield from (f"    {line}" for line in (_fields(thing) if is_model else _attributes(thing)))
    yield from (f"    {line}" for line in _methods(thing))
    if is_model:
        for section in _sections(thing):
            yield ""
            yield from _class(f"{name}.{section.__name__}", section)


def _fields(model: type[pydantic.BaseModel]) -> Iterator[str]:
    written = {
        key: _text(value, owner) for owner in reversed(model.__mro__) for key, value in _annotations(owner).items()
    }
    for name, field in model.model_fields.items():
        default = "" if field.is_required() or field.default_factory else f" = {field.default!r}"
        yield f"{name}: {written[name]}{default if isinstance(field.default, _PLAIN) else ''}"


def _sections(model: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    for field in model.model_fields.values():
        yield from _models_in(field.annotation)


def _models_in(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """Find the models that a type is made of, such as that in a dict or tuple."""
    if inspect.isclass(annotation) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _attributes(thing: type) -> Iterator[str]:
    """Give the values that the class itself has and its signature does not say."""
    for owner in _own_classes(thing):
        for name, value in vars(owner).items():
            if not name.startswith("_") and isinstance(value, _PLAIN) and name not in _parameters(thing):
                yield f"{name} = {value!r}"


def _methods(thing: type) -> Iterator[str]:
    found = {}
    for owner in reversed(_own_classes(thing)):
        found.update({name: value for name, value in vars(owner).items() if not name.startswith("_")})
    for name in sorted(found):
        value = found[name]
        if isinstance(value, property):
            yield f"{name} -> {_annotations(value.fget).get('return')}"
        elif isinstance(value, classmethod | staticmethod):
            yield f"@{type(value).__name__} {name}{_signature(value.__func__)}"
        elif inspect.isfunction(value):
            yield f"{name}{_signature(value)}"
        elif hasattr(value, "func"):  # a cached property
            yield f"{name} -> {_annotations(value.func).get('return')}"


def _options(function: Any) -> Iterator[str]:
    """Give the keyword arguments that a TypedDict stands for."""
    function = inspect.unwrap(function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            options = function.__globals__[str(parameter.annotation).removeprefix("Unpack[").removesuffix("]")]
            yield from (f"    {key}: {_text(kind, options)}" for key, kind in _annotations(options).items())


def _signature(thing: Any) -> str:
    signature, parts = inspect.signature(thing), []
    by_name = False
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not by_name:
            parts.append("*")
        by_name |= parameter.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL)
        kind = "" if parameter.annotation is parameter.empty else f": {_text(parameter.annotation, thing)}"
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        parts.append(f"{_STARS.get(parameter.kind, '')}{parameter.name}{kind}{default}")
    returns = signature.return_annotation
    told = "" if returns is signature.empty or inspect.isclass(thing) else f" -> {_text(returns, thing)}"
    return f"({', '.join(parts)}){told}"


def _default(value: Any) -> str:
    """Write a default value; a release of volseg does not change what users call."""
    return "<version>" if value == volseg.__version__ else repr(value)


def _parameters(thing: type) -> set[str]:
    """Name what makes an object of a class; nothing where that is Python's own, as of exceptions."""
    return set(inspect.signature(thing).parameters) if inspect.isfunction(thing.__init__) else set()  # type: ignore[misc]


def _own_classes(thing: type) -> list[type]:
    return [owner for owner in thing.__mro__ if owner.__module__.partition(".")[0] == "volseg"]


def _annotations(thing: Any) -> dict[str, Any]:
    return inspect.get_annotations(thing) if callable(thing) else {}


def _text(annotation: Any, owner: Any) -> str:
    """Write a type as the code of its owner does, but what an alias stands for instead of its name.

    Numbers with bounds keep the alias, as versions of pydantic write these differently.
    """
    names = vars(sys.modules[inspect.unwrap(owner).__module__])

    def spelled(match: re.Match[str]) -> str:
        value = names.get(match[0])
        named = hasattr(npt, match[0]) or get_origin(value) in (None, Annotated)
        return match[0] if named else _spelled(value)

    return re.sub(r"\b[A-Z]\w+", spelled, str(getattr(annotation, "__forward_arg__", annotation)))


def _spelled(value: Any) -> str:
    """Write a type in the same way for every Python."""
    origin, parts = get_origin(value), get_args(value)
    if origin is Literal:
        return f"Literal{list(parts)}"
    if origin in (Union, types.UnionType):
        return " | ".join(map(_spelled, parts))
    if origin is np.ndarray:
        return f"NDArray[{_spelled(get_args(parts[1])[0])}]"
    if isinstance(value, list):
        return f"[{', '.join(map(_spelled, value))}]"
    if value is Ellipsis or value is types.NoneType:
        return "..." if value is Ellipsis else "None"
    name = getattr(origin or value, "__name__", str(value))
    return f"{name}[{', '.join(map(_spelled, parts))}]" if parts else name


def test_the_public_api_is_that_of_the_snapshot() -> None:
    old, new = SNAPSHOT.read_text(encoding="utf-8"), public_api()
    changes = difflib.unified_diff(old.splitlines(), new.splitlines(), "before", "now", lineterm="", n=0)
    assert old == new, "\n".join(("what users call has changed:", *changes))


def test_a_changed_default_or_a_lost_method_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = public_api().splitlines()
    monkeypatch.delattr(volseg.Volume, "with_array")
    monkeypatch.setitem(volseg.read.__wrapped__.__kwdefaults__, "strict", True)  # type: ignore[attr-defined]
    gone = set(before) - set(public_api().splitlines())
    assert {line.strip().partition("(")[0] for line in gone} == {"with_array", "read"}


if __name__ == "__main__":
    SNAPSHOT.write_text(public_api(), encoding="utf-8")
