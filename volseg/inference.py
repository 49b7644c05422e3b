"""From a scan and a model to a label map on the scan's own grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from volseg.errors import UsageError
from volseg.geometry import Grid
from volseg.labelmap import LabelMap
from volseg.model.devices import autocast, choose_device
from volseg.model.file import Model
from volseg.prepare import SliceStack, common_grid, prepare
from volseg.slices import stack_slices
from volseg.volume import Volume

_PIXELS_PER_BATCH = 8 * 256 * 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one scan.

    Parameters
    ----------
    labels : LabelMap
        On the scan's grid, before clean-up.
    probabilities : (K, I, J, K) float16, optional
        Of background and each label, in the model's order, on the scan's grid.
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
    """Segment one scan slice by slice.

    Parameters
    ----------
    model : Model
        From `volseg.load_model`.
    volumes : Volume or sequence of Volume
        The scan; several channels in the model's order, on one grid.
    device : str
        ``auto`` or any torch device.
    probabilities : bool
        Also return the class probabilities, which take 2 bytes a voxel and class.
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
    stack = prepare(channels, model.config.preparation)
    target = choose_device(device)
    outputs = _Outputs(model, stack, common_grid(channels), probabilities)
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; expected at least 1")
    size = batch_size or max(1, min(64, _PIXELS_PER_BATCH // (stack.size[0] * stack.size[1])))
    networks = [
        network.to(target, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        for network in model.networks.values()
    ]
    for start in range(0, len(stack), size):
        stop = min(start + size, len(stack))
        outputs.fill(start, stop, stack.to_native(_run(networks, stack.batch(start, stop), target)))
        if progress:
            progress(stop, len(stack))
    return outputs.prediction()


@torch.inference_mode()
def _run(networks: list[torch.nn.Module], batch: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """(B, C, h, w) slices -> (B, K, h, w) class probabilities, averaged over networks."""
    x = torch.from_numpy(batch).to(device, memory_format=torch.channels_last)
    total = torch.zeros(())
    for network in networks:
        with autocast(device):
            logits = network(x)
        total = total.to(device) + logits.float().softmax(dim=1)
    return np.asarray((total / len(networks)).cpu().numpy())


class _Outputs:
    """Preallocated label (and probability) arrays on the scan's grid, filled slice by slice through views."""

    def __init__(self, model: Model, stack: SliceStack, grid: Grid, probabilities: bool) -> None:
        self.model, self.grid = model, grid
        values = [0, *(label.value for label in model.labels)]
        self.values = np.array(values, dtype=np.min_scalar_type(max(values)))
        self.labels = np.zeros(grid.shape, dtype=self.values.dtype)
        self.labels_view = self._view(self.labels, stack)
        self.probabilities = np.zeros((len(values), *grid.shape), dtype=np.float16) if probabilities else None
        self.probabilities_view = None if self.probabilities is None else self._view(self.probabilities, stack)

    def _view(self, array: NDArray[Any], stack: SliceStack) -> NDArray[Any]:
        plane = self.model.config.preparation.plane
        assert plane is not None  # prepare() has checked it
        return stack_slices(stack.reorientation.array(array), plane)

    def fill(self, start: int, stop: int, probabilities: NDArray[np.float32]) -> None:
        self.labels_view[start:stop] = self.values[probabilities.argmax(axis=1)]
        if self.probabilities_view is not None:
            self.probabilities_view[:, start:stop] = probabilities.swapaxes(0, 1)

    def prediction(self) -> Prediction:
        return Prediction(LabelMap(self.labels, self.grid, self.model.labels), self.probabilities)
