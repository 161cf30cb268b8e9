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
    middle, reach = (coarse_data.shape[1] - 1) / 2.0, coarse_data.shape[1] // 5
    wide = int(middle - reach)
    rough = _best(coarse_data, np.arange(middle - reach, middle + reach, 0.5), wide)
    centre: float = rough * thin + (thin - 1) / 2.0
    reach = int(0.95 * min(centre, cols - 1 - centre))
    middle = round(2 * centre) / 2
    centre = _best(half, middle + np.arange(-1.5 * thin, 1.5 * thin + 0.1, 0.5), reach)
    middle = round(2 * centre) / 2
    return _best(half, middle + np.arange(-0.6, 0.61, 0.1), reach, mirrored_about=middle)


def _without_stripes(half: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove what repeats in all views column by column: it would draw the axis to the middle."""
    mean = half.mean(axis=0)
    width = min(31, len(mean) // 4 * 2 + 1)
    padded = np.pad(mean, width // 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
    return np.asarray(half - (mean - smooth) - half.mean(), dtype=np.float32)


def _best(
    half: NDArray[np.float32],
    candidates: NDArray[np.float64],
    reach: int,
    mirrored_about: float | None = None,
) -> float:
    cost = [
        _energy_outside(
            half, float(c), reach, round(2 * c) / 2 if mirrored_about is None else mirrored_about
        )
        for c in candidates
    ]
    best = int(np.argmin(cost))
    shift = 0.0
    if 0 < best < len(cost) - 1:
        low, mid, high = cost[best - 1 : best + 2]
        bend = low - 2 * mid + high
        shift = 0.5 * (low - high) / bend if bend > 0 else 0.0
    step = float(candidates[1] - candidates[0])
    return float(candidates[best]) + shift * step


def _energy_outside(half: NDArray[np.float32], centre: float, reach: int, base: float) -> float:
    """Return the mean Fourier amplitude outside the double wedge for one candidate axis."""
    from scipy import fft

    # Columns are mirrored exactly about a whole or half column ``base``, the rest of the way
    # shifted in the Fourier domain: interpolation would smooth noise and so favour candidates.
    x = np.arange(-reach, reach + 1) if base == int(base) else np.arange(-reach, reach) + 0.5
    taper = np.cos(np.pi * x / (2 * reach + 2)) ** 2
    part = half[:, (base + x).astype(np.intp)] * taper.astype(np.float32)
    size = fft.next_fast_len(part.shape[1])
    across = np.arange(size // 2) / size  # cycles per pixel
    first = fft.fft(part, size, axis=1)[:, : size // 2]
    mirrored = fft.fft(part[:, ::-1], size, axis=1)[:, : size // 2]
    mirrored *= np.exp(-4j * np.pi * across * (centre - base)).astype(np.complex64)
    both = np.concatenate([first, mirrored])
    spectrum = np.abs(fft.fft(both, axis=0, overwrite_x=True)[1 : len(half)])
    turns = np.arange(1, len(half))[:, None]  # cycles per turn
    # Bessel functions die out beyond their argument: nothing real lies at more turns than this.
    outside = (turns > 2 * np.pi * across * reach + 3) & (turns < 0.9 * len(half))
    return float(spectrum[outside].mean())
