"""Compiled backprojection of parallel fans (layer: physics; imported only where numba exists)."""

from __future__ import annotations

import math
from typing import Any

import numba  # noqa: TID253 - this module is imported inside functions only
from numpy.typing import NDArray


@numba.njit(nogil=True, fastmath=False, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
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
        du = cosines[view] * steps[0]
        for j in range(rows):
            y = (j - 0.5 * (rows - 1)) * steps[1]
            start = y * sines[view] - 0.5 * (cols - 1) * du + 0.5 * (bins - 1)
            for i in range(cols):
                u = start + i * du
                low = math.floor(u)
                if 0 <= low < bins - 1:
                    t = u - low
                    left = filtered[view, low]
                    out[j, i] += left + t * (filtered[view, low + 1] - left)
