"""Where the rotation axis falls on the detector of a parallel-beam scan (layer: io)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError

METHOD = "double-wedge test of the sinogram's Fourier transform (Vo et al. 2014)"

SHORTEST_ARC_DEG = 170.0


def find_rotation_centre(sinogram: NDArray[np.float32], angles_rad: NDArray[np.float64]) -> float:
    """Return the column of the rotation axis of a parallel-beam sinogram.

    A parallel scan over half a turn, followed by its own mirror image, is a scan over a full turn
    if it was mirrored about the axis. The Fourier transform of a full sinogram vanishes outside a
    double wedge; the candidate with the least energy there wins (doi:10.1364/OE.22.019078). It
    needs no pair of opposite views and tolerates truncation.

    Parameters
    ----------
    sinogram
        Line integrals ``[view, col]``.
    angles_rad
        Equally spaced over about half a turn or more, shape (view,).

    Raises
    ------
    InputError
        If the arc is shorter than 170 degrees.
    """
    order = np.argsort(angles_rad)
    angles = angles_rad[order] - angles_rad.min()
    step = float(np.median(np.diff(angles))) if len(angles) > 1 else 0.0
    if np.rad2deg(angles[-1] + step) < SHORTEST_ARC_DEG:
        message = (
            "The rotation axis can be found only in scans over half a turn; this one covers "
            f"{np.rad2deg(angles[-1] + step):.0f} degrees."
        )
        raise InputError(message, hint="Give the column of the rotation axis.")
    half = np.asarray(sinogram, dtype=np.float32)[order][angles < np.pi - step / 2]
    half = _without_stripes(half)
    cols = half.shape[1]
    thin = max(1, cols // 256)
    coarse_data = half[:, : cols // thin * thin].reshape(len(half), -1, thin).mean(axis=2)
    middle, reach = (coarse_data.shape[1] - 1) / 2.0, 0.2 * coarse_data.shape[1]
    rough = _best(coarse_data, np.arange(middle - reach, middle + reach, 0.5))
    centre: float = rough * thin + (thin - 1) / 2.0
    for width, fine_step in ((1.5 * thin, 0.5), (0.6, 0.1)):
        candidates = np.arange(centre - width, centre + width + fine_step / 2, fine_step)
        centre = _best(half, candidates)
    return centre


def _without_stripes(half: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove what repeats in all views column by column: it would draw the axis to the middle."""
    mean = half.mean(axis=0)
    width = min(31, len(mean) // 4 * 2 + 1)
    padded = np.pad(mean, width // 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
    return np.asarray(half - (mean - smooth) - half.mean(), dtype=np.float32)


def _best(half: NDArray[np.float32], candidates: NDArray[np.float64]) -> float:
    # The same number of columns for every candidate, or their costs could not be compared.
    last = half.shape[1] - 1
    reach = int(np.floor(min(candidates.min(), last - candidates.max())))
    cost = [_energy_outside(half, float(c), reach) for c in candidates]
    best = int(np.argmin(cost))
    shift = 0.0
    if 0 < best < len(cost) - 1:
        low, mid, high = cost[best - 1 : best + 2]
        bend = low - 2 * mid + high
        shift = 0.5 * (low - high) / bend if bend > 0 else 0.0
    step = float(candidates[1] - candidates[0])
    return float(candidates[best]) + shift * step


def _energy_outside(half: NDArray[np.float32], centre: float, reach: int) -> float:
    """Return the mean Fourier amplitude outside the double wedge for one candidate axis."""
    from scipy import fft

    # Mirrored about the axis, column c + x shows what column c - x showed half a turn before.
    at = centre + np.arange(-reach, reach + 1)
    left = np.floor(at).astype(np.intp)
    right = np.minimum(left + 1, half.shape[1] - 1)
    share = (at - left).astype(np.float32)
    part = half[:, left] * (1 - share) + half[:, right] * share
    taper = np.hanning(part.shape[1] + 2)[1:-1].astype(np.float32)
    full = np.concatenate([part, part[:, ::-1]]) * taper
    size = fft.next_fast_len(part.shape[1])
    spectrum = np.abs(fft.fft2(full.T, s=(size, len(full)))[: size // 2, 1 : len(half)])
    across = np.arange(size // 2)[:, None] / size  # cycles per pixel
    turns = np.arange(1, spectrum.shape[1] + 1)[None, :]  # cycles per turn
    # Bessel functions die out beyond their argument: nothing real lies at more turns than this.
    outside = (turns > 2 * np.pi * across * (part.shape[1] / 2) + 3) & (turns < 0.9 * len(half))
    return float(spectrum[outside].mean())
