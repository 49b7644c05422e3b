"""Label maps in files of several volumes: each volume is a mask, and so a label of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import Label, LabelMap, default_colour, present_values
from volseg.core.volume import Volume
from volseg.core.voxels import to_label_values
from volseg.errors import AmbiguousError, InputError
from volseg.io.labels.layers import join_masks


def layers_of_volumes(
    volumes: Sequence[Volume], names: Sequence[Label], choice: LabelChoice, path: Path
) -> tuple[LabelMap, ...]:
    """Lay the volumes of a file, all masks, into each other where they do not meet.

    Parameters
    ----------
    volumes : sequence of Volume
        In the file's order: labels 1, 2, 3 ... But where each holds a value of its own, that is the label's.
    names : sequence of Label
        Names by value; others are ``label_<value>``.
    choice : LabelChoice
        Which are wanted.
    path : Path
        The file, for messages.

    Raises
    ------
    AmbiguousError
        Not each is a mask: 0 and one other integer.
    InputError
        What is wanted is not there.
    """
    values = _mask_values(volumes, path)
    some = [value for value in values if value]
    if len(some) == len(set(some)) > 1:
        numbered = [(value, volume) for value, volume in zip(values, volumes, strict=True) if value]
    else:
        numbered = list(enumerate(volumes, start=1))
    known = {label.value: label for label in names}
    labels = [known.get(n, Label(n, f"label_{n}", default_colour(n))) for n, _ in numbered]
    wanted = choice.of(labels, path)
    masks = (volume.array != 0 for label, (_, volume) in zip(labels, numbered, strict=True) if label in wanted)
    return join_masks(wanted, masks, volumes[0].grid)


def _mask_values(volumes: Sequence[Volume], path: Path) -> list[int]:
    """Return the one value of each mask, 0 of an empty one; the first that is none ends it."""
    values = []
    for volume in volumes:
        try:
            present = present_values(to_label_values(volume.array, path))
        except InputError:  # fractions, or less than 0
            present = {-1, 1}
        if len(present) > 1:
            listed = ", ".join(str(volume.name) for volume in volumes[:3]) + (", ..." if volumes[3:] else "")
            raise AmbiguousError(
                f"{path}: holds {len(volumes)} volumes ({listed}), of which not each is a mask (0 and one other "
                "integer); choose one by its name or number (--series), write each to a file (volseg convert --all), "
                "or probabilities to DICOM (volseg convert --as fractional)"
            )
        values.append(next(iter(present), 0))
    return values
