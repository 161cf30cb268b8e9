"""Compiled backprojection of parallel fans (layer: physics; imported only where numba exists)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.physics.compiled import compiled


@compiled
def backproject_slice(
    filtered: NDArray[Any],
    cosines: NDArray[Any],
    sines: NDArray[Any],
    steps: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Add every view to ``out[j, i]``; ``steps`` = (dx, dy) of a voxel in detector bins."""
    rows, cols = out.shape
    bins = filtered.shape[1]
    for view in range(filtered.shape[0]):
        readings = filtered[view]
        du = cosines[view] * steps[0]
        for j in range(rows):
            y = (j - 0.5 * (rows - 1)) * steps[1]
            start = y * sines[view] - 0.5 * (cols - 1) * du + 0.5 * (bins - 1)
            end = start + (cols - 1) * du
            if min(start, end) >= 0 and max(start, end) < bins - 1:
                _add_row(readings, start, du, out[j])
            else:
                _add_clipped_row(readings, start, du, out[j])


@compiled
def _add_row(readings: NDArray[Any], start: float, du: float, out: NDArray[Any]) -> None:
    """Add a row whose every voxel falls on the detector, which has no branch in its loop."""
    for i in range(out.shape[0]):
        u = start + i * du
        low = np.uint32(u)  # unsigned: no look whether an index counts from the end
        t = np.float32(u - low)
        left = readings[low]
        out[i] += left + t * (readings[low + np.uint32(1)] - left)


@compiled
def _add_clipped_row(readings: NDArray[Any], start: float, du: float, out: NDArray[Any]) -> None:
    """Add a row of which some voxels fall beside the detector."""
    for i in range(out.shape[0]):
        u = start + i * du
        low = math.floor(u)
        if 0 <= low < readings.shape[0] - 1:
            t = np.float32(u - low)
            left = readings[low]
            out[i] += left + t * (readings[low + 1] - left)
