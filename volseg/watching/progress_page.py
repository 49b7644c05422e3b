"""The page of a training run: how far it is, its curves and its samples, in one HTML file that needs no network."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any, Literal

import numpy as np

from volseg._version import __version__
from volseg.core.agreement import AGREEMENT_COLOURS
from volseg.core.labelmap import Colour, Label
from volseg.core.planes import Plane
from volseg.files.page_theme import THEME_STYLE
from volseg.files.plain_text import plain
from volseg.files.script_data import script_data
from volseg.watching.chart import Line, draw_chart
from volseg.watching.curve_picture import LOSS_COLOURS
from volseg.watching.curves import Curve, Curves
from volseg.watching.sample_picture import COLUMNS, SampleFile
from volseg.watching.samples import DIFFERENCES, SampleSlice, coloured, darker, picture_url
from volseg.watching.verdict import Verdict

_MOST_BYTES = 6_000_000  # of all outputs in a page
_MEAN_COLOUR = "var(--text)"

State = Literal["training", "finished", "stopped"]


@dataclass(frozen=True)
class Card:
    """A number that is seen first.

    Parameters
    ----------
    heading, value, note : str
    """

    heading: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Summary:
    """What the page says in words.

    Parameters
    ----------
    title : str
    state : {"training", "finished", "stopped"}
        A page of a training that goes on loads itself again.
    cards : tuple of Card
    verdict : Verdict, optional
        What the curves say.
    facts : tuple of str
        How it is trained.
    """

    title: str
    state: State
    cards: tuple[Card, ...]
    verdict: Verdict | None
    facts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Album:
    """The slices that are looked at, as far as their pictures do not change.

    Parameters
    ----------
    rows : dict of plane to str
        HTML of the rows of a table.
    labels : tuple of Label
        Of class 1 on.
    learnt : bool
        Whether the slices are of training cases, as none is held out.
    """

    rows: Mapping[Plane, str]
    labels: tuple[Label, ...]
    learnt: bool

    @classmethod
    def of(cls, slices: Mapping[Plane, Sequence[SampleSlice]], labels: Sequence[Label], *, learnt: bool) -> Album:
        """Draw once what does not change.

        Parameters
        ----------
        slices : dict of plane to slices
        labels, learnt
            As above.
        """
        colours, rows = [label.colour for label in labels], {}
        for plane, some in slices.items():
            rows[plane] = "\n".join(_still(one, colours) for one in some)
        return cls(rows, tuple(labels), learnt)


def _still(one: SampleSlice, colours: Sequence[Colour]) -> str:
    shape = f'style="aspect-ratio:{one.proportion:.4f}"'
    grey, dark = picture_url(one.grey), picture_url(darker(one.grey))
    reference = picture_url(coloured(one.reference, colours))
    title = html.escape(plain(one.title))
    return (
        f'<tr><td class="about" colspan="4">{title}: <output></output></td></tr><tr>'
        f'<td><div class="tile" {shape}><img alt="input" src="{grey}"></div></td>'
        f'<td><div class="tile" {shape}><img alt="reference" src="{reference}"></div></td>'
        f'<td><div class="tile" {shape}><img alt="output" class="output"></div></td>'
        f'<td><div class="tile" {shape}><img alt="" src="{dark}"><img alt="differing" class="differing"></div></td>'
        "</tr>"
    )


def held_out_cases(count: int) -> str:
    """Say how many cases are held out.

    Parameters
    ----------
    count : int
    """
    return f"{count or 'no'} held-out case{'' if count == 1 else 's'}"


def write_page(summary: Summary, curves: Curves, album: Album, files: Sequence[SampleFile]) -> str:
    """Return the text of the page.

    Parameters
    ----------
    summary : Summary
    curves : Curves
    album : Album
    files : sequence of SampleFile
        All steps; where they would make the page too large, some steps are left out.
    """
    assets = resources.files("volseg.watching") / "assets"
    steps = _steps(files)
    kept = _thinned(steps)
    note = "" if len(kept) == len(steps) else f"{len(kept)} of {len(steps)} steps are in this page, to keep it small; "
    return Template((assets / "progress.html").read_text(encoding="utf-8")).substitute(
        version=__version__,
        title=html.escape(plain(summary.title)),
        state=summary.state,
        written=f"{time.time():.0f}",
        clock=html.escape(time.strftime("%Y-%m-%d %H:%M:%S")),
        cards="\n".join(map(_card, summary.cards)),
        verdict=_said(summary.verdict),
        facts=html.escape(plain(" · ".join(summary.facts))),
        charts="\n".join(_charts(curves, album.labels)),
        scores=_scores(curves, album.labels),
        samples="\n".join(_plane(plane, rows) for plane, rows in album.rows.items()),
        legend=_legend(album.labels),
        what="training" if album.learnt else "held-out",
        note=html.escape(note),
        content=script_data({"steps": kept}),
        style=THEME_STYLE + (assets / "progress.css").read_text(encoding="utf-8"),
        script=(assets / "progress.js").read_text(encoding="utf-8"),
    )


def _steps(files: Sequence[SampleFile]) -> list[dict[str, Any]]:
    """Return what a script needs of each step: by plane the texts and pictures of its slices."""
    steps: dict[int, dict[str, Any]] = {}
    for file in files:
        views = [[view.score.text, view.output, view.differing] for view in file.views]
        steps.setdefault(file.step, {})[file.plane] = views
    return [{"step": step, "planes": planes} for step, planes in sorted(steps.items())]


def _thinned(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep every second, third ... step, and the last one, so that the page stays small."""
    size = len(json.dumps(steps))
    stride = max(1, -(-size // _MOST_BYTES))
    return list(reversed(steps[::-1][::stride]))


def _said(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    command = f" <code>{html.escape(verdict.command)}</code>" if verdict.command else ""
    return html.escape(plain(verdict.text)) + command


def _card(card: Card) -> str:
    heading, value, note = (html.escape(plain(text)) for text in (card.heading, card.value, card.note))
    return f'<div class="card"><span>{heading}</span><strong>{value}</strong><small>{note}</small></div>'


def _charts(curves: Curves, labels: Sequence[Label]) -> list[str]:
    last, charts = curves.last_step, list[str]()
    if curves.losses:
        lines = []
        for raw, smooth, colour in zip(curves.losses, curves.smooth_losses, LOSS_COLOURS, strict=False):
            lines += [Line(raw, colour, "raw"), Line(smooth, colour, "smooth")]
        values = np.concatenate([curve.values for curve in curves.smooth_losses])
        high = float(np.max(values, where=np.isfinite(values), initial=0.0))
        names = [(f"{curve.name} loss", colour) for curve, colour in zip(curves.losses, LOSS_COLOURS, strict=False)]
        charts.append(_figure("Losses", draw_chart("losses", lines, last_step=last, high=1.05 * high), names))
    if curves.mean.steps.size:
        colours = {label.name: _css(label.colour) for label in labels}
        lines = [Line(curve, colours.get(curve.name, _MEAN_COLOUR), "label") for curve in curves.labels]
        lines.append(Line(curves.mean, _MEAN_COLOUR, "mean"))
        drawn = draw_chart("Dice of held-out cases", lines, last_step=last, high=1.0)
        charts.append(_figure("Dice of held-out cases", drawn, []))
    return charts or ["<p>No curves yet: the first come after a two-hundredth of the training.</p>"]


def _figure(title: str, drawn: str, names: Sequence[tuple[str, str]]) -> str:
    keys = "".join(f"<span>{_swatch(colour)}{html.escape(name)}</span>" for name, colour in names)
    return f"<figure><figcaption>{html.escape(title)}{keys}</figcaption>{drawn}</figure>"


def _scores(curves: Curves, labels: Sequence[Label]) -> str:
    """Return the table of Dice by label; empty before the first validation."""
    if not curves.mean.steps.size:
        return ""
    colours = {label.name: _css(label.colour) for label in labels}
    rows = [_score_row(curves.mean, _MEAN_COLOUR)]
    rows += [_score_row(curve, colours.get(curve.name, _MEAN_COLOUR)) for curve in curves.labels]
    head = "<th>Dice</th><th>now</th><th>before</th><th>first</th><th>best</th>"
    table = f'<table id="scores"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'{table}<p class="note">{html.escape(_about_cases(curves))}</p>'


def _about_cases(curves: Curves) -> str:
    """Say of how many cases the scores are, and that the last ones may be of others."""
    told = f"Of {held_out_cases(curves.cases[-1])}, before clean-up."
    same = curves.same_cases.last
    if len(curves.cases) < 2 or curves.cases[-1] == curves.cases[-2] or same is None:
        return told
    before = held_out_cases(curves.cases[-2])
    return f"{told} The validations before had {before} of these; on those the mean is now {same:.3f}."


def _score_row(curve: Curve, colour: str) -> str:
    values = curve.values
    finite = values[np.isfinite(values)]
    best = float(finite.max()) if finite.size else None
    before = float(values[-2]) if len(values) > 1 else None
    name = html.escape(plain(curve.name))
    numbers = "".join(f"<td>{_number(value)}</td>" for value in (float(values[-1]), before, float(values[0]), best))
    data = html.escape(curve.name, quote=True)
    return f'<tr data-name="{data}"><td>{_swatch(colour)}{name}</td>{numbers}</tr>'


def _number(value: float | None) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value:.3f}"


def _plane(plane: Plane, rows: str) -> str:
    head = f"<caption>{plane}</caption><thead><tr>{''.join(f'<th>{name}</th>' for name in COLUMNS)}</tr></thead>"
    return f'<table data-plane="{plane}">{head}<tbody>{rows}</tbody></table>'


def _legend(labels: Sequence[Label]) -> str:
    named = [(label.name, label.colour) for label in labels]
    named += [(text, AGREEMENT_COLOURS[value]) for value, text in DIFFERENCES.items()]
    return "".join(f"<span>{_swatch(_css(colour))}{html.escape(plain(name))}</span>" for name, colour in named)


def _swatch(colour: str) -> str:
    return f'<i style="background:{html.escape(colour, quote=True)}"></i>'


def _css(colour: Colour) -> str:
    return "rgb({} {} {})".format(*colour)
