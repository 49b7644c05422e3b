"""What is counted of a prediction while it is made, to say how far it is in doubt; nothing is predicted again.

Two things are counted, by slice and class. How far the planes of a model agree: each plane's own classes are kept, a
byte a voxel, and compared in the end. How sure the calibrated probabilities are: their soft Dice with the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from volseg.core.content import Box
from volseg.core.grid import Grid
from volseg.core.planes import Plane
from volseg.core.slices import NORMAL_AXIS, coarse_plane, stack_slices
from volseg.network.softmax import softmax
from volseg.prediction.calibration import CERTAIN, LEAST
from volseg.prediction.prepare import SliceStack

_MOST_VOXELS = 1 << 14  # of a slice, with labels and without; a slice of 128x128 is counted as a whole


class SoftCounts:
    """Sums for the soft Dice of calibrated probabilities with the labels.

    Only voxels count where all labels together have a probability of 1 % or more before calibration, as for the
    temperature: elsewhere very many voxels would add up what each hardly has. Of a large slice an even share of the
    voxels with a label is counted, and of those without one; each stands for those that are left out.

    Parameters
    ----------
    temperatures : sequence of float
        At which probabilities are counted; while the temperature of a model is not known, at several.
    """

    def __init__(self, temperatures: Sequence[float]) -> None:
        self.temperatures = tuple(temperatures)
        self._sums: NDArray[np.float64] | float = 0.0
        self._rows: list[NDArray[np.float64]] = []  # of each slice, at the first temperature

    def add(
        self, scores: Tensor, classes: NDArray[np.int64], probabilities_of: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """Count slices, which follow those that were counted before.

        Parameters
        ----------
        scores : (B, K, H, W) tensor
            Probabilities before calibration, which need not sum to 1, or what they are made of.
        classes : (B, H, W) int64
            Of the labels.
        probabilities_of : callable, optional
            Makes probabilities of (1, K, N) scores that are none.
        """
        for of_slice, decided in zip(scores.flatten(2), classes.reshape(len(classes), -1), strict=True):
            row = np.zeros((len(self.temperatures), 3, len(of_slice)))
            for places in (np.flatnonzero(decided), np.flatnonzero(decided == 0)):
                step = max(1, ceil(len(places) / _MOST_VOXELS))
                chosen = torch.from_numpy(places[::step]).to(scores.device)
                likely = of_slice[:, chosen]
                if probabilities_of is not None:
                    likely = probabilities_of(likely[None])[0]
                telling = likely[0] <= 1 - CERTAIN
                of_chosen = torch.from_numpy(decided[places[::step]]).to(scores.device)
                row += step * self._count(likely[:, telling], of_chosen[telling])
            self._sums = self._sums + row
            self._rows.append(row[0])

    def _count(self, likely: Tensor, chosen: Tensor) -> NDArray[np.float64]:
        """Return (T, 3, K): the sum of (K, N) probabilities, the same where their class is chosen, and its voxels."""
        classes = len(likely)
        logs = likely.clamp_min(LEAST).log_()[None]
        voxels = torch.bincount(chosen, minlength=classes).float()
        found = []
        for temperature in self.temperatures:
            calibrated = softmax(logs / temperature)[0]  # as `soften` does
            of_chosen = calibrated.gather(0, chosen[None])[0]
            hits = torch.bincount(chosen, weights=of_chosen, minlength=classes).float()
            found.append(torch.stack([calibrated.sum(dim=1), hits, voxels]))
        return np.asarray(torch.stack(found).cpu().numpy(), dtype=np.float64)

    def of_labels(self) -> NDArray[np.float64]:
        """Return the (T, L) soft Dice of each label; NaN for a label without a voxel."""
        mass, hits, voxels = np.moveaxis(np.asarray(self._sums)[..., 1:], 1, 0)
        return _divide(2 * hits, np.where(voxels > 0, mass + voxels, 0))

    def of_slices(self) -> SliceSums:
        """Return the sums of each slice, at the first temperature."""
        mass, hits, voxels = np.stack(self._rows)[..., 1:].sum(axis=-1).T
        return SliceSums(2 * hits, np.where(voxels > 0, mass + voxels, 0))


@dataclass(frozen=True, eq=False)
class SliceSums:
    """Sums of the (S,) slices of which Dice is the quotient; all labels of a slice together."""

    same: NDArray[Any]
    whole: NDArray[Any]

    def dice(self) -> NDArray[np.float64]:
        """Return the (S,) Dice of each slice; NaN for a slice without labels."""
        return _divide(self.same, self.whole)

    def doubt(self) -> NDArray[np.float64]:
        """Return by what slices are ranked: the share that differs, as if each had a usual slice beside it.

        The Dice itself is worst in the small slices at the ends of a structure, where hardly any of the errors are.
        """
        labelled = self.whole[self.whole > 0]
        usual = np.median(labelled) if labelled.size else 1.0
        return np.asarray((self.whole - self.same) / (self.whole + usual))


def _divide(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Divide; NaN where the whole is 0."""
    quotient: NDArray[np.float64] = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=quotient, where=np.asarray(whole) > 0)
    return quotient


