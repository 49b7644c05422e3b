"""The templates filled in: HTML files with everything in them. All texts are escaped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from statistics import median
from typing import Any
from urllib.parse import quote_from_bytes

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from volseg._version import __version__
from volseg.files.page_theme import THEME_STYLE
from volseg.files.plain_text import plain
from volseg.files.script_data import script_data
from volseg.files.tables import as_cell
from volseg.reporting.case_view import CaseView
from volseg.reporting.pictures import Picture
from volseg.reporting.ratings import Rating
from volseg.reporting.rows import Row, label_names, shown_labels, table, told
from volseg.view.doubt_map import doubt_colours
from volseg.webpage.structures import volume_text

_RATINGS = ("good", "minor", "bad")


class Pages:
    """Writes the pages of a report, as texts."""

    @cached_property
    def _environment(self) -> Environment:
        environment = Environment(
            loader=PackageLoader("volseg.reporting", "assets"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=lambda value: plain(value) if type(value) is str else value,
        )
        environment.filters.update(number=number, ml=lambda ml: volume_text(ml).removesuffix(" ml"))
        environment.globals.update(
            version=__version__, style=self._style, ratings=_RATINGS, clock=time.strftime("%Y-%m-%d %H:%M")
        )
        return environment

    @cached_property
    def _style(self) -> Markup:
        return Markup(THEME_STYLE + _asset("report.css"))

    def case(self, view: CaseView, rating: Rating | None) -> str:
        """Return the page of a case.

        Parameters
        ----------
        view : CaseView
        rating : Rating, optional
        """
        content = {"case": view.case, "labels": view.rated_labels, "version": __version__, "rating": _rating(rating)}
        return self._environment.get_template("case.html").render(
            view=view, doubt_gradient=_gradient(), content=_data(content), script=_script("case.js")
        )

    def index(self, title: str, rows: Sequence[Row], thumbnails: Mapping[str, Picture]) -> str:
        """Return the page of the cohort.

        Parameters
        ----------
        title : str
        rows : sequence of Row
            In order.
        thumbnails : dict of str to Picture
            By case.
        """
        labels = shown_labels(rows)
        columns, lines = table(rows)
        cells = [[as_cell(cell) if isinstance(cell, str) else cell for cell in line] for line in lines]
        content = {
            "version": __version__,
            "rows": [_index_row(row, labels) for row in rows],
            "table": {"columns": list(map(as_cell, columns)), "cells": cells},
            "cases": [told(row) for row in rows],
        }
        known = [row.expected_dice for row in rows if row.expected_dice is not None]
        return self._environment.get_template("index.html").render(
            title=title,
            rows=rows,
            labels=labels,
            hidden_labels=len(label_names(rows)) - len(labels),
            thumbnails=thumbnails,
            failed=sum(bool(row.error) for row in rows),
            flagged=sum(bool(row.flags) for row in rows),
            median_dice=median(known) if known else None,
            address=address,
            content=_data(content),
            script=_script("index.js"),
        )


def address(case: str) -> str:
    """Return the address of the page of a case, seen from the index.

    Parameters
    ----------
    case : str
    """
    return f"cases/{quote_from_bytes(case.encode('utf-8', 'surrogateescape'))}.html"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number for a cell.

    Parameters
    ----------
    value : float or None
    digits : int
    """
    return "–" if value is None else f"{value:.{digits}f}"


def _index_row(row: Row, labels: Sequence[str]) -> dict[str, Any]:
    volumes = {volume.label: volume.ml for volume in row.volumes}
    sort = [row.case, row.expected_dice, len(row.flags) + 100 * row.serious + 1000 * bool(row.error)]
    return {
        "case": row.case,
        "labels": row.rated_labels,
        "flagged": bool(row.flags or row.error),
        "sort": [*sort, *(volumes.get(name) for name in labels)],
        "rating": _rating(row.rating),
    }


def _gradient() -> str:
    """Return the colours of doubt as a background for CSS, on the black that their opacity lets through."""
    colours = [
        f"rgb({red} {green} {blue} / {opacity / 255:.2f})" for red, green, blue, opacity in doubt_colours()[::15]
    ]
    return f"linear-gradient(to right, {', '.join(colours)}), #000"


def _rating(rating: Rating | None) -> dict[str, str] | None:
    return None if rating is None else rating.model_dump(exclude={"case", "labels"})


def _data(content: dict[str, Any]) -> Markup:
    return Markup(script_data(content))


def _script(name: str) -> Markup:
    return Markup(_asset("common.js") + _asset(name))


def _asset(name: str) -> str:
    return (resources.files("volseg.reporting") / "assets" / name).read_text(encoding="utf-8")
