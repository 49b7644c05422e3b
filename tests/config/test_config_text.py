"""Settings that are no settings: bombs, devices, pipes and endless numbers. Each is one short error."""

from __future__ import annotations

import os
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volseg.config import load_config
from volseg.config.text import parse_yaml
from volseg.errors import ConfigError, UsageError

LISTS = "a: &a [x, x]\n" + "".join(f"{n}: &{n} [*{o}, *{o}]\n" for o, n in zip("abcdefgh", "bcdefghi", strict=True))
MAPS = "a: &a {x: 1}\n" + "".join(
    f"{n}: &{n} {{p: *{o}, q: *{o}}}\n" for o, n in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[" * 20_000, "nested more than 16 levels deep"),
        ("{a: " * 5_000, "nested more than 16 levels deep"),
        ("[" * 17 + "]" * 17, "nested more than 16 levels deep"),
        ("9" * 5_000, "a value has 5000 characters; expected at most 1000"),
        ("0x" + "f" * 5_000, "a value has 5002 characters"),
        ("-" + "9" * 999, r"epochs: Input should be .*\(got -9+\.\.\.9+\)"),
        ("0x_", "is not YAML: invalid literal for int"),
        ("2001-99-99", r"epochs: Input should be a valid integer.*\(got '2001-99-99'\)"),
        ("2001-01-01", r"epochs: Input should be a valid integer.*\(got '2001-01-01'\)"),
        ("!!timestamp 2001-99-99", "epochs: Input should be a valid integer"),
        ("!!int [1]", "is not YAML"),
        ("!!int x", "is not YAML"),
        ("!!float ''", "is not YAML"),
        ("!!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
        ("{[1]: 2}", "is not YAML"),
        ("&a [*a]", r"the alias \*a is not allowed in settings; write out its value \(line"),
        ("&a {b: *a}", r"the alias \*a is not allowed"),
        ("[&a 1, *a]", r"the alias \*a is not allowed"),
        ("*b", r"the alias \*b is not allowed"),
        ("'\x01'", "is not YAML"),
        ("[" + "'xxxxxxxxxxxxxxxxxxxx', " * 300 + "]", "valid integer"),
    ],
    ids=lambda text: text[:24],
)
def test_values_that_are_none_are_one_short_error(value: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(f"training:\n  epochs: {value}\n", encoding="utf-8")
    for given_as in ({"path": path}, {"overrides": (f"training.epochs={value}",)}):
        with pytest.raises(ConfigError, match=message) as caught:
            load_config(**given_as)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 800
    assert "settings.yaml" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LISTS, r"the alias \*a is not allowed in settings; .* \(line 2\)"),
        (MAPS, r"the alias \*a is not allowed in settings; .* \(line 2\)"),
        ("training: &t {epochs: *t}", r"the alias \*t is not allowed"),
        ("&r\ntraining: *r\n", r"the alias \*r is not allowed"),
        ("a: &a {x: 1}\ntraining:\n  <<: *a\n", r"the alias \*a is not allowed"),
        ("a: 1\n" * 100_000, "has 500000 bytes; expected at most 262144"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
    ],
    ids=["lists", "maps", "itself", "all of itself", "merged", "long", "two"],
)
def test_files_that_stand_for_more_than_they_hold_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_many_mistakes_are_not_all_told(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("".join(f"key{n}: 1\n" for n in range(5000)), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"(?s)settings\.yaml:20: key19: unknown key.*\nand 4980 more problems$"):
        load_config(path)


@pytest.mark.skipif(os.name != "posix", reason="has no such devices")
def test_devices_and_pipes_are_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    (tmp_path / "link.yaml").symlink_to("/dev/zero")
    for path in (pipe, Path("/dev/zero"), tmp_path / "link.yaml"):
        with pytest.raises(ConfigError, match="is a pipe or device; expected a regular file"):
            load_config(path)


def test_keys_of_the_command_line_are_not_endless() -> None:
    for override in (".".join("a" * 20_000) + "=1", "a" * 20_000 + "=1", "a" * 20_000):
        with pytest.raises(ConfigError, match=r"^--set a.*") as caught:
            load_config(overrides=(override, override))
        assert len(str(caught.value)) < 21_000


def test_what_settings_need_is_taken() -> None:
    text = "'9': [1, 2.5, true, null, 'a: b']\nlists: [[[[[[1]]]]]]\nanchor: &a 1\nmerged: {<<: {x: 1}, y: 2}\n"
    content, lines = parse_yaml(text, "here")
    assert content == {
        "9": [1, 2.5, True, None, "a: b"],
        "lists": [[[[[[1]]]]]],
        "anchor": 1,
        "merged": {"x": 1, "y": 2},
    }
    assert lines[("merged",)] == "here:4"
    assert lines[("merged", "y")] == "here:4"
    assert parse_yaml("", "here") == (None, {})


YAML_TEXT = st.text(alphabet="ab:{}[]&*!|>-?'\"#%@ \n\t0129._<,\\", max_size=60)


@settings(max_examples=60, deadline=None)
@given(YAML_TEXT, st.integers(0, 3))
def test_any_text_is_settings_or_one_error(text: str, tens: int) -> None:
    """Also repeated, up to thousands of characters."""
    whole = text * 10**tens
    tracemalloc.start()
    try:
        with suppress(ConfigError, UsageError):
            load_config(overrides=(f"training.epochs={whole}", f"{whole}=1"))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 200e6
