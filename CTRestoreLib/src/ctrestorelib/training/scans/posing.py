"""How a subject stands in its cube: turned, scaled, mirrored, gently warped (layer: training)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.training.anatomy.fields import Array, smooth_field
from ctrestorelib.training.clean_volumes import AIR_HU

LARGEST_MM = 409.6
"""Edge of the largest cube: that of the published benchmarks."""

_KNOTS = 8
_SLAB = 16


@dataclass(frozen=True, eq=False)
class Pose:
    """Where each point of the cube comes from.

    Parameters
    ----------
    matrix
        3x4, from the cube to the source, mm to mm (x, y, z), both about their middles.
    warp
        Shift in mm on a coarse grid over the cube, shape (3, k, j, i), added before ``matrix``.
    """

    matrix: NDArray[np.float64]
    warp: Array


def draw_pose(
    rng: np.random.Generator,
    stack_mm: NDArray[np.float64],
    edge_mm: float,
    *,
    scale: tuple[float, float] = (0.8, 1.25),
) -> Pose:
    """Draw a pose of a stack of slices in a cube.

    Turned about z by a multiple of 90 degrees and up to 15 more, mirrored along any axis, made
    smaller or larger, shifted as far as the stack reaches beyond the cube, and warped by up to
    about 2 percent of the cube.

    Parameters
    ----------
    rng
        Decides everything.
    stack_mm
        Size of the source along x, y and z.
    edge_mm
        Edge of the cube.
    scale
        Smallest and largest size of the source.
    """
    turn = np.deg2rad(90.0 * rng.integers(4) + rng.uniform(-15, 15))
    cos, sin = np.cos(turn), np.sin(turn)
    flips = np.diag(rng.choice([-1.0, 1.0], 3))
    smaller = 1 / rng.uniform(*scale)
    linear = smaller * flips @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    free = np.maximum(stack_mm - edge_mm * smaller, 0) / 2
    shift = rng.uniform(-1, 1, 3) * (free + 0.03 * edge_mm)
    much = float(rng.uniform(0, 0.012)) * edge_mm
    warp = [np.float32(much) * smooth_field(rng, (_KNOTS,) * 3, (3.0,) * 3) for _ in range(3)]
    return Pose(np.concatenate([linear, shift[:, None]], axis=1), np.stack(warp))


def posed(source: Volume, grid: VolumeGeometry, pose: Pose) -> Array:
    """Return the source in HU as it stands in the cube ``grid``; outside the source is air."""
    n = grid.shape[0]
    at = ((np.arange(n) - (n - 1) / 2) * grid.spacing_mm[0]).astype(np.float32)
    spacing = np.array(source.geometry.spacing_mm)
    middle = (np.array(source.shape[::-1]) - 1) / 2
    matrix = (pose.matrix / spacing[:, None]).astype(np.float32)
    matrix[:, 3] += middle.astype(np.float32)
    knots = ((np.arange(n) + 0.5) * _KNOTS / n - 0.5).astype(np.float32)
    weights = _linear_weights(knots)
    flat = np.tensordot(pose.warp, weights, axes=(3, 1))  # (3, k, j, x)
    flat = np.einsum("ckjx,yj->ckyx", flat, weights)
    out = np.empty(grid.shape, np.float32)
    for low in range(0, n, _SLAB):
        part = slice(low, min(low + _SLAB, n))
        bent = np.einsum("ckyx,zk->czyx", flat, weights[part])
        x, y, z = bent[0] + at, bent[1] + at[:, None], bent[2] + at[part][:, None, None]
        ijk = [row[0] * x + row[1] * y + row[2] * z + row[3] for row in matrix]
        out[part] = ndimage.map_coordinates(
            source.values, ijk[::-1], order=1, mode="constant", cval=AIR_HU
        )
    return out


def _linear_weights(places: Array) -> Array:
    """Return the weights of linear interpolation between knots, shape (place, knot)."""
    away = np.abs(np.clip(places, 0, _KNOTS - 1)[:, None] - np.arange(_KNOTS, dtype=np.float32))
    weights: Array = np.clip(1 - away, 0, 1).astype(np.float32)
    return weights
