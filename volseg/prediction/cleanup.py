"""Clean-up of a predicted label map: specks and holes.

Components are joined through faces only (6-connectivity): two structures that touch at an edge or a corner are two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import measure

from volseg.config import CleanupConfig
from volseg.core.labelmap import LabelMap, label_boxes
from volseg.errors import ConfigError
from volseg.network.file import Model


def model_cleanup(model: Model, changes: Mapping[str, CleanupConfig] | None = None) -> dict[str, CleanupConfig]:
    """Return what is applied to a model's predictions: what held-out cases decided, under what users have set.

    Parameters
    ----------
    model : Model
    changes : mapping of label name to CleanupConfig, optional
        Settings of today; they override those of the model, as in `resolve_cleanup`.

    Returns
    -------
    dict of str to CleanupConfig
        By label name; labels without any are left out.
    """
    nothing, decided = CleanupConfig(), {}
    for name, decision in model.cleanup.items():
        if decision.settings != nothing:
            decided[name] = decision.settings
    return resolve_cleanup([label.name for label in model.labels], decided, model.config.cleanup, changes or {})


def describe_cleanup(step: CleanupConfig) -> str:
    """Say in a few words what a clean-up does.

    Parameters
    ----------
    step : CleanupConfig

    Examples
    --------
    >>> from volseg.config import CleanupConfig
    >>> describe_cleanup(CleanupConfig(minimum_mm3=30, fill_holes=True))
    'without pieces below 30 mm3, holes filled'
    """
    words = []
    if step.largest_component:
        words.append("largest component")
    if step.minimum_mm3 > 0:
        words.append(f"without pieces below {step.minimum_mm3:.4g} mm3")
    if step.fill_holes:
        words.append("holes filled")
    return ", ".join(words) or "nothing"


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
    # Boxes are many times faster than the whole array. No step makes a label outgrow its box.
    boxes = {value: box for value, box in label_boxes(array).items() if value in steps}
    clearing = {}
    for value in boxes:
        if steps[value].largest_component or steps[value].minimum_mm3 > 0:
            clearing[value] = steps[value]
    if clearing:
        _clear_specks(array[join_boxes([boxes[value] for value in clearing])], clearing, labels.grid.voxel_volume_mm3)
    for value, box in label_boxes(array).items() if clearing else boxes.items():  # without specks boxes are smaller
        if value in steps and steps[value].fill_holes:
            array[box][find_holes(array[box], value, labels.grid.shape)] = value
    return LabelMap(array, labels.grid, labels.labels)


def _by_label(labels: LabelMap, cleanup: CleanupConfig | Mapping[str, CleanupConfig]) -> dict[int, CleanupConfig]:
    """Return the clean-up of each label by its value."""
    values = {label.name: label.value for label in labels.labels}
    if isinstance(cleanup, CleanupConfig):
        return dict.fromkeys(values.values(), cleanup)
    if unknown := sorted(set(cleanup) - set(values)):
        raise ConfigError(f"clean-up names {', '.join(unknown)}; the labels are {', '.join(values) or 'none'}")
    return {values[name]: step for name, step in cleanup.items()}


def join_boxes(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Return the smallest box around one or more boxes.

    Parameters
    ----------
    boxes : sequence of tuple of slice
    """
    joined = []
    for slices in zip(*boxes, strict=True):
        joined.append(slice(min(s.start for s in slices), max(s.stop for s in slices)))
    return tuple(joined)


def _clear_specks(view: NDArray[Any], steps: Mapping[int, CleanupConfig], voxel_mm3: float) -> None:
    pieces = find_pieces(view)
    keep = np.ones(len(pieces.sizes), dtype=bool)
    for value, step in steps.items():
        numbers = np.flatnonzero(pieces.values == value)
        keep[numbers] = pieces.sizes[numbers] * voxel_mm3 >= step.minimum_mm3
        if step.largest_component:
            keep[numbers] &= numbers == numbers[pieces.sizes[numbers].argmax()]
    view[~keep[pieces.components]] = 0


@dataclass(frozen=True, eq=False)
class Pieces:
    """The components of all labels, numbered in array order.

    Parameters
    ----------
    components : (I, J, K) int
        The number of each voxel's component, 0 in background.
    sizes, values : (N + 1,) int
        Voxels and label value of each component; background comes first.
    """

    components: NDArray[Any]
    sizes: NDArray[np.int64]
    values: NDArray[Any]


def find_pieces(array: NDArray[Any]) -> Pieces:
    """Find the components of all labels in one pass.

    Parameters
    ----------
    array : (I, J, K) integers
        0 is background.
    """
    components = measure.label(array, connectivity=1, background=0)
    sizes = np.bincount(components.ravel())
    values = np.zeros(len(sizes), dtype=array.dtype)
    values[components] = array
    return Pieces(components, sizes, values)


def find_holes(view: NDArray[Any], value: int, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Find the background that a label encloses.

    Parameters
    ----------
    view : (I, J, K) integers
        The box around the label.
    value : int
        Of the label.
    shape : (int, int, int)
        Of the whole array: an axis with one voxel has no outside.
    """
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
    return np.asarray(enclosed[tuple(inside)] & (view == 0))
