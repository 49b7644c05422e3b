"""Settings: pydantic models, YAML in, every mistake at once with its line and a suggestion."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from volseg.config.problems import explain, shown
from volseg.config.text import Keys, parse_override, read_settings
from volseg.core.planes import Plane
from volseg.errors import ConfigError, UsageError

# Upper bounds are far above anything useful: they keep a damaged file from taking memory and from overflowing.
Positive = Annotated[float, Field(gt=0, le=1e9)]
Amount = Annotated[float, Field(ge=0, le=1e9)]
Millimetres = Annotated[float, Field(ge=1e-6, le=1e4)]
Channels = Annotated[int, Field(ge=1, le=1 << 13)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Temperature = Annotated[float, Field(ge=0.01, le=100)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[int, Field(ge=8, le=1 << 14)]

# The networks by name; each is a row of `volseg.network.generator.NETWORKS`.
Block = Literal["double", "pix2pix"]
# The losses of the generator by name; each is a row of `volseg.network.losses.LOSSES`.
Reconstruction = Literal["l1", "ce", "dice", "ce_dice"]

PRESETS = ("default", "pix2pix")
_LARGEST_NORMALISED = 1e9


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Normalisation(_Section):
    """How the intensities of one channel are brought to a common scale.

    ``zscore``: each scan by its own mean and standard deviation, clipped to its 0.5th and 99.5th percentile.
    ``zscore_unclipped``: the same without clipping. ``window``: clip to [low, high], then the mean and standard
    deviation given here, measured on the labelled voxels of the training set (CT, whose numbers have a unit).
    """

    kind: Literal["zscore", "zscore_unclipped", "window"] = "zscore"
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: Positive | None = None

    @model_validator(mode="after")
    def _numbers_fit_the_kind(self) -> Normalisation:
        if self.kind != "window":
            if {self.low, self.high, self.mean, self.std} != {None}:
                raise ValueError(f"kind {self.kind!r} takes no numbers: each scan gives its own")
        else:
            if self.low is None or self.high is None or self.mean is None or self.std is None:
                raise ValueError("kind 'window' needs low, high, mean and std")
            if self.low >= self.high:
                raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
            largest = max(abs(self.low - self.mean), abs(self.high - self.mean)) / self.std
            if largest > _LARGEST_NORMALISED:
                raise ValueError(f"the numbers make values of {largest:g}; expected less than {_LARGEST_NORMALISED:g}")
        return self


class PreparationConfig(_Section):
    """What is done to a scan before the network sees its slices. `None` means: planned from the dataset.

    ``planes``: along which slices are cut; the answers of several are fused. ``spacing_mm``: of slices, along the
    patient's right-left, front-back and foot-head axes; across a slice nothing is resampled.
    """

    planes: Annotated[tuple[Plane, ...], Field(min_length=1)] | None = None
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None = None
    normalisation: tuple[Normalisation, ...] | None = None
    neighbours: Annotated[int, Field(ge=0, le=5)] = 1

    @field_validator("planes")
    @classmethod
    def _each_plane_once(cls, planes: tuple[Plane, ...] | None) -> tuple[Plane, ...] | None:
        if planes and len(set(planes)) < len(planes):
            raise ValueError("a plane is named twice")
        return planes


class NetworkConfig(_Section):
    """The generator.

    ``double``: two 3x3 convolutions a level, from full resolution down. ``pix2pix``: one 4x4 convolution of stride 2
    a level, as published.
    """

    block: Block = "double"
    decoder: Literal["transpose", "upsample"] = "transpose"
    width: Channels = 32
    max_width: Channels = 320
    levels: Annotated[int, Field(ge=1, le=8)] | None = None
    norm: Literal["instance", "batch"] = "instance"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class DiscriminatorConfig(_Section):
    """The PatchGAN; its depth is the largest up to `max_layers` whose receptive field fits the slice."""

    width: Channels = 64
    max_layers: Annotated[int, Field(ge=1, le=4)] = 4


class LossConfig(_Section):
    """The generator's loss: `reconstruction_weight` x reconstruction + `adversarial_weight` x adversarial."""

    reconstruction: Reconstruction = "ce_dice"
    reconstruction_weight: Positive = 1.0
    adversarial_weight: Amount = 0.0


