"""From a path to meshes: which label maps are there, read them, extract their surfaces."""

from __future__ import annotations

from pathlib import Path

from volseg.errors import InputError
from volseg.io import read, read_labels
from volseg.io.names import case_name
from volseg.mesh import Mesh
from volseg.surface.extract import extract_isosurface, extract_surfaces

_LABELS_FILE = "labels.nii.gz"
_MOST_LABELS = 1000


def find_label_maps(path: str | Path) -> dict[str, Path]:
    """Find the label maps that a path stands for.

    Parameters
    ----------
    path : path
        A label map file, the output folder of one predicted case, or a folder of such folders.

    Returns
    -------
    dict of str to Path
        Case name to file. The name is empty where the path stands for one label map.

    Raises
    ------
    InputError
        A folder without label maps.
    """
    path = Path(path)
    if not path.is_dir():
        return {"": path}
    if (path / _LABELS_FILE).is_file():
        return {"": path / _LABELS_FILE}
    found = {file.parent.name: file for file in sorted(path.glob(f"*/{_LABELS_FILE}"))}
    if not found:
        raise InputError(
            f"{path}: no {_LABELS_FILE} in it or its folders; a scan needs a threshold (--threshold VALUE)"
        )
    return found


def surfaces_of_labels(
    path: str | Path, *, labels: str | Path | None = None, smooth: bool = True, simplify: float = 1.0
) -> list[Mesh]:
    """Read a label map file and extract the surfaces of its labels; see `read_labels` and `extract_surfaces`.

    Raises
    ------
    InputError
        The file cannot be read as a label map, or there is not a single voxel of a label.
    """
    found = read_labels(path, labels=labels)
    if len(found.labels) > _MOST_LABELS:
        raise InputError(
            f"{path}: has {len(found.labels)} different values, as a scan has and no label map; the surface of a scan "
            "needs a threshold (--threshold VALUE)"
        )
    meshes = extract_surfaces(found, smooth=smooth, simplify=simplify)
    if not meshes:
        names = ", ".join(label.name for label in found.labels) or "none"
        raise InputError(f"{path}: every voxel is background, so there is no surface (labels by name: {names})")
    return meshes


def surface_of_scan(
    path: str | Path, threshold: float, *, series: str | None = None, smooth: bool = True, simplify: float = 1.0
) -> Mesh:
    """Read a scan and extract the surface on which it has a value; see `read` and `extract_isosurface`."""
    volume = read(path, series=series)
    name = volume.name or case_name(path)
    try:
        return extract_isosurface(volume, threshold, smooth=smooth, simplify=simplify, name=name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
