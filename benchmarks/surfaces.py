"""How far surfaces lie from the bodies that were scanned: volseg, scikit-image, Slicer's recipe and VTK's SurfaceNets.

    python benchmarks/surfaces.py [--phases N] [--shapes sphere8,tube] [--slices 5] [--json FILE]

Bodies of known shape are scanned at 0.8 mm in-plane, at slices of 0.8, 2.5 and 5 mm, on a straight and on an oblique
grid, each at several places between the slices. The script prints mean absolute errors over these places: mm from the
surface to the body (mean and 95th percentile by area; the largest both ways), percent of volume against the voxels and
against the body, and of area against the body. Dice is that of the filled surface against the body. "probabilities" is
volseg with the share of each voxel that the body fills, "shared walls" volseg with one wall where labels touch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyvista as pv
import vtk
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from skimage.measure import marching_cubes
from surface_bodies import AORTA, COLUMN_WITH_ARM, DUMBBELL, HOLLOW_BALL, SPINE, Y_BRANCH, Plate, Scanned, Stenosis

from volseg.core.grid import Grid
from volseg.core.labelmap import LabelMap
from volseg.core.mesh import Mesh
from volseg.phantoms import Capsule, Ellipsoid, Torus, rasterise
from volseg.phantoms.shapes import Shape
from volseg.surface import SurfaceSettings, extract_surfaces
from volseg.surface.march import march

Float = NDArray[np.float64]
Shares = Sequence[NDArray[np.float64]]
PIXEL_MM = 0.8
SLICES_MM = (0.8, 2.5, 5.0)
GRIDS = {"straight": np.eye(3), "oblique": Rotation.from_euler("xyz", (25, -15, 40), degrees=True).as_matrix()}
TURN = (20.0, 35.0, 10.0)
COLUMNS = ("mean mm", "p95 mm", "max mm", "vol/voxels", "volume", "area", "dice")


@dataclass(frozen=True)
class HalfBall:
    """Half of a ball about the origin, on one side of an oblique plane."""

    radius_mm: float
    side: int

    @property
    def volume_mm3(self) -> float:
        return 2 / 3 * np.pi * self.radius_mm**3

    @property
    def area_mm2(self) -> float:
        return 3 * np.pi * self.radius_mm**2

    @property
    def bounds(self) -> Float:
        return np.array([[-self.radius_mm] * 3, [self.radius_mm] * 3])

    def distance_mm(self, xyz: ArrayLike) -> Float:
        """Signed distance, negative inside; outside of the rim too small, as the larger of two."""
        points = np.asarray(xyz, dtype=float)
        normal = self.side * Rotation.from_euler("xyz", TURN, degrees=True).as_matrix()[:, 2]
        return np.asarray(np.maximum(np.linalg.norm(points, axis=-1) - self.radius_mm, points @ normal))


def ball(radius: float) -> Ellipsoid:
    return Ellipsoid((0, 0, 0), (radius, radius, radius))


LEAN = 30 * np.array([np.sin(np.radians(70)), 0, np.cos(np.radians(70))])
SHAPES: dict[str, tuple[Shape, ...]] = {
    "sphere4": (ball(4),),
    "sphere8": (ball(8),),
    "sphere25": (ball(25),),
    "ellipsoid": (Ellipsoid((0, 0, 0), (26, 18, 14), TURN),),
    "torus": (Torus((0, 0, 0), 18, 6),),
    "tube": (Capsule(tuple(-LEAN), tuple(LEAN), 3),),
    "halves": (HalfBall(16, 1), HalfBall(16, -1)),
    "dumbbell": (DUMBBELL,),
    "stenosis": (Stenosis(4, 1.5, 4, 25),),
    "hollow": (HOLLOW_BALL,),
    "arm": (COLUMN_WITH_ARM,),
    "branch": (Y_BRANCH,),
    "plate": (Plate((30, 20), 5),),
    "aorta": (AORTA,),
    "spine": (SPINE,),
}
MOST_ALONG = 160  # points along each axis, to fill bodies for Dice
SCANNED_MM = {"aorta": 55.0, "spine": 55.0}  # how much is scanned of bodies that leave the scan


def grid_around(reach: float, slice_mm: float, turn: Float, phase: float, scanned_mm: float | None = None) -> Grid:
    """Make a grid; `phase` is the place of the body between two slices, 0 to 1."""
    spacing = np.array([PIXEL_MM, PIXEL_MM, slice_mm])
    i, j, k = (int(n) for n in np.ceil(2 * reach / spacing) + 5)
    if scanned_mm is not None:
        k = round(scanned_mm / slice_mm)
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = turn @ (spacing * ((1 - np.array([i, j, k])) / 2 + [0.37, 0.21, phase]))
    return Grid((i, j, k), affine)


def shares_of(shape: Shape, grid: Grid) -> NDArray[np.float64]:
    """Return the share of each voxel that a body fills, from points 0.2 mm (across slices up to 0.5 mm) apart."""
    parts = np.minimum(np.round(np.array(grid.spacing) / 0.2), (4, 4, 10)).astype(int)
    finer = np.diag([*(1 / parts), 1.0])
    finer[:3, 3] = (1 - parts) / (2 * parts)
    i, j, k = (int(n) for n in grid.shape * parts)
    inside = rasterise({"body": shape}, Grid((i, j, k), grid.affine @ finer)).array
    blocks = inside.reshape([n for pair in zip(grid.shape, parts, strict=True) for n in pair])
    return np.asarray(blocks.mean(axis=(1, 3, 5)))


def by_volseg(labels: LabelMap, _: Shares) -> list[Mesh]:
    return extract_surfaces(labels)


def by_probabilities(labels: LabelMap, shares: Shares) -> list[Mesh]:
    # A label map of probabilities is where they are largest, not where centres of voxels lie inside.
    classes = np.argmax([1 - np.sum(shares, axis=0), *shares], axis=0).astype(np.uint8)
    return extract_surfaces(LabelMap(classes, labels.grid, labels.labels), probabilities=shares)


def by_shared_walls(labels: LabelMap, _: Shares) -> list[Mesh]:
    return extract_surfaces(labels, SurfaceSettings(shared_walls=True))


def by_skimage(labels: LabelMap, _: Shares) -> list[Mesh]:
    meshes = []
    for label in labels.labels:
        vertices, faces, _, _ = marching_cubes(np.pad(labels.mask(label), 1).astype(np.float32), 0.5)
        meshes.append(Mesh(labels.grid.to_world(vertices - 1.0), faces[:, ::-1]))
    return meshes


def by_slicer(labels: LabelMap, _: Shares) -> list[Mesh]:
    """3D Slicer's closed surface at its default smoothing factor of 0.5."""
    meshes = []
    for label in labels.labels:
        mesh = march(labels.mask(label), labels.grid)
        surface = pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces).smooth_taubin(
            n_iter=40, pass_band=0.01, boundary_smoothing=False, non_manifold_smoothing=True, normalize_coordinates=True
        )
        meshes.append(mesh.with_vertices(np.asarray(surface.points, dtype=float)))
    return meshes


