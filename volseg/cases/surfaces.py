"""From a file to meshes: read it, extract its surfaces."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, GeometryError, InputError, VolsegError
from volseg.files.names import case_name
from volseg.io import read, read_channels, read_label_layers
from volseg.io.labels import check_labels, is_even, one_slice_advice, read_label_table, sidecar_path
from volseg.surface.extract import extract_isosurface, extract_surfaces
from volseg.surface.settings import SurfaceSettings
from volseg.surface.solid import solid_of

_LOG = logging.getLogger(__name__)
_ADVICE = "the surface of a scan needs --threshold VALUE"


def surfaces_of_labels(
    path: str | Path,
    *,
    labels: str | Path | None = None,
    image: Volume | None = None,
    only: Sequence[str] | None = None,
    series: str | None = None,
    settings: SurfaceSettings | None = None,
) -> list[Mesh]:
    """Read a label map file and extract the surfaces of its labels; see `read_label_layers` and `extract_surfaces`.

    The probabilities that `volseg predict` has kept beside a label map are used, but not for shared walls or a solid.

    Raises
    ------
    InputError
        The file cannot be read as a label map, there is not a single voxel of a label, or it is noise.
    GeometryError
        Its labels lie on a single slice; says what would help.
    """
    try:
        layers = read_label_layers(path, labels=labels, image=image, only=only, series=series)
        check_labels(layers, Path(path))
    except InputError as error:
        if _is_scan(Path(path)):
            raise InputError(f"{error}; {_ADVICE}") from error
        raise
    if advice := one_slice_advice(layers, Path(path), image=image):
        raise GeometryError(advice)
    chosen = settings or SurfaceSettings()
    if chosen.print_ready and len(layers) > 1:
        layers = (solid_of(layers),)
    meshes = []
    for layer in layers:
        sharp = None if chosen.of_labels_alone else kept_probabilities(Path(path), layer)
        try:
            meshes += extract_surfaces(layer, chosen, probabilities=sharp)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    if not meshes:
        names = ", ".join(label.name for layer in layers for label in layer.labels) or "none"
        raise InputError(f"{path}: every voxel is background, so there is no surface (labels by name: {names})")
    return meshes


def kept_probabilities(path: Path, labels: LabelMap) -> list[NDArray[Any]] | None:
    """Read ``probabilities.nii.gz`` beside the ``labels.nii.gz`` of a prediction: of these labels, then of its others.

    None where there is none, or it is of other labels.
    """
    file, table = path.with_name("probabilities.nii.gz"), sidecar_path(path)
    if path.name != "labels.nii.gz" or not file.is_file():
        return None
    values = [label.value for label in (read_label_table(table) if table.is_file() else labels.labels)]
    volumes = read_channels([file])
    wanted = [label.value for label in labels.labels]
    if len(volumes) != len(values) or not set(wanted) <= set(values) or not volumes[0].grid.is_close(labels.grid):
        _LOG.warning("%s: is not of the labels beside it; the surfaces are made without it", file)
        return None
    order = [*wanted, *(value for value in values if value not in wanted)]
    return [volumes[values.index(value)].array for value in order]


def surface_of_scan(
    path: str | Path,
    threshold: float,
    *,
    series: str | None = None,
    strict: bool = False,
    settings: SurfaceSettings | None = None,
) -> Mesh:
    """Read a scan and extract the surface on which it has a value; see `read` and `extract_isosurface`."""
    volume = read(path, series=series, strict=strict)
    name = volume.name or case_name(path)
    try:
        return extract_isosurface(volume, threshold, settings, name=name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _is_scan(path: Path) -> bool:
    """Whether a file that is no label map can be read as a scan."""
    try:
        volume = read(path)
    except AmbiguousError:
        return True
    except VolsegError:
        return False
    fractions = volume.array.min() < 0 or np.any(volume.array % 1)
    if volume.modality is not None or fractions:
        return True
    return not is_even(volume.array, volume.grid.spacing, count=len(np.unique(volume.array)))
