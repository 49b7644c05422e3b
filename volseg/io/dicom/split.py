"""Splitting of a stack of frames into volumes: time points, echoes, b-values, acquisitions.

A stack is split only if necessary (positions repeat, or distances are uneven), by the first trait in the headers that
gives whole volumes. A stack without such a trait stays together, and is refused or resampled as a whole.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise

from volseg.errors import InputError
from volseg.io.dicom.header import FrameHeader
from volseg.io.dicom.planes import SAME_POSITION_MM, levels_of, positions_of
from volseg.io.dicom.repair import plan_repair
from volseg.io.dicom.stack import Stack, make_stack

# Fewer slices may be evenly spaced by chance.
_FEWEST_SLICES = 3
# Slices closer than this fraction of the mean distance of neighbours are at one position.
_SAME_POSITION = 0.05
# Traits that are always the same in a volume, whether positions repeat or not.
_CONTRASTS = ("b", "component", "kvp")
# Traits that are the same in a volume, except in single slices.
_PHASES = ("time", "phase", "kernel", "echo", "inversion", "flip")
# Times of each frame: with another trait they would distinguish every frame.
_TIMES = ("acquired", "content")

_NO_VOLUME = 2

Parts = list[tuple[str, list[FrameHeader]]]


def split_volumes(frames: Sequence[FrameHeader]) -> Parts:
    """Split frames of one orientation and size into volumes.

    Parameters
    ----------
    frames : sequence of FrameHeader
        In any order.

    Returns
    -------
    list of (label, frames)
        The label distinguishes the volume from the others, such as ``b1000`` or ``time3``; empty for a single volume.
    """
    parts = _by_contrast(frames)
    if parts:
        return parts
    whole: Parts = [("", list(frames))]
    if len(frames) == 1 or any(frame.refusal for frame in frames):
        return whole
    try:
        stack = make_stack(frames)
    except InputError:  # reading it raises the same error
        return whole
    return _split_stack(frames, stack) or whole


def _split_stack(frames: Sequence[FrameHeader], stack: Stack) -> Parts:
    """Split frames of one contrast; empty if they are one volume, or no trait fits."""
    levels = _levels(frames, stack)
    places = len(set(levels))
    if places == 1:
        return []  # frames at one position are not volumes, however they are sorted
    if places < len(frames):
        return _of_repeats(frames, levels)
    if stack.is_even:
        return _interleaved(frames)
    return _of_uneven(frames, levels, stack)


def _by_contrast(frames: Sequence[FrameHeader]) -> Parts:
    """Split by the first contrast that gives whole volumes, and each part further; empty without one."""
    for name in _CONTRASTS:
        parts = _by_trait(frames, name)
        if len(parts) < 2 or _fewest_slices(parts) < 2:
            continue
        volumes: Parts = []
        for label, part in parts:
            for inner, volume in split_volumes(part):
                volumes.append((f"{label}_{inner}" if inner else label, volume))
        return volumes
    return []


def _fewest_slices(parts: Parts) -> int:
    return min(len(part) for _, part in parts)


def _of_repeats(frames: Sequence[FrameHeader], levels: list[int]) -> Parts:
    """Split frames with repeated positions, preferably into volumes with each position once; empty if no trait fits."""
    candidates = list(_candidates(frames, levels))
    level_of = {}
    for frame, level in zip(frames, levels, strict=True):
        level_of[id(frame)] = level
    for parts in candidates:
        if _are_whole(parts, level_of):
            return parts
    for parts in candidates:
        if _are_volumes(parts):
            return parts
    return []


def _interleaved(frames: Sequence[FrameHeader]) -> Parts:
    """Split an even stack if a phase alternates along it; else empty."""
    for name in _PHASES:
        parts = _by_trait(frames, name)
        if _are_interleaved(parts):
            return parts
    return []


def _of_uneven(frames: Sequence[FrameHeader], levels: list[int], stack: Stack) -> Parts:
    """Split a stack of uneven distances into even ones; empty if no trait fits, or the whole can be repaired."""
    for parts in _candidates(frames, levels):
        if _are_even(parts):
            # For example, thin slices below thick ones are one scan, unless the gap between the parts is too wide.
            return [] if _follow_each_other(parts) and _is_repairable(stack) else parts
    return []


def are_volumes(parts: Sequence[Sequence[FrameHeader]]) -> bool:
    """Whether parts of a stack that differ in a text are separate volumes.

    They are not if only all parts together are a whole stack: then the text varies from slice to slice, or was edited
    in some.

    Parameters
    ----------
    parts : sequence of sequences of FrameHeader
        Parts with different texts.
    """
    whole: list[FrameHeader] = []
    for part in parts:
        whole.extend(part)
    uids = Counter(frame.sop_instance_uid for frame in whole)
    several = []
    for part in parts:
        if len(part) > 1:
            several.append(part)
        elif uids[part[0].sop_instance_uid] > 1:
            return False  # a slice with two versions is still refused
    if not several:
        return False
    together, worst = _fault(whole), max(map(_fault, several))
    if together == 0:
        return worst == 0 and min(map(len, parts)) >= _FEWEST_SLICES
    return worst <= together and worst < _NO_VOLUME


def _fault(frames: Sequence[FrameHeader]) -> int:
    """Return 0 for an even stack, 1 for one that can be repaired, 2 for frames that are not a volume."""
    try:
        stack = make_stack(frames)
        if (stack.gaps < SAME_POSITION_MM).any():
            return _NO_VOLUME
        return 0 if stack.is_even or plan_repair(stack) is None else 1
    except InputError:
        return _NO_VOLUME


def _levels(frames: Sequence[FrameHeader], stack: Stack) -> list[int]:
    """Return the position number of each frame along the normal; time points may differ slightly in position."""
    apart = max(SAME_POSITION_MM, _SAME_POSITION * float(stack.gaps.mean()))
    level_of = {}
    for frame, level in zip(stack.frames, levels_of(stack.heights, apart).tolist(), strict=True):
        level_of[id(frame)] = level
    return [level_of[id(frame)] for frame in frames]


def _candidates(frames: Sequence[FrameHeader], levels: list[int]) -> Iterator[Parts]:
    """Yield the divisions of frames by their headers into several parts, the simplest first."""
    for parts in _divisions(frames, levels):
        if len(parts) > 1:
            yield parts


def _divisions(frames: Sequence[FrameHeader], levels: list[int]) -> Iterator[Parts]:
    varying = _varying_traits(frames)
    for name in varying:
        yield _by_trait(frames, name)
    if any(frame.layout.kind != "single" for frame in frames):
        yield _by(frames, lambda frame: str(frame.file), "part")
    lasting = [name for name in varying if name not in _TIMES]
    for count in (2, 3):
        for names in combinations(lasting, count):
            yield _by(frames, _traits_of(names), "part")
    yield _by_rank(frames, levels)


def _varying_traits(frames: Sequence[FrameHeader]) -> list[str]:
    """Return the traits that differ between frames, in the order of the headers."""
    names: dict[str, None] = {}
    for frame in frames:
        names.update(dict.fromkeys(frame.traits))
    return [name for name in names if len(_values(frames, name)) > 1]


def _values(frames: Iterable[FrameHeader], name: str) -> set[str]:
    return {frame.traits.get(name, "") for frame in frames}


def _traits_of(names: Sequence[str]) -> Callable[[FrameHeader], str]:
    return lambda frame: "|".join(frame.traits.get(name, "") for name in names)


def _by_trait(frames: Sequence[FrameHeader], name: str) -> Parts:
    return _by(frames, _traits_of([name]), name)


def _by(frames: Sequence[FrameHeader], key: Callable[[FrameHeader], str], name: str) -> Parts:
    """Group frames by a text; `name` is the start of the labels."""
    groups: dict[str, list[FrameHeader]] = defaultdict(list)
    for frame in frames:
        groups[key(frame)].append(frame)
    parts = []
    for number, value in enumerate(sorted(groups, key=natural_order), start=1):
        parts.append((label_of(name, value, number), groups[value]))
    return parts


def _by_rank(frames: Sequence[FrameHeader], levels: list[int]) -> Parts:
    """Group the first frames of all positions, the second, and so on, in the order of instance numbers."""
    numbers = set()
    for level, frame in zip(levels, frames, strict=True):
        if frame.instance_number is None:
            return []
        numbers.add((level, frame.instance_number))
    if len(numbers) != len(frames) or len(set(Counter(levels).values())) != 1:
        return []
    ranks = _ranks(frames, levels)
    for name in frames[0].traits:
        if _mixes(name, ranks, frames, levels):
            return []
    parts = []
    for number, part in enumerate(ranks, start=1):
        parts.append((f"part{number}", part))
    return parts


def _ranks(frames: Sequence[FrameHeader], levels: list[int]) -> list[list[FrameHeader]]:
    ranks: list[list[FrameHeader]] = []
    seen: Counter[int] = Counter()
    for level, frame in sorted(zip(levels, frames, strict=True), key=lambda entry: entry[1].instance_number or 0):
        if seen[level] == len(ranks):
            ranks.append([])
        ranks[seen[level]].append(frame)
        seen[level] += 1
    return ranks


def _mixes(name: str, ranks: Iterable[list[FrameHeader]], frames: Sequence[FrameHeader], levels: Sequence[int]) -> bool:
    """Whether a trait in the headers separates volumes in the same way at every position, and the ranks mix them."""
    at: dict[int, Counter[str]] = defaultdict(Counter)
    for level, frame in zip(levels, frames, strict=True):
        at[level][frame.traits.get(name, "")] += 1
    first, *rest = at.values()
    if len(first) == 1 or rest.count(first) < len(rest):
        return False
    return any(len(_values(rank, name)) > 1 for rank in ranks)


def _are_whole(parts: Parts, level_of: Mapping[int, int]) -> bool:
    """Whether every part has each position once; one part, such as an unfinished last one, may lack some."""
    everywhere = set(level_of.values())
    unfinished = 0
    for _, part in parts:
        places = [level_of[id(frame)] for frame in part]
        if len(set(places)) < len(places):
            return False
        unfinished += set(places) != everywhere
    return unfinished <= 1


def _are_volumes(parts: Parts) -> bool:
    """Whether no position repeats in a part, and each part alone is even."""
    for _, frames in parts:
        if (make_stack(frames).gaps < SAME_POSITION_MM).any():
            return False
    return _are_even(parts)


def _are_even(parts: Parts) -> bool:
    return all(len(frames) >= _FEWEST_SLICES and make_stack(frames).is_even for _, frames in parts)


def _are_interleaved(parts: Parts) -> bool:
    """Whether each part alone is even, although all parts together are even too."""
    return len(parts) > 1 and _are_even(parts) and not _follow_each_other(parts)


def _follow_each_other(parts: Parts) -> bool:
    """Whether the parts are one above the other."""
    normal = make_stack(parts[0][1]).normal
    ranges = []
    for _, part in parts:
        heights = positions_of(part) @ normal
        ranges.append((heights.min(), heights.max()))
    return all(below[1] < above[0] for below, above in pairwise(sorted(ranges)))


def _is_repairable(stack: Stack) -> bool:
    try:
        plan_repair(stack)
    except InputError:
        return False
    return True


def natural_order(value: str) -> list[tuple[float, str]]:
    """Return a key that sorts texts with numbers in them by the numbers.

    Parameters
    ----------
    value : str
        A text with or without numbers.
    """
    pieces = re.split(r"(\d+(?:\.\d+)?)", value)
    return [(float(piece), "") if number % 2 else (float("inf"), piece) for number, piece in enumerate(pieces)]


def label_of(name: str, value: str, number: int) -> str:
    """Return ``b1000``, ``time3``: the value if it is short and usable as a name, else the number of the part.

    Parameters
    ----------
    name : str
        Name of the trait.
    value : str
        Its value in this volume.
    number : int
        Number of the volume, from 1.
    """
    value = re.sub(r"\.0+$", "", value)
    plain = re.fullmatch(r"\d{1,6}", value) or (name == "component" and value.isalnum())
    return f"{name}{value}" if plain and name != "part" else f"{name}{number}"
