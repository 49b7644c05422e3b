"""Agreement of two arrays of labels."""

from __future__ import annotations

import numpy as np

from volseg.core.agreement import AGREE, AGREEMENT_COLOURS, ONLY_FIRST, ONLY_SECOND, OTHER, find_agreement


def test_every_pair_of_values_has_its_word_and_colour() -> None:
    first, second = np.array([[0, 3, 3], [0, 3, 2]]), np.array([[0, 3, 0], [1, 1, 3]])
    found = find_agreement(first, second)
    assert found.tolist() == [[0, AGREE, ONLY_FIRST], [ONLY_SECOND, OTHER, OTHER]]
    assert find_agreement(second, first).tolist() == [[0, AGREE, ONLY_SECOND], [ONLY_FIRST, OTHER, OTHER]]
    assert len(set(AGREEMENT_COLOURS.values())) == 4
