"""Voxel-driven backprojection on the CPU with numba (layer: physics)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.physics import kernels_backproject as kernels
from ctrestorelib.physics.backproject import IndexMatrices
from ctrestorelib.physics.kernels_joseph import U_BLOCK
from ctrestorelib.physics.sharing import share

VIEW_BLOCK_BYTES = 2**26
"""Projections that are held in transposed order at once."""


def backproject_numba(
    values: NDArray[np.float32], plan: IndexMatrices, out: NDArray[np.float32], threads: int
) -> None:
    """Add the backprojection of ``values[view, row, col]`` to ``out[k, j, i]``."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    axis = plan.column_axis(out.shape)
    matrices = np.zeros((len(values), 4, 4))
    matrices[:, :3] = plan.matrices
    matrices[:, 3, 0] = plan.distance_weight
    if axis is None:
        _voxels(values, plan.weights, matrices, out, threads)
        return
    lateral = [a for a in range(3) if a != axis]
    matrices = np.ascontiguousarray(matrices[:, :, [*lateral, axis, 3]])
    matrices[:, 3, 0] = plan.distance_weight
    block = max(1, VIEW_BLOCK_BYTES // values[0].nbytes)
    for start in range(0, len(values), block):
        chosen = slice(start, start + block)
        _columns(
            values[chosen], plan.weights[chosen], matrices[chosen], out, axis=axis, threads=threads
        )


def _columns(
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    matrices: NDArray[np.float64],
    out: NDArray[np.float32],
    *,
    axis: int,
    threads: int,
) -> None:
    views, rows, cols = values.shape
    turned = np.empty((views, cols, rows + 3), dtype=np.float32)

    def turn(first: int, last: int) -> None:
        kernels.turn_views(values, weights, first, last, turned)

    share(turn, views * -(-cols // U_BLOCK), threads)

    def work(first: int, last: int) -> None:
        kernels.backproject_columns(turned, matrices, axis, first, last, out)

    na, nb = (n for a, n in enumerate(out.shape) if a != axis)
    share(work, -(-na // kernels.TILE_A) * -(-nb // kernels.TILE_B), threads)


def _voxels(
    values: NDArray[np.float32],
    weights: NDArray[np.float32],
    matrices: NDArray[np.float64],
    out: NDArray[np.float32],
    threads: int,
) -> None:
    def work(first: int, last: int) -> None:
        kernels.backproject_voxels(values, weights, matrices, first, last, out)

    share(work, out.shape[0] * out.shape[1], threads)
