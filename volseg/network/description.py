"""The description of the networks in a model file, as JSON; it is checked against a schema before it is used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from volseg.config import CleanupConfig, Config, Temperature
from volseg.config.problems import explain
from volseg.config.sections import Amount, Fraction
from volseg.core.labelmap import Label
from volseg.core.slices import in_plane
from volseg.network.doubt_fit import DoubtFit

FORMAT = 5  # from this format on a model may know what its held-out cases had
SEALED = 3  # from this format on a digest covers the whole file
_ALONG_THREE_AXES = 2  # from this format on sizes are
_LONGEST = 1 << 22  # characters
_LARGEST_VALUE = (1 << 32) - 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LabelEntry(_Part):
    """A label in a model file."""

    value: Annotated[int, Field(strict=True, ge=1, le=_LARGEST_VALUE)]
    name: str
    colour: tuple[Annotated[int, Field(strict=True, ge=0, le=255)], ...]
    code: str | None = None
    algorithm: str | None = None

    def label(self) -> Label:
        """Return the label."""
        return Label(self.value, self.name, (*self.colour,), self.code, self.algorithm)  # type: ignore[arg-type]


@dataclass(frozen=True)
class CleanupDecision:
    """The clean-up of a label that held-out cases decided; see `volseg.training.cleanup_choice`.

    Parameters
    ----------
    largest_component, minimum_mm3, fill_holes
        As in `volseg.config.CleanupConfig`; all off where nothing raised the Dice.
    cases : int
        Held-out cases that have the label. Fewer than 5 decide nothing.
    dice_before, dice_after : float, optional
        Mean over these cases without clean-up, and with it. No case is among those that decided over it. None where no
        case has the label.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    largest_component: bool
    minimum_mm3: Amount
    fill_holes: bool
    cases: Annotated[int, Field(strict=True, ge=0)]
    dice_before: Fraction | None
    dice_after: Fraction | None

    @property
    def settings(self) -> CleanupConfig:
        """The clean-up as a setting."""
        return CleanupConfig(
            largest_component=self.largest_component, minimum_mm3=self.minimum_mm3, fill_holes=self.fill_holes
        )


class Description(_Part):
    """Everything in a model file but the weights.

    ``digest`` is of the whole file (see `volseg.network.digest`); formats 1 and 2 have ``sha256``, of the tensors'
    bytes. Formats up to 3 have no ``steps``, and those up to 4 no ``doubt``.
    """

    format: int
    version: str = ""
    config: Config
    labels: Annotated[tuple[LabelEntry, ...], Field(min_length=1)]
    channel_names: Annotated[tuple[str, ...], Field(min_length=1)]
    modalities: tuple[str | None, ...] = ()
    temperature: Temperature = 1.0
    cleanup: dict[str, CleanupDecision] = {}
    doubt: DoubtFit | None = None
    fingerprint: str = ""
    steps: Annotated[int, Field(strict=True, ge=0)] | None = None
    digest: Sha256 | None = None
    sha256: Sha256 | None = None

    @field_validator("labels")
    @classmethod
    def _each_label_once(cls, labels: tuple[LabelEntry, ...]) -> tuple[LabelEntry, ...]:
        for key in ("value", "name"):
            if len({getattr(label, key) for label in labels}) < len(labels):
                raise ValueError(f"two labels have the same {key}")
        return labels

    @model_validator(mode="after")
    def _decisions_are_of_labels(self) -> Description:
        names, told = [label.name for label in self.labels], {"cleanup": set(self.cleanup)}
        if self.doubt is not None:
            told["doubt"] = {*self.doubt.volumes, *self.doubt.training_ml}
            if self.doubt.cases and not self.doubt.soft_dice:
                raise ValueError(f"doubt has {self.doubt.cases} cases without a score")
        for what, named in told.items():
            if unknown := sorted(named - set(names)):
                raise ValueError(f"{what} names {', '.join(unknown)}; the labels are {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _channels_agree(self) -> Description:
        channels = len(self.channel_names)
        if len(self.config.preparation.normalisation or ()) != channels:
            raise ValueError(f"there is not one normalisation for each of the channels {self.channel_names}")
        if len(self.modalities) not in (0, channels):
            raise ValueError(f"there are {len(self.modalities)} modalities of {channels} channels")
        return self


def parse_content(text: str) -> dict[str, Any] | None:
    """Parse the JSON of a description; None where it is of something else.

    Parameters
    ----------
    text : str
        JSON.

    Raises
    ------
    One of `volseg.errors.DAMAGE`
        It is not JSON, or longer than any description is.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"its description has {len(text)} characters; expected at most {_LONGEST}")
    content = json.loads(text)
    return content if isinstance(content, dict) and type(content.get("format")) is int else None


def make_description(content: dict[str, Any]) -> Description:
    """Check a description of any format up to `FORMAT`.

    Parameters
    ----------
    content : dict
        As `parse_content` returns it.

    Raises
    ------
    ValueError
        Says which entries are missing, unknown or impossible.
    """
    if content["format"] < _ALONG_THREE_AXES:
        content = {**content, "config": _along_three_axes(content["config"])}
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        raise ValueError("; ".join(explain(error, Description))) from error


def _along_three_axes(config: dict[str, Any]) -> dict[str, Any]:
    """Turn the config of format 1, which gives sizes for one plane, into today's. Across slices any size will do."""
    preparation, training = dict(config["preparation"]), dict(config["training"])
    plane = preparation.pop("plane")
    for section, key in ((preparation, "spacing_mm"), (training, "slice_size")):
        if section[key] is not None:
            sizes = dict(zip(in_plane(plane), section[key], strict=True))
            section[key] = [sizes.get(axis, max(section[key])) for axis in range(3)]
    return {**config, "preparation": {**preparation, "planes": [plane]}, "training": training}
