from __future__ import annotations

import importlib
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import volseg
from volseg import notebook
from volseg.core.grid import Grid
from volseg.core.labelmap import Label, LabelMap
from volseg.phantoms import make_ct_phantom, sphere_labelmap
from volseg.prediction.doubt import Doubt, SliceDoubt
from volseg.prediction.inference import Prediction


class Formatter:
    """Remembers what it is told, as IPython's does."""

    def __init__(self) -> None:
        self.shown: dict[type, Any] = {}

    def for_type_by_name(self, module: str, name: str, shown: Any) -> None:
        self.shown[getattr(importlib.import_module(module), name)] = shown


@pytest.fixture
def formatter() -> Formatter:
    formatter = Formatter()
    notebook.register(formatter)
    return formatter


def test_every_class_has_a_picture_or_a_table(formatter: Formatter) -> None:
    phantom = make_ct_phantom(seed=1)
    (mesh,) = volseg.extract_surfaces(sphere_labelmap(Grid.from_spacing((24, 24, 24)), radius_mm=8))
    evaluation = volseg.evaluate(phantom.labels, phantom.labels)
    things = [phantom.volume, phantom.labels, mesh, Prediction(phantom.labels), evaluation]
    assert {type(thing) for thing in things} == set(formatter.shown)
    for thing in things:
        text = formatter.shown[type(thing)](thing)
        assert text.count("<table>") == 1
        pictures = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', text)
        assert len(pictures) == (0 if thing is evaluation else 1)
        assert sum(map(len, pictures)) < 120_000
    assert "class-mean Dice 1.000 over 1 case" in formatter.shown[type(evaluation)](evaluation)


def test_names_are_escaped() -> None:
    grid = Grid.from_spacing((6, 6, 6))
    labels = LabelMap(np.ones(grid.shape, np.uint8), grid, (Label(1, "<script>alert(1)</script>", (1, 2, 3)),))
    text = notebook.html_of_labels(labels)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_a_mesh_without_faces_is_a_table_alone() -> None:
    text = notebook.html_of_mesh(volseg.Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)))
    assert "<img" not in text
    assert "triangles" in text


def test_a_prediction_says_how_far_it_is_in_doubt() -> None:
    doubt = Doubt(0.861, (0.789, 0.912), 52, 0.9, 0.9, 40.0, (), (SliceDoubt("axial", 7, 0.5),))
    labels = sphere_labelmap(Grid.from_spacing((24, 24, 24)), radius_mm=8)
    text = notebook.html_of_prediction(Prediction(labels, doubt=doubt))
    assert "<div>expected Dice 0.86 [0.79, 0.91]; look at axial slice 7 first</div>" in text


def test_a_running_ipython_shows_pictures_from_the_import_on() -> None:
    pytest.importorskip("IPython")
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import numpy, volseg
grid = volseg.Grid.from_spacing((8, 8, 8))
shown, _ = shell.display_formatter.format(volseg.Volume(numpy.zeros(grid.shape), grid))
assert "<img" in shown["text/html"], shown
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
