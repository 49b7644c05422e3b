"""Where two label maps agree, voxel by voxel or pixel by pixel, and the colours of that in pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

AGREE, ONLY_FIRST, ONLY_SECOND, OTHER = 1, 2, 3, 4
# Colours that also differ for people who see no difference of red and green.
AGREEMENT_COLOURS = {
    AGREE: (90, 180, 130),
    ONLY_FIRST: (240, 140, 40),
    ONLY_SECOND: (70, 130, 240),
    OTHER: (200, 70, 200),
}


def find_agreement(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.uint8]:
    """Compare the values of two arrays of labels.

    Parameters
    ----------
    first, second : integers of one shape
        0 is background.

    Returns
    -------
    uint8 of the same shape
        0 where both are background, else `AGREE`, `ONLY_FIRST`, `ONLY_SECOND` or `OTHER` (both have a label, but not
        the same).

    Examples
    --------
    >>> import numpy as np
    >>> find_agreement(np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 2, 2])).tolist()
    [0, 1, 2, 3, 4]
    """
    here, there, same = first != 0, second != 0, first == second
    found = np.zeros(first.shape, np.uint8)
    found[here & there & same] = AGREE
    found[here & ~there] = ONLY_FIRST
    found[there & ~here] = ONLY_SECOND
    found[here & there & ~same] = OTHER
    return found
