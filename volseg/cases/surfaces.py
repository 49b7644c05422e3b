"""From a file to meshes: read it, extract its surfaces."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volseg.cases.outputs import LABELS, PROBABILITIES
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.errors import AmbiguousError, GeometryError, InputError, VolsegError, at
from volseg.files.names import case_name
from volseg.io import Catalogue, read, read_channels, read_label_layers
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

    Parameters
    ----------
    path : path
        A label map file, or a folder of masks.
    labels : path, optional
        Table of label names and colours.
    image : Volume, optional
        The scan that was segmented; contours and labels on a single slice need it.
    only : sequence of str, optional
        Which labels, by name, value or pattern.
    series : str, optional
        Which volume of a file with several.
    settings : SurfaceSettings, optional

    Returns
    -------
    list of Mesh
        World mm, RAS+; at least one.

    Raises
    ------
    InputError
        The file cannot be read as a label map, there is not a single voxel of a label, or it is noise.
    GeometryError
        Its labels lie on a single slice; says what would help.
    """
    file, chosen = Path(path), settings or SurfaceSettings()
    try:
        layers = read_label_layers(file, labels=labels, image=image, only=only, series=series)
        check_labels(layers, file)
    except InputError as error:
        if _is_scan(file):
            raise InputError(f"{error}; {_ADVICE}") from error
        raise
    if advice := one_slice_advice(layers, Catalogue(file), image=image):
        raise GeometryError(advice)
    if chosen.print_ready and len(layers) > 1:
        layers = (solid_of(layers),)
    meshes = []
    for layer in layers:
        meshes += _surfaces_of_layer(layer, file, chosen)
    if not meshes:
        raise _all_background(layers, file)
    return meshes


def _all_background(layers: Sequence[LabelMap], path: Path) -> InputError:
    names = []
    for layer in layers:
        names += [label.name for label in layer.labels]
    told = ", ".join(names) or "none"
    return InputError(f"{path}: every voxel is background, so there is no surface (labels by name: {told})")


def _surfaces_of_layer(layer: LabelMap, path: Path, settings: SurfaceSettings) -> list[Mesh]:
    sharp = None if settings.of_labels_alone else kept_probabilities(path, layer)
    with at(path):
        return extract_surfaces(layer, settings, probabilities=sharp)


def kept_probabilities(path: Path, labels: LabelMap) -> list[NDArray[Any]] | None:
    """Read the probabilities that a prediction has kept beside its label map.

    Parameters
    ----------
    path : Path
        Of the label map; only beside ``labels.nii.gz`` there can be any.
    labels : LabelMap
        Labels of it, or all.

    Returns
    -------
    list of (I, J, K) arrays, or None
        Of these labels, then of the others in the file. None if there are none, or (with a warning) those of other
        labels or of another grid.
    """
    file, table = path.with_name(PROBABILITIES), sidecar_path(path)
    if path.name != LABELS or not file.is_file():
        return None
    known = read_label_table(table) if table.is_file() else labels.labels
    volumes = read_channels([file])
    arrays = {}
    for label, volume in zip(known, volumes, strict=False):
        arrays[label.value] = volume.array
    wanted = [label.value for label in labels.labels]
    are_known = len(volumes) == len(known) and set(wanted) <= arrays.keys()
    if not are_known or not volumes[0].grid.is_close(labels.grid):
        _LOG.warning("%s: is not of the labels beside it; the surfaces are made without it", file)
        return None
    first = [arrays.pop(value) for value in wanted]
    return [*first, *arrays.values()]


def surface_of_scan(
    path: str | Path,
    threshold: float,
    *,
    series: str | None = None,
    strict: bool = False,
    settings: SurfaceSettings | None = None,
) -> Mesh:
    """Read a scan and extract the surface on which it has a value; see `read` and `extract_isosurface`.

    Parameters
    ----------
    path : path
        A scan, as for `volseg.read`.
    threshold : float
        The value, in the scan's unit.
    series : str, optional
        Which series or volume, where there are several.
    strict : bool
        Refuse a scan that would have to be repaired.
    settings : SurfaceSettings, optional

    Returns
    -------
    Mesh
        World mm, RAS+.
    """
    volume = read(path, series=series, strict=strict)
    name = volume.name or case_name(path)
    with at(path):
        return extract_isosurface(volume, threshold, settings, name=name)


def _is_scan(path: Path) -> bool:
    """Whether a file that is not a label map can be read as a scan."""
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
