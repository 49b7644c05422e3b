"""From a scan and a model to a label map on the scan's own grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from volseg.config import CleanupConfig, PreparationConfig
from volseg.core.content import crop
from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.planes import Plane
from volseg.core.resample import Reorientation
from volseg.core.slices import ANISOTROPIC, in_plane
from volseg.core.volume import Volume
from volseg.errors import ModelError, UsageError
from volseg.network.file import Model
from volseg.prediction.answers import Answers
from volseg.prediction.cleanup import model_cleanup
from volseg.prediction.doubt import Doubt, estimate_doubt
from volseg.prediction.networks import ReadyModel
from volseg.prediction.prepare import SliceStack, common_grid, find_box, prepare
from volseg.progress import Progress

_PIXELS_PER_BATCH = 8 * 256 * 256
INFERENCE = 2  # raised whenever the same model gives other labels or probabilities than before, but for rounding
_FLAT_MM = 1e6  # taken as the spacing of an axis with one voxel: slices that contain this axis would be lines


@dataclass(frozen=True, eq=False)
class Prediction:
    """The result of a model on one scan.

    Parameters
    ----------
    labels : LabelMap
        On the scan's grid, before clean-up.
    probabilities : (K, I, J, K) float16, optional
        Probabilities of background and each label, in the model's order, on the scan's grid: the softmax of each
        network at a temperature of 2, averaged over networks and planes, then calibrated if the model is.
    doubt : Doubt, optional
        How far the labels are in doubt; volumes are those of `labels`.

    Examples
    --------
    >>> import numpy as np
    >>> import volseg
    >>> array = np.random.default_rng(0).normal(size=(32, 32, 32))
    >>> scan = volseg.Volume(array, volseg.Grid.from_spacing(array.shape))
    >>> prediction = volseg.predict(volseg.load_model("hippocampus"), scan, probabilities=True)
    >>> prediction.probabilities.shape  # background and two labels
    (3, 32, 32, 32)
    """

    labels: LabelMap
    probabilities: NDArray[np.float16] | None = None
    doubt: Doubt | None = None


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
        Also return the class probabilities, which take 2 bytes per voxel and class. Fusing planes takes the same
        memory; if that exceeds 4 GB and this is False, only the likeliest classes of each voxel are kept from plane to
        plane: as many as fit into 4 GB, and at least four, which take 12 bytes per voxel. A few labels of such a scan
        may then differ from those with True.
    batch_size : int, optional
        Slices per batch; by default about half a million pixels.
    progress : Progress, optional
        Called with ("slices", slices done, slices in all).

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

    Examples
    --------
    >>> import numpy as np
    >>> import volseg
    >>> array = np.random.default_rng(0).normal(size=(32, 32, 32))
    >>> scan = volseg.Volume(array, volseg.Grid.from_spacing(array.shape))
    >>> volseg.predict(volseg.load_model("hippocampus"), scan).labels.array.shape
    (32, 32, 32)
    """
    return predict_scan(
        ReadyModel(model, device), volumes, probabilities=probabilities, batch_size=batch_size, progress=progress
    )


def predict_scan(
    ready: ReadyModel,
    volumes: Volume | Sequence[Volume],
    *,
    probabilities: bool = False,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Prediction:
    """Segment one of several scans by a model that is kept ready.

    Parameters
    ----------
    ready : ReadyModel
        Used for all of the scans.
    volumes, probabilities, batch_size, progress
        As for `predict`, with its result and errors.
    """
    model = ready.model
    answers = answer_scan(
        ready,
        volumes,
        temperatures=(model.temperature,),
        probabilities=probabilities,
        batch_size=batch_size,
        progress=progress,
    )
    labels = answers.label_map
    uncleaned = [name for name, step in model_cleanup(model).items() if step != CleanupConfig()]
    doubt = estimate_doubt(answers.counter.finish(), labels, model.doubt, uncleaned=uncleaned)
    return Prediction(labels, answers.probabilities, doubt)


def answer_scan(
    ready: ReadyModel,
    volumes: Volume | Sequence[Volume],
    *,
    temperatures: Sequence[float],
    probabilities: bool = False,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Answers:
    """Segment a scan as `predict_scan` does, and count its doubt at any temperatures.

    Parameters
    ----------
    ready, volumes, probabilities, batch_size, progress
        As for `predict_scan`, with its errors.
    temperatures : sequence of float
        As for `volseg.prediction.doubt_counts.SoftCounts`.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; expected at least 1")
    channels = [volumes] if isinstance(volumes, Volume) else list(volumes)
    model, grid = ready.model, common_grid(channels)
    box = find_box(channels, model.config.preparation)
    channels = [crop(channel, box) for channel in channels]
    weights = plane_weights(model.config.preparation, channels[0].grid)
    stacks = {plane: prepare(channels, model.config.preparation, plane) for plane in weights}
    answers = Answers(model, grid, stacks, box=box, keep=probabilities, temperatures=temperatures)
    done, total = 0, sum(map(len, stacks.values()))
    for plane, stack in stacks.items():
        answers.turn_to(plane, weights[plane])
        for start, stop in _batches(stack, batch_size):
            batch = torch.from_numpy(stack.batch(start, stop))
            answers.fill(start, ready.logits(plane, batch))
            if progress:
                progress("slices", done + stop, total)
        done += len(stack)
    answers.finish()
    return answers


def _batches(stack: SliceStack, batch_size: int | None) -> Iterator[tuple[int, int]]:
    """Yield the first slice of each batch and the one after its last."""
    height, width = stack.size
    size = batch_size or max(1, min(64, _PIXELS_PER_BATCH // (height * width)))
    for start in range(0, len(stack), size):
        yield start, min(start + size, len(stack))


def plane_weights(config: PreparationConfig, grid: Grid) -> dict[Plane, float]:
    """Return the weight of each plane's answer for a scan.

    Parameters
    ----------
    config : PreparationConfig
        Its planes and spacing are set.
    grid : Grid
        Grid of the scan.

    Returns
    -------
    dict of plane to float
        They sum to 1; planes of weight 0 are left out.

    Notes
    -----
    The spacing within the slices of each plane is compared with the spacing that the networks were trained with. A
    plane whose slices are r times coarser than those of the best plane has a weight in proportion to 1 / r**2, and of 0
    from r = 1.5 on. So a scan of thick slices is cut only along the slices that were scanned.
    """
    if config.planes is None or config.spacing_mm is None:
        raise ModelError("the preparation is not planned: planes and spacing_mm must be set")
    turned = Reorientation.between(grid, "RAS").grid(grid)
    ratios = []
    for size, scanned_mm, learnt_mm in zip(turned.shape, turned.spacing, config.spacing_mm, strict=True):
        ratios.append((scanned_mm if size > 1 else _FLAT_MM) / learnt_mm)
    coarseness = {}
    for plane in config.planes:
        first, second = in_plane(plane)
        coarseness[plane] = max(1.0, ratios[first], ratios[second])
    best = min(coarseness.values())
    counts = {plane: (best / r) ** 2 for plane, r in coarseness.items() if r < ANISOTROPIC * best}
    total = sum(counts.values())
    return {plane: count / total for plane, count in counts.items()}
