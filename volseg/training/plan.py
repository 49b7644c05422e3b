"""From what a dataset looks like to the settings that suit it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from volseg.config import Config, Normalisation, load_config
from volseg.core.intensity import extremes, percentiles, sample
from volseg.core.labelmap import LabelMap
from volseg.core.planes import PLANES, Plane
from volseg.core.resample import Reorientation
from volseg.core.slices import ANISOTROPIC, NORMAL_AXIS, in_plane
from volseg.core.volume import Volume
from volseg.datasets import Case, Dataset, check_dataset, read_images, read_reference, split
from volseg.errors import DatasetError, UsageError
from volseg.files.atomic import write_text
from volseg.network.generator import NETWORKS
from volseg.prediction.cleanup import resolve_cleanup
from volseg.training.kept_scans import KeptScans

Fold = int | Literal["all"]

_LARGEST_SLICE = 256  # pixels
_LARGEST_BATCH = 16  # slices
_PIXELS_PER_BATCH = 4 * 256 * 256
_NARROW = 32  # pixels: slices that are narrower, and by far narrower than in another plane, are strips
_BELOW_IS_AIR_HU = -700  # of a scan of which nobody says what it is
_FOREGROUND_SAMPLES = 10_000  # voxels a case
_MOST_CLIPPED = 0.5  # of a label


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """What planning needs to know of one case; axes in RAS order.

    Parameters
    ----------
    shape : (3,) int
    spacing : (3,) float, mm
    foreground : tuple of (N,) arrays
        Some values of each channel on the labels.
    lowest : tuple of float
        Smallest value of each channel.
    extreme : tuple of dict of int to float
        For each channel, the share of each label (by value) that is darker or brighter than the scan's `extremes`.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    foreground: tuple[NDArray[np.float64], ...]
    lowest: tuple[float, ...]
    extreme: tuple[dict[int, float], ...]


def find_facts(case: Case, scans: KeptScans | None = None) -> CaseFacts:
    """Read a case and note what planning needs of it.

    Parameters
    ----------
    case : Case
    scans : KeptScans, optional
        Keeps the scan for whoever reads it next.
    """
    volumes = read_images(case) if scans is None else scans.read_and_keep(case)
    return _facts(volumes, read_reference(case))


def _facts(volumes: Sequence[Volume], labels: LabelMap) -> CaseFacts:
    reorientation = Reorientation.between(labels.grid, "RAS")
    grid = reorientation.grid(labels.grid)
    foreground = labels.array != 0
    labelled = [v.array[foreground] for v in volumes]
    values = tuple(sample(found, count=_FOREGROUND_SAMPLES) for found in labelled)
    lowest = tuple(float(v.array.min()) for v in volumes)
    names = [label.value for label in labels.labels]
    numbers = np.searchsorted(names, labels.array[foreground])
    shares = (_extreme_shares(v.array, found, numbers) for v, found in zip(volumes, labelled, strict=True))
    extreme = tuple({names[number]: share for number, share in found.items()} for found in shares)
    return CaseFacts(grid.shape, grid.spacing, values, lowest, extreme)


def _extreme_shares(scan: NDArray[Any], values: NDArray[Any], numbers: NDArray[np.int64]) -> dict[int, float]:
    low, high = extremes(sample(scan))
    counts = np.bincount(numbers)
    outside = np.bincount(numbers, weights=(values < low) | (values > high))
    return {int(n): float(outside[n] / counts[n]) for n in np.flatnonzero(counts)}


def iterate_planning(
    dataset: Dataset, output: Path | str, *, config: Config | None = None, fold: Fold = 0
) -> Iterator[tuple[int, int]]:
    """Check a dataset, plan what the settings leave open and write ``plan.yaml`` into `output`.

    Parameters
    ----------
    dataset : Dataset
    output : path
        A folder.
    config : Config, optional
        Settings; what is None in them is planned. Default: the ``default`` preset.
    fold : int or "all"
        Its training cases are read.

    Yields
    ------
    done, total : int
        Cases that are read, and cases in all.

    Raises
    ------
    DatasetError
        Orphans, mismatched grids or unknown labels: all of them at once.
    UsageError
        There is another plan already, and `config` is None or something else than that plan.
    """
    yield from plan_checked(check_dataset(dataset), Path(output), config=config, fold=fold)


