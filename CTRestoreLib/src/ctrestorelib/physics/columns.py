"""Scans whose detector columns run along a voxel axis (layer: physics).

In a circular scan without detector tilt the rays of one detector column (fixed u, all v) stay in a
plane that contains a voxel axis. On a plane of voxels across their main axis they share one lateral
position, so two columns of voxels are blended once, and each ray then interpolates along that one
column: a third of the work of a bilinear interpolation for every ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.physics.rays import IndexRays

EDGE = 1e-9
"""Positions keep this distance (in voxels) from where values have become zero: no index is out."""

_STRAIGHT_VOXELS = 1e-5
"""A detector column may leave the voxel axis by this much over its length."""


@dataclass(frozen=True, eq=False)
class ColumnLines:
    """Where the rays of each detector column cross the planes of their main axis.

    With ``x = p - middle`` for plane p, a column lies at lateral position ``q0 + x q1`` and its
    pixel v at ``z0 + x z1 + v (d0 + x d1)`` along the column axis.

    Parameters
    ----------
    axis
        Voxel axis along which detector columns run: 0, 1, 2 for k, j, i.
    main
        Shape (view, col): main axis of the rays, 0 or 1, counted without ``axis``.
    planes
        Shape (view, col, 2): first plane and end (exclusive) of the planes crossed inside the grid.
    lines
        Shape (view, col, 6): q0, q1, z0, z1, d0, d1.
    squares_mm
        Shape (view, col, 3): the squared length in mm between planes is ``a + b v + c v**2``.
    """

    axis: int
    main: NDArray[np.uint8]
    planes: NDArray[np.int32]
    lines: NDArray[np.float64]
    squares_mm: NDArray[np.float64]


def column_axis(rays: IndexRays) -> int | None:
    """Return the voxel axis along which all detector columns run, None if there is none.

    None also if some ray is steeper along that axis than across it.
    """
    rows = rays.detector_shape[0]
    moved = np.abs(rays.origin[:, 2]) + np.abs(rays.direction[:, 2])
    axis = int(moved.max(axis=0).argmax())
    lateral = [a for a in range(3) if a != axis]
    if (moved[:, lateral] * rows).max() > _STRAIGHT_VOXELS:
        return None
    for view in range(rays.views):
        direction = np.abs(_all_columns(rays.direction[view], rays.detector_shape))
        if (direction[:, :, axis].max(axis=0) >= direction[0][:, lateral].max(axis=1)).any():
            return None
    return axis


def _all_columns(
    vectors: NDArray[np.float64], detector_shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the vectors at first and last row of every column; shape (2, col, 3)."""
    rows, cols = detector_shape
    u = np.arange(cols)[:, None]
    first = vectors[0] + u * vectors[1]
    return np.stack([first, first + (rows - 1) * vectors[2]])


def column_lines(rays: IndexRays, axis: int) -> ColumnLines:
    """Return the lines of all detector columns along voxel axis ``axis``."""
    lateral = [a for a in range(3) if a != axis]
    u = np.arange(rays.detector_shape[1])[:, None]
    origin = rays.origin[:, None, 0] + u * rays.origin[:, None, 1]  # (view, col, 3)
    direction = rays.direction[:, None, 0] + u * rays.direction[:, None, 1]
    # Strictly greater: on a tie the first axis wins, as numpy's and torch's argmax decide.
    main = np.abs(direction[..., lateral[1]]) > np.abs(direction[..., lateral[0]])
    a = np.where(main, lateral[1], lateral[0])
    q = np.where(main, lateral[0], lateral[1])
    shape = np.asarray(rays.shape)
    middle = (shape[a] - 1) / 2.0
    o_a, d_a = _take(origin, a), _take(direction, a)
    t0, t1 = (middle - o_a) / d_a, 1.0 / d_a
    q1 = _take(direction, q) * t1
    q0 = _take(origin, q) + (middle - o_a) * q1
    step_o, step_d = rays.origin[:, None, 2, axis], rays.direction[:, None, 2, axis]
    d_z = direction[..., axis]
    lines = np.stack(
        [q0, q1, origin[..., axis] + t0 * d_z, t1 * d_z, step_o + t0 * step_d, t1 * step_d],
        axis=-1,
    )
    return ColumnLines(
        axis=axis,
        main=main.astype(np.uint8),
        planes=_planes(rays, (q0, q1), (t0, t1), (shape[a], shape[q])),
        lines=np.ascontiguousarray(lines),
        squares_mm=_squares(rays, direction, d_a),
    )


def _take(vectors: NDArray[np.float64], axis: NDArray[np.int_]) -> NDArray[np.float64]:
    return np.take_along_axis(vectors, axis[..., None], axis=-1)[..., 0]


def _planes(
    rays: IndexRays,
    lateral: tuple[NDArray[np.float64], NDArray[np.float64]],
    ray: tuple[NDArray[np.float64], NDArray[np.float64]],
    counts: tuple[NDArray[np.int_], NDArray[np.int_]],
) -> NDArray[np.int32]:
    """Solve for the planes at which a line is inside the grid and between source and detector."""
    planes, width = counts
    middle = (planes - 1) / 2.0
    low, high = -middle, middle
    for (at_middle, slope), start, stop in (
        (lateral, np.full(width.shape, EDGE - 1.0), width - EDGE),
        (ray, np.full(width.shape, rays.t_min), np.full(width.shape, rays.t_max)),
    ):
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.stack([(start - at_middle) / slope, (stop - at_middle) / slope])
        # A line parallel to the planes' axis is inside everywhere or nowhere.
        inside = (at_middle >= start) & (at_middle <= stop)
        flat = np.abs(slope) < 1e-12
        low = np.where(flat, np.where(inside, low, np.inf), np.maximum(low, np.fmin(*ends)))
        high = np.where(flat, np.where(inside, high, -np.inf), np.minimum(high, np.fmax(*ends)))
    first = np.clip(np.ceil(low + middle), 0, planes)
    end = np.clip(np.floor(high + middle) + 1, first, planes)
    return np.ascontiguousarray(np.stack([first, end], axis=-1).astype(np.int32))


def _squares(
    rays: IndexRays, direction: NDArray[np.float64], d_a: NDArray[np.float64]
) -> NDArray[np.float64]:
    base = (direction / d_a[..., None]) @ rays.to_mm.T
    step = (rays.direction[:, None, 2] / d_a[..., None]) @ rays.to_mm.T
    dots = [(base * base).sum(-1), 2.0 * (base * step).sum(-1), (step * step).sum(-1)]
    return np.ascontiguousarray(np.stack(dots, axis=-1))
