"""Settings: pydantic models, YAML in, every mistake at once with its line and a suggestion."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from volseg.config.problems import explain, shown
from volseg.config.sections import (
    AugmentationConfig,
    Block,
    CleanupConfig,
    Config,
    DiscriminatorConfig,
    LossConfig,
    NetworkConfig,
    Normalisation,
    OptimiserConfig,
    PreparationConfig,
    Preset,
    Reconstruction,
    Temperature,
    TrainingConfig,
)
from volseg.config.text import Keys, parse_override, read_settings
from volseg.errors import ConfigError, UsageError

__all__ = [
    "PRESETS",
    "AugmentationConfig",
    "Block",
    "CleanupConfig",
    "Config",
    "DiscriminatorConfig",
    "LossConfig",
    "NetworkConfig",
    "Normalisation",
    "OptimiserConfig",
    "PreparationConfig",
    "Reconstruction",
    "Temperature",
    "TrainingConfig",
    "load_config",
    "parse_config",
]

PRESETS: tuple[str, ...] = get_args(Preset)
# What the plans of all versions have; later sections are not among them.
_OF_ANY_PLAN = {"preset", "preparation", "network", "loss", "optimiser", "augmentation", "training"}


def load_config(
    path: Path | None = None,
    *,
    overrides: tuple[str, ...] = (),
    preset: str | None = None,
    start: Config | None = None,
) -> Config:
    """Read settings: those of a preset, overridden by a YAML file, overridden by ``key=value`` pairs.

    ``plan.yaml`` of a run has all settings that its version knew. What it does not have is as in `Config`, which is how
    that version trained, and not as in today's preset.

    Parameters
    ----------
    path : Path, optional
        YAML file; its ``preset`` key chooses the preset. A file that has all sections of a plan, and the planned
        ``network.levels``, is one.
    overrides : tuple of str
        Dotted keys and YAML values, such as ``network.decoder=upsample``.
    preset : str, optional
        ``default``, ``pix2pix`` or ``pix2pix-paper``; file and overrides may not name another.
    start : Config, optional
        Settings to start from instead of a preset: those of a run that is continued.

    Raises
    ------
    UsageError
        Two different presets are named.
    ConfigError
        The file cannot be read, is not YAML or too large or nested, or has unknown keys or impossible values. The
        message lists all of these with file and line, and the nearest known key.

    Examples
    --------
    >>> import volseg
    >>> config = volseg.load_config(overrides=("training.minutes=30", "network.width=16"))
    >>> config.training.minutes, config.network.width
    (30.0, 16)
    """
    given, lines = read_settings(path) if path else ({}, {})
    is_plan = _is_plan(given)
    presets: list[tuple[str, Any]] = [("the run", start.preset)] if start else []
    if "preset" in given:
        presets.append((lines[("preset",)], given["preset"]))
    for override in overrides:
        keys, value, place = parse_override(override)
        given = _merge(given, _nested(keys, value))
        lines[keys] = place
        if keys[0] == "preset":
            presets.append((place, given["preset"]))
    if preset is not None:
        presets.append((f"--preset {preset}", preset))
    chosen = _one_preset(presets)
    base = {} if is_plan else _read_preset(chosen)
    if start:
        base = start.model_dump(mode="json")
    if "cleanup" in given:
        base["cleanup"] = {}  # given entries replace all earlier ones
    return parse_config(_merge(base, {**given, "preset": chosen}), places=lines)


def _is_plan(given: dict[str, Any]) -> bool:
    """Whether settings are those that planning wrote, of this version or an older one."""
    network = given.get("network")
    return given.keys() >= _OF_ANY_PLAN and isinstance(network, dict) and bool(network.get("levels"))


def _one_preset(named: list[tuple[str, Any]]) -> str:
    """Return the preset that all pairs of (place, name) name; two presets cannot be combined."""
    for place, name in named:
        if name not in PRESETS:
            raise ConfigError(f"{place}: preset is {shown(name)}; expected one of {', '.join(PRESETS)}")
        if name != named[0][1]:
            raise UsageError(
                f"{place}: but {named[0][0]} chooses the preset {named[0][1]!r}, and the settings there would stay as "
                "they are; leave out one of the two"
            )
    return str(named[0][1]) if named else "default"


def parse_config(settings: dict[str, Any], *, places: dict[Keys, str] | None = None) -> Config:
    """Check settings and return them as a `Config`.

    Parameters
    ----------
    settings : dict
        Nested dictionaries, by key.
    places : dict of tuple of str to str, optional
        Where each key was written, for messages.

    Raises
    ------
    ConfigError
        There are unknown keys or impossible values; the message lists all of them.
    """
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, Config, {(): "settings", **(places or {})}))) from error


def _read_preset(name: str) -> dict[str, Any]:
    text = resources.files("volseg.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _nested(keys: Keys, value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return dict(value)
