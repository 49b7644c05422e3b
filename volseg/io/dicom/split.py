"""The volumes in a stack of pictures that cannot be one: time points, echoes, b-values, acquisitions.

A stack is split only where it must be (positions repeat, or distances are uneven), by the first trait of the headers
that leaves whole volumes. What no trait explains stays together, and is refused or resampled as a whole.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np

from volseg.core.grid import Float
from volseg.errors import InputError
from volseg.io.dicom.header import FrameHeader
from volseg.io.dicom.planes import SAME_POSITION_MM, levels_of
from volseg.io.dicom.repair import plan_repair
from volseg.io.dicom.stack import Stack, make_stack

# Fewer slices are evenly spaced by chance.
_FEWEST_SLICES = 3
# Of the mean distance of neighbours: what is nearer is one position.
_SAME_POSITION = 0.05
# What no volume ever mixes, whether positions repeat or not.
_CONTRASTS = ("b", "component", "kvp")
# What a volume does not mix, but for single slices.
_PHASES = ("time", "phase", "kernel", "echo", "inversion", "flip")

_NO_VOLUME = 2

Parts = list[tuple[str, list[FrameHeader]]]


def split_volumes(frames: Sequence[FrameHeader]) -> Parts:
    """Split pictures of one orientation and size into volumes.

    Returns
    -------
    list of (label, frames)
        The label says what tells the volume from the others, such as ``b1000`` or ``time3``; empty where there is one.
    """
    whole: Parts = [("", list(frames))]
    if parts := _by_contrast(frames):
        return parts
    if len(frames) == 1 or any(frame.refusal for frame in frames):
        return whole
    try:
        stack = make_stack(frames)
    except InputError:  # reading it will say what is wrong
        return whole
    levels = _levels(frames, stack)
    places = len(set(levels))
    if places == 1:
        return whole  # pictures of one place are no volumes, however they are sorted
    if places < len(frames):
        return _of_repeats(frames, levels) or whole
    if stack.is_even:
        return _interleaved(frames) or whole
    return _of_uneven(frames, levels, stack) or whole


def _by_contrast(frames: Sequence[FrameHeader]) -> Parts:
    """Split by the first contrast that has whole volumes, and each part further; empty where no contrast has."""
    for name in _CONTRASTS:
        parts = _by(frames, _traits_of(name), name)
        if len(parts) < 2 or min(len(part) for _, part in parts) < 2:
            continue
        volumes: Parts = []
        for label, part in parts:
            for inner, volume in split_volumes(part):
                volumes.append(("_".join(filter(None, (label, inner))), volume))
        return volumes
    return []


def _of_repeats(frames: Sequence[FrameHeader], levels: list[int]) -> Parts:
    """Split frames whose positions repeat: best into volumes that have every position once; empty if nothing fits."""
    candidates = list(_candidates(frames, levels))
    level_of = dict(zip(map(id, frames), levels, strict=True))
    for parts in candidates:
        if _are_whole(parts, levels=level_of):
            return parts
    return next((parts for parts in candidates if _are_volumes(parts)), [])


def _interleaved(frames: Sequence[FrameHeader]) -> Parts:
    """Split an even stack where a phase alternates along it; empty where none does."""
    for name in _PHASES:
        parts = _by(frames, _traits_of(name), name)
        if _are_interleaved(parts):
            return parts
    return []


def _of_uneven(frames: Sequence[FrameHeader], levels: list[int], stack: Stack) -> Parts:
    """Split a stack of uneven distances into even ones; empty if nothing fits, or the whole can be repaired."""
    found = next((parts for parts in _candidates(frames, levels) if _are_even(parts)), [])
    # Thin slices below thick ones, say, are one scan, unless the hole between the parts is too wide.
    return [] if found and _follow_each_other(found) and _is_repairable(stack) else found


def are_volumes(parts: Sequence[Sequence[FrameHeader]]) -> bool:
    """Whether parts of a stack, which differ in a text, are volumes of their own.

    They are not where only together they are a whole stack: then the text varies from slice to slice, or was edited
    in some.
    """
    whole = [frame for part in parts for frame in part]
    uids = Counter(frame.sop_instance_uid for frame in whole)
    several = [part for part in parts if len(part) > 1]
    if not several or any(uids[part[0].sop_instance_uid] > 1 for part in parts if len(part) == 1):
        return False  # a slice of which there are two versions remains refused
    together, worst = _fault(whole), max(map(_fault, several))
    if together == 0:
        return worst == 0 and min(map(len, parts)) >= _FEWEST_SLICES
    return worst <= together and worst < _NO_VOLUME


def _fault(frames: Sequence[FrameHeader]) -> int:
    """Return 0 for an even stack, 1 for one that can be repaired, 2 for what is no volume."""
    try:
        stack = make_stack(frames)
        if (stack.gaps < SAME_POSITION_MM).any():
            return _NO_VOLUME
        return 0 if stack.is_even or plan_repair(stack) is None else 1
    except InputError:
        return _NO_VOLUME


def _levels(frames: Sequence[FrameHeader], stack: Stack) -> list[int]:
    """For each frame the number of its position along the normal, which may differ a little between time points."""
    apart = max(SAME_POSITION_MM, _SAME_POSITION * float(stack.gaps.mean()))
    levels = levels_of(stack.heights, apart).tolist()
    level = {id(frame): step for frame, step in zip(stack.frames, levels, strict=True)}
    return [level[id(frame)] for frame in frames]


def _candidates(frames: Sequence[FrameHeader], levels: list[int]) -> Iterator[Parts]:
    """Yield the ways to divide frames by their headers that give several parts, the simplest first."""
    yield from (parts for parts in _divisions(frames, levels) if len(parts) > 1)


def _divisions(frames: Sequence[FrameHeader], levels: list[int]) -> Iterator[Parts]:
    names = dict.fromkeys(name for frame in frames for name in frame.traits)
    varying = [name for name in names if len({frame.traits.get(name, "") for frame in frames}) > 1]
    yield from (_by(frames, _traits_of(name), name) for name in varying)
    if any(frame.layout.kind != "single" for frame in frames):
        yield _by(frames, lambda frame: str(frame.file), "part")
    # Not the times of each picture: with another trait they tell everything apart.
    lasting = [name for name in varying if name not in ("acquired", "content")]
    for count in (2, 3):
        yield from (_by(frames, _traits_of(*some), "part") for some in combinations(lasting, count))
    yield _by_rank(frames, levels)


def _traits_of(*names: str) -> Callable[[FrameHeader], str]:
    return lambda frame: "|".join(frame.traits.get(name, "") for name in names)


def _by(frames: Sequence[FrameHeader], key: Callable[[FrameHeader], str], name: str) -> Parts:
    groups: dict[str, list[FrameHeader]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    ordered = sorted(groups, key=natural_order)
    return [(label_of(name, value, number), groups[value]) for number, value in enumerate(ordered, start=1)]


def _by_rank(frames: Sequence[FrameHeader], levels: list[int]) -> Parts:
    """Take the first picture of every position, the second, and so on, as the instance numbers count them."""
    counts = Counter(levels).values()
    numbers = {(level, frame.instance_number) for level, frame in zip(levels, frames, strict=True)}
    if len(set(counts)) != 1 or len(numbers) != len(frames) or any(number is None for _, number in numbers):
        return []
    ranks: dict[int, list[FrameHeader]] = defaultdict(list)
    seen: Counter[int] = Counter()
    for level, frame in sorted(zip(levels, frames, strict=True), key=lambda entry: entry[1].instance_number or 0):
        ranks[seen[level]].append(frame)
        seen[level] += 1
    if any(_mixes(name, ranks.values(), frames, levels) for name in frames[0].traits):
        return []
    return [(f"part{rank + 1}", ranks[rank]) for rank in sorted(ranks)]


def _mixes(name: str, ranks: Iterable[list[FrameHeader]], frames: Sequence[FrameHeader], levels: Sequence[int]) -> bool:
    """Whether the headers tell volumes apart by a trait, the same way at every position, and the ranks mix them."""
    at: dict[int, Counter[str]] = defaultdict(Counter)
    for level, frame in zip(levels, frames, strict=True):
        at[level][frame.traits.get(name, "")] += 1
    first, *rest = at.values()
    tells = len(first) > 1 and all(other == first for other in rest)
    return tells and any(len({frame.traits.get(name, "") for frame in rank}) > 1 for rank in ranks)


def _are_whole(parts: Parts, *, levels: Mapping[int, int]) -> bool:
    """Whether every part, but perhaps the last that was not finished, has each position once."""
    places = [[levels[id(frame)] for frame in part] for _, part in parts]
    everywhere = set(levels.values())
    unfinished = [place for place in places if set(place) != everywhere]
    return all(len(set(place)) == len(place) for place in places) and len(unfinished) <= 1


def _are_volumes(parts: Parts) -> bool:
    """Whether no position repeats in a part, and each is even by itself."""
    stacks = [make_stack(frames) for _, frames in parts]
    return not any((stack.gaps < SAME_POSITION_MM).any() for stack in stacks) and _are_even(parts)


def _are_even(parts: Parts) -> bool:
    return all(len(frames) >= _FEWEST_SLICES and make_stack(frames).is_even for _, frames in parts)


def _are_interleaved(parts: Parts) -> bool:
    """Whether each part is even by itself, though all of them are even together."""
    return len(parts) > 1 and _are_even(parts) and not _follow_each_other(parts)


def _follow_each_other(parts: Parts) -> bool:
    """Whether the parts are one above the other."""
    normal = make_stack(parts[0][1]).normal
    ranges = sorted((heights.min(), heights.max()) for heights in (_heights(part, normal) for _, part in parts))
    return all(below[1] < above[0] for below, above in pairwise(ranges))


def _heights(frames: Sequence[FrameHeader], normal: Float) -> Float:
    return np.array([frame.position for frame in frames], dtype=np.float64) @ normal


def _is_repairable(stack: Stack) -> bool:
    try:
        plan_repair(stack)
    except InputError:
        return False
    return True


def natural_order(value: str) -> list[tuple[float, str]]:
    """Sort texts with numbers in them by the numbers."""
    pieces = re.split(r"(\d+(?:\.\d+)?)", value)
    return [(float(piece), "") if number % 2 else (float("inf"), piece) for number, piece in enumerate(pieces)]


def label_of(name: str, value: str, number: int) -> str:
    """Return ``b1000``, ``time3``: the value where it is short and a name by itself, else the number of the part."""
    value = re.sub(r"\.0+$", "", value)
    plain = re.fullmatch(r"\d{1,6}", value) or (name == "component" and value.isalnum())
    return f"{name}{value}" if plain and name != "part" else f"{name}{number}"
