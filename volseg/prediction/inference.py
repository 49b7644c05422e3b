"""From a scan and a model to a label map on the scan's own grid."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from volseg.config import PreparationConfig
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.planes import Plane
from volseg.core.resample import Reorientation
from volseg.core.slices import ANISOTROPIC, in_plane, stack_slices
from volseg.core.volume import Volume
from volseg.errors import ModelError, UsageError
from volseg.network.devices import autocast, choose_device
from volseg.network.file import Model
from volseg.network.generator import fold_norms
from volseg.prediction.calibration import soften
from volseg.prediction.prepare import SliceStack, common_grid, prepare

_PIXELS_PER_BATCH = 8 * 256 * 256
_MOST_FUSED_BYTES = 4e9
# Temperature of each network's answer before the average: at 1 that is of probabilities, at infinity of logits. Between
# the two, all five folds of the hippocampus set are a little better (benchmarks/accuracy.md).
SOFTENING = 2.0
INFERENCE = 1  # goes up whenever the same model gives other labels or probabilities than before
_FLAT_MM = 1e6  # spacing of an axis of one voxel, whatever its file says: across it slices would be lines

_LOG = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one scan.

    Parameters
    ----------
    labels : LabelMap
        On the scan's grid, before clean-up.
    probabilities : (K, I, J, K) float16, optional
        Of background and each label, in the model's order, on the scan's grid: the softmax of each network at a
        temperature of 2, averaged over networks and planes; then calibrated, where the model is.
    """

    labels: LabelMap
    probabilities: NDArray[np.float16] | None = None


