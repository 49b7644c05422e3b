"""volseg: stacks of CT and MR slices to segmentations and 3D surfaces.

Everything here, modules such as `volseg.view` too, is loaded when first used, so that ``import volseg`` is quick::

    import volseg

    scan = volseg.read("scan.nii.gz")                     # or a folder of DICOM slices
    model = volseg.load_model("runs/hippocampus")
    labels = volseg.predict(model, scan).labels           # on the scan's own grid
    volseg.write(labels, "labels.nii.gz")
    surfaces = volseg.extract_surfaces(labels)            # world mm
"""

from __future__ import annotations

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from volseg._version import __version__ as __version__

if TYPE_CHECKING:
    from volseg.config import Config, load_config
    from volseg.conversion import convert
    from volseg.core.grid import Grid
    from volseg.core.labelmap import Label, LabelMap
    from volseg.core.mesh import Mesh
    from volseg.core.volume import Volume
    from volseg.errors import VolsegError
    from volseg.evaluation import Evaluation, evaluate
    from volseg.inspection import inspect
    from volseg.io import read, read_all, read_labels, write
    from volseg.io.mesh import write_mesh, write_meshes
    from volseg.network.file import Model, load_model, save_model
    from volseg.prediction.inference import Prediction, predict
    from volseg.reporting import report
    from volseg.surface import SurfaceSettings, extract_isosurface, extract_surfaces, measure
    from volseg.training.loop import train
    from volseg.verification import Verification, verify
    from volseg.webpage import Page, page

_HOMES = {
    "Config": "config",
    "Evaluation": "evaluation",
    "Grid": "core.grid",
    "Label": "core.labelmap",
    "LabelMap": "core.labelmap",
    "Mesh": "core.mesh",
    "Model": "network.file",
    "Page": "webpage",
    "Prediction": "prediction.inference",
    "SurfaceSettings": "surface",
    "Verification": "verification",
    "Volume": "core.volume",
    "VolsegError": "errors",
    "convert": "conversion",
    "evaluate": "evaluation",
    "extract_isosurface": "surface",
    "extract_surfaces": "surface",
    "inspect": "inspection",
    "load_config": "config",
    "load_model": "network.file",
    "measure": "surface",
    "page": "webpage",
    "predict": "prediction.inference",
    "read": "io",
    "read_all": "io",
    "read_labels": "io",
    "report": "reporting",
    "save_model": "network.file",
    "train": "training.loop",
    "verify": "verification",
    "write": "io",
    "write_mesh": "io.mesh",
    "write_meshes": "io.mesh",
}

__all__ = [
    "Config",
    "Evaluation",
    "Grid",
    "Label",
    "LabelMap",
    "Mesh",
    "Model",
    "Page",
    "Prediction",
    "SurfaceSettings",
    "Verification",
    "VolsegError",
    "Volume",
    "convert",
    "evaluate",
    "extract_isosurface",
    "extract_surfaces",
    "inspect",
    "load_config",
    "load_model",
    "measure",
    "page",
    "predict",
    "read",
    "read_all",
    "read_labels",
    "report",
    "save_model",
    "train",
    "verify",
    "write",
    "write_mesh",
    "write_meshes",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"volseg.{_HOMES[name]}"), name)
    if name in _submodules():
        return import_module(f"volseg.{name}")
    raise AttributeError(f"module 'volseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_submodules()})


def _submodules() -> set[str]:
    return {module.name for module in iter_modules(__path__) if not module.name.startswith("_")}


def _show_in_notebook() -> None:
    """Have IPython show volumes, label maps, meshes, predictions and evaluations with a picture, if it runs."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    if get_shell is not None and (shell := get_shell()) is not None:
        from volseg.notebook import register

        register(shell.display_formatter.formatters["text/html"])


_show_in_notebook()