class PlaneMaps:
    """The classes that each plane alone gives, and in the end how far these agree.

    Parameters
    ----------
    planes : iterable of Plane
    shape : (I, J, K)
        Of the part of the scan that is prepared.
    classes : int
        With background.
    axis : int
        Of the array: agreement is counted by slices across it.
    """

    def __init__(self, planes: Iterable[Plane], shape: tuple[int, ...], *, classes: int, axis: int) -> None:
        self._axis, self._classes = axis, classes
        # What is counted together lies together in memory.
        together = (shape[axis], *np.delete(shape, axis).tolist())
        self._slabs = {plane: np.zeros(together, dtype=np.min_scalar_type(classes - 1)) for plane in planes}

    def turn_to(self, stack: SliceStack, plane: Plane) -> None:
        """Cut the array of a plane into its slices.

        Parameters
        ----------
        stack : SliceStack
        plane : {"axial", "coronal", "sagittal"}
        """
        array = np.moveaxis(self._slabs[plane], 0, self._axis)
        self._slices = stack_slices(stack.reorientation.array(array), plane)

    def fill(self, here: slice, classes: NDArray[np.int64]) -> None:
        """Put the classes of some slices into the array.

        Parameters
        ----------
        here : slice
            Numbers of the slices.
        classes : (B, H, W) int64
        """
        self._slices[here] = classes

    def count(self) -> Agreement:
        """Compare the planes, two and two."""
        pairs = list(combinations(self._slabs, 2))
        both = np.zeros((len(pairs), len(next(iter(self._slabs.values()))), self._classes), dtype=np.int64)
        either = np.zeros_like(both)
        for number in range(both.shape[1]):
            of_planes = {plane: slab[number] for plane, slab in self._slabs.items()}
            labelled = np.any([classes != 0 for classes in of_planes.values()], axis=0)
            told = {plane: classes[labelled] for plane, classes in of_planes.items()}
            voxels = {plane: np.bincount(classes, minlength=self._classes) for plane, classes in told.items()}
            for pair, (one, other) in enumerate(pairs):
                same = told[one][told[one] == told[other]]
                both[pair, number] = np.bincount(same, minlength=self._classes)
                either[pair, number] = voxels[one] + voxels[other]
        return Agreement(both[..., 1:], either[..., 1:])


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far planes agree.

    Parameters
    ----------
    both : (P, S, L) int
        For each pair of planes, slice and label the voxels in which both have it.
    either : (P, S, L) int
        The voxels of both planes, added.
    """

    both: NDArray[np.int64]
    either: NDArray[np.int64]

    def of_labels(self) -> NDArray[np.float64]:
        """Return the (L,) mean Dice of two planes; NaN for a label that no plane has."""
        return _mean(_divide(2 * self.both.sum(axis=1), self.either.sum(axis=1)))

    def of_slices(self) -> SliceSums:
        """Return the sums of each slice, of all pairs together."""
        return SliceSums(2 * self.both.sum(axis=(0, 2)), self.either.sum(axis=(0, 2)))


def _mean(dices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the first axis, without NaN."""
    known = ~np.isnan(dices)
    return _divide(np.where(known, dices, 0).sum(axis=0), known.sum(axis=0))


