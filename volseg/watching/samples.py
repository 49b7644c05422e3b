"""The slices that a training is watched by, and what its networks make of them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.agreement import AGREE, AGREEMENT_COLOURS, ONLY_FIRST, ONLY_SECOND, OTHER, find_agreement
from volseg.core.labelmap import Colour
from volseg.core.planes import Plane

# What the colours of differing pixels mean; the output is compared with the reference.
DIFFERENCES = {
    ONLY_SECOND: "missing in the output",
    ONLY_FIRST: "too much in the output",
    OTHER: "another label",
}
_MOST_PIXELS = 320  # along a side of a picture in a page
_DARKER = 0.6  # grey values under differing pixels


@dataclass(frozen=True, eq=False)
class SampleSlice:
    """A slice as people look at it: the patient's right or front on the left, the front or the head at the top.

    Parameters
    ----------
    case : str
    plane : {"axial", "coronal", "sagittal"}
    index, count : int
        Its number among all slices of the case along this plane, from 0, and how many these are.
    grey : (H, W) uint8
    reference : (H, W) integers
        Classes; 0 is background.
    pixel_mm : (height, width)
    """

    case: str
    plane: Plane
    index: int
    count: int
    grey: NDArray[np.uint8]
    reference: NDArray[Any]
    pixel_mm: tuple[float, float]

    @property
    def title(self) -> str:
        """Where it is, in a few words."""
        return f"{self.case}, slice {self.index + 1} of {self.count}"

    @property
    def proportion(self) -> float:
        """Width over height in mm."""
        height, width = self.grey.shape
        return float(width * self.pixel_mm[1] / (height * self.pixel_mm[0]))


@dataclass(frozen=True)
class Score:
    """How near an output is to its reference.

    Parameters
    ----------
    dice : float or None
        Mean over the labels that either has; None where neither has any.
    differing : int
        Pixels.
    """

    dice: float | None
    differing: int

    @property
    def text(self) -> str:
        """Both numbers in words."""
        count = "1 pixel differs" if self.differing == 1 else f"{self.differing} pixels differ"
        return count if self.dice is None else f"Dice {self.dice:.3f}, {count}"


def as_seen(stacked: NDArray[Any]) -> NDArray[Any]:
    """Turn a slice of a stack in RAS order to how people look at it, in any plane.

    Parameters
    ----------
    stacked : (H, W)
        Its axes grow to the patient's right, front or head.

    Returns
    -------
    (W, H)
        Columns run to the patient's left or back, rows to the back or the feet.
    """
    return stacked[::-1, ::-1].T


def grey_values(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return grey values of a slice, whose darkest and brightest half percent are black and white.

    Parameters
    ----------
    image : (H, W) float
    """
    low, high = np.percentile(image, (0.5, 99.5))
    scaled = np.clip((image - low) / max(float(high - low), 1e-6) * 255, 0, 255)
    return np.asarray(scaled, dtype=np.uint8)


def score(output: NDArray[Any], reference: NDArray[Any]) -> Score:
    """Compare the classes of an output with those of its reference.

    Parameters
    ----------
    output, reference : (H, W) integers
    """
    found = []
    for label in sorted({*np.unique(output), *np.unique(reference)} - {0}):
        ours, theirs = output == label, reference == label
        found.append(2 * np.count_nonzero(ours & theirs) / (np.count_nonzero(ours) + np.count_nonzero(theirs)))
    return Score(float(np.mean(found)) if found else None, int(np.count_nonzero(output != reference)))


def coloured(classes: NDArray[Any], colours: Sequence[Colour]) -> NDArray[np.uint8]:
    """(H, W, 4) picture of classes in the colours of their labels; background is transparent.

    Parameters
    ----------
    classes : (H, W) integers
    colours : sequence of colours
        Of class 1 on.
    """
    table = np.zeros((len(colours) + 1, 4), np.uint8)
    table[1:, :3], table[1:, 3] = colours, 255
    return np.asarray(table[classes])


def differing(output: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 4) picture of the pixels in which an output differs; the others are transparent.

    Parameters
    ----------
    output, reference : (H, W) integers
    """
    found = find_agreement(output, reference)
    found[found == AGREE] = 0
    return coloured(found, [AGREEMENT_COLOURS[value] for value in (AGREE, ONLY_FIRST, ONLY_SECOND, OTHER)])


def darker(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return grey values on which colours stand out.

    Parameters
    ----------
    grey : uint8
    """
    return (grey * _DARKER).astype(np.uint8)


def picture_url(picture: NDArray[np.uint8]) -> str:
    """Return a picture as the address of an image element; a large one is made smaller.

    Parameters
    ----------
    picture : (H, W) or (H, W, 4) uint8
    """
    from PIL import Image

    step = -(-max(picture.shape[:2]) // _MOST_PIXELS)
    image = Image.fromarray(picture)
    if step > 1 and picture.ndim == 2:
        image = image.reduce(step)  # grey values are averaged, classes are not
    elif step > 1:
        image = Image.fromarray(np.ascontiguousarray(picture[::step, ::step]))
    buffer = BytesIO()
    image.save(buffer, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
