"""Physical CT noise: low-dose measurements, and lower dose for volumes that exist (layer: physics).

Model of a reading behind a line integral p at dose fraction a, with I0 photons per unattenuated
ray, bowtie transmission B and electronic noise of standard deviation sigma_e counts::

    mean counts   N = a * I0 * B * exp(-p)
    counts        n = Poisson(N) + Normal(0, sigma_e^2)
    line integral q = -ln(max(n, 1) / (a * I0 * B))

References
----------
.. [1] Whiting BR et al. Properties of preprocessed sinogram data in x-ray computed tomography.
   Med Phys 33(9), 2006. doi:10.1118/1.2230762
.. [2] Massoumzadeh P et al. Validation of CT dose-reduction simulation. Med Phys 36(1), 2009.
   doi:10.1118/1.3031114
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import UnitError, UsageError
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit, mu_from_hu
from ctrestorelib.core.volume import Volume, padding_mask
from ctrestorelib.physics.kernel_match import match_kernel
from ctrestorelib.physics.parallel2d import (
    CROSSTALK,
    Floats,
    Kernel,
    ParallelScan,
    backproject,
    filter_views,
    forward_project,
)
from ctrestorelib.quality.noise import estimate_noise

__all__ = ["coarse_line_integrals", "insert_noise", "match_kernel", "moving_average",
           "noise_image", "slice_profile_correlation", "transmission_counts", "transmission_noise",
           "white_views"]  # fmt: skip

ELECTRONIC_SD = 3.3
"""Electronic noise in counts, typical of clinical detectors."""
MAX_LOG_SD = 1.5  # a starved ray reads 1 to a few photons: its logarithm scatters no more
_COARSE_PIXELS = 128  # line integrals only set the noise level, which varies slowly
_COARSE_VIEWS = 90
_READINGS_AT_ONCE = 2**22


def transmission_counts(
    line_integrals: ArrayLike,
    i0: float,
    electronic_sd: float,
    rng: np.random.Generator,
    *,
    dose: float = 1.0,
    bowtie: ArrayLike | None = None,
) -> Floats:
    """Return noisy detector counts behind ``line_integrals``; see the module's model.

    Parameters
    ----------
    line_integrals
        Any shape; the last axis is the detector column.
    i0
        Photons per reading without an object, at dose 1 and bowtie 1.
    electronic_sd
        Standard deviation of the electronic noise, in counts.
    rng
        Source of randomness: the same generator state gives the same counts.
    dose
        Dose fraction a, greater than 0.
    bowtie
        Transmission B of the bowtie filter in (0, 1], broadcast against ``line_integrals``.

    Raises
    ------
    UsageError
        If a number is out of range.
    """
    p = np.asarray(line_integrals, dtype=np.float32)
    _check_source(i0, electronic_sd, dose)
    flux = np.broadcast_to(_flux(i0, dose, bowtie), p.shape)
    out = np.empty(p.shape, dtype=np.float32)
    if p.ndim == 0:
        return _draw_counts(p, flux, electronic_sd, rng)
    step = max(1, _READINGS_AT_ONCE // max(1, p.size // max(1, len(p))))
    for start in range(0, len(p), step):
        part = slice(start, start + step)
        out[part] = _draw_counts(p[part], flux[part], electronic_sd, rng)
    return out


def transmission_noise(
    line_integrals: ArrayLike,
    i0: float,
    electronic_sd: float,
    rng: np.random.Generator,
    *,
    dose: float = 1.0,
    bowtie: ArrayLike | None = None,
) -> Floats:
    """Return line integrals as measured with noise: ``-ln(max(counts, 1) / (dose * i0 * B))``.

    Dividing by the flux of the very dose that was used keeps the mean right at every dose.
    Parameters and errors: :func:`transmission_counts`.
    """
    counts = transmission_counts(line_integrals, i0, electronic_sd, rng, dose=dose, bowtie=bowtie)
    flux = _flux(i0, dose, bowtie)
    np.maximum(counts, 1.0, out=counts)
    np.divide(counts, flux, out=counts)
    np.log(counts, out=counts)
    return np.negative(counts, out=counts)


def slice_profile_correlation(thickness_mm: float, spacing_mm: float) -> tuple[float, ...]:
    """Return the noise correlation of slices 1, 2, ... apart for slices of a given thickness.

    A rectangular slice profile of thickness T sampled every D gives rho_k = max(0, 1 - k D / T):
    3 mm slices every 1.5 mm share half their noise; contiguous slices share none.
    """
    if not (thickness_mm > 0 and spacing_mm > 0):
        message = "Slice thickness and spacing must be positive; got "
        message += f"{thickness_mm:g} and {spacing_mm:g} mm."
        raise UsageError(message)
    ratio = spacing_mm / thickness_mm
    rho = 1.0 - ratio * np.arange(1, int(np.ceil(1.0 / ratio)))
    return tuple(float(r) for r in rho if r > 1e-9)


@dataclass(frozen=True)
class _NoiseScan:
    """What noise insertion keeps fixed over all slices of a volume."""

    fine: ParallelScan
    kernel: Kernel
    i0: float
    electronic_sd: float
    dose: float
    mu_water: float

    def log_sd(self, slice_mu: Floats) -> Floats:
        """Return the standard deviation of the added log-domain noise, ``[view, bin]``."""
        p = np.minimum(coarse_line_integrals(slice_mu, self.fine).astype(np.float64), 30.0)
        starved = np.exp(p) / self.i0
        quantum = (1.0 / self.dose - 1.0) * starved
        electronic = (1.0 / self.dose**2 - 1.0) * (self.electronic_sd * starved) ** 2
        return np.minimum(np.sqrt(quantum + electronic), MAX_LOG_SD).astype(np.float32)

    def noise_hu(self, slice_mu: Floats, white: Floats) -> Floats:
        """Turn white noise ``[view, bin]`` into the noise image of a slice, in HU."""
        image = noise_image(self.log_sd(slice_mu) * white, self.fine, self.kernel)
        return image * np.float32(1000.0 / self.mu_water)


def insert_noise(
    volume_hu: Volume,
    dose_fraction: float,
    rng: np.random.Generator,
    *,
    i0: float | None = None,
    electronic_sd: float = ELECTRONIC_SD,
    kernel: Kernel | None = None,
    views: int = 360,
    slice_correlation: Sequence[float] = (),
    mu_water_per_mm: float = MU_WATER_PER_MM,
) -> Volume:
    """Return the volume as a scan with a fraction of the dose would have shown it.

    Each slice is projected in parallel beams, the log-domain variance that the lower dose adds,
    ``(1/a - 1) e^p / I0 + (1/a^2 - 1) sigma_e^2 e^(2p) / I0^2``, is drawn, blurred over
    neighbouring detector bins, reconstructed with the scan's kernel and *added*, so that the
    volume's own noise and structure stay as they are [2]_.

    Parameters
    ----------
    volume_hu
        Slices are its ``[j, i]`` planes. Scanner padding stays untouched.
    dose_fraction
        0 < a <= 1; 1 adds nothing.
    rng
        The same generator state gives the same noise.
    i0
        Photons per ray of the original scan; None chooses it so that the original scan's noise in
        soft tissue is the measured one.
    kernel
        Reconstruction kernel; None fits it to the volume's own noise (:func:`match_kernel`).
    views
        Parallel views over 180 degrees that the noise is made of.
    slice_correlation
        Noise correlation between slices 1, 2, ... apart (:func:`slice_profile_correlation`).

    Raises
    ------
    UsageError
        If the dose fraction, i0 or the correlation is out of range.
    UnitError
        If the volume is not in HU.
    InputError
        If it contains NaN or infinite values.
    """
    _check_insertion(volume_hu, dose_fraction)
    _check_source(i0 or 1.0, electronic_sd, dose_fraction)
    weights = moving_average(slice_correlation)
    kernel = kernel or match_kernel(volume_hu)
    dx, dy, _ = volume_hu.geometry.spacing_mm
    fine = ParallelScan(volume_hu.shape[1:], (dx, dy), views, min(dx, dy))
    if i0 is None:
        i0 = _calibrate_i0(volume_hu, fine, kernel, mu_water_per_mm)
    scan = _NoiseScan(fine, kernel, i0, electronic_sd, dose_fraction, mu_water_per_mm)
    padding = padding_mask(volume_hu)
    out = volume_hu.values.copy()
    if dose_fraction == 1.0:
        return volume_hu.with_values(out)
    for k, white in enumerate(white_views(rng, scan.fine, weights, len(out))):
        out[k] += scan.noise_hu(_slice_mu(volume_hu, k, mu_water_per_mm), white)
    out[padding] = volume_hu.values[padding]
    return volume_hu.with_values(out)


def _calibrate_i0(volume: Volume, fine: ParallelScan, kernel: Kernel, mu_water: float) -> float:
    """Choose I0 so that the simulated full-dose noise equals the measured one."""
    from scipy.ndimage import uniform_filter

    estimate = estimate_noise(volume)
    trial = _NoiseScan(fine, kernel, 1e5, 0.0, 0.5, mu_water)  # dose 0.5 adds exactly e^p / I0
    rng = np.random.default_rng(0)
    spreads = []
    for k in np.unique(np.linspace(0, volume.shape[0] - 1, 5).astype(int)):
        noise = trial.noise_hu(_slice_mu(volume, k, mu_water), _white(rng, fine))
        tissue = np.abs(uniform_filter(volume.values[k], 7) - 50.0) < 100.0
        if tissue.sum() > 200:
            spreads.append(float(noise[tissue].std()))
    if not spreads or estimate.sigma <= 0:
        message = "Cannot tell the dose of this scan: no soft tissue with noise was found."
        raise UsageError(message, hint="Give i0, the photons per ray of the original scan.")
    return float(1e5 * (np.median(spreads) / estimate.sigma) ** 2)


def coarse_line_integrals(slice_mu: Floats, fine: ParallelScan) -> Floats:
    """Return line integrals ``[view, bin]`` of a slice in 1/mm, made at reduced resolution.

    They serve noise levels, which vary slowly: the slice is reduced to at most 128 pixels and
    projected into at most 90 views; these are resampled to the views and bins of ``fine``.
    """
    factor = max(1, int(np.ceil(max(fine.shape) / _COARSE_PIXELS)))
    small, spacing = _reduce(slice_mu, factor), tuple(factor * s for s in fine.spacing_mm)
    views = min(_COARSE_VIEWS, fine.views)
    scan = ParallelScan(small.shape, (spacing[0], spacing[1]), views, min(spacing))
    p = forward_project(small, scan)
    near = np.interp(fine.offsets_mm, scan.offsets_mm, np.arange(scan.bins))
    low = np.minimum(near.astype(int), scan.bins - 2)
    t = (near - low).astype(np.float32)
    columns = p[:, low] * (1 - t) + p[:, low + 1] * t
    return np.asarray(columns[np.arange(fine.views) * views // fine.views], dtype=np.float32)


def _reduce(image: Floats, factor: int) -> Floats:
    """Mean over ``factor`` x ``factor`` blocks, the object staying centred."""
    if factor == 1:
        return image
    pad = [(-n) % factor for n in image.shape]
    edges = [(p // 2, p - p // 2) for p in pad]
    padded = np.pad(image, edges)
    rows, cols = (n // factor for n in padded.shape)
    return np.asarray(padded.reshape(rows, factor, cols, factor).mean(axis=(1, 3)))


def _slice_mu(volume: Volume, k: int, mu_water: float) -> Floats:
    return np.maximum(mu_from_hu(volume.values[k], mu_water), 0.0)


def white_views(
    rng: np.random.Generator, scan: ParallelScan, weights: NDArray[np.float32], slices: int
) -> Iterator[Floats]:
    """Yield white noise ``[view, bin]`` of unit variance for each slice, correlated along slices.

    Parameters
    ----------
    rng
        Source of randomness.
    scan
        Views and bins.
    weights
        Of successive independent slices; see :func:`moving_average`.
    slices
        How many.
    """
    ring = [_white(rng, scan) for _ in range(len(weights) - 1)]
    for _ in range(slices):
        ring.append(_white(rng, scan))
        white = sum((w * r for w, r in zip(weights, reversed(ring), strict=True)), start=0.0)
        yield np.asarray(white)
        ring.pop(0)


def noise_image(noise: Floats, scan: ParallelScan, kernel: Kernel) -> Floats:
    """Return the image ``[j, i]`` in 1/mm of noise in the log readings ``[view, bin]``.

    Neighbouring bins share a part of it (crosstalk) before it is filtered and backprojected.
    """
    left, middle, right = (np.float32(c) for c in CROSSTALK)
    blurred = middle * noise
    blurred[:, 1:] += left * noise[:, :-1]
    blurred[:, :-1] += right * noise[:, 1:]
    return backproject(filter_views(blurred, scan.bin_mm, kernel), scan)


def _white(rng: np.random.Generator, scan: ParallelScan) -> Floats:
    return rng.standard_normal((scan.views, scan.bins), dtype=np.float32)


def moving_average(correlation: Sequence[float]) -> NDArray[np.float32]:
    """Return weights over successive white slices whose sum has the wanted correlation, variance 1.

    They are the last row of the Cholesky factor of the banded correlation matrix (Bauer's method).
    """
    from scipy.linalg import LinAlgError, cholesky, toeplitz

    rho = [1.0, *(float(r) for r in correlation)]
    first = np.zeros(32 * len(rho))
    first[: len(rho)] = rho
    try:
        factor = cholesky(toeplitz(first) + 1e-6 * np.eye(len(first)), lower=True)
    except LinAlgError:
        message = f"No noise can have the slice correlation {tuple(rho[1:])}."
        hint = "Use slice_profile_correlation(thickness_mm, spacing_mm)."
        raise UsageError(message, hint=hint) from None
    return np.asarray(factor[-1, -len(rho) :][::-1], dtype=np.float32)


def _draw_counts(
    p: Floats, flux: NDArray[np.float64], electronic_sd: float, rng: np.random.Generator
) -> Floats:
    counts = rng.poisson(flux * np.exp(-p.astype(np.float64))).astype(np.float32)
    if electronic_sd > 0:
        counts += np.float32(electronic_sd) * rng.standard_normal(p.shape, dtype=np.float32)
    return counts


def _flux(i0: float, dose: float, bowtie: ArrayLike | None) -> NDArray[np.float64]:
    profile = np.asarray(1.0 if bowtie is None else bowtie, dtype=np.float64)
    if not (profile.min() > 0 and profile.max() <= 1):
        message = "The bowtie transmission must lie in (0, 1]; got "
        message += f"{profile.min():g} to {profile.max():g}."
        raise UsageError(message)
    return np.asarray(dose * i0 * profile)


def _check_source(i0: float, electronic_sd: float, dose: float) -> None:
    if not (i0 > 0 and dose > 0 and electronic_sd >= 0):
        message = (
            "Photons per ray (i0) and dose must be positive and electronic_sd not negative; got "
            f"i0={i0:g}, dose={dose:g}, electronic_sd={electronic_sd:g}."
        )
        raise UsageError(message)


def _check_insertion(volume: Volume, dose_fraction: float) -> None:
    if volume.unit != Unit.HU:
        message = f"Noise is inserted into volumes in HU; this one is in {volume.unit.label}."
        raise UnitError(message, hint="Convert it with to_unit, or simulate a virtual scan.")
    if not 0.0 < dose_fraction <= 1.0:
        message = f"The dose fraction must be above 0 and at most 1; got {dose_fraction:g}."
        raise UsageError(message)
    volume.require_finite()
