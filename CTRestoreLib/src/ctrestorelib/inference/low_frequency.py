"""The low-frequency veto: removed noise must not shift the mean of any region (layer: inference).

CT noise has hardly any power at low spatial frequencies; a slow change in what a network calls
noise is an error of the network. Subtracting the local mean of the removed noise makes drift of
larger regions impossible, whatever the network does.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_FEWEST_PIXELS, _MOST_PIXELS = 4.0, 24.0
_CELLS_PER_SIGMA = 3.0


def veto_pixels(veto_mm: float, pixel_mm: float) -> float:
    """Return the standard deviation of the local mean in pixels, 0 for no veto.

    It is held between 4 and 24 pixels: the grain of micro-CT, where ``veto_mm`` would be thousands
    of pixels, is measured in pixels like that of any other scanner.
    """
    if veto_mm == 0:
        return 0.0
    return float(np.clip(veto_mm / pixel_mm, _FEWEST_PIXELS, _MOST_PIXELS))


def without_low_frequencies(
    removed: Floats, sigma_px: float, measured: NDArray[np.bool_] | None = None
) -> Floats:
    """Return ``removed`` minus its Gaussian local mean.

    Parameters
    ----------
    removed
        Removed noise ``[j, i]``.
    sigma_px
        Standard deviation of the Gaussian in pixels; 0 changes nothing.
    measured
        Where ``removed`` counts ``[j, i]``; everywhere if None.
    """
    if sigma_px == 0:
        return removed
    if measured is None or measured.all():
        return np.asarray(removed - _blurred(removed, sigma_px), dtype=np.float32)
    weight = _blurred(measured.astype(np.float32), sigma_px)
    inside = np.where(measured, removed, np.float32(0))
    inside = _blurred(inside, sigma_px)
    inside /= np.maximum(weight, np.float32(1e-3))
    return np.asarray(removed - inside, dtype=np.float32)


def _blurred(values: Floats, sigma_px: float) -> Floats:
    """Blur by two thin matrices a side, much faster than a filter as wide as this."""
    down_j, up_j = _matrices(values.shape[0], sigma_px)
    down_i, up_i = _matrices(values.shape[1], sigma_px)
    return np.asarray(up_j @ (down_j @ values @ down_i.T) @ up_i.T, dtype=np.float32)


@lru_cache(maxsize=16)
def _matrices(size: int, sigma_px: float) -> tuple[Floats, Floats]:
    """Return blurring onto a coarse grid, and back; together one Gaussian of ``sigma_px``.

    Rows sum to 1, so that a constant stays constant up to the borders.
    """
    step = max(1.0, sigma_px / _CELLS_PER_SIGMA)
    cells = np.arange(-step, size + step, step)
    apart = (cells[:, None] - np.arange(size)) / (sigma_px / np.sqrt(2.0))
    weights = np.exp(-0.5 * apart**2)
    down = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-30)
    up = weights.T / weights.T.sum(axis=1, keepdims=True)
    return down.astype(np.float32), up.astype(np.float32)
