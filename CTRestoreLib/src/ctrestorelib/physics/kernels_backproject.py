"""Compiled kernels of voxel-driven backprojection (layer: physics; imported only with numba)."""

# ruff: noqa: PLR0917 - compiled functions take their arguments by position
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.physics.backproject import EDGE
from ctrestorelib.physics.compiled import compiled
from ctrestorelib.physics.kernels_joseph import F32, U_BLOCK, sample

TILE_A, TILE_B = 4, 16
"""Voxel columns that stay in fast memory while all views are added."""


@compiled
def turn_views(
    projections: NDArray[np.float32],
    weights: NDArray[np.float32],
    first: int,
    last: int,
    out: NDArray[np.float32],
) -> None:
    """Write weighted views [view, row, col] as [view, col, 1 + row + 2], edge rows repeated."""
    rows, cols = projections.shape[1], projections.shape[2]
    blocks = (cols + U_BLOCK - 1) // U_BLOCK
    for item in range(first, last):
        view = item // blocks
        u_start = (item % blocks) * U_BLOCK
        u_end = min(u_start + U_BLOCK, cols)
        for v in range(rows):
            for u in range(u_start, u_end):
                out[view, u, v + 1] = weights[view] * projections[view, v, u]
        for u in range(u_start, u_end):
            out[view, u, 0] = out[view, u, 1]
            out[view, u, rows + 1] = out[view, u, rows]
            out[view, u, rows + 2] = out[view, u, rows]


@compiled
def _slices_inside(v: float, dv: float, rows: int, nz: int) -> tuple[int, int]:
    """Return the voxels z (first, end) whose row v + z dv is on the detector."""
    if abs(dv) < 1e-9:
        return (0, nz) if -EDGE <= v <= rows - 1 + EDGE else (0, 0)
    a = (-EDGE - v) / dv
    b = (rows - 1 + EDGE - v) / dv
    low = max(0.0, np.ceil(min(a, b)))
    high = min(nz - 1.0, np.floor(max(a, b)))
    if high < low:
        return 0, 0
    return int(low), int(high) + 1


@compiled
def _add_column(
    view: NDArray[np.float32],
    matrix: NDArray[np.float64],
    place: tuple[int, int],
    nz: int,
    blended: NDArray[np.float32],
    sums: NDArray[np.float32],
) -> None:
    """Add one view to one voxel column: blend two detector columns, then sample along them."""
    cols, rows = view.shape[0], view.shape[1] - 3
    a, b = place
    w = matrix[2, 0] * a + matrix[2, 1] * b + matrix[2, 3]
    if w <= 0.0:
        return
    inverse = 1.0 / w
    u = (matrix[0, 0] * a + matrix[0, 1] * b + matrix[0, 3]) * inverse
    if not (-EDGE <= u <= cols - 1 + EDGE):
        return
    v = (matrix[1, 0] * a + matrix[1, 1] * b + matrix[1, 3]) * inverse
    dv = matrix[1, 2] * inverse
    z_start, z_end = _slices_inside(v, dv, rows, nz)
    if z_end <= z_start:
        return
    u = min(max(u, 0.0), cols - 1.0)
    low = min(int(u), max(cols - 2, 0))
    factor = inverse * inverse if matrix[3, 0] != 0.0 else 1.0
    f = F32((u - low) * factor)
    g = F32((1.0 - (u - low)) * factor)
    ends = (v + z_start * dv + 1.0, v + (z_end - 1) * dv + 1.0)
    first, end = max(int(min(ends)), 0), min(int(max(ends)) + 2, rows + 3)
    left, right = view[low, first:end], view[min(low + 1, cols - 1), first:end]
    needed = blended[first:end]
    for row in range(len(needed)):
        needed[row] = g * left[row] + f * right[row]
    sample(blended, v + 1.0, dv, z_start, z_end, sums)


