"""Label maps in files of several volumes: each volume is a mask, and so a label of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.core.label_choice import LabelChoice
from volseg.core.labelmap import Label, LabelMap, default_colour, present_values
from volseg.core.volume import Volume
from volseg.core.voxels import to_label_values
from volseg.errors import AmbiguousError, InputError
from volseg.files.plain_text import first_few
from volseg.io.labels.layers import join_masks


def layers_of_volumes(
    volumes: Sequence[Volume], names: Sequence[Label], choice: LabelChoice, path: Path
) -> tuple[LabelMap, ...]:
    """Join the volumes of a file, all masks, in as few layers as their overlaps allow.

    Parameters
    ----------
    volumes : sequence of Volume
        In the file's order. They become labels 1, 2, 3 ..., or keep their values if each has another one.
    names : sequence of Label
        Names by value; other labels are ``label_<value>``.
    choice : LabelChoice
        The wanted labels.
    path : Path
        The file, for messages.

    Raises
    ------
    AmbiguousError
        A volume is not a mask: 0 and one other integer.
    InputError
        A wanted label does not occur.
    """
    values = _mask_values(volumes, path)
    given = [value for value in values if value]
    if not len(given) == len(set(given)) > 1:
        values = list(range(1, len(volumes) + 1))
    known = {label.value: label for label in names}
    labels, masks = [], []
    for value, volume in zip(values, volumes, strict=True):
        if value:
            labels.append(known.get(value, Label(value, f"label_{value}", default_colour(value))))
            masks.append(volume)
    wanted = choice.of(labels, path)
    chosen = (volume.array != 0 for label, volume in zip(labels, masks, strict=True) if label in wanted)
    return join_masks(wanted, chosen, volumes[0].grid)


def _mask_values(volumes: Sequence[Volume], path: Path) -> list[int]:
    """Return the value of each mask, 0 for an empty one; raise an error at the first volume that is not a mask."""
    values = []
    for volume in volumes:
        try:
            present = present_values(to_label_values(volume.array, path))
        except InputError:  # fractions, or less than 0
            present = {-1, 1}
        if len(present) > 1:
            listed = first_few([str(volume.name) for volume in volumes], 3)
            raise AmbiguousError(
                f"{path}: holds {len(volumes)} volumes ({listed}), and not all are masks (0 and one other integer); "
                "choose one by its name or number (--series), write each to a file (volseg convert --all), or "
                "probabilities to DICOM (volseg convert --as fractional)"
            )
        values.append(next(iter(present), 0))
    return values
