"""How far surfaces lie from the bodies that were scanned: volseg, scikit-image, Slicer's recipe and VTK's SurfaceNets.

    python benchmarks/surfaces.py [--phases N] [--shapes sphere8,tube] [--json FILE]

Bodies of known shape are scanned at 0.8 mm in-plane, at slices of 0.8, 2.5 and 5 mm, on a straight and on an oblique
grid, each at several places between the slices; printed are means over those of the sizes of the errors: mm from
the surface to the body (mean and 95th percentile by area; the largest both ways), percent of volume against the voxels
and against the body, and of area against the body. Dice: the surface filled again against the body.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyvista as pv
import vtk
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from skimage.measure import marching_cubes

from volseg.geometry import Grid
from volseg.labelmap import Label, LabelMap
from volseg.mesh import Mesh
from volseg.surface import extract_surfaces
from volseg.surface.march import march

Points = NDArray[np.float64]
PIXEL_MM = 0.8
SLICES_MM = (0.8, 2.5, 5.0)
TURN = Rotation.from_euler("xyz", (20, 35, 10), degrees=True).as_matrix()
GRIDS = {"straight": np.eye(3), "oblique": Rotation.from_euler("xyz", (25, -15, 40), degrees=True).as_matrix()}


@dataclass(frozen=True, eq=False)
class Body:
    """A body about the origin: signed distance of points (..., 3) mm to its surface, positive inside, and its reach."""

    distance: Callable[[Points], Points]
    reach: float


def ellipsoid(*radii: float) -> Body:
    def distance(points: Points) -> Points:
        # First-order distance: exact on the surface, and to a hundredth of a mm a few mm around it.
        scaled = points @ TURN / radii
        length = np.linalg.norm(scaled, axis=-1)
        gradient = np.linalg.norm(scaled / radii, axis=-1)
        return np.where(length > 1e-9, (1 - length) * length / np.maximum(gradient, 1e-12), min(radii))

    return Body(distance, max(radii))


def torus(large: float, small: float) -> Body:
    def distance(points: Points) -> Points:
        turned = points @ TURN
        around = np.linalg.norm(turned[..., :2], axis=-1) - large
        return np.asarray(small - np.hypot(around, turned[..., 2]))

    return Body(distance, large + small)


def tube(radius: float, length: float, degrees: float) -> Body:
    direction = np.array([np.sin(np.radians(degrees)), 0, np.cos(np.radians(degrees))])

    def distance(points: Points) -> Points:
        along = np.clip(points @ direction, -length / 2, length / 2)
        return np.asarray(radius - np.linalg.norm(points - along[..., None] * direction, axis=-1))

    return Body(distance, length / 2 + radius)


def half_sphere(radius: float, side: int) -> Body:
    normal = TURN[:, 2] * side

    def distance(points: Points) -> Points:
        return np.asarray(np.minimum(radius - np.linalg.norm(points, axis=-1), points @ normal))

    return Body(distance, radius)


SHAPES: dict[str, tuple[Body, ...]] = {
    "sphere4": (ellipsoid(4, 4, 4),),
    "sphere8": (ellipsoid(8, 8, 8),),
    "sphere25": (ellipsoid(25, 25, 25),),
    "ellipsoid": (ellipsoid(26, 18, 14),),
    "torus": (torus(18, 6),),
    "tube": (tube(3, 60, 70),),
    "halves": (half_sphere(16, 1), half_sphere(16, -1)),
}


def scan(bodies: tuple[Body, ...], slice_mm: float, turn: Points, phase: float) -> LabelMap:
    """Label the voxels whose centres are in a body; `phase` is the place of the body between two slices, 0 to 1."""
    spacing = np.array([PIXEL_MM, PIXEL_MM, slice_mm])
    shape = np.ceil(2 * bodies[0].reach / spacing).astype(int) + 5
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = turn @ (spacing * ((1 - shape) / 2 + [0.37, 0.21, phase]))
    grid = Grid(tuple(int(n) for n in shape), affine)
    centres = grid.to_world(np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1))
    array = np.zeros(grid.shape, dtype=np.uint8)
    for number, body in enumerate(bodies, 1):
        array[(body.distance(centres) > 0) & (array == 0)] = number
    return LabelMap(array, grid, tuple(Label(n, f"body {n}", (200, 90, 90)) for n in range(1, len(bodies) + 1)))


def by_skimage(labels: LabelMap) -> list[Mesh]:
    meshes = []
    for label in labels.labels:
        vertices, faces, _, _ = marching_cubes(np.pad(labels.mask(label), 1).astype(np.float32), 0.5)
        meshes.append(Mesh(labels.grid.to_world(vertices - 1.0), faces[:, ::-1]))
    return meshes


def by_slicer(labels: LabelMap) -> list[Mesh]:
    """3D Slicer's closed surface at its default smoothing factor of 0.5."""
    meshes = []
    for label in labels.labels:
        mesh = march(labels.mask(label) - np.float32(0.5), labels.grid)
        surface = pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces).smooth_taubin(
            n_iter=40, pass_band=0.01, boundary_smoothing=False, non_manifold_smoothing=True, normalize_coordinates=True
        )
        meshes.append(mesh.with_vertices(np.asarray(surface.points, dtype=float)))
    return meshes


