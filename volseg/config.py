"""Settings: pydantic models, YAML in, every mistake at once with its line and a suggestion."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from volseg.errors import ConfigError, InputError, UsageError

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Plane = Literal["axial", "coronal", "sagittal"]
Pixels = Annotated[int, Field(ge=8)]

PRESETS = ("default", "pix2pix")


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
        return self


class PreparationConfig(_Section):
    """What is done to a scan before the network sees its slices. `None` means: planned from the dataset.

    ``planes``: along which slices are cut; the answers of several are fused. ``spacing_mm``: of slices, along the
    patient's right-left, front-back and foot-head axes; across a slice nothing is resampled.
    """

    planes: Annotated[tuple[Plane, ...], Field(min_length=1)] | None = None
    spacing_mm: tuple[Positive, Positive, Positive] | None = None
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

    block: Literal["double", "pix2pix"] = "double"
    decoder: Literal["transpose", "upsample"] = "transpose"
    width: Annotated[int, Field(ge=1)] = 32
    max_width: Annotated[int, Field(ge=1)] = 320
    levels: Annotated[int, Field(ge=1, le=8)] | None = None
    norm: Literal["instance", "batch"] = "instance"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class DiscriminatorConfig(_Section):
    """The PatchGAN; its depth is the largest up to `max_layers` whose receptive field fits the slice."""

    width: Annotated[int, Field(ge=1)] = 64
    max_layers: Annotated[int, Field(ge=1, le=4)] = 4


class LossConfig(_Section):
    """The generator's loss: `reconstruction_weight` x reconstruction + `adversarial_weight` x adversarial."""

    reconstruction: Literal["l1", "ce", "dice", "ce_dice"] = "ce_dice"
    reconstruction_weight: Positive = 1.0
    adversarial_weight: Annotated[float, Field(ge=0)] = 0.0


