"""The texture of noise of level 1: in the slice, and from slice to slice (layer: quality).

Noise is modelled as separable: a spectrum in the plane, radial but for one streak direction, times
the correlation of slices. Few regions suffice for that; a free 3-D spectrum would need hundreds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.nps import interval, mean_frequency, ring_mean, rings, roi_spectra
from ctrestorelib.quality.result import plain
from ctrestorelib.quality.rois import Rois, detrended
from ctrestorelib.quality.sigma_map import SigmaMap

Floats64 = NDArray[np.float64]

_RESAMPLES = 200
_MOST_STREAK = 0.9
_NO_CORRELATION = 0.03  # about the error of a correlation measured in 50 regions
_STEADY = 2.0  # a region much louder in the second slice has met an edge there


@dataclass(frozen=True)
class NoiseSpectrum:
    """Spectrum of noise of standard deviation 1.

    Parameters
    ----------
    frequency_per_mm
        Middle of each ring, line pairs per mm, up to the corners of the spectrum.
    power
        Mean power in the ring, mm^2; its integral over the plane is 1.
    streak
        Amplitude A of the factor ``1 + A cos(2 (angle - streak_rad))``, 0 to 0.9.
    streak_rad
        Direction in frequency space of the strongest noise, from the i axis towards the j axis;
        streaks in the picture run at right angles to it.
    rho
        Correlation of the noise 1, 2, ... slices apart.
    f_av_per_mm, f_av_interval
        Mean frequency of the radial curve and its 95 % interval (bootstrap over regions).
    f_peak_per_mm
        Frequency of the strongest noise.
    f_90_per_mm
        Nine tenths of the noise's power lie below: the cut-off of the kernel, as the noise sees it.
    level
        Deviation of the regions after division by the noise map: 1 where map and regions agree.
    regions, size_px, tissue
        Number, size and place of the regions.
    slices_apart
        Slices subtracted from each other; 0 where single slices were used.
    """

    frequency_per_mm: Floats64
    power: Floats64
    streak: float
    streak_rad: float
    rho: tuple[float, ...]
    f_av_per_mm: float
    f_av_interval: tuple[float, float]
    f_peak_per_mm: float
    f_90_per_mm: float
    level: float
    regions: int
    size_px: int
    tissue: str
    slices_apart: int

    def plane(self, rows: int, columns: int, dx_mm: float, dy_mm: float) -> Floats64:
        """Return the power on the frequencies of a DFT ``[rows, columns]``; its mean is 1."""
        v, u = np.meshgrid(np.fft.fftfreq(rows, dy_mm), np.fft.fftfreq(columns, dx_mm),
                           indexing="ij")  # fmt: skip
        radial = np.interp(np.hypot(u, v), *self._from_zero())
        turn = 1.0 + self.streak * np.cos(2.0 * (np.arctan2(v, u) - self.streak_rad))
        power = radial * turn
        return np.asarray(power / power.mean())

    def along_k(self, slices: int) -> Floats64:
        """Return the power on the frequencies of a DFT over ``slices`` slices; its mean is 1."""
        turns = 2.0 * np.pi * np.fft.fftfreq(slices)
        power = np.ones(slices)
        for lag, rho in enumerate(self.rho, 1):
            if abs(rho) < _NO_CORRELATION:
                break
            power += 2.0 * rho * np.cos(lag * turns)
        # A cut-off list of correlations need not belong to any noise; the nearest that does.
        power = np.maximum(power, 0.0)
        return np.asarray(power / power.mean())

    def to_json(self) -> dict[str, Any]:
        """Return the spectrum as plain values."""
        record: dict[str, Any] = plain(self.__dict__)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> NoiseSpectrum:
        """Rebuild a spectrum from :meth:`to_json`.

        Raises
        ------
        InputError
            If values are missing.
        """
        try:
            values: dict[str, Any] = {n: record[n] for n in cls.__dataclass_fields__}
        except KeyError as error:
            message = f"This is no noise spectrum: {error.args[0]} is missing."
            raise InputError(message, hint="Write it again with 'ctrestore noise'.") from None
        for name in ("frequency_per_mm", "power"):
            values[name] = np.asarray(values[name], dtype=np.float64)
        for name in ("rho", "f_av_interval"):
            values[name] = tuple(float(x) for x in values[name])
        return cls(**values)

    def _from_zero(self) -> tuple[Floats64, Floats64]:
        """Extend the curve to frequency 0 by a straight line; detrending hides what is there."""
        f, p = self.frequency_per_mm, self.power
        zero = max(0.0, 2 * p[0] - p[1]) if len(p) > 1 else p[0]
        return np.concatenate([[0.0], f]), np.concatenate([[zero], p])


def measure_spectrum(
    volume: Volume, rois: Rois, sigma: SigmaMap, rho: tuple[float, ...], step: int
) -> NoiseSpectrum | None:
    """Measure the spectrum in homogeneous regions, level taken out.

    Parameters
    ----------
    rois
        Regions of one tissue.
    sigma
        Noise map of the volume.
    rho
        Correlation of slices 1, 2, ... apart.
    step
        Slices to subtract from each other, which takes static anatomy out; 0 for single slices.

    Returns
    -------
    NoiseSpectrum or None
        None if no region with noise is left.

    References
    ----------
    .. [1] Dolly S et al. Practical considerations for noise power spectra estimation for clinical
       CT scanners. J Appl Clin Med Phys 17(3), 2016. doi:10.1120/jacmp.v17i3.5841
    """
    squares = noise_squares(volume, rois, sigma, rho, step)
    dx, dy, _ = volume.geometry.spacing_mm
    each = roi_spectra(squares, dx, dy) if len(squares) else np.empty((0, rois.size, rois.size))
    cell = 1.0 / (rois.size * dx) / (rois.size * dy)
    total = float(each.sum(axis=(1, 2)).mean()) * cell if len(each) else 0.0
    if not total > 0:
        return None
    each = each / total
    index, middle = rings(rois.size, dx, dy, corners=True)
    radial = np.stack([ring_mean(p, index, len(middle)) for p in each])
    power = radial.mean(axis=0)
    inside = middle <= 0.5 / max(dx, dy)
    picks = np.random.default_rng(0).integers(0, len(each), (_RESAMPLES, len(each)))
    means = [mean_frequency(middle[inside], radial[p].mean(axis=0)[inside]) for p in picks]
    streak, angle = _streak(each.mean(axis=0), dx, dy)
    return NoiseSpectrum(
        frequency_per_mm=middle,
        power=power,
        streak=streak,
        streak_rad=angle,
        rho=rho,
        f_av_per_mm=mean_frequency(middle[inside], power[inside]),
        f_av_interval=interval(means),
        f_peak_per_mm=float(middle[np.argmax(power)]),
        f_90_per_mm=_below(each.mean(axis=0), dx, dy, 0.9),
        level=float(np.sqrt(total)),
        regions=len(each),
        size_px=rois.size,
        tissue=rois.tissue,
        slices_apart=step,
    )


def noise_squares(
    volume: Volume, rois: Rois, sigma: SigmaMap, rho: tuple[float, ...], step: int
) -> Floats64:
    """Return squares ``(n, size, size)`` of nothing but noise, its level divided out."""
    if not step:
        return np.asarray(rois.cut(volume.values) / _levels(rois, sigma))
    kept = rois.continuing(step, volume.shape[0])
    if not len(kept):
        return np.empty((0, rois.size, rois.size))
    here, there = kept.cut(volume.values), kept.cut(volume.values, step)
    squares = (here - there) / np.sqrt(2.0 * (1.0 - rho[step - 1]))
    a, b = (detrended(s).var(axis=(1, 2)) for s in (here, there))
    steady = (b < _STEADY * a) & (a > 0)
    result: Floats64 = (squares / _levels(kept, sigma))[steady]
    return result


def _levels(rois: Rois, sigma: SigmaMap) -> Floats64:
    """Return the noise map in the middle of each region, ``(n, 1, 1)``."""
    half = rois.size // 2
    planes = {int(k): sigma.slice(int(k)) for k in np.unique(rois.corners_kji[:, 0])}
    levels = [planes[int(k)][j + half, i + half] for k, j, i in rois.corners_kji]
    return np.asarray(np.maximum(np.array(levels, dtype=float), 1e-30)[:, None, None])


def _streak(power: Floats64, dx: float, dy: float) -> tuple[float, float]:
    """Return amplitude and direction of the second harmonic of the power over the angle."""
    size = len(power)
    v, u = np.meshgrid(np.fft.fftfreq(size, dy), np.fft.fftfreq(size, dx), indexing="ij")
    angle = np.arctan2(v, u)
    # The rows and columns of the Nyquist frequency have no partner of the other sign.
    ring = (np.hypot(u, v) > 0) & (np.hypot(u, v) < 0.49 / max(dx, dy))
    second = 2.0 * (power * np.exp(2j * angle))[ring].sum() / power[ring].sum()
    return float(min(np.abs(second), _MOST_STREAK)), float(0.5 * np.angle(second))


def _below(power: Floats64, dx: float, dy: float, share: float) -> float:
    size = len(power)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size, dy), np.fft.fftfreq(size, dx), indexing="ij"))
    order = np.argsort(f, axis=None)
    total = np.cumsum(power.ravel()[order])
    return float(f.ravel()[order][np.searchsorted(total, share * total[-1])])
