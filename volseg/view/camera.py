"""Where a 3D picture is seen from: near the front, where most of each structure can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from volseg.core.grid import Float
from volseg.core.mesh import Mesh

HEAD = np.array([0.0, 0.0, 1.0])
# Azimuth and elevation in degrees: from the front towards the patient's left, and from above. None is 0, as a slice of
# the scan would be a line.
USUAL = (22.0, 23.0)
_AZIMUTHS = (-45.0, -22.0, 22.0, 45.0)
_ELEVATIONS = (-20.0, 23.0, 45.0)
_CELLS = 48  # of the depth buffer, along the longest extent
_POINTS_PER_CELL = 4
_MOST_FACES = 3000  # of a mesh, that are sampled
_MOST_POINTS = 60_000
_CLEARLY_BETTER = 0.03
_PER_DEGREE = 0.0005  # that a direction away from the usual one has to be better
_SEED = 0


def direction(azimuth: float, elevation: float) -> Float:
    """Return the unit vector towards the viewer, in RAS.

    Parameters
    ----------
    azimuth : float
        Degrees from the front (anterior) towards the patient's left.
    elevation : float
        Degrees towards the head.
    """
    turn, lift = np.radians([azimuth, elevation])
    return np.array([-np.sin(turn) * np.cos(lift), np.cos(turn) * np.cos(lift), np.sin(lift)])


def axes_towards(towards: Float) -> Float:
    """(3, 3) the picture's axes as rows: right, up, towards the viewer. The head is up.

    Parameters
    ----------
    towards : (3,) float
        Not along the head axis.
    """
    towards = towards / np.linalg.norm(towards)
    right = np.cross(HEAD, towards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards])


def best_direction(meshes: Sequence[Mesh]) -> Float:
    """Choose the direction towards the viewer, of some near the front, that shows most of each structure.

    Each direction gets the mean of the square roots of the visible shares (`visible_shares`), so that a hidden
    structure that appears counts more than one that is seen a little better. The usual direction (from the front, a
    little from the patient's left and from above) stays unless another is clearly better, and more so far from it.

    Parameters
    ----------
    meshes : sequence of Mesh
        World mm RAS+, drawn opaque; those without faces do not count.
    """
    solid = [mesh for mesh in meshes if len(mesh.faces)]
    usual = direction(*USUAL)
    if len(solid) < 2:
        return usual
    sampled = _sampled(solid)
    best, highest = usual, _score(sampled, usual) + _CLEARLY_BETTER
    for azimuth, elevation in product(_AZIMUTHS, _ELEVATIONS):
        towards = direction(azimuth, elevation)
        away = np.degrees(np.arccos(np.clip(towards @ usual, -1, 1)))
        score = _score(sampled, towards) - _PER_DEGREE * float(away)
        if score > highest:
            best, highest = towards, score
    return best


def visible_shares(meshes: Sequence[Mesh], towards: Float) -> Float:
    """(M,) share of each mesh's outline in the picture that no other mesh hides.

    Parameters
    ----------
    meshes : sequence of Mesh
        With faces.
    towards : (3,) float
        Towards the viewer.
    """
    return _shares(_sampled(meshes), towards)


_Sampled = tuple[Float, NDArray[np.intp], int, float]


def _sampled(meshes: Sequence[Mesh]) -> _Sampled:
    """Return points on the surfaces, the mesh of each, their number, and the width of a cell of the depth buffer."""
    low = np.min([mesh.vertices.min(axis=0) for mesh in meshes], axis=0)
    high = np.max([mesh.vertices.max(axis=0) for mesh in meshes], axis=0)
    cell = max(float(np.linalg.norm(high - low)), 1e-6) / _CELLS
    # A fixed seed: the same meshes are always seen from the same side.
    draws = np.random.default_rng(_SEED)
    chosen = []
    for mesh in meshes:
        faces = mesh.faces[:: -(-len(mesh.faces) // _MOST_FACES)]
        corners = mesh.vertices[faces]
        edges = corners[:, 1:] - corners[:, :1]
        areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2
        chosen.append((corners[:, 0], edges, areas, areas.sum() * len(mesh.faces) / len(faces)))
    fewer = min(1.0, _MOST_POINTS / max(sum(_POINTS_PER_CELL * area / cell**2 for *_, area in chosen), 1))
    points = []
    for first, edges, areas, area in chosen:
        count = 1 + int(fewer * _POINTS_PER_CELL * area / cell**2)
        # Evenly along the sum of areas; each triangle gets points as it is large.
        at = np.searchsorted(np.cumsum(areas), (np.arange(count) + 0.5) / count * areas.sum()).clip(0, len(areas) - 1)
        share = draws.random((count, 2))
        share = np.where(share.sum(axis=1, keepdims=True) > 1, 1 - share, share)
        points.append(first[at] + (share[:, :, None] * edges[at]).sum(axis=1))
    numbers = np.repeat(np.arange(len(meshes)), [len(part) for part in points])
    return np.concatenate(points), numbers, len(meshes), cell / np.sqrt(fewer)


def _shares(sampled: _Sampled, towards: Float) -> Float:
    points, numbers, count, cell = sampled
    seen = points @ axes_towards(towards).T
    place = np.floor((seen[:, :2] - seen[:, :2].min(axis=0)) / cell).astype(np.intp)
    width = place.max(axis=0) + 1
    # The nearest point of each mesh in each cell.
    nearest = np.full((count, int(width.prod())), -np.inf)
    np.maximum.at(nearest, (numbers, place[:, 0] * width[1] + place[:, 1]), seen[:, 2])
    covered = np.isfinite(nearest)
    # A cell is as deep as it is wide, so that neighbours that touch do not hide each other.
    visible = covered & (nearest >= nearest.max(axis=0) - cell)
    return np.asarray(visible.sum(axis=1) / covered.sum(axis=1))


def _score(sampled: _Sampled, towards: Float) -> float:
    return float(np.sqrt(_shares(sampled, towards)).mean())
