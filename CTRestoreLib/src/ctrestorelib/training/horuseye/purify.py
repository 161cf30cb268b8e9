"""From the extractor's residuals to patches of pure noise (layer: training).

A residual is high-passed, divided by the local noise level, freed of its mean and of outliers, and
cut into patches. A patch counts as noise only if its size does not follow the anatomy's edges and
its spectrum is that of the scan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.quality.nps import noise_power_spectrum
from ctrestorelib.training.horuseye.highpass import BINS_OF_512, highpass, response
from ctrestorelib.training.horuseye.scans import Scan
from ctrestorelib.training.horuseye.settings import HorusEyeSettings

Floats = NDArray[np.float32]
Shares = NDArray[np.float64]

BANDS = 4
CLIP = 6.0
"""Noise units beyond which a residual is cut off (published: 0.3 of the window)."""
_SATURATED = 0.02  # share of a patch that may lie at the scan's lowest or highest value
_SMALL_BAND = 0.05  # bands with less of the power than this are not compared


@dataclass(frozen=True)
class Patch:
    """A purified residual: mean 0, deviation 1, and where it came from."""

    values: Floats
    scan: int
    slice: int


@dataclass
class Census:
    """What became of the patches of a scan."""

    seen: int = 0
    saturated: int = 0
    follows_edges: int = 0
    wrong_spectrum: int = 0

    @property
    def accepted(self) -> int:
        """Patches that passed every test."""
        return self.seen - self.saturated - self.follows_edges - self.wrong_spectrum


def purified(
    residual: Floats, sigma: Floats, pixel_mm: float, settings: HorusEyeSettings
) -> Floats:
    """Return a slice's residual high-passed, in noise units, without mean and outliers.

    Parameters
    ----------
    residual, sigma
        ``[j, i]`` in one unit.
    pixel_mm
        Pixel size, 0 where unknown.
    """
    high = highpass(residual / sigma, pixel_mm, settings.highpass, settings.cutoff_mm)
    return np.asarray(np.clip(high - high.mean(), -CLIP, CLIP), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Residual:
    """A slice and what the extractor made of it.

    Parameters
    ----------
    raw, predicted, sigma
        The slice, its prediction and its noise level, ``[j, i]`` in one unit.
    pixel_mm
        Pixel size, 0 where unknown.
    limits
        Lowest and highest value that ``raw`` can have: there its noise is cut off.
    scan, slice
        Where it is from.
    """

    raw: Floats
    predicted: Floats
    sigma: Floats
    pixel_mm: float
    limits: tuple[float, float]
    scan: int = 0
    slice: int = 0


def accepted_patches(
    found: Residual, reference: Shares, settings: HorusEyeSettings, census: Census
) -> Iterator[Patch]:
    """Yield the patches of a residual that are noise, and count the others.

    Parameters
    ----------
    found
        The residual.
    reference
        Share of the noise's power in each band, from :func:`reference_shares`.
    census
        Receives the counts.
    """
    raw, (low, high) = found.raw, found.limits
    noise = purified(raw - found.predicted, found.sigma, found.pixel_mm, settings)
    steepness = np.hypot(*np.gradient(found.predicted / found.sigma))
    for window in _windows(noise.shape, settings.patch):
        census.seen += 1
        part = noise[window]
        if np.mean((raw[window] <= low) | (raw[window] >= high)) > _SATURATED or part.std() == 0:
            census.saturated += 1
        elif edge_correlation(part, steepness[window]) > settings.max_gradient_correlation:
            census.follows_edges += 1
        elif spectrum_error(part, reference) > settings.max_spectrum_error:
            census.wrong_spectrum += 1
        else:
            yield Patch((part - part.mean()) / part.std(), found.scan, found.slice)


def edge_correlation(noise: Floats, steepness: Floats) -> float:
    """Return how far the size of ``noise`` follows the prediction's gradient, 0 to 1."""
    size = np.abs(noise).ravel()
    if steepness.std() == 0 or size.std() == 0:
        return 0.0
    return float(abs(np.corrcoef(size, steepness.ravel())[0, 1]))


def band_shares(patches: NDArray[np.floating]) -> Shares:
    """Return the share of power in rings of the spectrum of ``[..., n, n]``, averaged; sums to 1.

    The rings are equally wide, from 0 to the Nyquist frequency.
    """
    power = (np.abs(np.fft.fft2(patches)) ** 2).reshape(-1, *patches.shape[-2:]).mean(axis=0)
    return _shares(power)


def spectrum_error(noise: Floats, reference: Shares) -> float:
    """Return the largest relative error of a patch's band shares against those of the scan."""
    counted = reference > _SMALL_BAND
    return float(np.abs(band_shares(noise)[counted] / reference[counted] - 1.0).max())


def reference_shares(scan: Scan, settings: HorusEyeSettings) -> Shares | None:
    """Return the band shares of the scan's own noise behind the high-pass filter.

    Measured in homogeneous regions; None where the scan has none.
    """
    spectrum = noise_power_spectrum(scan.as_volume(scan.values))
    if spectrum is None:
        return None
    size = spectrum.size_px
    frequency = _radius(size)
    power = spectrum.power_2d.copy()
    if settings.highpass in ("exponential", "exponential-2024", "butterworth"):
        known = settings.cutoff_mm is not None and scan.pixel_mm > 0
        cutoff = scan.pixel_mm / settings.cutoff_mm if known and settings.cutoff_mm else None
        power *= response(settings.highpass, frequency, cutoff or BINS_OF_512 / 512.0) ** 2
    return _shares(power)


def _radius(size: int) -> NDArray[np.float64]:
    line = np.fft.fftfreq(size)
    return np.asarray(np.hypot(line[:, None], line))


def _shares(power: NDArray[np.float64]) -> Shares:
    ring = np.minimum((_radius(len(power)) * 2 * BANDS).astype(int), BANDS)  # the last: corners
    shares = np.bincount(ring.ravel(), power.ravel(), BANDS + 1)[:BANDS]
    return np.asarray(shares / max(float(shares.sum()), 1e-30))


def _windows(shape: tuple[int, ...], size: int) -> Iterator[tuple[slice, slice]]:
    """Yield squares half overlapping along both axes; the last ones touch the far border."""
    starts = [
        sorted({*range(0, n - size + 1, size // 2), n - size}) if n >= size else [] for n in shape
    ]
    for j in starts[0]:
        for i in starts[1]:
            yield slice(j, j + size), slice(i, i + size)