@compiled
def backproject_columns(
    views: NDArray[np.float32],
    matrices: NDArray[np.float64],
    axis: int,
    first: int,
    last: int,
    out: NDArray[np.float32],
) -> None:
    """Add views [view, col, row] to tiles first to last of voxel columns along ``axis`` of out.

    ``matrices`` (view, 4, 4) take (lateral a, lateral b, along, 1); row 3 holds 1 where the
    distance weight applies. They do not mix ``along`` into u and w.
    """
    nz = out.shape[axis]
    na = out.shape[1] if axis == 0 else out.shape[0]
    nb = out.shape[1] if axis == 2 else out.shape[2]
    tiles = (nb + TILE_B - 1) // TILE_B
    sums = np.empty((TILE_A * TILE_B, nz), F32)
    # Not empty: where a position is a whole number, sampling may read a neighbour that no view has
    # written yet. Its share is 0 but for rounding, which can let through what fresh memory holds.
    blended = np.zeros(views.shape[2] + 1, F32)
    for item in range(first, last):
        a0, b0 = (item // tiles) * TILE_A, (item % tiles) * TILE_B
        a1, b1 = min(a0 + TILE_A, na), min(b0 + TILE_B, nb)
        sums[:] = F32(0.0)
        for n in range(views.shape[0]):
            for a in range(a0, a1):
                for b in range(b0, b1):
                    slot = (a - a0) * TILE_B + b - b0
                    _add_column(views[n], matrices[n], (a, b), nz, blended, sums[slot])
        _store(sums, (a0, a1), (b0, b1), axis, out)


@compiled
def _store(
    sums: NDArray[np.float32],
    span_a: tuple[int, int],
    span_b: tuple[int, int],
    axis: int,
    out: NDArray[np.float32],
) -> None:
    for a in range(span_a[0], span_a[1]):
        row = (a - span_a[0]) * TILE_B
        if axis == 2:
            for b in range(span_b[0], span_b[1]):
                for z in range(out.shape[2]):
                    out[a, b, z] += sums[row + b - span_b[0], z]
        elif axis == 1:
            for z in range(out.shape[1]):
                for b in range(span_b[0], span_b[1]):
                    out[a, z, b] += sums[row + b - span_b[0], z]
        else:
            for z in range(out.shape[0]):
                for b in range(span_b[0], span_b[1]):
                    out[z, a, b] += sums[row + b - span_b[0], z]


@compiled
def backproject_voxels(
    projections: NDArray[np.float32],
    weights: NDArray[np.float32],
    matrices: NDArray[np.float64],
    first: int,
    last: int,
    out: NDArray[np.float32],
) -> None:
    """Add projections [view, row, col] to rows first to last of out (rows counted over k and j).

    ``matrices`` (view, 4, 4) take (k, j, i, 1); row 3 holds 1 where the distance weight applies.
    """
    rows, cols = projections.shape[1], projections.shape[2]
    for item in range(first, last):
        k, j = item // out.shape[1], item % out.shape[1]
        line = out[k, j]
        for n in range(projections.shape[0]):
            m, image = matrices[n], projections[n]
            weighted = m[3, 0] != 0.0
            u0 = m[0, 0] * k + m[0, 1] * j + m[0, 3]
            v0 = m[1, 0] * k + m[1, 1] * j + m[1, 3]
            w0 = m[2, 0] * k + m[2, 1] * j + m[2, 3]
            for i in range(out.shape[2]):
                w = w0 + i * m[2, 2]
                if w <= 0.0:
                    continue
                inverse = 1.0 / w
                u, v = (u0 + i * m[0, 2]) * inverse, (v0 + i * m[1, 2]) * inverse
                if not (-EDGE <= u <= cols - 1 + EDGE and -EDGE <= v <= rows - 1 + EDGE):
                    continue
                u, v = min(max(u, 0.0), cols - 1.0), min(max(v, 0.0), rows - 1.0)
                iu, iv = int(u), int(v)
                fu, fv = F32(u - iu), F32(v - iv)
                iu1, iv1 = min(iu + 1, cols - 1), min(iv + 1, rows - 1)
                top = image[iv, iu] + fu * (image[iv, iu1] - image[iv, iu])
                bottom = image[iv1, iu] + fu * (image[iv1, iu1] - image[iv1, iu])
                factor = F32(inverse * inverse) if weighted else F32(1.0)
                line[i] += weights[n] * factor * (top + fv * (bottom - top))
