"""Compiled kernels of Joseph's projector for any ray (layer: physics; imported only with numba).

The general case: every ray has its own main axis and its own lateral position.
"""

# ruff: noqa: PLR0917 - compiled functions take their arguments by position
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.physics.columns import EDGE
from ctrestorelib.physics.compiled import compiled
from ctrestorelib.physics.kernels_joseph import F32

SINGLE = F32(1.0)


@compiled
def _main_axis(d: tuple[float, float, float]) -> int:
    axis = 0
    if abs(d[1]) > abs(d[0]):
        axis = 1
    if abs(d[2]) > max(abs(d[0]), abs(d[1])):
        axis = 2
    return axis


@compiled
def _ray(table: NDArray[np.float64], u: int, v: int) -> tuple[float, float, float]:
    return (
        table[0, 0] + u * table[1, 0] + v * table[2, 0],
        table[0, 1] + u * table[1, 1] + v * table[2, 1],
        table[0, 2] + u * table[1, 2] + v * table[2, 2],
    )


@compiled
def _cut(
    low: float, high: float, at: float, slope: float, start: float, stop: float
) -> tuple[float, float]:
    """Narrow (low, high) to the x with start <= at + x slope <= stop."""
    if abs(slope) < 1e-12:
        if start <= at <= stop:
            return low, high
        return 1.0, 0.0
    a = (start - at) / slope
    b = (stop - at) / slope
    return max(low, min(a, b)), min(high, max(a, b))


@compiled
def _trace(
    o: tuple[float, float, float],
    d: tuple[float, float, float],
    axis: int,
    shape: tuple[int, int, int],
    limits: tuple[float, float],
) -> tuple[float, float, float, float, int, int]:
    """Return lateral positions and slopes on axes b < c, and the planes (first, end) crossed."""
    b = 1 if axis == 0 else 0
    c = 1 if axis == 2 else 2
    middle = (shape[axis] - 1) / 2.0
    per = 1.0 / d[axis]
    t = (middle - o[axis]) * per
    b0, b1 = o[b] + t * d[b], d[b] * per
    c0, c1 = o[c] + t * d[c], d[c] * per
    low, high = _cut(-middle, middle, t, per, limits[0], limits[1])
    low, high = _cut(low, high, b0, b1, EDGE - 1.0, shape[b] - EDGE)
    low, high = _cut(low, high, c0, c1, EDGE - 1.0, shape[c] - EDGE)
    if high < low:
        return b0, b1, c0, c1, 0, 0
    first = max(0, int(np.ceil(low + middle)))
    end = min(shape[axis], int(np.floor(high + middle)) + 1)
    return b0, b1, c0, c1, first, end


@compiled
def _length_mm(d: tuple[float, float, float], axis: int, to_mm: NDArray[np.float64]) -> float:
    total = 0.0
    for row in range(3):
        x = to_mm[row, 0] * d[0] + to_mm[row, 1] * d[1] + to_mm[row, 2] * d[2]
        total += x * x
    return float(np.sqrt(total) / abs(d[axis]))


@compiled
def _lateral_strides(shape: tuple[int, int, int], axis: int) -> tuple[int, int, int, int, int]:
    """Return stride of the main axis, strides and counts of the two others in a flat volume."""
    plane, row = shape[1] * shape[2], shape[2]
    if axis == 0:
        return plane, row, 1, shape[1], shape[2]
    if axis == 1:
        return row, plane, 1, shape[0], shape[2]
    return 1, plane, row, shape[0], shape[1]


@compiled
def forward_rays(
    volume: NDArray[np.float32],
    origin: NDArray[np.float64],
    direction: NDArray[np.float64],
    limits: tuple[float, float],
    to_mm: NDArray[np.float64],
    first: int,
    last: int,
    out: NDArray[np.float32],
) -> None:
    """Project ray by ray; items first to last count detector rows, view by view."""
    rows, cols = out.shape[1], out.shape[2]
    shape = volume.shape
    flat = volume.reshape(-1)
    for item in range(first, last):
        view, v = item // rows, item % rows
        for u in range(cols):
            o, d = _ray(origin[view], u, v), _ray(direction[view], u, v)
            axis = _main_axis(d)
            b0, b1, c0, c1, start, end = _trace(o, d, axis, shape, limits)
            step, sb, sc, nb, nc = _lateral_strides(shape, axis)
            middle = (shape[axis] - 1) / 2.0
            total = F32(0.0)
            for plane in range(start, end):
                x = plane - middle
                b, c = b0 + x * b1, c0 + x * c1
                lb, lc = int(np.floor(b)), int(np.floor(c))
                fb, fc = F32(b - lb), F32(c - lc)
                at = plane * step + lb * sb + lc * sc
                if 0 <= lb < nb - 1 and 0 <= lc < nc - 1:
                    index = np.uint64(at)
                    usb, usc = np.uint64(sb), np.uint64(sc)
                    p, q = flat[index], flat[index + usb]
                    p += fc * (flat[index + usc] - p)
                    q += fc * (flat[index + usb + usc] - q)
                    total += p + fb * (q - p)
                else:
                    gb, gc = SINGLE - fb, SINGLE - fc
                    if lb >= 0 and lc >= 0:
                        total += gb * gc * flat[at]
                    if lb >= 0 and lc + 1 < nc:
                        total += gb * fc * flat[at + sc]
                    if lb + 1 < nb and lc >= 0:
                        total += fb * gc * flat[at + sb]
                    if lb + 1 < nb and lc + 1 < nc:
                        total += fb * fc * flat[at + sb + sc]
            out[view, v, u] = total * F32(_length_mm(d, axis, to_mm))


@compiled
def adjoint_rays(
    projections: NDArray[np.float32],
    origin: NDArray[np.float64],
    direction: NDArray[np.float64],
    limits: tuple[float, float],
    to_mm: NDArray[np.float64],
    axis: int,
    first: int,
    last: int,
    volume: NDArray[np.float32],
) -> None:
    """Add the transpose of forward_rays to planes first to last of main axis ``axis``."""
    views, rows, cols = projections.shape
    shape = volume.shape
    flat = volume.reshape(-1)
    step, sb, sc, nb, nc = _lateral_strides(shape, axis)
    middle = (shape[axis] - 1) / 2.0
    for view in range(views):
        for v in range(rows):
            for u in range(cols):
                d = _ray(direction[view], u, v)
                if _main_axis(d) != axis:
                    continue
                o = _ray(origin[view], u, v)
                b0, b1, c0, c1, start, end = _trace(o, d, axis, shape, limits)
                value = projections[view, v, u] * F32(_length_mm(d, axis, to_mm))
                for plane in range(max(first, start), min(last, end)):
                    x = plane - middle
                    b, c = b0 + x * b1, c0 + x * c1
                    lb, lc = int(np.floor(b)), int(np.floor(c))
                    fb, fc = F32(b - lb), F32(c - lc)
                    gb, gc = SINGLE - fb, SINGLE - fc
                    at = plane * step + lb * sb + lc * sc
                    if lb >= 0 and lc >= 0:
                        flat[at] += gb * gc * value
                    if lb >= 0 and lc + 1 < nc:
                        flat[at + sc] += gb * fc * value
                    if lb + 1 < nb and lc >= 0:
                        flat[at + sb] += fb * gc * value
                    if lb + 1 < nb and lc + 1 < nc:
                        flat[at + sb + sc] += fb * fc * value
