"""Voxel-driven backprojection with numpy alone (layer: physics)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.physics.backproject import EDGE, IndexMatrices

BLOCK_VOXELS = 2**17
"""Voxels in flight at once (about 60 bytes each): small enough to stay in fast memory."""


def backproject_numpy(
    values: NDArray[np.float32], plan: IndexMatrices, out: NDArray[np.float32]
) -> None:
    """Add the backprojection of ``values[view, row, col]`` to ``out[k, j, i]``, slab by slab."""
    slices, rows, cols = out.shape
    step = max(1, BLOCK_VOXELS // (rows * cols))
    for start in range(0, slices, step):
        slab = out[start : start + step]
        for projection, matrix, weight in zip(values, plan.matrices, plan.weights, strict=True):
            if weight:
                factor = np.float32(weight)
                _add_view(projection, matrix, start, slab, factor, weighted=plan.distance_weight)


def _add_view(
    projection: NDArray[np.float32],
    matrix: NDArray[np.float64],
    start: int,
    slab: NDArray[np.float32],
    factor: np.float32,
    *,
    weighted: bool,
) -> None:
    height, width = projection.shape
    k, j, i = (np.arange(n, dtype=np.float64) for n in slab.shape)
    u, v, w = (
        (a * (k + start)).astype(np.float32)[:, None, None]
        + (b * j).astype(np.float32)[:, None]
        + (c * i + d).astype(np.float32)
        for a, b, c, d in matrix
    )
    seen = w > 0
    inverse = np.divide(np.float32(1), w, out=np.zeros_like(w), where=seen)
    u *= inverse
    v *= inverse
    seen &= (u >= -EDGE) & (u <= width - 1 + EDGE) & (v >= -EDGE) & (v <= height - 1 + EDGE)
    np.clip(u, 0, width - 1, out=u)
    np.clip(v, 0, height - 1, out=v)
    column = np.minimum(u.astype(np.intp), max(width - 2, 0))
    row = np.minimum(v.astype(np.intp), max(height - 2, 0))
    u -= column
    v -= row
    at = row * width + column
    right, below = int(width > 1), width * int(height > 1)
    flat = np.ascontiguousarray(projection).reshape(-1)
    top, bottom = flat[at], flat[at + below]
    top += u * (flat[at + right] - top)
    bottom += u * (flat[at + (below + right)] - bottom)
    top += v * (bottom - top)
    if weighted:
        top *= inverse
        top *= inverse
    top *= factor
    top *= seen
    slab += top
