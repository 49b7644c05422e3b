"""What the user wants to look at: scans, label maps, meshes and predicted cases, told apart by their files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from volseg.errors import InputError, UsageError
from volseg.io import read, read_labels
from volseg.io.dicom import is_dicom
from volseg.io.dicom_objects import find_label_object, is_dicom_input, read_scan_of
from volseg.io.label_files import check_labels, find_label_maps, is_even, single_label_map
from volseg.io.label_layers import one_slice_advice
from volseg.io.labels import sidecar_path
from volseg.io.mesh_reading import MESH_SUFFIXES, read_meshes
from volseg.io.names import has_suffix
from volseg.io.scan_files import find_scan_of
from volseg.io.voxels import to_label_values
from volseg.labelmap import Colour, Label, LabelMap, default_colour, present_values
from volseg.mesh import Mesh
from volseg.surface import extract_isosurface, extract_surfaces
from volseg.surface.export import OTHER_MESH_SUFFIXES
from volseg.volume import Volume

logger = logging.getLogger(__name__)

_NO_MESHES_HERE = (".glb", ".3mf", *OTHER_MESH_SUFFIXES)
_THRESHOLD_COLOUR = (240, 170, 90)


@dataclass(frozen=True)
class Subject:
    """What is looked at, all of it in one world; `advice` says why the labels have no surface, where they have none."""

    volume: Volume | None = None
    labels: LabelMap | None = None
    meshes: tuple[Mesh, ...] = ()
    threshold: float | None = None
    advice: str | None = None

    def surfaces(self) -> list[Mesh]:
        """Return the meshes, the surface of each label, and the scan's where it has the threshold value."""
        meshes = list(self.meshes)
        if self.labels is not None and min(self.labels.grid.shape) == 1:
            logger.warning("%s; --contact-sheet draws it", self.advice or "the label map is a single slice")
        elif self.labels is not None:
            meshes += extract_surfaces(self.labels)
        if self.volume is not None and self.threshold is not None:
            mesh = extract_isosurface(self.volume, self.threshold, name=_threshold_name(self.threshold))
            meshes.append(replace(mesh, colour=_THRESHOLD_COLOUR))
        return meshes

    def outlines(self) -> LabelMap | None:
        """Return the label map; without one, the voxels above the threshold value, as in `surfaces`."""
        if self.labels is not None or self.volume is None or self.threshold is None:
            return self.labels
        inside = (self.volume.array > self.threshold).astype(np.uint8)
        return LabelMap(inside, self.volume.grid, (Label(1, _threshold_name(self.threshold), _THRESHOLD_COLOUR),))


def read_subject(
    inputs: Sequence[Path],
    *,
    segmentation: Path | None = None,
    labels: Path | None = None,
    series: str | None = None,
    threshold: float | None = None,
) -> Subject:
    """Read everything that shall be looked at together.

    Parameters
    ----------
    inputs : sequence of Path
        At most one scan and one label map, and any number of meshes. The folder of a predicted case stands for its
        label map and, unless a scan is given, its scan; a folder of cases for the one that it holds. A ``.seg.nrrd``,
        and a file with a label table beside it, is a label map. A lone image is one too if `labels` is given, or if it
        holds few values in large even areas (logged).
    segmentation : Path, optional
        The label map, where its name does not tell.
    labels : Path, optional
        Table of label names and colours.
    series : str, optional
        Which series of a DICOM folder with several.
    threshold : float, optional
        Value of the scan at a surface to show.

    Returns
    -------
    Subject
        Meshes whose files have no colours get one each.

    Raises
    ------
    UsageError
        Nothing, two scans, two label maps or several cases; a table without a label map; a threshold or series without
        a scan.
    InputError, GeometryError
        A file cannot be read.
    """
    cases: list[Path] = []
    map_paths = [segmentation] if segmentation else []
    scan_paths: list[Path] = []
    meshes: list[Mesh] = []
    for path in map(_stands_for, inputs):
        if has_suffix(path, (*MESH_SUFFIXES, *_NO_MESHES_HERE)):
            meshes += read_meshes(path, colour=_mesh_colour(path, meshes))
        elif path.is_dir() and (own := single_label_map(path)):
            cases.append(path)
            map_paths.append(own)
        elif _is_labels(path):
            map_paths.append(path)
        else:
            scan_paths.append(path)
    if series is not None and not scan_paths:
        raise UsageError(f"--series {series} chooses a scan; give one as INPUT")
    scans = [_read_scan(path, series, map_paths) for path in scan_paths]
    if len(scans) == 1 and not map_paths and threshold is None and (labels or _is_label_map(scans[0], scan_paths[0])):
        map_paths, scans = scan_paths, []
    if not scans and cases:
        scans = _scan_of_case(cases[0])
    _check_numbers(scans, map_paths, labels=labels, threshold=threshold)
    if not (scans or map_paths or meshes):
        raise UsageError("nothing to look at; give a scan, a label map, the folder of a prediction, or meshes")
    label_map = _read_labels(map_paths[0], labels, scans) if map_paths else None
    scan = scans[0] if scans else None
    advice = one_slice_advice([label_map], map_paths[0], image=scan) if label_map else None
    return Subject(scan, label_map, tuple(meshes), threshold, advice)


