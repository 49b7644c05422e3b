"""The subject of a picture or measurement: scans, label maps, meshes and predicted cases, told apart by their files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from volseg.cases.case_doubt import read_shown_doubt
from volseg.core.grid import Grid
from volseg.core.labelmap import Colour, Label, LabelMap, default_colour, present_values
from volseg.core.mesh import Mesh
from volseg.core.volume import Volume
from volseg.core.voxels import to_label_values
from volseg.errors import InputError, UsageError
from volseg.files.names import SEG_NRRD_SUFFIXES, has_suffix
from volseg.files.plain_text import first_few
from volseg.io import Catalogue, look, read_layers, read_scan_of
from volseg.io.labels import (
    check_labels,
    find_label_maps,
    has_label_table,
    is_even,
    names_of,
    names_volume,
    one_slice_advice,
    single_label_map,
)
from volseg.io.mesh import MESH_SUFFIXES, OTHER_MESH_SUFFIXES, read_meshes
from volseg.io.scan_files import find_scan_of
from volseg.prediction.shown_doubt import ShownDoubt
from volseg.surface import extract_isosurface, extract_surfaces
from volseg.view.shown_labels import tell_apart, titles_of

_LOG = logging.getLogger(__name__)

_THRESHOLD_COLOUR = (240, 170, 90)


@dataclass(frozen=True)
class Subject:
    """The objects to look at, in one world.

    `advice` is for labels on a single slice, which have no surface. `by_file` has the label maps of each file under
    their own names, which `labels` tells apart. `case` is the folder of a predicted case and the grid of its label map,
    if one alone is looked at.
    """

    volume: Volume | None = None
    labels: tuple[LabelMap, ...] = ()
    meshes: tuple[Mesh, ...] = ()
    threshold: float | None = None
    advice: str | None = None
    by_file: tuple[tuple[Path, tuple[LabelMap, ...]], ...] = ()
    case: tuple[Path, Grid] | None = None

    @cached_property
    def doubt(self) -> ShownDoubt | None:
        """What is to be seen of the doubt about the case; read when it is first asked for, as few pictures need it."""
        return read_shown_doubt(*self.case) if self.case is not None else None

    def surfaces(self) -> list[Mesh]:
        """Return the meshes, the surface of each label, and the surface of the scan at the threshold value."""
        return [*self.meshes, *self._of_labels(self.labels), *self._of_threshold()]

    def side_by_side(self, reference: tuple[Path, LabelMap] | None = None) -> dict[str, list[Mesh]] | None:
        """Return the surfaces of two label maps to compare, by the names of their files.

        Parameters
        ----------
        reference : (Path, LabelMap), optional
            To compare the only label map with. Without it there must be two, with labels of the same name; else the
            answer is None.

        Raises
        ------
        UsageError
            A reference is given, and not exactly one label map.
        """
        files = [*self.by_file]
        if reference is not None:
            if len(files) != 1:
                raise UsageError(f"--reference is compared with one label map; {len(files)} are given")
            files.append((reference[0], (reference[1],)))
        elif len(files) != 2 or not set.intersection(*({one.name for one in _labels(maps)} for _, maps in files)):
            return None
        first, second = titles_of([path for path, _ in files])
        if first == second:
            second = f"{second} (reference)"
        also = [*self.meshes, *self._of_threshold()]
        return {first: [*self._of_labels(files[0][1]), *also], second: self._of_labels(files[1][1])}

    def _of_threshold(self) -> list[Mesh]:
        if self.volume is None or self.threshold is None:
            return []
        mesh = extract_isosurface(self.volume, self.threshold, name=_threshold_name(self.threshold))
        return [replace(mesh, colour=_THRESHOLD_COLOUR)]

    def _of_labels(self, layers: Sequence[LabelMap]) -> list[Mesh]:
        if any(1 in layer.grid.shape for layer in layers):
            _LOG.warning("%s; --contact-sheet draws it", self.advice or "a label map is a single slice")
        return [mesh for layer in layers if 1 not in layer.grid.shape for mesh in extract_surfaces(layer)]

    def outlines(self) -> tuple[LabelMap, ...]:
        """Return the label maps; without one, the voxels above the threshold value, as in `surfaces`."""
        if self.labels or self.volume is None or self.threshold is None:
            return self.labels
        inside = (self.volume.array > self.threshold).astype(np.uint8)
        return (LabelMap(inside, self.volume.grid, (Label(1, _threshold_name(self.threshold), _THRESHOLD_COLOUR),)),)


def read_subject(
    inputs: Sequence[Path],
    *,
    segmentations: Sequence[Path] = (),
    labels: Path | None = None,
    only: Sequence[str] | None = None,
    series: str | None = None,
    threshold: float | None = None,
) -> Subject:
    """Read all objects that are looked at together.

    Parameters
    ----------
    inputs : sequence of Path
        At most one scan, and any number of label maps and meshes. The folder of a predicted case stands for its label
        map and, unless a scan is given, its scan. A folder with a single case stands for that case. A ``.seg.nrrd``, a
        folder of masks, and a file with a label table beside it or in its header, are label maps. A single image is a
        label map too if `labels` or `only` are given, or if it holds values in large even areas (logged).
    segmentations : sequence of Path
        Label maps that are not recognised by their names. Labels of several files are told apart by `tell_apart`.
    labels : Path, optional
        Table of label names and colours.
    only : sequence of str, optional
        The wanted labels, as for `volseg.read_labels`.
    series : str, optional
        The series of a DICOM folder, or the volume of a file, with several. For a label map it is the full name of a
        volume; without a scan any form is allowed.
    threshold : float, optional
        Value of the scan at a surface to show.

    Returns
    -------
    Subject
        Meshes whose files have no colours get one each.

    Raises
    ------
    UsageError
        Nothing, two scans or several cases; a table or choice without a label map; a threshold without a scan.
    InputError, GeometryError
        A file cannot be read.
    """
    found = _sorted(inputs, segmentations, names_of(labels))
    scan = _read_scan(found, None if found.of_labels(series) else series)
    of_labels = {"--labels": labels, "--only": only}
    if scan is not None and threshold is None and _is_meant_as_labels(found, scan, of_labels):
        found, scan = found.as_labels(), None
    _check_options(found, of_labels, series)
    _check_contents(found, scan, threshold)
    maps, advice = [], None
    for map_ in found.label_maps:
        is_of_scan = scan is not None and not names_volume(map_.path, series)
        layers = _Labels(map_, labels, only, None if is_of_scan else series).read(scan)
        advice = advice or one_slice_advice(layers, map_, image=scan)
        maps.append((map_.path, layers))
    case = _only_case(found.cases, maps)
    return Subject(scan, tell_apart(maps), tuple(found.meshes), threshold, advice, tuple(maps), case)


@dataclass(frozen=True)
class _Found:
    """The contents of each path, sorted by their kind, and the meshes; `cases` are the folders of predictions."""

    scans: tuple[Catalogue, ...]
    label_maps: tuple[Catalogue, ...]
    cases: tuple[Path, ...]
    meshes: tuple[Mesh, ...]

    def as_labels(self) -> _Found:
        """Treat the scans as label maps."""
        return replace(self, scans=(), label_maps=self.scans)

    def of_labels(self, series: str | None) -> bool:
        """Whether a series is a volume of one of the label maps."""
        return any(names_volume(map_.path, series) for map_ in self.label_maps)


def _sorted(inputs: Sequence[Path], segmentations: Sequence[Path], known: Sequence[str]) -> _Found:
    scans: list[Catalogue] = []
    maps: list[Catalogue] = []
    cases: list[Path] = []
    meshes: list[Mesh] = []
    for given in inputs:
        found = _stands_for(given, known)
        path = found.path
        own = single_label_map(found, known=known) if path.is_dir() else None
        if has_suffix(path, (*MESH_SUFFIXES, *OTHER_MESH_SUFFIXES)):
            meshes += read_meshes(path, colour=_mesh_colour(path, meshes))
        elif own is not None:
            maps.append(found if own == path else Catalogue(own))
            if own.is_file():
                cases.append(path)
        elif _is_labels(found):
            maps.append(found)
        else:
            scans.append(found)
    maps = [*_looked_at(segmentations, scans), *maps]
    once = {map_.path.resolve(): map_ for map_ in maps}
    return _Found(tuple(scans), tuple(once.values()), tuple(cases), tuple(meshes))


def _looked_at(paths: Sequence[Path], scans: Sequence[Catalogue]) -> list[Catalogue]:
    return [Catalogue(path, scans[0] if scans else None) for path in paths]


def _mesh_colour(path: Path, others: Sequence[Mesh]) -> Colour:
    """Choose a colour for the meshes of a file by its name or, if other meshes have that colour, by their number."""
    number = len(others) + 1
    colour = default_colour(number, path.stem)
    return default_colour(number) if colour in {mesh.colour for mesh in others} else colour


def _is_labels(found: Catalogue) -> bool:
    """Whether a path is a label map by its name, content or header, or by a table beside it."""
    if has_suffix(found.path, SEG_NRRD_SUFFIXES) or has_label_table(found.path):
        return True
    return found.path.is_file() and found.label_object is not None


def _read_scan(found: _Found, series: str | None) -> Volume | None:
    """Read the given scan, or without one the scan of a predicted case."""
    if len(found.scans) > 1:
        raise UsageError(f"{len(found.scans)} scans to look at; give one, and its label map by --segmentation FILE")
    if not found.scans:
        return _scan_of_case(found.cases[0]) if found.cases else None
    image = look(found.scans[0].path, known=found.scans[0])
    of_labels = found.label_maps[0] if found.label_maps else image
    scan = read_scan_of(of_labels, image, series=series)
    if scan.array.min() == scan.array.max():
        _LOG.warning("%s: every voxel is %g, so it has nothing to show", image.path, scan.array.flat[0])
    return scan


@dataclass(frozen=True)
class _Labels:
    """A label map and the choices for reading it."""

    found: Catalogue
    table: Path | None
    only: Sequence[str] | None
    series: str | None

    def read(self, scan: Volume | None) -> tuple[LabelMap, ...]:
        """Read the label map. Contours and segments on one slice need their scan; others have a grid of their own."""
        path, labels = self.found.path, self.found.label_object if scan is not None else None
        layers = self._on(scan if labels is not None and labels.is_contours else None)
        if labels is not None and not labels.is_contours and one_slice_advice(layers, self.found):
            layers = self._on(scan)
        check_labels(layers, path)
        if not any(layer.array.any() for layer in layers):
            _LOG.warning("%s: every voxel is background, so it has nothing to show", path)
        return layers

    def _on(self, image: Volume | None) -> tuple[LabelMap, ...]:
        found = look(self.found.path, known=self.found)
        return read_layers(found, labels=self.table, image=image, only=self.only, series=self.series)


def _stands_for(path: Path, known: Sequence[str]) -> Catalogue:
    """Return the only case or label map of a folder; other paths are returned unchanged."""
    there = Catalogue(path)
    if not path.is_dir() or single_label_map(there, known=known) or there.is_dicom:
        return there
    found = find_label_maps(path, known=known)
    if len(found) > 1:
        raise UsageError(f"{path}: {len(found)} cases to look at ({first_few([*found], 10)}); give one")
    for file in found.values():
        # A case is its folder, which has the record of its scan.
        return Catalogue(file if file.parent == path else file.parent)
    return there


def _is_meant_as_labels(found: _Found, scan: Volume, of_labels: Mapping[str, object]) -> bool:
    """Whether a single image is a label map, by the options for labels or by its values."""
    if not found.scans or found.label_maps:
        return False
    return any(of_labels.values()) or _is_label_map(scan, found.scans[0].path)


def _is_label_map(volume: Volume, path: Path) -> bool:
    """Whether an image holds 0 and other integers, in areas too even for a scan."""
    try:
        values = to_label_values(volume.array, path)
    except InputError:
        return False
    if volume.modality is not None or values.min() > 0:
        return False
    if not is_even(values, volume.grid.spacing, count=len(present_values(values))):
        return False
    _LOG.warning("%s: holds integers in large even areas, so it is shown as a label map (-s makes this explicit)", path)
    return True


def _check_options(found: _Found, of_labels: Mapping[str, object], series: str | None) -> None:
    """Refuse options for objects that are not given."""
    for option, value in of_labels.items():
        if value and not found.label_maps:
            raise UsageError(f"{option} needs a label map; give one by --segmentation FILE")
    if series is not None and not (found.scans or found.label_maps):
        raise UsageError(f"--series {series} chooses a volume of a scan or label map; give one")


def _check_contents(found: _Found, scan: Volume | None, threshold: float | None) -> None:
    """Refuse to look at nothing."""
    if threshold is not None and scan is None:
        raise UsageError(f"--threshold {threshold:g} needs a scan; give one as INPUT")
    if not (scan or found.label_maps or found.meshes):
        raise UsageError("nothing to look at; give a scan, a label map, the folder of a prediction, or meshes")


def _labels(layers: Sequence[LabelMap]) -> list[Label]:
    return [label for layer in layers for label in layer.labels]


def _threshold_name(threshold: float) -> str:
    return f"threshold {threshold:g}"


def _only_case(cases: Sequence[Path], maps: Sequence[tuple[Path, tuple[LabelMap, ...]]]) -> tuple[Path, Grid] | None:
    """Return the folder of the only predicted case and the grid of its label map."""
    if len(cases) != 1:
        return None
    grids = [layers[0].grid for path, layers in maps if path.parent == cases[0]]
    return (cases[0], grids[0]) if grids else None


def _scan_of_case(folder: Path) -> Volume | None:
    """Read the first channel of the scan that a case was predicted from, if it is still there."""
    try:
        return find_scan_of(folder).read(strict=False)[0]
    except InputError as error:
        _LOG.warning("%s: shown without its scan, which cannot be read (%s)", folder, error)
        return None
