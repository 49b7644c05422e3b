"""The sections of the settings, as pydantic models: names, types, ranges and defaults."""

from __future__ import annotations

from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from volseg.core.planes import Plane

# Upper bounds are far above all useful values. With them a damaged file can neither take memory nor cause overflows.
Positive = Annotated[float, Field(gt=0, le=1e9)]
Amount = Annotated[float, Field(ge=0, le=1e9)]
Millimetres = Annotated[float, Field(ge=1e-6, le=1e4)]
Channels = Annotated[int, Field(ge=1, le=1 << 13)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Temperature = Annotated[float, Field(ge=0.01, le=100)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[int, Field(ge=8, le=1 << 14)]

# Each is a file of `volseg.presets`.
Preset = Literal["default", "pix2pix", "pix2pix-paper"]
# The networks by name; each is a row of `volseg.network.generator.NETWORKS`.
Block = Literal["double", "pix2pix"]
# The losses of the generator by name; each is a row of `volseg.network.losses.LOSSES`.
Reconstruction = Literal["l1", "ce", "dice", "ce_dice"]

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
    """How a scan is prepared for the network. `None` means that the value is planned from the dataset.

    ``planes``: along which slices are cut; the answers of several planes are fused. ``spacing_mm``: spacing of slices
    along the patient's right-left, front-back and foot-head axes; nothing is resampled across slices. ``neighbours``:
    number of slices on either side that are further channels. ``crop``: leave out borders of one value around the scan,
    as skull stripping and padding leave them; what lies there is background. Models of before do not know it, and
    None is no.
    """

    planes: Annotated[tuple[Plane, ...], Field(min_length=1)] | None = None
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None = None
    normalisation: tuple[Normalisation, ...] | None = None
    neighbours: Annotated[int, Field(ge=0, le=5)] = 1
    # Not in the text by which runs of before it know their plan; see `volseg.training.plan.fingerprint`.
    crop: Annotated[bool | None, Field(repr=False)] = None

    @field_validator("planes")
    @classmethod
    def _each_plane_once(cls, planes: tuple[Plane, ...] | None) -> tuple[Plane, ...] | None:
        if planes and len(set(planes)) < len(planes):
            raise ValueError("a plane is named twice")
        return planes


class NetworkConfig(_Section):
    """The generator.

    ``double``: two 3x3 convolutions at each level, from full resolution down. ``pix2pix``: one 4x4 convolution of
    stride 2 at each level, as published. ``width``: channels of the first level; each level has twice as many, up to
    `max_width` if it is set, as it is by a plan.
    """

    block: Block = "double"
    decoder: Literal["transpose", "upsample"] = "transpose"
    width: Channels | None = None
    max_width: Channels | None = None
    levels: Annotated[int, Field(ge=1, le=8)] | None = None
    norm: Literal["instance", "batch"] = "instance"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class DiscriminatorConfig(_Section):
    """The PatchGAN. Its depth is the largest, up to `max_layers`, whose receptive field fits into the slice.

    ``sees``: what it is shown of a prediction beside the slice. ``probabilities``: the softmax, which it tells from a
    one-hot reference by its fractions alone. ``labels``: the most probable label as one-hot; the generator's gradient
    passes through as if it were the softmax.
    """

    width: Channels = 64
    max_layers: Annotated[int, Field(ge=1, le=4)] = 4
    sees: Literal["probabilities", "labels"] = "probabilities"


class LossConfig(_Section):
    """The generator's loss: `reconstruction_weight` x reconstruction + `adversarial_weight` x adversarial.

    ``balance``: in the cross-entropy, if there is one, a pixel of a class with n pixels in the batch weighs in
    proportion to n^-balance, so that small structures are learnt early. It shrinks to 0 over the second half of the
    training, or from 1,000 to 2,000 steps a plane, so that pixels go to the likeliest class in the end.
    """

    reconstruction: Reconstruction = "ce_dice"
    balance: Fraction = 0.0
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
    """Random changes of training slices; every number is the largest change, and 0 switches it off.

    ``mirror``: swap the patient's left and right in half of the axial or coronal slices; sagittal slices are never
    mirrored. ``fade``: over this last share of the training the changes shrink to nothing, so that training ends with
    unchanged slices.
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
    """Length, batch size and validation of a training.

    ``epochs``: passes over the labelled slices of all planes; by default 7,000 steps for each plane, and at least 3
    epochs, but an hour at most on a CPU and three on a GPU. ``minutes``: wall-clock time from the first step on, in
    place of epochs; reading the scans is not counted.
    ``slice_size``: pixels along the patient's right-left, front-back and foot-head axes; a slice has two of them.
    ``first_size``: the same for the first steps; from it slices grow to ``slice_size``. It is planned where
    ``slice_size`` is planned as well; else slices have one size throughout. ``batch_size``: slices at the end; while
    they are smaller there are more of them.
    ``shared``: over this first share of the training, but at most 1,000 steps a plane, one network learns from the
    slices of all planes, and each plane goes on from it; not with an adversarial term.
    ``temperature``: temperature of the model's probabilities; by default fitted on the held-out cases, or 1 if there
    are none. ``validations``: number of validations during training. Each has ``validation_cases`` cases, or as many
    as take 8 % of the time or a minute.
    """

    epochs: Count | None = None
    minutes: Positive | None = None
    batch_size: Annotated[int, Field(ge=1, le=1 << 16)] | None = None
    slice_size: tuple[Pixels, Pixels, Pixels] | None = None
    first_size: tuple[Pixels, Pixels, Pixels] | None = None
    shared: Fraction = 0.0
    foreground_fraction: Fraction = 0.67
    validations: Count = 10
    validation_cases: Count = 50
    temperature: Temperature | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0


class CleanupConfig(_Section):
    """Clean-up of one label of a prediction, in this order. For labels without an entry held-out cases decide.

    ``largest_component``: keep only the largest component (the first in array order if several are equal).
    ``minimum_mm3``: clear components that are smaller. ``fill_holes``: fill the background that the label encloses,
    that is, from which no path across voxel faces leads out (on a grid of one slice: in two dimensions). Other labels
    inside are kept.
    """

    largest_component: bool = False
    minimum_mm3: Amount = 0.0
    fill_holes: bool = False


class Config(_Section):
    """All settings of the training and use of a model.

    Examples
    --------
    >>> import volseg
    >>> config = volseg.Config()
    >>> config.network.block, config.loss.reconstruction
    ('double', 'ce_dice')
    """

    preset: Preset = "default"
    preparation: PreparationConfig = PreparationConfig()
    network: NetworkConfig = NetworkConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
    cleanup: dict[str, CleanupConfig] = {}

    def augmentation_at(self, progress: float, plane: Plane) -> AugmentationConfig:
        """Return the random changes at a moment of the training.

        Parameters
        ----------
        progress : float
            Share of the training that is done, 0 to 1.
        plane : {"axial", "coronal", "sagittal"}
            Plane of the slices; sagittal slices, which have no left and right, are not mirrored.
        """
        full = self.augmentation
        strength = min(1.0, (1 - progress) / full.fade) if full.fade else 1.0
        amounts = {name: value * strength for name, value in full.model_dump(exclude={"mirror", "fade"}).items()}
        return full.model_copy(update={**amounts, "mirror": full.mirror and plane != "sagittal"})

    def to_yaml(self) -> str:
        """Return the settings as YAML that `load_config` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=100)
