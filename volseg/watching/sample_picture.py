"""Pictures of samples in files: for each slice input, reference, output and differing pixels, side by side.

Each file also holds, as a text that viewers do not show, the small pictures that the page of the run is made of. So the
folder of samples is all that a page needs, and a run that is resumed knows which slices it had chosen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.agreement import AGREEMENT_COLOURS
from volseg.core.labelmap import Label
from volseg.core.planes import PLANES, Plane
from volseg.files.atomic import atomic_path
from volseg.files.plain_text import plain
from volseg.watching.samples import (
    DIFFERENCES,
    SampleSlice,
    Score,
    coloured,
    darker,
    differing,
    picture_url,
    score,
)

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

COLUMNS = ("input", "reference", "output", "differing")
_NAME = re.compile(rf"step_(\d+)_({'|'.join(PLANES)})\.png")
_KEY = "volseg-samples"
_BACKGROUND, _TEXT, _FAINT = (11, 13, 16), (232, 234, 237), (151, 161, 173)
_TILE = 220  # pixels, about, along the longer side of a slice
_GAP, _LINE, _LETTERS = 10, 22, 14
_MOST_NAMED = 24  # labels


@dataclass(frozen=True)
class SampleView:
    """What the networks made of one slice at one step, for a page.

    Parameters
    ----------
    case, index
        As in `SampleSlice`.
    score : Score
    output, differing : str
        Addresses of pictures.
    """

    case: str
    index: int
    score: Score
    output: str
    differing: str


@dataclass(frozen=True)
class SampleFile:
    """The picture of one plane at one step.

    Parameters
    ----------
    path : Path
    step : int
    plane : {"axial", "coronal", "sagittal"}
    views : tuple of SampleView
    """

    path: Path
    step: int
    plane: Plane
    views: tuple[SampleView, ...]


def write_samples(
    folder: Path, step: int, slices: Sequence[SampleSlice], outputs: Sequence[NDArray[Any]], labels: Sequence[Label]
) -> SampleFile:
    """Draw the samples of one plane into ``step_000285_axial.png``.

    Parameters
    ----------
    folder : Path
    step : int
    slices : sequence of SampleSlice
        Of one plane, at least one.
    outputs : sequence of (H, W) integers
        Classes.
    labels : sequence of Label
        Of class 1 on.
    """
    from PIL.PngImagePlugin import PngInfo

    plane, colours = slices[0].plane, [label.colour for label in labels]
    views, rows = [], []
    for one, output in zip(slices, outputs, strict=True):
        result, there = score(output, one.reference), coloured(output, colours)
        wrong = differing(output, one.reference)
        views.append(SampleView(one.case, one.index, result, picture_url(there), picture_url(wrong)))
        rows.append(_Row(one, result, (one.grey, coloured(one.reference, colours), there, wrong)))
    note = PngInfo()
    note.add_text(_KEY, json.dumps([asdict(view) for view in views]))
    path = folder / f"step_{step:06d}_{plane}.png"
    image = _draw(f"{plane} slices at step {step}", rows, labels)
    with atomic_path(path) as temporary:
        image.save(temporary, format="png", pnginfo=note)
    return SampleFile(path, step, plane, tuple(views))


def read_samples(folder: Path) -> list[SampleFile]:
    """Read the pictures of a folder back, in order of steps; files that are something else are left out.

    Parameters
    ----------
    folder : Path
    """
    from PIL import Image

    found = []
    for path in sorted(folder.glob("step_*.png")):
        named = _NAME.fullmatch(path.name)
        if named is None:
            continue
        plane = next(plane for plane in PLANES if plane == named[2])
        try:
            with Image.open(path) as image:
                views = tuple(_view(entry) for entry in json.loads(image.info[_KEY]))
        except (OSError, ValueError, LookupError, TypeError, SyntaxError):  # SyntaxError: Pillow, of a damaged PNG
            continue
        found.append(SampleFile(path, int(named[1]), plane, views))
    return sorted(found, key=lambda file: (file.step, PLANES.index(file.plane)))


def remove_samples(folder: Path, *, after: int) -> None:
    """Remove the pictures of later steps: a crash has undone them.

    Parameters
    ----------
    folder : Path
    after : int
        The last step whose pictures stay; -1 removes all.
    """
    for path in folder.glob("step_*.png"):
        named = _NAME.fullmatch(path.name)
        if named is not None and int(named[1]) > after:
            path.unlink()


def _view(entry: dict[str, Any]) -> SampleView:
    pictures = entry["output"], entry["differing"]
    if not all(isinstance(url, str) and url.startswith("data:image/png;base64,") for url in pictures):
        raise ValueError("not pictures")
    dice, count = entry["score"]["dice"], int(entry["score"]["differing"])
    found = Score(None if dice is None else float(dice), count)
    return SampleView(str(entry["case"]), int(entry["index"]), found, *pictures)


@dataclass(frozen=True, eq=False)
class _Row:
    """A slice, its score, and its pictures in the order of `COLUMNS`."""

    slice: SampleSlice
    score: Score
    pictures: tuple[NDArray[np.uint8], ...]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of each picture: whole multiples of the pixels where these are square."""
        height, width = self.slice.grey.shape
        mm = np.array(self.slice.pixel_mm)
        tall, wide = np.array([height, width]) * mm / mm.min()
        factor = _TILE / max(tall, wide)
        factor = float(round(factor)) if factor >= 1 else factor
        return max(1, round(tall * factor)), max(1, round(wide * factor))