def _mesh_colour(path: Path, others: Sequence[Mesh]) -> Colour:
    """Choose a colour for the meshes of a file by its name, else, where others have that, by their number."""
    number = len(others) + 1
    colour = default_colour(number, path.stem)
    return default_colour(number) if colour in {mesh.colour for mesh in others} else colour


def _is_labels(path: Path) -> bool:
    """Whether a path says of itself that it is a label map: by its name, its content or a table beside it."""
    if has_suffix(path, (".seg.nrrd",)) or sidecar_path(path).is_file():
        return True
    return path.is_file() and find_label_object(path) is not None


def _read_scan(path: Path, series: str | None, map_paths: Sequence[Path]) -> Volume:
    scan = read_scan_of(map_paths[0], path, series=series) if map_paths else read(path, series=series)
    if scan.array.min() == scan.array.max():
        logger.warning("%s: every voxel is %g, so there is nothing of it to see", path, scan.array.flat[0])
    return scan


def _read_labels(path: Path, table: Path | None, scans: Sequence[Volume]) -> LabelMap:
    """Contours need their scan, and so do segments on one slice; everything else is shown on the grid that it has."""
    found = find_label_object(path) if scans and is_dicom_input(path) else None
    image = scans[0] if found is not None and found.is_contours else None
    labels = read_labels(path, labels=table, image=image)
    if image is None and found is not None and one_slice_advice([labels], path):
        labels = read_labels(path, labels=table, image=scans[0])
    check_labels([labels], path)
    if not labels.labels or not labels.array.any():
        logger.warning("%s: every voxel is background, so there is nothing of it to see", path)
    return labels


def _stands_for(path: Path) -> Path:
    """Return the one case or label map in a folder of them; everything else as it is."""
    if not path.is_dir() or single_label_map(path) or is_dicom(path):
        return path
    found = find_label_maps(path)
    if len(found) > 1:
        more = ", ..." if len(found) > 10 else ""
        raise UsageError(f"{path}: {len(found)} cases to look at ({', '.join([*found][:10])}{more}); give one")
    # A case is its folder, where its scan is noted.
    return next((file if file.parent == path else file.parent for file in found.values()), path)


def _is_label_map(volume: Volume, path: Path) -> bool:
    """Whether an image holds 0 and few other integers, in areas too even for a scan."""
    try:
        values = to_label_values(volume.array, path)
    except InputError:
        return False
    if volume.modality is not None or values.min() > 0:
        return False
    if not is_even(values, volume.grid.spacing, count=len(present_values(values))):
        return False
    logger.warning(
        "%s: holds few values in large even areas, so it is shown as a label map (-s says so outright)", path
    )
    return True


def _check_numbers(scans: list[Volume], map_paths: list[Path], *, labels: Path | None, threshold: float | None) -> None:
    if len(scans) > 1:
        raise UsageError(f"{len(scans)} scans to look at; give one, and its label map by --segmentation FILE")
    if len(map_paths) > 1:
        raise UsageError(f"{len(map_paths)} label maps to look at ({', '.join(map(str, map_paths))}); give one")
    if labels is not None and not map_paths:
        raise UsageError(f"--labels {labels} names the values of a label map; give that by --segmentation FILE")
    if threshold is not None and not scans:
        raise UsageError(f"--threshold {threshold:g} needs a scan; give one as INPUT")


def _threshold_name(threshold: float) -> str:
    return f"threshold {threshold:g}"


def _scan_of_case(folder: Path) -> list[Volume]:
    """Read the first channel of the scan that a case was predicted from, if it is still there."""
    try:
        return find_scan_of(folder).read(strict=False)[:1]
    except InputError as error:
        logger.warning("%s: shown without its scan, which cannot be read (%s)", folder, error)
        return []
