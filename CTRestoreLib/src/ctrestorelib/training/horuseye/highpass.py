"""High-pass filters that keep the noise of a residual and drop its anatomy (layer: training).

The extractor's residual holds noise, and whatever it got wrong about the anatomy: offsets and
motion, mostly slow. Filtered backprojection leaves little noise at low frequencies, so that little
of it is lost with them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import UsageError

Floats = NDArray[np.float32]
BINS_OF_512 = 30.0
"""Published cut-off in bins of the Fourier transform of a 512-pixel slice."""
_MARGIN_PERIODS = 1.5  # of mirrored border, in units of the longest period that is kept


def response(kind: str, frequency: NDArray[np.float64], cutoff: float) -> NDArray[np.float64]:
    """Return the transfer function at ``frequency``, in the unit of ``cutoff``.

    Parameters
    ----------
    kind
        ``"exponential"``: 1 - exp(-(f/c)^2); ``"exponential-2024"``: 1 - exp(-(f/c)^2 / 2);
        ``"butterworth"``: of order 2, 1 - 1 / (1 + (f/c)^4).

    Raises
    ------
    UsageError
        If the kind is unknown.
    """
    ratio = (np.asarray(frequency, dtype=np.float64) / cutoff) ** 2
    if kind == "exponential":
        return np.asarray(-np.expm1(-ratio))
    if kind == "exponential-2024":
        return np.asarray(-np.expm1(-0.5 * ratio))
    if kind == "butterworth":
        return np.asarray(ratio**2 / (1.0 + ratio**2))
    message = f"There is no high-pass filter {kind!r}."
    raise UsageError(message, hint="Choose one of " + ", ".join(KINDS) + ".")


KINDS = ("exponential", "exponential-2024", "butterworth", "kernel-3", "kernel-5")
_SIZES = {"kernel-3": 3, "kernel-5": 5}


def highpass(
    residual: Floats, pixel_mm: float, kind: str = "exponential", cutoff_mm: float | None = 12.0
) -> Floats:
    """Return the high frequencies of a slice ``[j, i]``, in its own unit.

    Parameters
    ----------
    residual
        The slice; it is mirrored at its border.
    pixel_mm
        Pixel size; 0 where it is unknown, the published cut-off in bins is then taken.
    kind
        One of :data:`KINDS`. The two kernels (centre against the mean of its 3 x 3 or 5 x 5
        surroundings) know no cut-off.
    cutoff_mm
        Period that the filter is built around: its frequency 1 / ``cutoff_mm`` is the c of
        :func:`response`. None for the published 30 bins of 512.
    """
    if kind in _SIZES:
        return _against_surroundings(residual, _SIZES[kind])
    known = cutoff_mm is not None and pixel_mm > 0
    cutoff = pixel_mm / cutoff_mm if known and cutoff_mm else BINS_OF_512 / 512.0  # per pixel
    margin = int(np.ceil(_MARGIN_PERIODS / cutoff))
    widths = [(min(margin, n - 1), min(margin, n - 1)) for n in residual.shape]
    padded = np.pad(residual, widths, mode="reflect")
    frequency = np.hypot(
        np.fft.fftfreq(padded.shape[0])[:, None], np.fft.rfftfreq(padded.shape[1])[None, :]
    )
    kept = np.fft.irfft2(np.fft.rfft2(padded) * response(kind, frequency, cutoff), padded.shape)
    rows, cols = (slice(w, w + n) for (w, _), n in zip(widths, residual.shape, strict=True))
    return np.ascontiguousarray(kept[rows, cols], dtype=np.float32)


def _against_surroundings(residual: Floats, size: int) -> Floats:
    from scipy.ndimage import uniform_filter

    surroundings: Callable[..., Floats] = uniform_filter
    # (n centre - sum of all n) / (n - 1): the centre against the mean of the others.
    share = np.float32(size**2 / (size**2 - 1.0))
    return share * (residual - surroundings(residual, size, mode="reflect"))
