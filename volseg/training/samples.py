"""The samples of a run: slices prepared as in a prediction, and the networks' answers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
import torch
from numpy.typing import NDArray

from volseg.core.content import crop, crop_labels
from volseg.core.planes import Plane
from volseg.core.slices import in_plane
from volseg.datasets import Case, read_images, read_reference
from volseg.network.file import Model
from volseg.prediction.networks import ReadyModel
from volseg.prediction.prepare import SliceStack, find_box, prepare
from volseg.training.data import classes_maker
from volseg.training.growth import most_pixels
from volseg.training.run import Run
from volseg.training.sample_choice import Candidates, Places
from volseg.watching.sample_picture import SampleFile
from volseg.watching.samples import SampleSlice, as_seen, grey_values

_SHARE = 0.01  # of the time of the run for the networks' answers, but `_FEWEST` slices of a plane in any case
_FEWEST = 2


@dataclass(frozen=True, eq=False)
class Sample:
    """A slice as people see it, and as the network does.

    Parameters
    ----------
    seen : SampleSlice
    input : (C, h, w) float32
        In RAS order, with neighbours.
    """

    seen: SampleSlice
    input: NDArray[np.float32]


Samples = Mapping[Plane, Sequence[Sample]]


def choose_samples(run: Run, before: Sequence[SampleFile] = ()) -> Samples:
    """Choose and prepare the samples of a run: of held-out cases, or of training cases where none is held out.

    Parameters
    ----------
    run : Run
    before : sequence of SampleFile
        Of earlier sittings: their slices are taken again.
    """
    cases = run.held_out or run.dataset.cases
    known = {case.name: case for case in cases}
    places = _places_in(before, known)
    if places is None:
        most = {plane: _most_slices(run, plane) for plane in run.samplers}
        places = Candidates(cases, run.dataset.labels, run.config.preparation).choose(most)
    found: dict[Plane, list[Sample]] = {plane: [] for plane in places}
    for name in sorted({name for chosen in places.values() for name, _ in chosen}):
        for sample in _prepare(known[name], places, run):
            found[sample.seen.plane].append(sample)
    return found


def _places_in(before: Sequence[SampleFile], known: Mapping[str, Case]) -> Places | None:
    """Return the slices that earlier pictures show; None if there are none, or if they are of other cases."""
    places: Places = {}
    for file in before:
        places[file.plane] = [(view.case, view.index) for view in file.views]
    names = {name for chosen in places.values() for name, _ in chosen}
    return places if places and names <= known.keys() else None


def _most_slices(run: Run, plane: Plane) -> int:
    """Return how many slices of a plane there is time for at each validation."""
    pixels = most_pixels(run.stages[-1].size, [plane])
    looks = run.config.training.validations + 1
    seconds = _SHARE * run.outlook[1].seconds / looks / len(run.samplers)
    return max(_FEWEST, floor(seconds / (run.pace.pixel_seconds * pixels)))


def _prepare(case: Case, places: Places, run: Run) -> list[Sample]:
    """Prepare the chosen slices of a case."""
    volumes, reference = read_images(case), read_reference(case)
    box = find_box(volumes, run.config.preparation)
    volumes, reference = [crop(volume, box) for volume in volumes], crop_labels(reference, box)
    samples = []
    for plane, chosen in places.items():
        indices = [index for name, index in chosen if name == case.name]
        if not indices:
            continue
        stack = prepare(volumes, run.config.preparation, plane)
        make = classes_maker(stack, reference, plane, run.dataset.labels)
        pixel_mm = _pixel_mm(stack, plane, stack.reorientation.grid(volumes[0].grid).spacing)
        for index in indices:
            image = stack.batch(index, index + 1)[0]
            grey = grey_values(as_seen(image[stack.neighbours]))  # the middle one of the first channel's slices
            classes = as_seen(make(index, index + 1)[0])
            samples.append(Sample(SampleSlice(case.name, plane, index, len(stack), grey, classes, pixel_mm), image))
    return samples


def _pixel_mm(stack: SliceStack, plane: Plane, spacing: Sequence[float]) -> tuple[float, float]:
    """Return the height and width of a pixel as people see it, for whom the axes of a slice change places."""
    first, second = in_plane(plane)
    rows, columns = stack.native_size
    return spacing[second] * columns / stack.size[1], spacing[first] * rows / stack.size[0]


def answer(model: Model, samples: Samples, device: str) -> dict[Plane, list[NDArray[np.int64]]]:
    """Return the classes that the networks give each sample, as people see them.

    Parameters
    ----------
    model : Model
    samples : dict of plane to samples
    device : str
    """
    ready = ReadyModel(model, device)
    answers: dict[Plane, list[NDArray[np.int64]]] = {}
    for plane, chosen in samples.items():
        answers[plane] = []
        for sample in chosen:  # one by one, as scans differ in size
            logits = ready.logits(plane, torch.from_numpy(sample.input)[None])[0]
            answers[plane].append(as_seen(logits[0].argmax(dim=0).cpu().numpy()))
    return answers
