"""Pair images with label maps or masks by two patterns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from volseg.datasets.labelling import is_image
from volseg.datasets.types import Case
from volseg.errors import DatasetError, UsageError
from volseg.io.labels import structure_name

_GAP = re.compile(r"\*|\{\}")


def pair_patterns(root: Path, images: str, labels: str) -> list[Case]:
    """Pair images and label maps, or masks, by two patterns.

    Parameters
    ----------
    root : Path
        The folder below which they are searched.
    images : str
        With one ``*``, the name of the case.
    labels : str
        With ``{}``, which stands for the name of the case. With a ``*`` besides, which stands for the name of a
        structure, the files are masks.

    Raises
    ------
    DatasetError
        There is no such folder.
    UsageError
        A pattern cannot be used.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; patterns are searched below a folder")
    if images.count("*") != 1 or "**" in labels or "{}" not in labels or labels.count("*") > 1:
        raise UsageError(
            f"patterns are {images!r} and {labels!r}; expected one * in images, {{}} in labels, and for masks one * in "
            "labels too"
        )
    image_paths = _matches(root, images)
    if "*" in labels:
        return _pair_masks(root, image_paths, labels)
    label_paths = _matches(root, labels)
    cases = []
    for name in sorted(image_paths.keys() | label_paths.keys()):
        found = (image_paths[name],) if name in image_paths else ()
        cases.append(Case(name, found, label_paths.get(name)))
    return cases


def _pair_masks(root: Path, images: dict[str, Path], pattern: str) -> list[Case]:
    files = [file for file in _candidates(root, pattern.replace("{}", "*")) if is_image(file)]
    names = {path: name for name, path in images.items()}
    # Where masks lie beside images, the pattern of the images may match the masks too.
    scans = set(images)
    for case, _, file in _find_masks(root, files, pattern, images):
        if case in images and file in names and names[file] != case:
            scans.discard(names[file])
    masks: dict[str, list[tuple[str, Path]]] = {name: [] for name in scans}
    for case, structure, file in _find_masks(root, files, pattern, scans):
        if names.get(file) not in scans:
            masks.setdefault(case, []).append((structure_name(structure, case), file))
    cases = []
    for name in sorted(masks):
        found = (images[name],) if name in scans else ()
        cases.append(Case(name, found, masks=tuple(sorted(masks[name]))))
    return cases


def _find_masks(root: Path, files: list[Path], pattern: str, names: Collection[str]) -> Iterator[tuple[str, str, Path]]:
    """Yield case, structure and file of masks; of several known cases that a file fits to, the longest name counts."""
    known = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    matchers = [_matcher(pattern, gap) for gap in (known, "[^/._][^/]*") if gap]
    for file in files:
        text = file.relative_to(root).as_posix()
        if match := next(filter(None, (matcher.fullmatch(text) for matcher in matchers)), None):
            yield match["gap"], match["structure"], file


def _matcher(pattern: str, gap: str) -> re.Pattern[str]:
    """Return an expression for a pattern; the first ``{}`` is as `gap` says, the others are equal to it."""
    expression, filled = "", f"(?P<gap>{gap})"
    for part in re.split(r"(\*|\{\})", PurePosixPath(pattern).as_posix()):
        if part == "{}":
            expression += filled
            filled = "(?P=gap)"
        else:
            expression += "(?P<structure>[^/]+)" if part == "*" else re.escape(part)
    return re.compile(expression)


def _matches(root: Path, pattern: str) -> dict[str, Path]:
    """Return the paths that a pattern with equal gaps (``*`` or ``{}``) matches, by what fills the gap."""
    matcher = _matcher(_GAP.sub("{}", pattern), "[^/]+")
    paths = {}
    for path in _candidates(root, _GAP.sub("*", pattern)):
        match = matcher.fullmatch(path.relative_to(root).as_posix())
        if match and not match["gap"].startswith((".", "_")):
            paths[match["gap"]] = path
    return paths


def _candidates(root: Path, pattern: str) -> list[Path]:
    try:
        return sorted(root.glob(pattern))
    except (ValueError, NotImplementedError) as error:
        raise UsageError(f"pattern {pattern!r} cannot be used ({error}); expected one below the folder") from error
