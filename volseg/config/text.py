"""Settings as people write them: short YAML with little nesting and without aliases. All other YAML is refused early.

With aliases (``*name``) a few lines can stand for billions of values or contain themselves. Deep nesting and very long
numbers make parsers fail in unexpected ways.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from volseg.errors import DAMAGE, ConfigError, InputError
from volseg.files.regular import read_text

_LONGEST = 1 << 18  # bytes of a text; the plan of 117 labels has 11,000
_DEEPEST = 16  # levels
_LONGEST_VALUE = 1000  # characters
_LONGEST_PLACE = 100  # characters of an override in a message
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
# The constructors of YAML raise many kinds of exceptions for dates, numbers and keys.
_UNREADABLE: tuple[type[Exception], ...] = (yaml.YAMLError, *DAMAGE)

Keys = tuple[str, ...]


class _RefusedError(Exception):
    """It is YAML, but not of settings; the arguments are the line, from 1, and the reason."""


class _Loader(yaml.SafeLoader):
    """The safe loader with limits; dates are read as texts, as no setting is a date."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise _RefusedError(line, f"the alias *{event.anchor} is not allowed in settings; write out its value")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _LONGEST_VALUE:
            raise _RefusedError(line, f"a value has {len(event.value)} characters; expected at most {_LONGEST_VALUE}")
        if self.depth == _DEEPEST:
            raise _RefusedError(line, f"values are nested more than {_DEEPEST} levels deep; settings have at most five")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor(_TIMESTAMP, _text)


def parse_yaml(text: str, place: str) -> tuple[Any, dict[Keys, str]]:
    """Parse settings.

    Parameters
    ----------
    text : str
    place : str
        Where they are written, for messages.

    Returns
    -------
    content : Any
        None if the text is empty.
    lines : dict of tuple of str to str
        ``place:line`` of each key in nested mappings.

    Raises
    ------
    ConfigError
        It is not YAML, is too long or too deeply nested, or has an alias.
    """
    if len(text) > _LONGEST:
        raise ConfigError(f"{place}: has {len(text)} characters; settings have at most {_LONGEST}")
    lines: dict[Keys, str] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        content = None if node is None else loader.construct_document(node)
        _collect_lines(node, (), place, lines)
    except _RefusedError as error:
        line, reason = error.args
        raise ConfigError(f"{place}: {reason} (line {line})") from error
    except _UNREADABLE as error:
        raise ConfigError(f"{place}: is not YAML: {' '.join(str(error).split())}") from error
    return content, lines


def _collect_lines(node: Any, keys: Keys, place: str, lines: dict[Keys, str]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*keys, str(key.value))
            lines[inner] = f"{place}:{key.start_mark.line + 1}"
            _collect_lines(value, inner, place, lines)


def read_settings(path: Path) -> tuple[dict[str, Any], dict[Keys, str]]:
    """Read a file of settings.

    Parameters
    ----------
    path : Path

    Returns
    -------
    settings : dict
        Empty if the file is.
    lines : dict of tuple of str to str
        ``path:line`` of each key.

    Raises
    ------
    ConfigError
        It cannot be read as a file, or as settings.
    """
    try:
        text = read_text(path, most=_LONGEST)
    except InputError as error:
        raise ConfigError(str(error)) from error
    content, lines = parse_yaml(text, str(path))
    if content is None:
        return {}, {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds {type(content).__name__}; expected keys and values")
    return content, lines


def parse_override(override: str) -> tuple[Keys, Any, str]:
    """Parse a setting of the command line.

    Parameters
    ----------
    override : str
        ``key.of.section=value``.

    Returns
    -------
    keys : tuple of str
    value : Any
        The parsed YAML.
    place : str
        Where it is written, for messages.

    Raises
    ------
    ConfigError
        It has another form, or its value is not YAML.
    """
    key, found, text = override.partition("=")
    keys = tuple(part.strip() for part in key.split("."))
    place = f"--set {override if len(override) <= _LONGEST_PLACE else override[:_LONGEST_PLACE] + '...'}"
    if not found:
        raise ConfigError(f"{place}: expected key=value, such as network.decoder=upsample")
    if len(keys) > _DEEPEST:
        raise ConfigError(f"{place}: there is no such key; expected one such as network.decoder")
    value, _ = parse_yaml(text, place)
    # YAML 1.1 reads 1e2 (no dot) as text, which pydantic accepts for a float but not for an int.
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return keys, value, place
    return keys, value, place
