"""Which reconstruction kernel a volume was made with, read from its noise (layer: physics)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.volume import Volume
from ctrestorelib.physics.parallel2d import CROSSTALK, Kernel
from ctrestorelib.quality.flatness import FlatSlice, flat_slices, window_pixels

GRID = 32
"""Side of the noise spectrum that is fitted, in pixels: lags up to half of it are measured."""

_CUTOFF_RANGE = (0.05, 10.0)
_POWER_RANGE = (0.5, 8.0)
_PREFERENCE = ("soft_tissue", "fat", "material", "lung")


def match_kernel(volume: Volume) -> Kernel:
    """Fit the window W(f) = exp(-(f / cutoff)^power) to the noise texture of ``volume``.

    The noise power spectrum of filtered backprojection is ``f W(f)^2``, times what detector
    crosstalk and interpolation remove. Model and measurement pass the same steps (local mean taken
    away, lags tapered), so that small flat regions of any form suffice.

    Raises
    ------
    InputError
        If no flat region with noise is found.

    References
    ----------
    .. [1] Riederer SJ, Pelc NJ, Chesler DA. The noise power spectrum in computed X-ray tomography.
       Phys Med Biol 23(3), 1978. doi:10.1088/0031-9155/23/3/008
    """
    from scipy.optimize import minimize

    measured = [s for run in flat_slices(volume, groups=8, run=1) for s in run]
    spectrum = measured_spectrum(measured)
    model_of = _simulated_spectrum(volume)

    def misfit(logs: NDArray[np.float64]) -> float:
        return float(((model_of(_bounded(logs)) - spectrum) ** 2).sum())

    nyquist = 0.5 / max(volume.geometry.spacing_mm[:2])
    starts = [(c * nyquist, p) for c in (0.4, 0.8, 1.3) for p in (1.5, 3.0)]
    best = min((np.log(s) for s in starts), key=misfit)
    found = minimize(misfit, best, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-12})
    return _bounded(found.x)


def measured_spectrum(measured: Sequence[FlatSlice]) -> NDArray[np.float64]:
    """Return the noise power of flat regions on a :data:`GRID` square, its sum scaled to 1.

    The autocorrelation is averaged over all pairs of flat pixels, tapered and transformed.
    """
    name = next((n for n in _PREFERENCE if any(n in s.flat for s in measured)), "")
    pairs, products = np.zeros((GRID, GRID)), np.zeros((GRID, GRID))
    for s in measured:
        if name in s.flat:
            flat = s.flat[name]
            pairs += _lags(flat.astype(np.float64))
            products += _lags(np.where(flat, s.residual, 0.0))
    covariance = products / np.maximum(pairs, 1.0)
    if not covariance[0, 0] > 0:
        message = "Cannot match a kernel: the volume has no flat region with noise."
        raise InputError(message, hint="Give the kernel, for instance Kernel(0.6, 2).")
    covariance[pairs < 100] = 0.0
    power = np.fft.fft2(covariance * _taper()).real
    return np.asarray(power / power.sum())


def _lags(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums of products of pixels up to GRID/2 apart; negative lags come last."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    size = [next_fast_len(n + GRID, real=True) for n in image.shape]
    products = irfft2(np.abs(rfft2(image, size)) ** 2, size)
    near = np.fft.fftfreq(GRID, 1.0 / GRID).astype(int)
    return np.asarray(products[np.ix_(near, near)])


def _taper() -> NDArray[np.float64]:
    lag = np.abs(np.fft.fftfreq(GRID, 1.0 / GRID))
    line = np.cos(np.pi * lag / GRID) ** 2
    return np.asarray(line[:, None] * line)


def _simulated_spectrum(volume: Volume) -> Callable[[Kernel], NDArray[np.float64]]:
    """Return the map from a kernel to what :func:`measured_spectrum` sees of simulated noise.

    Linear interpolation between detector bins lets some power beyond their Nyquist frequency pass;
    sampling at voxels folds it back. Both are part of the simulation, so they are of the model.
    """
    dx, dy, _ = volume.geometry.spacing_mm
    bin_mm, window = min(dx, dy), window_pixels(volume)
    fx, fy = np.meshgrid(np.fft.fftfreq(GRID, dx), np.fft.fftfreq(GRID, dy))
    folds = [(m / dx, n / dy) for m in (-1, 0, 1) for n in (-1, 0, 1)]
    f = np.stack([np.hypot(fx + m, fy + n) for m, n in folds])  # (fold, GRID, GRID), lp/mm
    inside = np.abs((f * bin_mm + 0.5) % 1.0 - 0.5) / bin_mm  # the detector's spectrum repeats
    crosstalk = CROSSTALK[1] + (CROSSTALK[0] + CROSSTALK[2]) * np.cos(2 * np.pi * inside * bin_mm)
    passed = (inside * crosstalk * np.sinc(f * bin_mm) ** 2) ** 2 / np.maximum(f, 1e-9)
    residual = (1.0 - _box(fx * dx, window) * _box(fy * dy, window)) ** 2

    def simulated(kernel: Kernel) -> NDArray[np.float64]:
        power = (passed * kernel.response(inside) ** 2).sum(axis=0) * residual
        tapered = np.fft.fft2(np.fft.ifft2(power).real * _taper()).real
        return np.asarray(tapered / tapered.sum())

    return simulated


def _box(cycles_per_pixel: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    below = np.where(cycles_per_pixel == 0, 1.0, window * np.sin(np.pi * cycles_per_pixel))
    ratio = np.sin(np.pi * window * cycles_per_pixel) / below
    return np.where(cycles_per_pixel == 0, 1.0, ratio)


def _bounded(logs: NDArray[np.float64]) -> Kernel:
    cutoff, power = np.exp(np.clip(logs, -5, 5))
    return Kernel(float(np.clip(cutoff, *_CUTOFF_RANGE)), float(np.clip(power, *_POWER_RANGE)))
