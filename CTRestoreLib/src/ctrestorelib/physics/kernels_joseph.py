"""Compiled kernels of Joseph's projector (layer: physics; imported only when numba computes).

Every kernel works on a share of its output that no other thread touches, so results do not depend
on threads. Kernels release the interpreter's lock; :mod:`joseph_numba` shares the work out.
"""

# ruff: noqa: PLR0917 - compiled functions take their arguments by position
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.physics.compiled import compiled

F32 = np.float32
U_BLOCK = 16
FIXED = 2.0**32
HALF, ONE, NEXT = np.uint64(32), np.uint32(1), np.uint64(1)
REMAINDER = F32(2.0**-31)
PAD = 2
"""Zeros kept on both sides of a blended column, so that its ends need no test."""


@compiled
def _rows_inside(z: float, dz: float, nz: int, rows: int) -> tuple[int, int]:
    """Return the rows v (first, end) with -1 < z + v dz < nz."""
    if abs(dz) < 1e-9:
        return (0, rows) if -1.0 < z < nz else (0, 0)
    a = (-1.0 - z) / dz
    b = (nz - z) / dz
    low = max(0.0, np.ceil(min(a, b)))
    high = min(rows - 1.0, np.floor(max(a, b)))
    if high < low:
        return 0, 0
    return int(low), int(high) + 1


@compiled
def _blend(
    columns: NDArray[np.float32], main: int, plane: int, q: float, out: NDArray[np.float32]
) -> None:
    """Interpolate the voxel column at lateral position q of a plane into out[PAD:]."""
    nz = columns.shape[2]
    low = int(np.floor(q))
    f = F32(q - low)
    g = F32(1.0) - f
    count = columns.shape[1] if main == 0 else columns.shape[0]
    has_low, has_high = low >= 0, low + 1 < count
    low_index, high_index = max(low, 0), min(low + 1, count - 1)
    if main == 0:
        a, b = columns[plane, low_index], columns[plane, high_index]
    else:
        a, b = columns[low_index, plane], columns[high_index, plane]
    if not has_low:
        g = F32(0.0)
    if not has_high:
        f = F32(0.0)
    for z in range(nz):
        out[z + PAD] = g * a[z] + f * b[z]


@compiled
def forward_columns(
    columns: NDArray[np.float32],
    main: NDArray[np.uint8],
    planes: NDArray[np.int32],
    lines: NDArray[np.float64],
    squares: NDArray[np.float64],
    first: int,
    last: int,
    out: NDArray[np.float32],
) -> None:
    """Project along detector columns; items first to last count blocks of columns, view by view."""
    nz = columns.shape[2]
    rows, cols = out.shape[1], out.shape[2]
    blocks = (cols + U_BLOCK - 1) // U_BLOCK
    total = np.empty((U_BLOCK, rows), F32)
    blended = np.zeros(nz + 2 * PAD, F32)
    for item in range(first, last):
        view = item // blocks
        u_start = (item % blocks) * U_BLOCK
        u_end = min(u_start + U_BLOCK, cols)
        for u in range(u_start, u_end):
            sums = total[u - u_start]
            sums[:] = F32(0.0)
            axis = main[view, u]
            middle = (columns.shape[axis] - 1) / 2.0
            q0, q1, z0, z1, d0, d1 = lines[view, u]
            for plane in range(planes[view, u, 0], planes[view, u, 1]):
                x = plane - middle
                z, dz = z0 + x * z1, d0 + x * d1
                v_start, v_end = _rows_inside(z, dz, nz, rows)
                if v_end <= v_start:
                    continue
                _blend(columns, axis, plane, q0 + x * q1, blended)
                sample(blended, z + PAD, dz, v_start, v_end, sums)
            a, b, c = squares[view, u]
            for v in range(rows):
                sums[v] *= F32(np.sqrt(a + v * (b + v * c)))
        for v in range(rows):
            for u in range(u_start, u_end):
                out[view, v, u] = total[u - u_start, v]


@compiled
def sample(
    column: NDArray[np.float32],
    start: float,
    step: float,
    first: int,
    end: int,
    sums: NDArray[np.float32],
) -> None:
    """Add column, interpolated at start + n step, to sums[n] for n from first to end.

    Positions (not negative) are counted in units of 2**-32: whole numbers are stepped without
    rounding, and split into index and remainder twice as fast as floating-point numbers.
    """
    stride = np.int64(step * FIXED)
    origin = np.int64(start * FIXED) + first * stride
    chosen = sums[first:end]  # counted from zero, so that the index needs no test of its sign
    for n in range(len(chosen)):
        at = np.uint64(origin + n * stride)
        index = at >> HALF
        part = F32(np.int32(np.uint32(at) >> ONE)) * REMAINDER
        below = column[index]
        chosen[n] += below + part * (column[index + NEXT] - below)


@compiled
def weigh_columns(
    projections: NDArray[np.float32],
    squares: NDArray[np.float64],
    first: int,
    last: int,
    out: NDArray[np.float32],
) -> None:
    """Write projections [view, row, col] times step length as [view, col, row]."""
    rows, cols = projections.shape[1], projections.shape[2]
    blocks = (cols + U_BLOCK - 1) // U_BLOCK
    for item in range(first, last):
        view = item // blocks
        u_start = (item % blocks) * U_BLOCK
        u_end = min(u_start + U_BLOCK, cols)
        for v in range(rows):
            for u in range(u_start, u_end):
                a, b, c = squares[view, u]
                out[view, u, v] = projections[view, v, u] * F32(np.sqrt(a + v * (b + v * c)))


