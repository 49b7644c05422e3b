"""Clean-up of a predicted label map: specks and holes.

Components are joined through faces only (6-connectivity): two structures that touch at an edge or a corner are two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import measure

from volseg.config import CleanupConfig
from volseg.core.labelmap import LabelMap, label_boxes
from volseg.errors import ConfigError


def resolve_cleanup(names: Sequence[str], *sources: Mapping[str, CleanupConfig]) -> dict[str, CleanupConfig]:
    """Combine clean-up settings for the labels called `names`.

    In each source ``*`` stands for every label, and a label's own entry goes over it; a later source goes over an
    earlier one. Only what is set in an entry goes over. Labels that nothing is set for are left out.

    Raises
    ------
    ConfigError
        A source names something else than `names` and ``*``.
    """
    if unknown := sorted({key for source in sources for key in source} - {*names, "*"}):
        raise ConfigError(f"cleanup names {', '.join(unknown)}; the labels are {', '.join(names)}, and * is all")
    resolved = {}
    for name in names:
        entries = [source[key] for source in sources for key in ("*", name) if key in source]
        changes = {key: value for entry in entries for key, value in entry.model_dump(exclude_unset=True).items()}
        if changes:
            resolved[name] = CleanupConfig(**changes)
    return resolved


def clean_labels(labels: LabelMap, cleanup: CleanupConfig | Mapping[str, CleanupConfig]) -> LabelMap:
    """Remove specks and fill holes.

    Parameters
    ----------
    labels : LabelMap
    cleanup : CleanupConfig or mapping of label name to CleanupConfig
        One for all labels, or one each; labels that are not named stay as they are.

    Returns
    -------
    LabelMap
        Same grid, labels and voxel type. All specks are cleared before holes are filled.

    Raises
    ------
    ConfigError
        A name that is not a label of the map.
    """
    steps = _by_label(labels, cleanup)
    array = labels.array.copy()
    # Views of the box around each label, 16 times faster than the whole array. No step makes a label outgrow its box.
    views = {value: array[box] for value, box in label_boxes(array).items() if value in steps}
    for value, view in views.items():
        if steps[value].largest_component or steps[value].minimum_mm3 > 0:
            _clear_specks(view, value, steps[value], labels.grid.voxel_volume_mm3)
    for value, view in views.items():
        if steps[value].fill_holes:
            _fill_holes(view, value, [size == 1 for size in labels.grid.shape])
    return LabelMap(array, labels.grid, labels.labels)


def _by_label(labels: LabelMap, cleanup: CleanupConfig | Mapping[str, CleanupConfig]) -> dict[int, CleanupConfig]:
    if isinstance(cleanup, CleanupConfig):
        return {label.value: cleanup for label in labels.labels}
    known = [label.name for label in labels.labels]
    if unknown := sorted(set(cleanup) - set(known)):
        raise ConfigError(f"clean-up names {', '.join(unknown)}; the labels are {', '.join(known) or 'none'}")
    return {label.value: cleanup[label.name] for label in labels.labels if label.name in cleanup}


def _clear_specks(view: NDArray[Any], value: int, step: CleanupConfig, voxel_mm3: float) -> None:
    components = measure.label(view == value, connectivity=1)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    keep = sizes * voxel_mm3 >= step.minimum_mm3
    if step.largest_component:
        keep &= np.arange(len(sizes)) == sizes.argmax()
    keep[0] = True  # what is not the label
    view[~keep[components]] = 0


def _fill_holes(view: NDArray[Any], value: int, thin: list[bool]) -> None:
    # A frame of background all round, so that what reaches the edge of the box is one component: the outside. Along
    # an axis with one voxel everything would be outside.
    framed = np.pad(view, [(0, 0) if flat else (1, 1) for flat in thin])
    mask = framed == value
    outside = measure.label(~mask, connectivity=1, background=0)
    enclosed = ~mask & (outside != outside[(0,) * 3])
    inner = enclosed[tuple(slice(None) if flat else slice(1, -1) for flat in thin)]
    view[inner & (view == 0)] = value
