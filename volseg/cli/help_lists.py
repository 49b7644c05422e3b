"""Lists in help texts, from the tables that hold them.

A help text names a table and a list in braces, as in ``{mesh.formats}; several by commas``. The table is loaded only
when that help is shown, so that ``volseg --help`` stays quick.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from typer.core import TyperCommand

_NAMED = re.compile(r"\{(\w+)\.(\w+)\}")


def _mesh_lists() -> dict[str, str]:
    from volseg.io.mesh import MESH_FORMATS, MESH_SUFFIXES

    rows = MESH_FORMATS.values()
    return {
        "formats": ", ".join(MESH_FORMATS),
        "suffixes": ", ".join(MESH_SUFFIXES),
        "named": _and(row.suffix for row in rows if row.named),
        "together": _and(row.suffix for row in rows if row.together),
        "framed": _and(row.name.upper() for row in rows if row.frame),
    }


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _image_lists() -> dict[str, str]:
    from volseg.files.names import IMAGE_NAMES, SCAN_SUFFIXES

    return {
        "names": IMAGE_NAMES,
        "suffixes": ", ".join(SCAN_SUFFIXES),
        "formats": ", ".join(suffix.removeprefix(".") for suffix in SCAN_SUFFIXES),
    }


def _label_lists() -> dict[str, str]:
    from volseg.io import LABEL_FORMS

    return {"forms": ", ".join(LABEL_FORMS)}


def _config_lists() -> dict[str, str]:
    from volseg.config import PRESETS

    return {"presets": f"{', '.join(PRESETS[:-1])} or {PRESETS[-1]}"}


def _score_lists() -> dict[str, str]:
    from volseg.evaluation.scores import METRICS

    metrics = []
    for name, row in METRICS.items():
        metrics.append(f"{name}: {row.definition}" if row.definition else name)
    return {"metrics": "; ".join(metrics)}


def _training_lists() -> dict[str, str]:
    from volseg.training.trackers import TRACKERS

    *first, last = TRACKERS
    return {"trackers": f"{', '.join(first)} or {last}"}


def _view_lists() -> dict[str, str]:
    from volseg.view.turntable import TURNTABLE_SUFFIXES

    return {"turntables": " or ".join(TURNTABLE_SUFFIXES)}


_TABLES: dict[str, Callable[[], dict[str, str]]] = {
    "config": _config_lists,
    "images": _image_lists,
    "labels": _label_lists,
    "mesh": _mesh_lists,
    "scores": _score_lists,
    "training": _training_lists,
    "view": _view_lists,
}


class ListingCommand(TyperCommand):
    """A command whose help has lists from tables."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help, with the lists in it."""
        self._fill_in()
        super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete a word; some shells show the help of each option too."""
        self._fill_in()
        return super().shell_complete(ctx, incomplete)

    def _fill_in(self) -> None:
        shown: Any
        for shown in (self, *self.params):
            shown.help = _NAMED.sub(_list_named, shown.help or "")


def _list_named(found: re.Match[str]) -> str:
    return _TABLES[found[1]]()[found[2]]
