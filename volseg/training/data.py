"""Training slices: prepared once, and kept in files that the system maps into memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from volseg.config import Config
from volseg.core.content import crop, crop_labels
from volseg.core.labelmap import Label, LabelMap, present_values, volumes_ml
from volseg.core.planes import Plane
from volseg.core.resample import resample_plane
from volseg.core.slices import stack_slices
from volseg.core.volume import Volume
from volseg.datasets import Case, read_images, read_reference
from volseg.errors import OutputError
from volseg.files.atomic import write_text
from volseg.io.scan_files import file_state
from volseg.prediction.inference import plane_weights
from volseg.prediction.prepare import SliceStack, common_grid, find_box, prepare
from volseg.training.cache import load_array, save_array
from volseg.training.kept_scans import KeptScans

_SLAB = 32  # slices prepared at a time


@dataclass(frozen=True, eq=False)
class CachedCase:
    """One case along one plane.

    Parameters
    ----------
    image : (C, S, h, w) float16
        Mapped from a file, as the classes are.
    classes : (S, h, w) uint8 or uint16
    slices : dict of int to (N,) int64 array
        The numbers of the slices that hold each class but background; a class that none holds is left out.
    """

    image: NDArray[np.float16]
    classes: NDArray[Any]
    slices: Mapping[int, NDArray[np.int64]]

    @classmethod
    def of(cls, image: NDArray[np.float16], classes: NDArray[Any]) -> CachedCase:
        """Note which slices hold which class, in one pass over the classes.

        Parameters
        ----------
        image, classes
            As above.
        """
        holding: dict[int, list[int]] = {}
        for index, numbers in enumerate(classes):
            for number in np.flatnonzero(np.bincount(numbers.ravel())[1:]) + 1:
                holding.setdefault(int(number), []).append(index)
        return cls(image, classes, {number: np.array(holding[number]) for number in sorted(holding)})

    @cached_property
    def foreground(self) -> NDArray[np.int64]:
        """The numbers of the slices that hold any label."""
        return np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *self.slices.values()]))


def cache_case(
    case: Case, folder: Path, *, config: Config, labels: Sequence[Label], scans: KeptScans | None = None
) -> dict[Plane, CachedCase]:
    """Prepare one case for each plane along which it would be predicted, or take what is there.

    Parameters
    ----------
    case : Case
    folder : Path
        For the files. Those of a case are made anew if the scan or the label map has changed since.
    config : Config
        Planned.
    labels : sequence of Label
        Of the dataset; the classes are 0 and their numbers from 1.
    scans : KeptScans, optional
        May have kept the scan.
    """
    files = {plane: _files_of(case, plane, folder) for plane in config.preparation.planes or ()}
    done = folder / f"{case.name}.done"
    state = file_state([*case.images, *case.label_files])
    counted = _volumes_file(case, folder)
    if not (counted.is_file() and done.is_file() and done.read_text(encoding="utf-8") == state):
        volumes, reference = read_images(case) if scans is None else scans.read(case), read_reference(case)
        _prepare_case(volumes, reference, files, config, labels)
        found = {name: round(volume, 6) for name, volume in volumes_ml(reference, labels).items()}
        write_text(counted, json.dumps(found))
        write_text(done, state)
    prepared = {}
    for plane, (image_file, classes_file) in files.items():
        if classes_file.is_file():
            prepared[plane] = _load(image_file, classes_file)
    return prepared


def label_volumes(case: Case, folder: Path) -> dict[str, float]:
    """Return the volume of each label, in ml, in a case that `cache_case` has prepared.

    Parameters
    ----------
    case : Case
    folder : Path
        With the files.
    """
    found: dict[str, float] = json.loads(_volumes_file(case, folder).read_text(encoding="utf-8"))
    return found


def ranges_of(volumes: Iterable[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest volume of each label.

    Parameters
    ----------
    volumes : iterable of dict
        Of each case.

    Returns
    -------
    dict of str to (float, float)
        Of the cases that have the label; without labels that none has.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for of_case in volumes:
        for name, volume in of_case.items():
            if volume == 0:
                continue
            low, high = ranges.get(name, (volume, volume))
            ranges[name] = min(low, volume), max(high, volume)
    return ranges


def _volumes_file(case: Case, folder: Path) -> Path:
    return folder / f"{case.name}.volumes.json"


def _files_of(case: Case, plane: Plane, folder: Path) -> tuple[Path, Path]:
    return folder / f"{case.name}.{plane}.image.npy", folder / f"{case.name}.{plane}.classes.npy"


def _prepare_case(
    volumes: Sequence[Volume],
    label_map: LabelMap,
    files: Mapping[Plane, tuple[Path, Path]],
    config: Config,
    labels: Sequence[Label],
) -> None:
    """Write the slices and classes of a case for each plane; files of before are removed first."""
    for pair in files.values():
        for file in pair:
            file.unlink(missing_ok=True)
    box = find_box(volumes, config.preparation, label_map)
    volumes, label_map = [crop(volume, box) for volume in volumes], crop_labels(label_map, box)
    for plane in plane_weights(config.preparation, common_grid(volumes)):
        stack = prepare(volumes, config.preparation, plane)
        image_file, classes_file = files[plane]
        save_array(_slabs(stack, stack.plain, axis=1, dtype=np.float16), image_file)
        make = classes_maker(stack, label_map, plane, labels)
        save_array(_slabs(stack, make, axis=0, dtype=np.min_scalar_type(len(labels))), classes_file)


def check_space(folder: Path, cases: Sequence[Case], *, spare: int = 0) -> None:
    """See that there is room for the cases that are not prepared yet, by the size of the first one.

    Parameters
    ----------
    folder : Path
        Of the prepared slices.
    cases : sequence of Case
        All that are to be prepared.
    spare : int
        Bytes that will be free by then, besides those that are now.

    Raises
    ------
    OutputError
        There is not.
    """
    missing = len(cases) - len(list(folder.glob("*.done")))
    first = 0
    for file in folder.iterdir():
        if file.name.startswith(f"{cases[0].name}."):
            first += file.stat().st_size
    needed = missing * first
    free = shutil.disk_usage(folder).free + spare
    if needed > free:
        raise OutputError(
            f"{folder}: the prepared slices will take about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
            "choose an output folder on a larger disk"
        )


def _load(image_file: Path, classes_file: Path) -> CachedCase:
    return CachedCase.of(load_array(image_file), load_array(classes_file))


def _slabs(stack: SliceStack, make: Callable[[int, int], NDArray[Any]], *, axis: int, dtype: DTypeLike) -> NDArray[Any]:
    """Make slices slab by slab, so that memory stays small."""
    slabs = []
    for start in range(0, len(stack), _SLAB):
        slabs.append(make(start, min(start + _SLAB, len(stack))).astype(dtype))
    return np.concatenate(slabs, axis=axis)


def classes_maker(
    stack: SliceStack, label_map: LabelMap, plane: Plane, labels: Sequence[Label]
) -> Callable[[int, int], NDArray[Any]]:
    """Return a function that makes the classes of slices start..stop, as (B, h, w) integers.

    Parameters
    ----------
    stack : SliceStack
        The prepared scan.
    label_map : LabelMap
        On the grid of the scan.
    plane : {"axial", "coronal", "sagittal"}
        Of the stack.
    labels : sequence of Label
        Classes 1, 2, ...
    """
    native = stack_slices(stack.reorientation.array(label_map.array), plane)
    dtype = np.min_scalar_type(len(labels))

    def as_scanned(start: int, stop: int) -> NDArray[Any]:
        values = native[start:stop]
        classes = np.zeros(values.shape, dtype=dtype)
        for number, value in _classes_in(values, labels):
            classes[values == value] = number
        return classes

    # Interpolating each label and taking the largest keeps outlines smooth where nearest-neighbour would fray them.
    def resampled(start: int, stop: int) -> NDArray[Any]:
        values = native[start:stop]
        largest = resample_plane(values == 0, stack.size)
        classes = np.zeros(largest.shape, dtype=dtype)
        for number, value in _classes_in(values, labels):  # one after the other, so that memory stays small
            share = resample_plane(values == value, stack.size)
            classes[share > largest] = number
            largest = np.maximum(share, largest)
        return classes

    return as_scanned if stack.size == stack.native_size else resampled


def _classes_in(values: NDArray[Any], labels: Sequence[Label]) -> Iterator[tuple[int, int]]:
    """Yield the class and the value of each label that occurs in some voxels."""
    present = present_values(values)
    for number, label in enumerate(labels, 1):
        if label.value in present:
            yield number, label.value
