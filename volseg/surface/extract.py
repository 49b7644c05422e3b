"""Label maps and scans to meshes: crop, march, smooth, simplify."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float, Grid, box_grid
from volseg.core.labelmap import Label, LabelMap, label_boxes
from volseg.core.mesh import Mesh
from volseg.core.noise import check_no_noise, check_no_noise_inside
from volseg.core.volume import Volume
from volseg.cores import count_cores
from volseg.errors import GeometryError, InputError, UsageError
from volseg.surface.between_slices import thick_axis
from volseg.surface.intersections import count_self_intersections, without_crossings
from volseg.surface.march import march
from volseg.surface.quality import graded
from volseg.surface.settings import SurfaceSettings
from volseg.surface.shared_walls import extract_shared
from volseg.surface.sharpen import Probabilities, ProbabilityField, check_probabilities, probability_field
from volseg.surface.simplify import simplify_mesh
from volseg.surface.smooth import smooth_mesh
from volseg.surface.solid import largest_shell, solid_field, solid_of
from volseg.surface.thick import ThickSlices, warn_of_pieces

_LOG = logging.getLogger(__name__)
_MOST_THREADS = 4  # as each needs the memory for a label
_NOTABLY_MORE = 1.1
_NOTABLE_VOLUME = 0.02
_CROSSED = "%s: %d pairs of triangles intersect, which a printing program has to repair; smooth or simplify less"


@dataclass(frozen=True, eq=False)
class LabelCrop:
    """Where one label is: its mask (bool) in the smallest box that holds it, and the grid of that box.

    `room` (2, 3) are the lowest and highest voxel coordinates of the whole label map, up to the outer faces of its
    voxels. `sharp` is the field of its probabilities, if they are given.
    """

    label: Label
    mask: NDArray[np.bool_]
    grid: Grid
    room: Float
    sharp: ProbabilityField | None = None


def extract_surfaces(
    labels: LabelMap, settings: SurfaceSettings | None = None, *, probabilities: Probabilities | None = None
) -> list[Mesh]:
    """Extract the surface of each label.

    Parameters
    ----------
    labels : LabelMap
        At least 2 voxels along each axis.
    settings : SurfaceSettings, optional
        Smoothing, number of triangles, largest error, shared walls; default smoothed, with all triangles.
    probabilities : (L, I, J, K), optional
        One array for each label, in the order of ``labels.labels``. They place the surface between voxels; see
        `volseg.surface.sharpen`. Across thick slices only the volume is taken from them.

    Returns
    -------
    list of Mesh
        One for each label that occurs, in order of value, with its name and colour: world mm RAS+, closed, faces
        counter-clockwise seen from outside. Labels that do not occur are logged.

    Raises
    ------
    GeometryError
        The label map is a single slice.
    InputError
        The probabilities do not fit the labels, or the label map is noise; see `volseg.core.noise`.
    UsageError
        Probabilities are given for shared walls or a solid.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import sphere_labelmap
    >>> labels = sphere_labelmap(volseg.Grid.from_spacing((32, 32, 32)), radius_mm=10)
    >>> (mesh,) = volseg.extract_surfaces(labels)
    >>> mesh.name, mesh.is_closed, round(mesh.volume_mm3 / 1000, 1)
    ('sphere', True, 4.2)
    """
    chosen = settings or SurfaceSettings()
    _check_slices(labels.grid)
    if probabilities is not None:
        check_probabilities(labels, probabilities)
        if chosen.of_labels_alone:
            raise UsageError("shared walls and solids are made of the label map alone; leave out the probabilities")
    check_no_noise(labels)
    if chosen.print_ready:
        labels = solid_of([labels])
    if chosen.shared_walls:
        meshes = extract_shared(labels, smooth=chosen.smooth, report=chosen.report)
    else:
        meshes = _extract_each(crop_labels(labels, probabilities), chosen)
    _warn_of_absent(labels, meshes)
    return meshes


def extract_isosurface(
    volume: Volume, threshold: float, settings: SurfaceSettings | None = None, *, name: str | None = None
) -> Mesh:
    """Extract the surface on which a scan has a value; voxels above it are inside.

    Parameters
    ----------
    volume : Volume
        At least 2 voxels along each axis.
    threshold : float
        In the volume's unit; about 200 HU for bone in CT.
    settings : SurfaceSettings, optional
        As for `extract_surfaces`; shared walls have no effect. A print-ready surface is that of the largest piece, with
        its cavities filled; see `volseg.surface.solid`. Without smoothing, the scan interpolated at each vertex has the
        threshold value.
    name : str, optional
        Of the mesh; default that of the volume.

    Returns
    -------
    Mesh
        World mm RAS+, closed, within the voxels' outer edges if unsmoothed.

    Raises
    ------
    InputError
        No voxel or every voxel is inside, or the voxels inside are noise; see `volseg.core.noise`.
    GeometryError
        The volume is a single slice.

    Examples
    --------
    >>> import volseg
    >>> from volseg.phantoms import make_ct_phantom
    >>> body = volseg.extract_isosurface(make_ct_phantom(seed=1).volume, -500)
    >>> body.is_closed
    True
    """
    chosen = settings or SurfaceSettings()
    _check_slices(volume.grid)
    field = np.subtract(volume.array, threshold, dtype=np.float32, casting="same_kind")
    inside = field > 0
    if not inside.any() or inside.all():
        low, high = np.min(volume.array), np.max(volume.array)
        raise InputError(
            f"threshold {threshold:g} gives no surface; the values are {low:g} to {high:g}; choose one between"
        )
    check_no_noise_inside(inside, threshold)
    if chosen.print_ready:
        field = solid_field(field, volume.grid)
        inside = field > 0
    box = _box_with_neighbours(inside)
    marched = replace(march(field[box], box_grid(volume.grid, box)), name=name or volume.name or "surface")
    smooth = partial(smooth_mesh, marched, voxel_mm=volume.grid.affine[:3, :3])
    mesh = _finish(marched, chosen, smooth, marched.volume_mm3)
    _warn_of_more([(mesh, len(marched.faces))], chosen)
    return mesh


def extract_surface(crop: LabelCrop, settings: SurfaceSettings) -> tuple[Mesh, int]:
    """Extract the surface of one cropped label; see `extract_surfaces`.

    Parameters
    ----------
    crop : LabelCrop
    settings : SurfaceSettings

    Returns
    -------
    (Mesh, int)
        The surface, and the number of triangles before it was simplified.
    """
    counted_mm3 = np.count_nonzero(crop.mask) * crop.grid.voxel_volume_mm3
    volume_mm3 = counted_mm3 if crop.sharp is None else crop.sharp.volume_mm3
    axis = thick_axis(crop.grid) if settings.smooth else None
    if axis is not None:
        thick = ThickSlices.of(crop.mask, crop.grid, crop.room, axis)
        marched, smooth = thick.mesh, partial(thick.smoothed, volume_mm3)
    else:
        field, grid = (crop.mask, crop.grid) if crop.sharp is None else (crop.sharp.field, crop.sharp.grid)
        marched = march(field, grid)
        smooth = partial(smooth_mesh, marched, volume_mm3=volume_mm3, voxel_mm=crop.grid.affine[:3, :3])
    named = replace(marched, name=crop.label.name, colour=crop.label.colour)
    mesh = _finish(named, settings, smooth, volume_mm3)
    if axis is not None:
        warn_of_pieces(mesh, crop.mask)
    return mesh, len(marched.faces)


def _extract_each(crops: Iterator[LabelCrop], settings: SurfaceSettings) -> list[Mesh]:
    running, found = deque[Future[tuple[Mesh, int]]](), []
    count = min(count_cores(), _MOST_THREADS)
    with ThreadPoolExecutor(count) as pool:
        for crop in crops:
            running.append(pool.submit(extract_surface, crop, settings))
            if len(running) > count:  # so that only a few masks are in memory
                found.append(running.popleft().result())
        found += [future.result() for future in running]
    _warn_of_more(found, settings)
    return [mesh for mesh, _ in found]


def _finish(marched: Mesh, settings: SurfaceSettings, smooth: Callable[..., Mesh], expected_mm3: float) -> Mesh:
    """Smooth and simplify an extracted surface; `smooth` is called with the largest move, `max_move_mm`."""
    mesh, error = marched, settings.max_error_mm
    if settings.smooth:
        # Half of the error is left for simplification.
        most = error / 2 if error is not None and settings.simplifies else error
        mesh = marched.with_vertices(smooth(max_move_mm=most).vertices)
    if settings.print_ready:
        mesh = without_crossings(mesh, marched)
    fraction, uncrossed = settings.fraction(len(mesh.faces)), settings.print_ready
    mesh = simplify_mesh(mesh, keep=fraction, reference=marched, max_error_mm=error, uncrossed=uncrossed)
    if error is not None and abs(mesh.volume_mm3 - expected_mm3) > _NOTABLE_VOLUME * expected_mm3:
        off = mesh.volume_mm3 / expected_mm3 - 1
        _LOG.warning("%s: moved by %g mm at most, its volume stays %+.0f %% off", mesh.name, error, 100 * off)
    if settings.print_ready:
        mesh = largest_shell(mesh)
        if crossings := count_self_intersections(mesh):
            _LOG.warning(_CROSSED, mesh.name, crossings)
    if settings.report:
        mesh = graded(mesh, marched, expected_mm3)
    return mesh


def _warn_of_more(found: Sequence[tuple[Mesh, int]], settings: SurfaceSettings) -> None:
    """Log one warning that names the surfaces with notably more triangles than asked for.

    `found` has each surface and its number of triangles before simplification.
    """
    if settings.simplify is None and settings.faces is None:
        return
    more = []
    for mesh, count in found:
        share = len(mesh.faces) / count
        if share > _NOTABLY_MORE * settings.fraction(count):
            more.append(f"{mesh.name} ({share:.0%})")
    if more:
        asked_for = f"{100 * settings.simplify:.3g}% of the" if settings.simplify is not None else f"{settings.faces}"
        _LOG.warning("more than %s triangles kept, to keep the shape: %s", asked_for, ", ".join(more))


def _warn_of_absent(labels: LabelMap, meshes: Sequence[Mesh]) -> None:
    present = {mesh.name for mesh in meshes}
    absent = [label.name for label in labels.labels if label.name not in present]
    if absent:
        _LOG.warning("no voxels, so no surface: %s", ", ".join(absent))


def crop_labels(labels: LabelMap, probabilities: Probabilities | None = None) -> Iterator[LabelCrop]:
    """Cut each label that occurs out of a label map, in order of value; the whole array is searched once.

    Parameters
    ----------
    labels : LabelMap
    probabilities : (L, I, J, K), optional
        See `extract_surfaces`.
    """
    boxes = label_boxes(labels.array)
    for number, label in enumerate(labels.labels):
        if box := boxes.get(label.value):
            i, j, k = box
            room = np.array([np.zeros(3), labels.grid.shape]) - (i.start, j.start, k.start) - 0.5
            sharp = None if probabilities is None else probability_field(labels, number, probabilities, box)
            yield LabelCrop(label, labels.array[box] == label.value, box_grid(labels.grid, box), room, sharp)


def _box_with_neighbours(inside: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box of the voxels inside and their neighbours outside: the surface runs between the two."""
    box = []
    for axis, length in enumerate(inside.shape):
        where = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        box.append(slice(max(int(where[0]) - 1, 0), min(int(where[-1]) + 2, length)))
    return tuple(box)


def _check_slices(grid: Grid) -> None:
    if min(grid.shape) < 2:
        size = "x".join(map(str, grid.shape))
        raise GeometryError(f"a surface needs at least 2 slices; this is a single one ({size} voxels)")
