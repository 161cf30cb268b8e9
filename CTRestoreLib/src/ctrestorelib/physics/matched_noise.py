"""Noise as the user's own scan has it, drawn at will (layer: physics; numpy and scipy only).

White noise is shaped by the square root of the measured spectrum, in each slice and from slice to
slice, and multiplied by the noise map. The model is stationary but for the level: strong streaks
that turn from place to place are matched only on average.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, InputError, UsageError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.quality.noise_spectrum import NoiseSpectrum
from ctrestorelib.quality.nps import ring_mean, rings, roi_spectra
from ctrestorelib.quality.scan_noise import ScanNoise

Floats = NDArray[np.float32]
Range = tuple[int, int]

_PERIOD = 64  # slices over which the correlation along k is worked out
_SMALL_TAP = 2e-3
_BANDS, _LEAST_SHARE = 8, 0.03
_CHECKED_SLICES, _SQUARES = 24, 4  # planes that are measured, regions along each side of one
_ROUNDS = 12


@dataclass(frozen=True)
class MatchCheck:
    """How well drawn noise agrees with what was measured.

    Parameters
    ----------
    std_error
        Relative error of the standard deviation, after the noise map is divided out.
    nps_error
        Largest relative error of the radial spectrum over bands that hold at least 3 % of it.
    rho_error
        Largest error of the correlation of slices, over all measured distances.
    """

    std_error: float
    nps_error: float
    rho_error: float

    @property
    def passed(self) -> bool:
        """Whether deviation is within 3 %, every band within 10 %, correlations within 0.05."""
        return self.std_error <= 0.03 and self.nps_error <= 0.10 and self.rho_error <= 0.05


class MatchedNoise:
    """A source of noise with the level, texture and slice correlation of a scan.

    Parameters
    ----------
    noise
        The scan's noise, from :func:`ctrestorelib.quality.scan_noise.describe_noise`. Read back
        from JSON it has no map; the noise then has the scan's typical level everywhere.
    geometry
        Grid of the scan.

    Raises
    ------
    InputError
        If the texture of the scan's noise is unknown.
    GeometryError
        If the grid is not that of the noise map, or its pixels have another size.
    """

    def __init__(self, noise: ScanNoise, geometry: VolumeGeometry) -> None:
        if noise.spectrum is None:
            message = "Noise cannot be matched to this scan: its texture could not be measured."
            raise InputError(message, hint=" ".join(noise.remarks))
        _check_grid(noise, geometry)
        self.noise = noise
        self.shape: tuple[int, int, int] = geometry.shape
        self.spectrum: NoiseSpectrum = noise.spectrum
        self._pixel_mm = noise.spacing_mm[:2]
        self._taps = _taps(self.spectrum)
        self._model = _sharpened(self.spectrum, *self._pixel_mm)
        self._gain = lru_cache(maxsize=4)(self._plane_gain)

    def draw(
        self,
        rng: np.random.Generator,
        slices: Range | None = None,
        rows: Range | None = None,
        columns: Range | None = None,
    ) -> Floats:
        """Draw noise ``[k, j, i]`` in the scan's unit.

        Parameters
        ----------
        rng
            The same state gives the same noise.
        slices, rows, columns
            ``(first, last)``, ``last`` excluded, of the part that is wanted; None for all. Each
            call draws new noise: two parts drawn one after the other do not fit together.

        Raises
        ------
        UsageError
            If the part is empty or not inside the scan.
        """
        (a, b), (c, d), (e, f) = (
            _inside(part, size, name)
            for part, size, name in zip(
                (slices, rows, columns), self.shape, ("slices", "rows", "columns"), strict=True
            )
        )
        out = self.draw_unit(rng, (b - a, d - c, f - e))
        if self.noise.sigma is None:
            out *= np.float32(self.noise.sigma_range[1])
            return out
        for k in range(a, b):
            out[k - a] *= self.noise.sigma.slice(k)[c:d, e:f]
        return out

    def draw_unit(self, rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
        """Draw noise of standard deviation 1 in a box ``[k, j, i]`` of any size."""
        slices, rows, columns = shape
        reach = len(self._taps) - 1
        gain = self._gain(rows, columns)
        out = np.zeros(shape, dtype=np.float32)
        for k in range(slices + reach):
            plane = _shaped(rng, gain, (rows, columns))
            for lag, tap in enumerate(self._taps):
                if 0 <= k - lag < slices:
                    out[k - lag] += tap * plane
        return out

    def check(self, rng: np.random.Generator | None = None) -> MatchCheck:
        """Draw noise and compare it with what was measured in the scan."""
        rng = rng or np.random.default_rng(0)
        side = _SQUARES * self.spectrum.size_px
        drawn = self.draw_unit(rng, (_CHECKED_SLICES, side, side)).astype(np.float64)
        rho = [float((drawn[k:] * drawn[:-k]).mean() / (drawn**2).mean())
               for k in range(1, len(self.spectrum.rho) + 1)]  # fmt: skip
        wrong = [abs(x - y) for x, y in zip(rho, self.spectrum.rho, strict=True)]
        std_error = abs(float(drawn.std()) - 1.0)
        return MatchCheck(std_error, self._worst_band(drawn), max(wrong, default=0.0))

    def _worst_band(self, drawn: NDArray[np.float64]) -> float:
        dx, dy = self._pixel_mm
        index, middle = rings(self.spectrum.size_px, dx, dy, corners=True)
        found, wanted = _radial(drawn, self.spectrum, dx, dy), self.spectrum.power
        # Power of a ring counts as often as the ring has frequencies.
        members = np.bincount(index.ravel(), minlength=len(middle) + 1)[:-1]
        band = np.minimum((_BANDS * middle * 2 * max(dx, dy)).astype(int), _BANDS - 1)
        got, asked = (np.bincount(band, members * p, _BANDS) for p in (found, wanted))
        counts = asked >= _LEAST_SHARE * asked.sum()
        return float(np.abs(got[counts] / asked[counts] - 1.0).max())

    def _plane_gain(self, rows: int, columns: int) -> Floats:
        return _gain(self._model, rows, columns, *self._pixel_mm)


def _gain(spectrum: NoiseSpectrum, rows: int, columns: int, dx: float, dy: float) -> Floats:
    power = spectrum.plane(rows, columns, dx, dy)
    return np.sqrt(power[:, : columns // 2 + 1]).astype(np.float32)


def _sharpened(spectrum: NoiseSpectrum, dx: float, dy: float) -> NoiseSpectrum:
    """Return the spectrum that, measured in regions of that size, gives the one measured.

    Small regions blur a spectrum and the fitted surface takes its lowest frequencies. Noise is
    drawn and measured like the scan, and each ring corrected by what is missing, some times over.
    """
    model, side = spectrum, _SQUARES * spectrum.size_px
    for round_ in range(_ROUNDS):
        rng = np.random.default_rng(round_)
        gain = _gain(model, side, side, dx, dy)
        drawn = np.stack([_shaped(rng, gain, (side, side)) for _ in range(_CHECKED_SLICES)])
        found = _radial(drawn, spectrum, dx, dy)
        factor = spectrum.power / np.maximum(found, 1e-6 * spectrum.power.max())
        model = replace(model, power=model.power * np.clip(factor, 0.5, 2.0))
    return model


def _radial(
    drawn: NDArray[np.floating[Any]], spectrum: NoiseSpectrum, dx: float, dy: float
) -> NDArray[np.float64]:
    """Measure the radial spectrum of planes of noise ``[k, j, i]`` as that of a scan is."""
    size = spectrum.size_px
    cut = drawn.astype(np.float64).reshape(-1, _SQUARES, size, _SQUARES, size)
    power = roi_spectra(cut.swapaxes(2, 3).reshape(-1, size, size), dx, dy).mean(axis=0)
    index, middle = rings(size, dx, dy, corners=True)
    # The integral of a measured spectrum is 1 by definition.
    power = power * (size * dx * size * dy / power.sum())
    return np.asarray(ring_mean(power, index, len(middle)))


def _shaped(rng: np.random.Generator, gain: Floats, shape: tuple[int, int]) -> Floats:
    from scipy.fft import irfft2, rfft2

    white = rng.standard_normal(shape, dtype=np.float32)
    return np.asarray(irfft2(rfft2(white) * gain, s=shape), dtype=np.float32)


def _taps(spectrum: NoiseSpectrum) -> Floats:
    """Weights over successive white slices that give the measured correlation, squares sum to 1."""
    kernel = np.fft.fftshift(np.fft.ifft(np.sqrt(spectrum.along_k(_PERIOD))).real)
    large = np.flatnonzero(np.abs(kernel) > _SMALL_TAP)
    kernel = kernel[large[0] : large[-1] + 1]
    return np.asarray(kernel / np.sqrt((kernel**2).sum()), dtype=np.float32)


def _inside(part: Range | None, size: int, name: str) -> Range:
    first, last = part or (0, size)
    if not 0 <= first < last <= size:
        message = f"Noise for {name} {first} to {last} was asked for; there are {size}."
        raise UsageError(message)
    return first, last


def _check_grid(noise: ScanNoise, geometry: VolumeGeometry) -> None:
    if noise.sigma is not None and noise.sigma.shape != geometry.shape:
        message = f"The noise map has shape {noise.sigma.shape}, the grid {geometry.shape}."
        raise GeometryError(message)
    if not np.allclose(noise.spacing_mm, geometry.spacing_mm, rtol=1e-3):
        message = f"The noise was measured at a voxel size of {noise.spacing_mm} mm, "
        message += f"the grid has {geometry.spacing_mm} mm."
        raise GeometryError(message, hint="Measure the noise on this grid.")