@compiled
def adjoint_columns(
    weighed: NDArray[np.float32],
    main: NDArray[np.uint8],
    planes: NDArray[np.int32],
    lines: NDArray[np.float64],
    axis: int,
    first: int,
    last: int,
    columns: NDArray[np.float32],
) -> None:
    """Add the transpose of forward_columns to planes first to last of main axis ``axis``."""
    nz = columns.shape[2]
    views, cols, rows = weighed.shape
    middle = (columns.shape[axis] - 1) / 2.0
    spread = np.zeros((4, nz + 2 * PAD), F32)
    for view in range(views):
        for u in range(cols):
            if main[view, u] != axis:
                continue
            q0, q1, z0, z1, d0, d1 = lines[view, u]
            start, end = max(first, planes[view, u, 0]), min(last, planes[view, u, 1])
            for plane in range(start, end):
                x = plane - middle
                z, dz = z0 + x * z1, d0 + x * d1
                v_start, v_end = _rows_inside(z, dz, nz, rows)
                if v_end <= v_start:
                    continue
                if rows == 1:  # a fan beam: four voxels share one reading
                    _scatter_one(weighed[view, u, 0], z, axis, plane, q0 + x * q1, columns)
                    continue
                _scatter(weighed[view, u], z + PAD, dz, v_start, v_end, spread)
                _unblend(spread, axis, plane, q0 + x * q1, columns)


@compiled
def _scatter_one(
    value: np.float32, z: float, main: int, plane: int, q: float, columns: NDArray[np.float32]
) -> None:
    """Add one reading to the four voxels around height ``z`` and place ``q`` of a plane."""
    low_q, low_z = int(np.floor(q)), int(np.floor(z))
    f, h = F32(q - low_q), F32(z - low_z)
    count = columns.shape[1] if main == 0 else columns.shape[0]
    for side in range(2):
        index = low_q + side
        if index < 0 or index >= count:
            continue
        share = value * (f if side else F32(1.0) - f)
        column = columns[plane, index] if main == 0 else columns[index, plane]
        if 0 <= low_z < columns.shape[2]:
            column[low_z] += (F32(1.0) - h) * share
        if 0 <= low_z + 1 < columns.shape[2]:
            column[low_z + 1] += h * share


@compiled
def _scatter(
    values: NDArray[np.float32],
    start: float,
    step: float,
    first: int,
    end: int,
    spread: NDArray[np.float32],
) -> None:
    """Transpose of sample, into four arrays so that neighbouring rows need not wait."""
    low0, high0, low1, high1 = spread[0], spread[1], spread[2], spread[3]
    stride = np.int64(step * FIXED)
    origin = np.int64(start * FIXED) + first * stride
    chosen = values[first:end]
    pairs = len(chosen) // 2
    for pair in range(pairs):
        n = np.uint64(pair) << NEXT
        at = np.uint64(origin + 2 * pair * stride)
        at2 = np.uint64(origin + (2 * pair + 1) * stride)
        index, index2 = at >> HALF, at2 >> HALF
        value, value2 = chosen[n], chosen[n + NEXT]
        part = F32(np.int32(np.uint32(at) >> ONE)) * REMAINDER * value
        part2 = F32(np.int32(np.uint32(at2) >> ONE)) * REMAINDER * value2
        low0[index] += value - part
        high0[index] += part
        low1[index2] += value2 - part2
        high1[index2] += part2
    if 2 * pairs < len(chosen):
        at = np.uint64(origin + 2 * pairs * stride)
        part = F32(np.int32(np.uint32(at) >> ONE)) * REMAINDER * chosen[-1]
        low0[at >> HALF] += chosen[-1] - part
        high0[at >> HALF] += part


@compiled
def _unblend(
    spread: NDArray[np.float32], main: int, plane: int, q: float, columns: NDArray[np.float32]
) -> None:
    """Transpose of _blend; empties ``spread``."""
    nz = columns.shape[2]
    low = int(np.floor(q))
    f = F32(q - low)
    g = F32(1.0) - f
    count = columns.shape[1] if main == 0 else columns.shape[0]
    has_low, has_high = low >= 0, low + 1 < count
    low0, high0, low1, high1 = spread[0], spread[1], spread[2], spread[3]
    if has_low and has_high:
        if main == 0:
            a, b = columns[plane, low], columns[plane, low + 1]
        else:
            a, b = columns[low, plane], columns[low + 1, plane]
        for z in range(nz):
            value = (low0[z + PAD] + low1[z + PAD]) + (high0[z + PAD - 1] + high1[z + PAD - 1])
            a[z] += g * value
            b[z] += f * value
    elif has_low or has_high:
        index = low if has_low else low + 1
        weight = g if has_low else f
        a = columns[plane, index] if main == 0 else columns[index, plane]
        for z in range(nz):
            value = (low0[z + PAD] + low1[z + PAD]) + (high0[z + PAD - 1] + high1[z + PAD - 1])
            a[z] += weight * value
    spread[:] = F32(0.0)