class OptimiserConfig(_Section):
    """Adam or AdamW. ``cosine``: short warm-up, then half a cosine to zero. ``linear``: constant, then to zero."""

    name: Literal["adam", "adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: Amount = 1e-2
    schedule: Literal["cosine", "linear"] = "cosine"
    clip_norm: Positive | None = 12.0


class AugmentationConfig(_Section):
    """Random changes of training slices; every number is the largest change, 0 switches it off.

    ``mirror``: swap the patient's left and right in half of the axial or coronal slices; sagittal slices have neither
    and are never mirrored. ``fade``: over this last share of the training the changes shrink to nothing, so that the
    networks end on slices as they are.
    """

    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 30.0
    scaling: Annotated[float, Field(ge=0, lt=1)] = 0.3
    translation: Fraction = 0.08
    mirror: bool = False
    brightness: Amount = 0.2
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.25
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.3
    noise: Amount = 0.1
    blur: Annotated[float, Field(ge=0, le=100)] = 0.7
    fade: Fraction = 0.3


class TrainingConfig(_Section):
    """How long, how much at a time, and how it is checked.

    ``epochs``: passes over the labelled slices of all planes; by default 7,000 steps for each plane, or more where
    that were less than 3 epochs. ``minutes``: wall-clock time, in place of both, from the first step on: reading the
    scans is not counted.
    ``slice_size``: pixels along the patient's right-left, front-back and foot-head axes; a slice has two of them.
    ``temperature``: of the model's probabilities; by default fitted on the held-out cases, 1 where there are none.
    ``validations``: on the way, of ``validation_cases`` each, or of as many as take 15 % of the time, or a minute.
    """

    epochs: Count | None = None
    minutes: Positive | None = None
    batch_size: Annotated[int, Field(ge=1, le=1 << 16)] | None = None
    slice_size: tuple[Pixels, Pixels, Pixels] | None = None
    foreground_fraction: Fraction = 0.67
    validations: Count = 10
    validation_cases: Count = 50
    temperature: Temperature | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0


class CleanupConfig(_Section):
    """What is done to one label of a prediction, in this order.

    ``largest_component``: keep the largest component (of equal ones the first in array order). ``minimum_mm3``: clear
    components that are smaller. ``fill_holes``: give the label the background that it encloses, from which no path over
    faces leads out (on a grid of one slice: in two dimensions); other labels inside it are kept.
    """

    largest_component: bool = False
    minimum_mm3: Amount = 0.0
    fill_holes: bool = False


class Config(_Section):
    """Everything that decides how a model is trained and used."""

    preset: Literal["default", "pix2pix"] = "default"
    preparation: PreparationConfig = PreparationConfig()
    network: NetworkConfig = NetworkConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
    cleanup: dict[str, CleanupConfig] = {}

    def augmentation_at(self, progress: float, plane: Plane) -> AugmentationConfig:
        """Return the changes for slices of one plane when this share of the training is done."""
        full = self.augmentation
        strength = min(1.0, (1 - progress) / full.fade) if full.fade else 1.0
        amounts = {name: value * strength for name, value in full.model_dump(exclude={"mirror", "fade"}).items()}
        # A sagittal slice has no left and right to swap.
        return full.model_copy(update={**amounts, "mirror": full.mirror and plane != "sagittal"})

    def to_yaml(self) -> str:
        """Return the settings as YAML that `load_config` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=100)


def load_config(
    path: Path | None = None,
    *,
    overrides: tuple[str, ...] = (),
    preset: str | None = None,
    start: Config | None = None,
) -> Config:
    """Read settings: a preset, over it a YAML file, over that ``key=value`` pairs.

    Parameters
    ----------
    path : Path, optional
        YAML file; its ``preset`` key chooses what it starts from. ``plan.yaml`` of a run is one that sets everything.
    overrides : tuple of str
        Dotted keys and YAML values, such as ``network.decoder=upsample``.
    preset : str, optional
        ``default`` or ``pix2pix``, where nothing else names one.
    start : Config, optional
        What to start from in place of a preset's settings: those of a run that is gone on with.

    Raises
    ------
    UsageError
        Two different presets are named.
    ConfigError
        The file cannot be read, is not YAML or more than settings need, or has unknown keys (named with the nearest
        known one) or impossible values: all at once, with file and line.
    """
    given, lines = read_settings(path) if path else ({}, {})
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
    base = start.model_dump(mode="json") if start else _read_preset(chosen)
    if "cleanup" in given:
        base["cleanup"] = {}  # its entries are of labels: what is given is all of them
    return parse_config(_merge(base, {**given, "preset": chosen}), places=lines)


def _one_preset(named: list[tuple[str, Any]]) -> str:
    """Return the preset on which all (place, name) agree; the settings beside one would hide most of another."""
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
    """Check a nested dictionary of settings; `places` says where each key was written, for the messages."""
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