def by_surface_nets(labels: LabelMap, _: Shares) -> list[Mesh]:
    meshes = []
    for label in labels.labels:
        image = pv.wrap(np.pad(labels.mask(label), 1).astype(np.uint8))
        image.spacing = labels.grid.spacing
        nets = vtk.vtkSurfaceNets3D()
        nets.SetInputData(image)
        nets.SetValue(0, 1)
        nets.SetOutputMeshTypeToTriangles()
        nets.Update()
        surface = pv.wrap(nets.GetOutput())
        voxel = np.asarray(surface.points, dtype=float) / labels.grid.spacing - 1.0
        mesh = Mesh(labels.grid.to_world(voxel), surface.regular_faces)
        meshes.append(mesh if mesh.volume_mm3 > 0 else Mesh(mesh.vertices, mesh.faces[:, ::-1]))
    return meshes


Method = Callable[[LabelMap, Shares], list[Mesh]]
METHODS: dict[str, Method] = {
    "volseg": by_volseg,
    "probabilities": by_probabilities,
    "shared walls": by_shared_walls,
    "skimage": by_skimage,
    "Slicer": by_slicer,
    "SurfaceNets": by_surface_nets,
}


def points_on(shape: Shape) -> Float:
    """Return points on the surface, about 0.5 mm apart."""
    reach = float(np.abs(shape.bounds).max())
    count = int(np.ceil(4 * reach)) + 5
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = -(count - 1) / 4
    grid = Grid((count, count, count), affine)
    centres = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return march(-shape.distance_mm(centres), grid).vertices