class OptimiserConfig(_Section):
    """Adam or AdamW. ``cosine``: short warm-up, then half a cosine to zero. ``linear``: constant, then to zero."""

    name: Literal["adam", "adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
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
    brightness: Annotated[float, Field(ge=0)] = 0.2
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.25
    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.3
    noise: Annotated[float, Field(ge=0)] = 0.1
    blur: Annotated[float, Field(ge=0)] = 0.7
    fade: Fraction = 0.3


class TrainingConfig(_Section):
    """How long, how much at a time, and how it is checked.

    ``epochs``: passes over the labelled slices of all planes; by default 7,000 steps for each plane, or more where
    that were less than 3 epochs. ``minutes``: wall-clock time, in place of both.
    ``slice_size``: pixels along the patient's right-left, front-back and foot-head axes; a slice has two of them.
    ``temperature``: of the model's probabilities; by default fitted on the held-out cases, 1 where there are none.
    ``validations``: on the way, of ``validation_cases`` each, or of as many as take 15 % of the time, or a minute.
    """

    epochs: Annotated[int, Field(ge=1)] | None = None
    minutes: Positive | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    slice_size: tuple[Pixels, Pixels, Pixels] | None = None
    foreground_fraction: Fraction = 0.67
    validations: Annotated[int, Field(ge=1)] = 10
    validation_cases: Annotated[int, Field(ge=1)] = 50
    temperature: Positive | None = None
    seed: int = 0


class CleanupConfig(_Section):
    """What is done to one label of a prediction, in this order.

    ``largest_component``: keep the largest component (of equal ones the first in array order). ``minimum_mm3``: clear
    components that are smaller. ``fill_holes``: give the label the background that it encloses, from which no path over
    faces leads out (on a grid of one slice: in two dimensions); other labels inside it are kept.
    """

    largest_component: bool = False
    minimum_mm3: Annotated[float, Field(ge=0)] = 0.0
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


def load_config(path: Path | None = None, *, overrides: tuple[str, ...] = (), preset: str | None = None) -> Config:
    """Read settings: a preset, over it a YAML file, over that ``key=value`` pairs.

    Parameters
    ----------
    path : Path, optional
        YAML file; its ``preset`` key chooses what it starts from. ``plan.yaml`` of a run is one that sets everything.
    overrides : tuple of str
        Dotted keys and YAML values, such as ``network.decoder=upsample``.
    preset : str, optional
        ``default`` or ``pix2pix``, where nothing else names one.

    Raises
    ------
    UsageError
        Two different presets are named.
    ConfigError
        The file is not YAML, or has unknown keys (named with the nearest known one) or impossible values: all at once,
        with file and line.
    InputError
        The file cannot be read.
    """
    given, lines = _read_yaml(path) if path else ({}, {})
    presets = [(lines.get(("preset",), f"{path}"), given["preset"])] if "preset" in given else []
    for override in overrides:
        key, found, value = override.partition("=")
        if not found:
            raise ConfigError(f"--set {override}: expected key=value, such as network.decoder=upsample")
        given = _merge(given, _nested(key.strip(), _parse_value(override, value)))
        lines[tuple(key.strip().split("."))] = f"--set {override}"
        if key.split(".")[0].strip() == "preset":
            presets.append((f"--set {override}", given["preset"]))
    if preset is not None:
        presets.append((f"--preset {preset}", preset))
    chosen = _one_preset(presets)
    return parse_config(_merge(_read_preset(chosen), {**given, "preset": chosen}), places=lines)


def _one_preset(named: list[tuple[str, Any]]) -> str:
    """Return the preset on which all (place, name) agree; the settings beside one would hide most of another."""
    for place, name in named:
        if name not in PRESETS:
            raise ConfigError(f"{place}: preset is {name!r}; expected one of {', '.join(PRESETS)}")
        if name != named[0][1]:
            raise UsageError(
                f"{place}: but {named[0][0]} chooses the preset {named[0][1]!r}, and the settings there would stay as "
                "they are; leave out one of the two"
            )
    return str(named[0][1]) if named else "default"


def parse_config(settings: dict[str, Any], *, places: dict[tuple[str, ...], str] | None = None) -> Config:
    """Check a nested dictionary of settings; `places` says where each key was written, for the messages."""
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        problems = [_explain(problem, places or {}) for problem in error.errors()]
        raise ConfigError("\n".join(problems)) from error


def _explain(problem: Any, places: dict[tuple[str, ...], str]) -> str:
    keys = tuple(str(part) for part in problem["loc"])
    place = next((places[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in places), "settings")
    name = ".".join(keys)
    if problem["type"] != "extra_forbidden":
        return f"{place}: {name}: {problem['msg']} (got {problem['input']!r})"
    near = difflib.get_close_matches(keys[-1], _known_keys(keys[:-1]), n=1)
    hint = f", did you mean {near[0]!r}?" if near else f"; known here: {', '.join(_known_keys(keys[:-1]))}"
    return f"{place}: {name}: unknown key{hint} (got {problem['input']!r})"


def _known_keys(path: tuple[str, ...]) -> list[str]:
    section: type[BaseModel] = Config
    for key in path:
        # A number in a list or a label's name is no field: it stays in the section of the list's or table's items.
        field = section.model_fields.get(key)
        section = (field and _section_in(field.annotation)) or section
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)


def _read_preset(name: str) -> dict[str, Any]:
    text = resources.files("volseg.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def _read_yaml(path: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], str]]:
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}, {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds {type(content).__name__}; expected keys and values")
    lines: dict[tuple[str, ...], str] = {}
    _collect_lines(root, (), path, lines)
    return content, lines


def _collect_lines(node: Any, keys: tuple[str, ...], path: Path, lines: dict[tuple[str, ...], str]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*keys, str(key.value))
            lines[inner] = f"{path}:{key.start_mark.line + 1}"
            _collect_lines(value, inner, path, lines)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _parse_value(override: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not YAML") from error
    # YAML 1.1 reads 1e2 (no dot) as text, which pydantic takes for a fraction but not for a whole number.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
