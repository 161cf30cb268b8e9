"""The rays of a scan in voxel indices, where every projector works (layer: physics).

A ray of pixel ``(u, v)`` is ``origin + t * direction``; origin and direction are linear in u and
v: a cone beam has one origin (the source) and t runs from 0 there to 1 at the detector, a parallel
beam has one direction. Joseph's method (doi:10.1109/TMI.1982.4307572) walks along the voxel axis on
which the ray moves fastest, one plane at a time, interpolates in that plane and multiplies by the
length in mm between two planes. Between outermost voxel centres and one voxel beyond them the
values fall linearly to zero. A cone beam's ray ends at the source and at the detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry


@dataclass(frozen=True, eq=False)
class IndexRays:
    """Rays of all views in voxel-index space, axes in the order (k, j, i).

    Parameters
    ----------
    origin, direction
        Shape (view, 3, 3): the value at pixel (0, 0), its change per column, its change per row.
    t_min, t_max
        Limits of the ray's parameter; 0 and 1 for a cone beam, infinite for a parallel one.
    to_mm
        3x3 matrix from a step in (k, j, i) to millimetres.
    shape, detector_shape
        Voxels (k, j, i); pixels (rows, cols).
    """

    origin: NDArray[np.float64]
    direction: NDArray[np.float64]
    t_min: float
    t_max: float
    to_mm: NDArray[np.float64]
    shape: tuple[int, int, int]
    detector_shape: tuple[int, int]

    @property
    def views(self) -> int:
        """Number of views."""
        return len(self.origin)

    def corners(self, view: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return origins and directions of the four corner pixels' rays, each (4, 3)."""
        rows, cols = self.detector_shape
        uv = np.array([(1.0, u, v) for v in (0, rows - 1) for u in (0, cols - 1)])
        return uv @ self.origin[view], uv @ self.direction[view]

    def clips(self, view: int) -> bool:
        """Whether source or detector reach into the grid, so that rays end inside it."""
        if np.isinf(self.t_max):
            return False
        # The volume seen along the detector normal: linear, so its corners tell.
        source = self.origin[view, 0]
        normal = np.cross(self.direction[view, 1], self.direction[view, 2])
        depth = normal @ self.direction[view, 0]
        k, j, i = (n - 1 for n in self.shape)
        corners = np.array([(a, b, c) for a in (0, k) for b in (0, j) for c in (0, i)], dtype=float)
        t = (corners - source) @ normal / depth
        return bool(t.min() < self.t_min or t.max() > self.t_max)


def index_rays(geometry: ConeBeamGeometry, grid: VolumeGeometry) -> IndexRays:
    """Return the rays of ``geometry`` in the voxel indices of ``grid``."""
    rotation = grid.lps_to_ijk[:3, :3][::-1]
    shift = grid.lps_to_ijk[:3, 3][::-1]
    rows, cols = geometry.detector_shape
    u, v = geometry.u_mm, geometry.v_mm
    first = geometry.detector_centre_mm - u * (cols - 1) / 2.0 - v * (rows - 1) / 2.0
    fixed = np.zeros_like(u)
    if geometry.beam is Beam.PARALLEL:
        origin, direction = (first, u, v), (-geometry.source, fixed, fixed)
        limits = (-np.inf, np.inf)
    else:
        origin, direction = (geometry.source, fixed, fixed), (first - geometry.source, u, v)
        limits = (0.0, 1.0)
    placed = np.stack(origin, axis=1) @ rotation.T
    placed[:, 0] += shift
    return IndexRays(
        origin=placed,
        direction=np.stack(direction, axis=1) @ rotation.T,
        t_min=limits[0],
        t_max=limits[1],
        to_mm=np.array(grid.ijk_to_lps[:3, :3][:, ::-1]),
        shape=grid.shape,
        detector_shape=geometry.detector_shape,
    )