def grade(mesh: Mesh, shape: Shape, truth: Truth, voxels_mm3: float) -> list[float]:
    """Return the errors in the order of COLUMNS."""
    corners = mesh.vertices[mesh.faces]
    centres = corners.mean(axis=1)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    away = np.abs(shape.distance_mm(centres))
    order = np.argsort(away)
    p95 = away[order][np.searchsorted(np.cumsum(areas[order]), 0.95 * areas.sum())]
    back, _ = cKDTree(np.concatenate([centres, mesh.vertices])).query(truth.points)
    volume, area = mesh.volume_mm3, mesh.area_mm2
    percents = (volume / voxels_mm3, volume / truth.volume_mm3, area / truth.area_mm2)
    distances = ((away * areas).sum() / areas.sum(), p95, max(away.max(), back.max()))
    return [*distances, *(100 * abs(ratio - 1) for ratio in percents), truth.dice(mesh)]


class Truth:
    """A body, measured once: points on it, its volume and area, and the points of a fine grid that are inside."""

    def __init__(self, shape: Shape) -> None:
        self.points, self.volume_mm3, self.area_mm2 = points_on(shape), shape.volume_mm3, shape.area_mm2
        reach = float(np.abs(shape.bounds).max()) + 4
        step = max(PIXEL_MM / 2, 2 * reach / MOST_ALONG)
        count = int(np.ceil(2 * reach / step))
        self.image = pv.ImageData(dimensions=(count,) * 3, spacing=(step,) * 3, origin=(-step * (count - 1) / 2,) * 3)
        self.inside = shape.distance_mm(np.asarray(self.image.points, dtype=float)) < 0

    def dice(self, mesh: Mesh) -> float:
        """Fill a surface and compare."""
        stencil = vtk.vtkPolyDataToImageStencil()
        stencil.SetInputData(pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces))
        stencil.SetInformationInput(self.image)
        fill = vtk.vtkImageStencilToImage()
        fill.SetInputConnection(stencil.GetOutputPort())
        fill.SetInsideValue(1)
        fill.Update()
        filled = pv.wrap(fill.GetOutput()).active_scalars.astype(bool)
        return float(2 * (filled & self.inside).sum() / (filled.sum() + self.inside.sum()))


@lru_cache(maxsize=4)
def truth_of(body: Shape) -> Truth:
    return Truth(body)


def grade_all(
    name: str, slice_mm: float, turn: Float, phases: int, methods: Sequence[str] = tuple(METHODS)
) -> dict[str, list[float]]:
    """Grade every method; means over phases and bodies."""
    bodies, scanned_mm = SHAPES[name], SCANNED_MM.get(name)
    truths = [] if scanned_mm else [truth_of(body) for body in bodies]
    grades: dict[str, list[list[float]]] = {name: [] for name in methods}
    for phase in np.arange(phases) / phases:
        grid = grid_around(float(np.abs(bodies[0].bounds).max()), slice_mm, turn, float(phase), scanned_mm)
        shapes: tuple[Shape, ...] = bodies
        if scanned_mm is not None:
            shapes = tuple(Scanned(body, grid) for body in bodies)
            truths = [Truth(shape) for shape in shapes]
        labels = rasterise({f"body {n}": shape for n, shape in enumerate(shapes)}, grid)
        shares = [shares_of(shape, grid) for shape in shapes] if "probabilities" in methods else []
        for name in methods:
            for label, mesh, shape, truth in zip(
                labels.labels, METHODS[name](labels, shares), shapes, truths, strict=True
            ):
                voxels_mm3 = np.count_nonzero(labels.mask(label)) * grid.voxel_volume_mm3
                grades[name].append(grade(mesh, shape, truth, voxels_mm3))
    return {name: np.mean(rows, axis=0).tolist() for name, rows in grades.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phases", type=int, default=11)
    parser.add_argument("--slices", default=",".join(map(str, SLICES_MM)), help="mm")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows, methods = [], options.methods.split(",")
    print(f"means over {options.phases} places between the slices; volumes and areas in percent")
    print(f"{'body':10}{'slices':>7} {'grid':9} {'method':14}" + "".join(f"{name:>11}" for name in COLUMNS))
    for shape in options.shapes.split(","):
        for slice_mm in (float(mm) for mm in options.slices.split(",")):
            for grid, turn in GRIDS.items():
                for method, values in grade_all(shape, slice_mm, turn, options.phases, methods).items():
                    place = {"body": shape, "slice_mm": slice_mm, "grid": grid, "method": method}
                    rows.append(place | dict(zip(COLUMNS, np.round(values, 4).tolist(), strict=True)))
                    numbers = "".join(f"{value:11.3f}" for value in values)
                    print(f"{shape:10}{slice_mm:7} {grid:9} {method:14}{numbers}", flush=True)
    if options.json:
        lines = ",\n".join(json.dumps(row) for row in rows)
        options.json.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