def predict(
    model: Model,
    volumes: Volume | Sequence[Volume],
    *,
    device: str = "auto",
    probabilities: bool = False,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Prediction:
    """Segment one scan slice by slice, along each plane of the model; see `plane_weights`.

    Parameters
    ----------
    model : Model
        From `volseg.load_model`.
    volumes : Volume or sequence of Volume
        The scan; several channels in the model's order, on one grid.
    device : str
        ``auto`` or any torch device.
    probabilities : bool
        Also return the class probabilities, which take 2 bytes a voxel and class. Fusing planes takes as much
        meanwhile; above 4 GB only the best plane is segmented, with a warning, unless they are asked for.
    batch_size : int, optional
        Slices at a time; by default as many as make about half a million pixels.
    progress : callable, optional
        Called with (slices done, slices in all).

    Returns
    -------
    Prediction
        On the scan's own grid: same shape, affine and orientation.

    Raises
    ------
    ModelError
        The number of channels is not the model's.
    GeometryError
        The channels lie on different grids.
    UsageError
        The device cannot be used, or `batch_size` is below 1.
    """
    channels = [volumes] if isinstance(volumes, Volume) else list(volumes)
    grid, target = common_grid(channels), choose_device(device)
    weights = plane_weights(model.config.preparation, grid)
    if len(weights) > 1 and not probabilities and not can_fuse(model, grid):
        best = max(weights, key=lambda plane: weights[plane])
        size = _probability_bytes(model, grid) / 1e9
        _LOG.warning("fusing planes would take %.1f GB of memory; only %s slices are segmented", size, best)
        weights = {best: 1.0}
    stacks = {plane: prepare(channels, model.config.preparation, plane) for plane in weights}
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; expected at least 1")
    outputs = _Outputs(model, grid, keep=probabilities, fuse=len(stacks) > 1)
    done, total = 0, sum(map(len, stacks.values()))
    for plane, stack in stacks.items():
        outputs.turn_to(plane, stack, weights[plane])
        networks = _networks(model, plane, target)
        size = batch_size or max(1, min(64, _PIXELS_PER_BATCH // (stack.size[0] * stack.size[1])))
        for start in range(0, len(stack), size):
            stop = min(start + size, len(stack))
            outputs.fill(start, stop, stack.to_native(_run(networks, stack.batch(start, stop), target)))
            if progress:
                progress(done + stop, total)
        done += len(stack)
    return outputs.prediction()


def can_fuse(model: Model, grid: Grid) -> bool:
    """Whether the probabilities of a scan fit into 4 GB; above that `predict` only fuses planes if asked for them."""
    return _probability_bytes(model, grid) <= _MOST_FUSED_BYTES


def _probability_bytes(model: Model, grid: Grid) -> int:
    return 2 * (len(model.labels) + 1) * int(np.prod(grid.shape))


def plane_weights(config: PreparationConfig, grid: Grid) -> dict[Plane, float]:
    """Return how much the answer of each plane counts for a scan; they add up to 1, planes of no weight are left out.

    Parameters
    ----------
    config : PreparationConfig
        Planned.
    grid : Grid
        Of the scan.

    Notes
    -----
    A plane in whose slices the scan is r times coarser than in the best plane's, measured against the spacing that the
    networks learnt with, counts 1 / r**2, and from r = 1.5 on not at all: thick slices are cut as they were scanned.
    """
    if config.planes is None or config.spacing_mm is None:
        raise ModelError("the preparation is not planned: planes and spacing_mm must be set")
    turned = Reorientation.between(grid, "RAS").grid(grid)
    spacing = (mm if n > 1 else _FLAT_MM for n, mm in zip(turned.shape, turned.spacing, strict=True))
    ratio = [scanned / learnt for scanned, learnt in zip(spacing, config.spacing_mm, strict=True)]
    coarseness = {plane: max(1.0, *(ratio[axis] for axis in in_plane(plane))) for plane in config.planes}
    best = min(coarseness.values())
    counts = {plane: (best / r) ** 2 for plane, r in coarseness.items() if r < ANISOTROPIC * best}
    return {plane: count / sum(counts.values()) for plane, count in counts.items()}


def _networks(model: Model, plane: Plane, device: torch.device) -> list[torch.nn.Module]:
    found = [network for name, network in model.networks.items() if name.split(".")[0] == plane]
    if not found:
        raise ModelError(f"the model has no network for {plane} slices, only {', '.join(model.networks)}")
    return [
        fold_norms(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for network in found
    ]


@torch.inference_mode()
def _run(networks: list[torch.nn.Module], batch: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """(B, C, h, w) slices -> (B, K, h, w) class probabilities, softened, averaged over networks."""
    x = torch.from_numpy(batch).to(device, memory_format=torch.channels_last)
    total = torch.zeros(())
    for network in networks:
        with autocast(device):
            logits = network(x)
        total = total.to(device) + (logits.float() / SOFTENING).softmax(dim=1)
    return np.asarray((total / len(networks)).cpu().numpy())


class _Outputs:
    """Preallocated label (and probability) arrays on the scan's grid, filled slice by slice through views."""

    def __init__(self, model: Model, grid: Grid, *, keep: bool, fuse: bool) -> None:
        self.model, self.grid, self.keep, self.fuse = model, grid, keep, fuse
        values = [0, *(label.value for label in model.labels)]
        self.values = np.array(values, dtype=np.min_scalar_type(max(values)))
        self.labels = np.zeros(grid.shape, dtype=self.values.dtype)
        self.probabilities = np.zeros((len(values), *grid.shape), dtype=np.float16) if keep or fuse else None

    def turn_to(self, plane: Plane, stack: SliceStack, weight: float) -> None:
        """Cut the arrays into slices of a plane, whose answers count `weight`."""
        self.weight = weight
        self.label_slices = stack_slices(stack.reorientation.array(self.labels), plane)
        if self.probabilities is not None:
            self.probability_slices = stack_slices(stack.reorientation.array(self.probabilities), plane)

    def fill(self, start: int, stop: int, probabilities: NDArray[np.float32]) -> None:
        if not self.fuse:
            self.label_slices[start:stop] = self.values[probabilities.argmax(axis=1)]
        if self.probabilities is not None:
            self.probability_slices[:, start:stop] += (self.weight * probabilities).swapaxes(0, 1).astype(np.float16)

    def prediction(self) -> Prediction:
        if self.probabilities is not None:
            for i in range(self.grid.shape[0]):  # a slab at a time, for the sake of memory
                slab = self.probabilities[:, i]
                if self.fuse:
                    self.labels[i] = self.values[slab.argmax(axis=0)]
                if self.keep:
                    self.probabilities[:, i] = soften(slab, self.model.temperature)
        labels = LabelMap(self.labels, self.grid, self.model.labels)
        return Prediction(labels, self.probabilities if self.keep else None)