def plan_checked(
    dataset: Dataset, output: Path, *, config: Config | None, fold: Fold, scans: KeptScans | None = None
) -> Iterator[tuple[int, int]]:
    """Do the same for a dataset that `check_dataset` has returned; its label maps are not decoded again.

    Parameters
    ----------
    dataset, output, config, fold
        As for `iterate_planning`.
    scans : KeptScans, optional
        Keeps the scans for whoever reads them next.
    """
    cases, _ = choose_cases(dataset, fold)
    settings, facts = config or load_config(), []
    for number, case in enumerate(cases if _is_open(settings) else (), 1):
        facts.append(find_facts(case, scans))
        yield number, len(cases)
    planned = make_plan(settings, dataset, facts)
    path = output / "plan.yaml"
    if path.exists() and load_config(path) not in (planned, config):
        raise UsageError(f"{path}: is another plan; use it with --config {path}, or delete it to plan anew")
    write_plan(planned, dataset, path)


def _is_open(config: Config) -> bool:
    """Whether anything is left to plan from the scans."""
    preparation, training = config.preparation, config.training
    planned = (preparation.planes, preparation.spacing_mm, preparation.normalisation, config.network.levels)
    return None in (*planned, training.slice_size, training.batch_size)


def choose_cases(dataset: Dataset, fold: Fold) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Return the cases to learn from and those held out."""
    if fold == "all":
        return tuple(dataset.cases), ()
    training, held_out = split(dataset, fold)
    return tuple(training), tuple(held_out)


def fingerprint(dataset: Dataset, planned: Config, training: Sequence[Case]) -> str:
    """Return 16 hex digits that change with the training cases, the labels and what was planned from their voxels."""
    names = [case.name for case in training]
    text = repr((names, dataset.labels, dataset.channel_names, planned.preparation, planned.training.slice_size))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_plan(config: Config, dataset: Dataset, facts: Sequence[CaseFacts]) -> Config:
    """Fill every setting that is still None.

    Planes: one, across the coarse axis, where the median spacing is anisotropic by more than 1.5; else all three, but
    none whose slices are narrow strips. Spacing: the median. Normalisation: CT by the labels' intensities over all
    cases, others each scan by itself, clipped unless that takes half of a label. Slice size: the median slice, at
    most 256 pixels; larger slices are cropped at random. Depth and batch: from the slice size.
    """
    preparation = config.preparation
    planes = preparation.planes or _planes(facts)
    spacing = preparation.spacing_mm or _median_spacing(facts)
    normalisation = preparation.normalisation or _normalisation(dataset, facts)
    if len(normalisation) != len(dataset.channel_names):
        raise DatasetError(
            f"preparation.normalisation has {len(normalisation)} entries, the dataset {len(dataset.channel_names)} "
            "channels; give one for each channel"
        )
    size = config.training.slice_size or _slice_size(facts, spacing)
    used = [(size[height], size[width]) for height, width in map(in_plane, planes)]
    levels = config.network.levels or max(map(NETWORKS[config.network.block].levels_for, used))
    multiple = 2**levels
    right, front, foot = (max(2, -(-n // multiple)) * multiple for n in size)
    pixels = max(height * width for height, width in used)
    batch_size = config.training.batch_size or max(4, min(_LARGEST_BATCH, _PIXELS_PER_BATCH // pixels))
    # One full entry a label: what is set and what is a default cannot be told apart in a file.
    cleanup = resolve_cleanup([label.name for label in dataset.labels], config.cleanup)
    return _replace(
        config.model_copy(update={"cleanup": cleanup}),
        preparation={"planes": planes, "spacing_mm": spacing, "normalisation": normalisation},
        network={"levels": levels},
        training={"slice_size": (right, front, foot), "batch_size": batch_size},
    )


def _replace(config: Config, **sections: dict[str, Any]) -> Config:
    """Return the config with some keys of some sections changed."""
    changed = {name: getattr(config, name).model_copy(update=values) for name, values in sections.items()}
    return config.model_copy(update=changed)


def _planes(facts: Sequence[CaseFacts]) -> tuple[Plane, ...]:
    shape = np.median([f.shape for f in facts], axis=0)
    spacing = _median_spacing(facts)
    # Scans of one slice leave no choice.
    if min(shape) > 1 and max(spacing) / min(spacing) <= ANISOTROPIC:
        widths = {plane: min(shape[axis] for axis in in_plane(plane)) for plane in PLANES}
        return tuple(plane for plane, width in widths.items() if width >= min(_NARROW, max(widths.values()) / 3))
    coarse = int(np.argmin(shape)) if min(shape) == 1 else int(np.argmax(spacing))
    return tuple(plane for plane in PLANES if NORMAL_AXIS[plane] == coarse)


def _median_spacing(facts: Sequence[CaseFacts]) -> tuple[float, float, float]:
    x, y, z = np.median([f.spacing for f in facts], axis=0)
    return round(float(x), 4), round(float(y), 4), round(float(z), 4)


def _slice_size(facts: Sequence[CaseFacts], spacing: tuple[float, float, float]) -> tuple[int, int, int]:
    sizes = np.array([f.shape for f in facts]) * np.array([f.spacing for f in facts]) / np.array(spacing)
    x, y, z = (max(8, min(_LARGEST_SLICE, round(float(n)))) for n in np.median(sizes, axis=0))
    return x, y, z


def _normalisation(dataset: Dataset, facts: Sequence[CaseFacts]) -> tuple[Normalisation, ...]:
    entries = []
    for channel, modality in enumerate(dataset.modalities):
        values = np.concatenate([f.foreground[channel] for f in facts])
        # Where nobody says what the scans are, air at -1000 HU gives CT away.
        looks_like_ct = modality is None and float(np.median([f.lowest[channel] for f in facts])) < _BELOW_IS_AIR_HU
        if (modality == "CT" or looks_like_ct) and values.size:
            entries.append(_window(values))
        else:
            # Small bright lesions would look like any other bright voxel if the scan were clipped.
            lost = _loses_labels(channel, facts)
            entries.append(Normalisation(kind="zscore_unclipped" if lost else "zscore"))
    return tuple(entries)


def _loses_labels(channel: int, facts: Sequence[CaseFacts]) -> bool:
    """Whether clipping takes too much of a label in half of the scans that have it."""
    shares: dict[int, list[float]] = {}
    for case in facts:
        for value, share in case.extreme[channel].items():
            shares.setdefault(value, []).append(share)
    return any(np.median(found) > _MOST_CLIPPED for found in shares.values())


def _window(values: NDArray[np.float64]) -> Normalisation:
    """Make a window of the intensities of the labels, also where all lie on one value."""
    low, high = percentiles(values)
    clipped = np.clip(values, low, high)
    numbers = {"low": low, "high": high, "mean": clipped.mean(), "std": clipped.std()}
    numbers = {name: round(float(number), 4) for name, number in numbers.items()}
    if numbers["low"] == numbers["high"]:
        numbers["high"] += 1
    return Normalisation(kind="window", **numbers | {"std": numbers["std"] or 1.0})


def write_plan(config: Config, dataset: Dataset, path: Path) -> None:
    """Write a plan, with a few words on what it is."""
    text = (
        f"# What volseg planned for {dataset.name or 'this dataset'}: {len(dataset.cases)} cases, labels "
        f"{', '.join(label.name for label in dataset.labels)}.\n"
        "# Edit it and train again with --config plan.yaml; slice_size (pixels) and spacing_mm are along the\n"
        "# patient's right-left, front-back and foot-head axes.\n" + config.to_yaml()
    )
    write_text(path, text)
