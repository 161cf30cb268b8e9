"""Large slices in overlapping windows that fade into each other (layer: inference)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
OVERLAP = 0.25
SIGMA_SCALE = 0.25
"""Deviation of the Gaussian weight, as a share of the window's side."""
_LEAST_WEIGHT = 1e-3  # of the largest: every pixel has some, also in the corners


def in_windows(
    slice_: Floats, side: int, answer: Callable[[Floats], Floats], *, overlap: float = OVERLAP
) -> Floats:
    """Return ``answer`` of a slice ``[j, i]``, computed in square windows and blended.

    Parameters
    ----------
    slice_
        At least ``side`` along an axis that is cut; smaller axes go in whole.
    side
        Side of a window in pixels.
    answer
        Takes and returns a window ``[j, i]``.
    overlap
        Share of a window that its neighbour also sees.
    """
    if max(slice_.shape) <= side:
        return answer(slice_)
    total = np.zeros(slice_.shape, dtype=np.float64)
    weights = np.zeros(slice_.shape, dtype=np.float64)
    for rows in _cuts(slice_.shape[0], side, overlap):
        for cols in _cuts(slice_.shape[1], side, overlap):
            window = (rows, cols)
            part = answer(np.ascontiguousarray(slice_[window]))
            weight = np.outer(_bell(part.shape[0]), _bell(part.shape[1]))
            total[window] += weight * part
            weights[window] += weight
    return np.asarray(total / weights, dtype=np.float32)


def _cuts(size: int, side: int, overlap: float) -> Iterator[slice]:
    if size <= side:
        yield slice(0, size)
        return
    step = max(1, int(side * (1.0 - overlap)))
    for start in (*range(0, size - side, step), size - side):
        yield slice(start, start + side)


def _bell(size: int) -> NDArray[np.float64]:
    at = (np.arange(size) - 0.5 * (size - 1)) / (SIGMA_SCALE * size)
    return np.asarray(np.maximum(np.exp(-0.5 * at**2), _LEAST_WEIGHT))
