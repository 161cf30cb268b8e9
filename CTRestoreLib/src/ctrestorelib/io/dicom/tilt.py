"""Straighten a stack that a tilted gantry sheared (layer: io).

The slices of such a stack are parallel, only shifted against each other within their planes. So
each slice is moved by a fraction of pixels inside its own plane, and nothing is mixed between
slices. Interpolation is by cubic convolution (R. G. Keys 1981, doi:10.1109/TASSP.1981.1163711,
a = -1/2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import PADDING_BELOW_HU, VolumeGeometry
from ctrestorelib.io.dicom.stack import Stack

AIR_HU = -1000.0


@dataclass(frozen=True, eq=False)
class Straightener:
    """Puts the slices of a sheared stack onto an upright grid.

    Parameters
    ----------
    geometry
        The upright grid: the slices' own planes, large enough for every pixel.
    shifts
        Where pixel (0, 0) of slice k lands in the new slice, in pixels ``(j, i)``; shape (k, 2).
    fill
        Value of pixels that no slice covers.
    padding_below
        Lower values mark pixels never measured; they take no part in interpolation.
    """

    geometry: VolumeGeometry
    shifts: NDArray[np.float64]
    fill: float
    padding_below: float = -math.inf

    def place(self, values: NDArray[np.float32], k: int) -> NDArray[np.float32]:
        """Return slice ``k`` on the upright grid, shape ``[j, i]``."""
        size_j, size_i = self.geometry.shape[1:]
        shift_j, shift_i = self.shifts[k]
        measured = values >= self.padding_below
        # The edge of the padding must not ring into the anatomy.
        smooth = values if measured.all() else np.where(measured, values, np.float32(AIR_HU))
        moved = _shift(_shift(smooth, shift_j, size_j, 0), shift_i, size_i, 1)
        # Fill and padding stay exact; only measured pixels are interpolated.
        out = np.full((size_j, size_i), self.fill, dtype=np.float32)
        j, i = round(shift_j), round(shift_i)
        rows, columns = min(values.shape[0], size_j - j), min(values.shape[1], size_i - i)
        window = (slice(j, j + rows), slice(i, i + columns))
        nearest = values[:rows, :columns]
        out[window] = np.where(nearest >= self.padding_below, moved[window], nearest)
        return out


def straightener(stack: Stack, unit: Unit, fill: float) -> Straightener:
    """Lay an upright grid around a sheared stack.

    The new grid keeps pixel size, orientation and slice planes; its k axis is the slices' normal.
    """
    old = stack.geometry
    step = old.ijk_to_lps[:3, 2]
    upright = stack.normal * (step @ stack.normal)
    columns = old.ijk_to_lps[:3, :2]
    per_slice = np.linalg.lstsq(columns, step - upright, rcond=None)[0]  # pixels (i, j)
    shifts = np.arange(old.shape[0])[:, None] * per_slice[::-1]
    shifts[np.abs(shifts) < 1e-9] = 0.0
    low = np.floor(shifts.min(axis=0))
    extra = np.ceil(shifts.max(axis=0)) - low
    matrix = np.array(old.ijk_to_lps)
    matrix[:3, 2] = upright
    matrix[:3, 3] += columns @ low[::-1]
    shape = (old.shape[0], old.shape[1] + int(extra[0]), old.shape[2] + int(extra[1]))
    below = PADDING_BELOW_HU if unit == Unit.HU else -math.inf
    return Straightener(VolumeGeometry(shape, matrix), shifts - low, fill, below)


def _shift(values: NDArray[np.float32], shift: float, size: int, axis: int) -> NDArray[np.float32]:
    """Move values by ``shift`` pixels along an axis onto ``size`` pixels; edges are repeated."""
    whole = math.floor(shift)
    part = shift - whole
    source = np.arange(size) - whole
    out: NDArray[np.float32] | None = None
    # New pixel x lies at old place x - whole - part: between source - 1 and source.
    for offset, weight in zip((-2, -1, 0, 1), _keys_weights(1.0 - part), strict=True):
        if weight == 0.0:
            continue
        taken = values.take(np.clip(source + offset, 0, values.shape[axis] - 1), axis=axis)
        out = taken * np.float32(weight) if out is None else out + taken * np.float32(weight)
    if out is None:
        raise ValueError
    return out


def _keys_weights(t: float) -> tuple[float, float, float, float]:
    """Weights of the pixels at -1, 0, 1, 2 for a point at ``t`` (0 to 1) after pixel 0."""
    return (
        -0.5 * t + t * t - 0.5 * t**3,
        1 - 2.5 * t * t + 1.5 * t**3,
        0.5 * t + 2 * t * t - 1.5 * t**3,
        -0.5 * t * t + 0.5 * t**3,
    )