@dataclass(frozen=True, eq=False)
class Counted:
    """What was counted of a prediction.

    Parameters
    ----------
    soft : SoftCounts
    agreement : Agreement, optional
        Of the planes; None where there is one.
    plane : Plane
        Of the slices that were counted: that of the network, or with several that in which a person looks at the scan.
    indices : (S,) int
        The slices' places along their axis of the scan's array.
    """

    soft: SoftCounts
    agreement: Agreement | None
    plane: Plane
    indices: NDArray[np.int64]

    def soft_dice(self) -> NDArray[np.float64]:
        """Return the (T,) mean soft Dice over the labels that were found, at each temperature; NaN without any."""
        return _mean(self.soft.of_labels().T)

    def plane_agreement(self) -> float:
        """Return the mean Dice of two planes, over the labels that were found; NaN without any, and with one plane."""
        return float("nan") if self.agreement is None else float(_mean(self.agreement.of_labels()))

    def of_slices(self) -> SliceSums:
        """Return the sums for the agreement of the planes in each slice; with one plane, for its soft Dice."""
        return (self.agreement or self.soft).of_slices()


class DoubtCounter:
    """Counts a prediction while it is made: by the slices of its plane, or with several by those that a person sees.

    Parameters
    ----------
    stacks : dict of plane to SliceStack
        The planes that answer.
    grid : Grid
        Of the scan.
    box : three slices
        The part of the grid that is prepared.
    classes : int
        With background.
    temperatures : sequence of float
        As for `SoftCounts`.

    Attributes
    ----------
    answers : SoftCounts
        Gets the answer of all planes together.
    """

    def __init__(
        self, stacks: Mapping[Plane, SliceStack], grid: Grid, box: Box, *, classes: int, temperatures: Sequence[float]
    ) -> None:
        self._stacks, self.answers = stacks, SoftCounts(temperatures)
        self._maps: PlaneMaps | None = None
        plane, stack = next(iter(stacks.items()))
        turned = stack.reorientation
        if len(stacks) > 1:
            plane = coarse_plane(turned.grid(grid))
        axis = turned.axes[NORMAL_AXIS[plane]]
        self._plane, self._indices = plane, np.arange(box[axis].start, box[axis].stop)
        if len(stacks) > 1:
            shape = tuple(part.stop - part.start for part in box)
            self._maps = PlaneMaps(stacks, shape, classes=classes, axis=axis)
        elif turned.flips[NORMAL_AXIS[plane]]:
            self._indices = self._indices[::-1]

    def turn_to(self, plane: Plane) -> None:
        """Count the slices of another plane from now on.

        Parameters
        ----------
        plane : {"axial", "coronal", "sagittal"}
        """
        if self._maps is not None:
            self._maps.turn_to(self._stacks[plane], plane)

    def add_plane(self, here: slice, classes: NDArray[np.int64]) -> None:
        """Count what a plane alone says of some slices.

        Parameters
        ----------
        here : slice
            Numbers of the slices.
        classes : (B, H, W) int64
        """
        if self._maps is not None:
            self._maps.fill(here, classes)

    def finish(self) -> Counted:
        """Return what was counted."""
        agreement = None if self._maps is None else self._maps.count()
        return Counted(self.answers, agreement, self._plane, self._indices)
