"""Volumes, label maps, meshes, predictions and evaluations as a small picture and a table in a notebook.

``import volseg`` in a notebook switches it on. The classes themselves know nothing of it: they lie in rooms below those
that draw, and IPython can be told how to show a class by its name. The pictures are still, and need neither WebGL nor
VTK; for a page to turn and scroll see `volseg.page`.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap, count_values
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.files.plain_text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from volseg.evaluation import Evaluation
    from volseg.prediction.inference import Prediction

_WIDTH = 640
_SLICES = 6
_MOST_ROWS = 60
# From the front, a little from above, as `volseg.view` draws it: towards the viewer, mm RAS.
_TOWARDS = np.array([-0.4, 1.0, 0.45]) / np.linalg.norm([-0.4, 1.0, 0.45])


def register(formatter: Any) -> None:
    """Tell IPython's formatter of HTML how to show each class; none of their modules is loaded now.

    Parameters
    ----------
    formatter : IPython.core.formatters.HTMLFormatter
    """
    for module, name, shown in (
        ("volseg.core.volume", "Volume", html_of_volume),
        ("volseg.core.labelmap", "LabelMap", html_of_labels),
        ("volseg.core.mesh", "Mesh", html_of_mesh),
        ("volseg.prediction.inference", "Prediction", html_of_prediction),
        ("volseg.evaluation.result", "Evaluation", html_of_evaluation),
    ):
        formatter.for_type_by_name(module, name, shown)


def html_of_volume(volume: Volume) -> str:
    """Show slices of a scan, and its grid and values.

    Parameters
    ----------
    volume : Volume
    """
    from volseg.view import draw_contact_sheet

    unit = volume.unit or ""
    facts = [
        ("name", volume.name or "–"),
        ("modality", volume.modality or "–"),
        ("grid", volume.grid.describe()),
        ("values", f"{volume.array.min():g} to {volume.array.max():g} {unit} ({volume.array.dtype})"),
    ]
    return _picture(draw_contact_sheet(volume, None, slices=_SLICES, width=_WIDTH)) + _table([], facts)


def html_of_labels(labels: LabelMap) -> str:
    """Show slices of a label map, and the volume of each label.

    Parameters
    ----------
    labels : LabelMap
    """
    from volseg.view import draw_contact_sheet

    picture = _picture(draw_contact_sheet(None, labels, slices=_SLICES, width=_WIDTH))
    return picture + _volumes(labels) + _line(labels.grid)


def html_of_prediction(prediction: Prediction) -> str:
    """Show what was predicted, whether the probabilities were kept, and how far it is in doubt.

    Parameters
    ----------
    prediction : Prediction
    """
    lines = ["probabilities: " + ("kept" if prediction.probabilities is not None else "not kept")]
    if prediction.doubt is not None:
        lines.append(prediction.doubt.describe())
    return html_of_labels(prediction.labels) + "".join(f"<div>{html.escape(line)}</div>" for line in lines)


def html_of_mesh(mesh: Mesh) -> str:
    """Show a surface from the front, and its size.

    Parameters
    ----------
    mesh : Mesh
    """
    facts = [("name", mesh.name), ("triangles", f"{len(mesh.faces):,}"), ("vertices", f"{len(mesh.vertices):,}")]
    if not len(mesh.faces):
        return _table([], facts)
    size = "×".join(f"{mm:.1f}" for mm in np.ptp(mesh.bounds, axis=0))
    facts += [("extent", f"{size} mm"), ("area", f"{mesh.area_mm2 / 100:.4g} cm²")]
    facts.append(("volume", f"{mesh.volume_mm3 / 1000:.4g} ml" if mesh.is_closed else "open surface"))
    return _picture(_draw_mesh(mesh)) + _table([], facts)


def html_of_evaluation(evaluation: Evaluation) -> str:
    """Show the mean of each metric over cases, a row for each label.

    Parameters
    ----------
    evaluation : Evaluation
    """
    from volseg.evaluation.scores import METRICS

    headings = ["label", *(metric.title for metric in METRICS.values())]
    rows = []
    for entry in evaluation.summary:
        texts = [metric.text(entry.statistics[name].mean) for name, metric in METRICS.items()]
        rows.append([entry.label, *texts])
    overall = evaluation.class_mean_dice
    told = f"class-mean Dice {overall.mean:.3f} over {overall.n} case{'s' if overall.n != 1 else ''}"
    if evaluation.failures:
        told += f"; {len(evaluation.failures)} failed"
    return _table(headings, rows) + f"<div>{html.escape(told)}</div>"


def _volumes(labels: LabelMap) -> str:
    counts = count_values(labels.array)
    rows = []
    for label in labels.labels[:_MOST_ROWS]:
        ml = counts[label.value] * labels.grid.voxel_volume_mm3 / 1000
        rows.append([str(label.value), label.name, f"{ml:,.4g}"])
    if len(labels.labels) > _MOST_ROWS:
        rows.append(["", f"and {len(labels.labels) - _MOST_ROWS} more", ""])
    return _table(["value", "label", "ml"], rows)


def _line(grid: Grid) -> str:
    return f"<div>{html.escape(grid.describe())}</div>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts, which are escaped."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in headings)
    body = ""
    for row in rows:
        body += "<tr>" + "".join(f"<td>{html.escape(plain(text))}</td>" for text in row) + "</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _picture(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpg", dpi=figure.dpi, pil_kwargs={"quality": 80})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{data}" style="max-width:100%">'


def _draw_mesh(mesh: Mesh) -> Figure:
    """Draw triangles from the farthest to the nearest, lighter where they face the viewer."""
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    right = np.cross([0, 0, 1], _TOWARDS)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(_TOWARDS, right), _TOWARDS])
    corners = (mesh.vertices @ axes.T)[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = np.abs(normals[:, 2]) / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
    order = np.argsort(corners[:, :, 2].mean(axis=1))
    colours = (0.3 + 0.7 * facing[order, None]) * np.array(mesh.colour) / 255
    figure = Figure(figsize=(3.2, 2.4), dpi=100)
    plot = figure.add_axes((0, 0, 1, 1))
    plot.set_axis_off()
    plot.set_aspect("equal")
    plot.add_collection(PolyCollection(list(corners[order, :, :2]), facecolors=colours, edgecolors=colours))
    plot.autoscale_view()
    return figure