def by_surface_nets(labels: LabelMap) -> list[Mesh]:
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


METHODS: dict[str, Callable[[LabelMap], list[Mesh]]] = {
    "volseg": extract_surfaces,
    "skimage": by_skimage,
    "Slicer": by_slicer,
    "SurfaceNets": by_surface_nets,
}


@cache
def reference(body: Body) -> Mesh:
    """Return the body's own surface, marched through its distances on a fine grid."""
    step = min(0.4, body.reach / 20)
    count = int(np.ceil(2 * body.reach / step)) + 5
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = -step * (count - 1) / 2
    grid = Grid((count, count, count), affine)
    centres = grid.to_world(np.stack(np.meshgrid(*[np.arange(count)] * 3, indexing="ij"), axis=-1))
    return march(body.distance(centres).astype(np.float32), grid)


def grade(mesh: Mesh, body: Body, voxels_mm3: float) -> dict[str, float]:
    truth = reference(body)
    corners = mesh.vertices[mesh.faces]
    centres = corners.mean(axis=1)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    away = np.abs(body.distance(centres))
    order = np.argsort(away)
    p95 = away[order][np.searchsorted(np.cumsum(areas[order]), 0.95 * areas.sum())]
    back, _ = cKDTree(np.concatenate([centres, mesh.vertices])).query(truth.vertices)
    return {
        "mean_mm": float((away * areas).sum() / areas.sum()),
        "p95_mm": float(p95),
        "max_mm": float(max(away.max(), back.max())),
        "volume_vs_voxels_%": 100 * (mesh.volume_mm3 / voxels_mm3 - 1),
        "volume_%": 100 * (mesh.volume_mm3 / truth.volume_mm3 - 1),
        "area_%": 100 * (mesh.area_mm2 / truth.area_mm2 - 1),
        "dice": dice(mesh, body),
    }


def dice(mesh: Mesh, body: Body) -> float:
    step = PIXEL_MM / 2
    count = int(np.ceil(2 * (body.reach + 4) / step))
    image = pv.ImageData(dimensions=(count,) * 3, spacing=(step,) * 3, origin=(-step * (count - 1) / 2,) * 3)
    stencil = vtk.vtkPolyDataToImageStencil()
    stencil.SetInputData(pv.PolyData.from_regular_faces(mesh.vertices, mesh.faces))
    stencil.SetInformationInput(image)
    stencil.Update()
    fill = vtk.vtkImageStencilToImage()
    fill.SetInputConnection(stencil.GetOutputPort())
    fill.SetInsideValue(1)
    fill.Update()
    filled = pv.wrap(fill.GetOutput()).active_scalars.astype(bool)
    inside = body.distance(np.asarray(image.points, dtype=float)) > 0
    return float(2 * (filled & inside).sum() / (filled.sum() + inside.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phases", type=int, default=11)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"means over {options.phases} places between the slices")
    for shape in options.shapes.split(","):
        for slice_mm in SLICES_MM:
            for orientation, turn in GRIDS.items():
                for name, method in METHODS.items():
                    row = {"shape": shape, "slice_mm": slice_mm, "grid": orientation, "method": name}
                    rows.append(row | average(SHAPES[shape], slice_mm, turn, method, options.phases))
                    print("  ".join(f"{v:9.3f}" if isinstance(v, float) else f"{v:11}" for v in rows[-1].values()))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def average(
    bodies: tuple[Body, ...], slice_mm: float, turn: Points, method: Callable[[LabelMap], list[Mesh]], phases: int
) -> dict[str, float]:
    """Grade at each phase; errors of volume and area are averaged by size, so that opposite ones do not cancel."""
    grades = []
    for phase in np.arange(phases) / phases:
        labels = scan(bodies, slice_mm, turn, float(phase))
        for label, mesh, body in zip(labels.labels, method(labels), bodies, strict=True):
            voxels_mm3 = np.count_nonzero(labels.mask(label)) * labels.grid.voxel_volume_mm3
            grades.append(grade(mesh, body, voxels_mm3))
    return {key: float(np.mean([abs(g[key]) for g in grades])) for key in grades[0]}


if __name__ == "__main__":
    main()