def _draw(title: str, rows: Sequence[_Row], labels: Sequence[Label]) -> Any:
    from PIL import Image, ImageDraw

    column = max(row.size[1] for row in rows) + _GAP
    width = max(len(COLUMNS) * column + _GAP, 560)
    legend = [(plain(label.name), label.colour) for label in labels[:_MOST_NAMED]]
    if len(labels) > _MOST_NAMED:
        legend.append((f"and {len(labels) - _MOST_NAMED} more", _BACKGROUND))
    meanings = [(text, AGREEMENT_COLOURS[value]) for value, text in DIFFERENCES.items()]
    font = _font()
    lines = [*_wrapped(legend, width, font), *_wrapped(meanings, width, font)]
    height = 2 * _LINE + sum(row.size[0] + _LINE + _GAP for row in rows) + _LINE * len(lines) + _GAP
    image = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.text((_GAP, 4), title, fill=_TEXT, font=font)
    for number, name in enumerate(COLUMNS):
        draw.text((_GAP + number * column, _LINE + 2), name, fill=_TEXT, font=font)
    top = 2 * _LINE
    for row in rows:
        draw.text((_GAP, top + 2), plain(f"{row.slice.title}: {row.score.text}"), fill=_FAINT, font=font)
        for number, tile in enumerate(_tiles(row)):
            image.paste(tile, (_GAP + number * column, top + _LINE))
        top += row.size[0] + _LINE + _GAP
    for line in lines:
        for x, name, colour in line:
            draw.rectangle((x, top + 5, x + 11, top + 16), fill=colour)
            draw.text((x + 18, top + 2), name, fill=_TEXT, font=font)
        top += _LINE
    return image


def _tiles(row: _Row) -> list[Any]:
    from PIL import Image

    grey, reference, output, wrong = map(Image.fromarray, row.pictures)
    dark = Image.fromarray(darker(row.pictures[0])).convert("RGBA")
    tiles = []
    for ground, top in ((grey, None), (None, reference), (None, output), (dark, wrong)):
        tile = Image.new("RGBA", grey.size, (0, 0, 0, 255)) if ground is None else ground.convert("RGBA")
        if top is not None:
            tile.alpha_composite(top)
        height, width = row.size
        tiles.append(tile.convert("RGB").resize((width, height), Image.Resampling.NEAREST))
    return tiles


def _wrapped(
    entries: Sequence[tuple[str, tuple[int, int, int]]], width: int, font: FreeTypeFont
) -> list[list[tuple[int, str, tuple[int, int, int]]]]:
    """Put the entries of a legend into lines, each with its distance from the left."""
    lines: list[list[tuple[int, str, tuple[int, int, int]]]] = [[]]
    x = _GAP
    for name, colour in entries:
        needed = 18 + round(font.getlength(name)) + 2 * _GAP
        if lines[-1] and x + needed > width:
            lines.append([])
            x = _GAP
        lines[-1].append((x, name, colour))
        x += needed
    return lines


def _font() -> FreeTypeFont:
    """Return the font that comes with matplotlib; it has more letters than Pillow's own."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), _LETTERS)
