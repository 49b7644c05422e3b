"""Options of a command from its settings, so that a new setting becomes an option by itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Annotated, Any, get_type_hints

import typer

_Command = Callable[..., None]
# The option of a setting with this ending lacks the ending, and shows the unit in place of the type.
_UNITS = {"_mm": "MM"}


def options_from(settings: type[Any]) -> Callable[[_Command], _Command]:
    """Return a decorator that replaces the parameter for the settings of a command by an option for each setting.

    Parameters
    ----------
    settings : dataclass
        Each field has a default, and a text ``help`` in its metadata. ``max_error_mm`` becomes ``--max-error MM``. A
        field that is true by default can be turned off, ``--no-smooth``; one that is false can only be turned on.

    Returns
    -------
    callable
        Takes a function with one parameter of this type.
    """
    types = get_type_hints(settings)
    options = [_option(entry, types[entry.name]) for entry in fields(settings)]

    def decorate(command: _Command) -> _Command:
        hints = get_type_hints(command, include_extras=True)
        signature = inspect.signature(command)
        (taking,) = (name for name in signature.parameters if hints[name] is settings)

        @functools.wraps(command)
        def with_options(**values: Any) -> None:
            chosen = {}
            for entry in fields(settings):
                chosen[entry.name] = values.pop(entry.name)
            values[taking] = settings(**chosen)
            command(**values)

        parameters = []
        for name, parameter in signature.parameters.items():
            if name == taking:
                parameters += options
            else:
                parameters.append(parameter.replace(annotation=hints[name], kind=parameter.KEYWORD_ONLY))
        # Typer reads both.
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return with_options

    return decorate


def _option(entry: Field[Any], kind: Any) -> inspect.Parameter:
    name, unit = entry.name, None
    for ending, shown in _UNITS.items():
        if name.endswith(ending):
            name, unit = name.removesuffix(ending), shown
    flag = f"--{name.replace('_', '-')}"
    if entry.default is True:
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    option = typer.Option(flag, metavar=unit, help=entry.metadata["help"])
    return inspect.Parameter(
        entry.name, inspect.Parameter.KEYWORD_ONLY, default=entry.default, annotation=Annotated[kind, option]
    )
