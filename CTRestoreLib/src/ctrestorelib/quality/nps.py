"""Noise power spectrum: how strong the noise is, and how coarse (layer: quality).

Method of squares in homogeneous tissue with a quadratic surface taken off (ICRU Report 87;
AAPM TG-233, doi:10.1002/mp.13763). The integral of the spectrum is the variance of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.pairs import check_pair
from ctrestorelib.quality.result import Measure, Verdict, plain
from ctrestorelib.quality.rois import Rois, detrended, find_rois

_RESAMPLES = 200


@dataclass(frozen=True)
class NoisePowerSpectrum:
    """The radial noise power spectrum of a volume.

    Parameters
    ----------
    frequency_per_mm
        Middle of each ring, in line pairs per mm.
    power
        Mean power in the ring, in squared unit times mm^2.
    power_2d
        The whole spectrum, zero frequency first, shape ``(size, size)``.
    variance, variance_interval
        Integral over the plane = variance of the noise, squared unit.
    f_av_per_mm, f_av_interval
        Mean frequency: low for coarse, blotchy noise.
    f_peak_per_mm
        Frequency of the strongest noise.
    rois, size_px, tissue
        Number, size and place of the regions.
    unit
        Unit of the volume's values.
    """

    frequency_per_mm: NDArray[np.float64]
    power: NDArray[np.float64]
    power_2d: NDArray[np.float64]
    variance: float
    variance_interval: tuple[float, float]
    f_av_per_mm: float
    f_av_interval: tuple[float, float]
    f_peak_per_mm: float
    rois: int
    size_px: int
    tissue: str
    unit: str

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise, in the unit of the values."""
        return float(np.sqrt(self.variance))

    def to_json(self) -> dict[str, Any]:
        """Return the curve and its figures as plain values (without the 2-D spectrum)."""
        record = {k: v for k, v in self.__dict__.items() if k != "power_2d"}
        result: dict[str, Any] = plain(record)
        return result


def noise_power_spectrum(
    volume: Volume, *, mask: NDArray[np.bool_] | None = None, rois: Rois | None = None
) -> NoisePowerSpectrum | None:
    """Measure the noise power spectrum; ``None`` where no homogeneous region was found.

    Parameters
    ----------
    volume
        In any unit; regions are sought by :func:`find_rois` unless given.
    rois
        Regions to use: give the same ones before and after a restoration.
    """
    rois = find_rois(volume, mask=mask) if rois is None else rois
    if not len(rois):
        return None
    dx, dy, _ = volume.geometry.spacing_mm
    each = roi_spectra(rois.cut(volume.values), dx, dy)
    index, middle = rings(rois.size, dx, dy)
    radial = np.stack([ring_mean(p, index, len(middle)) for p in each])
    cell = 1.0 / (rois.size * dx) / (rois.size * dy)
    variances = each.sum(axis=(1, 2)) * cell
    picks = np.random.default_rng(0).integers(0, len(each), (_RESAMPLES, len(each)))
    power = radial.mean(axis=0)
    means = [mean_frequency(middle, radial[p].mean(axis=0)) for p in picks]
    return NoisePowerSpectrum(
        frequency_per_mm=middle,
        power=power,
        power_2d=each.mean(axis=0),
        variance=float(variances.mean()),
        variance_interval=interval(variances[picks].mean(axis=1)),
        f_av_per_mm=mean_frequency(middle, power),
        f_av_interval=interval(means),
        f_peak_per_mm=float(middle[np.argmax(power)]),
        rois=len(rois),
        size_px=rois.size,
        tissue=rois.tissue,
        unit=volume.unit.label,
    )


def roi_spectra(squares: NDArray[np.float64], dx_mm: float, dy_mm: float) -> NDArray[np.float64]:
    """Return dx dy / N^2 |DFT|^2 of each detrended square, corrected for the six fitted terms."""
    size = squares.shape[-1]
    fitted = size * size / (size * size - 6.0)
    transform = np.abs(np.fft.fft2(detrended(squares))) ** 2
    out: NDArray[np.float64] = transform * (dx_mm * dy_mm / (size * size) * fitted)
    return out


def nps_measures(image: Volume, *, rois: Rois, original: Volume | None = None) -> list[Measure]:
    """Return noise level and mean frequency as measures, judged against the original if given."""
    after = noise_power_spectrum(image, rois=rois)
    if after is None:
        return [Measure.missing(n, t, rois.why_none) for n, t in _TITLES.items()]
    where = f"{after.rois} regions of {after.size_px} pixels in {after.tissue}"
    low, high = np.sqrt(after.variance_interval)
    level = Measure("noise_sigma", _TITLES["noise_sigma"], after.sigma, after.unit,
                    (float(low), float(high)), protocol=where,
                    sentence=f"Noise with the fine texture of {after.tissue}.")  # fmt: skip
    coarse = Measure("nps_f_av", _TITLES["nps_f_av"], after.f_av_per_mm, "1/mm",
                     after.f_av_interval, protocol=where, details=after.to_json(),
                     sentence="Mean frequency of the noise; low means blotchy.")  # fmt: skip
    if original is None:
        return [level, coarse]
    check_pair(image, original, what="the original")
    before = noise_power_spectrum(original, rois=rois)
    if before is None or before.f_av_per_mm <= 0:
        return [level, coarse]
    return [_judge_level(level, after, before), _judge_shift(coarse, after, before)]


_TITLES = {
    "noise_sigma": "Variation in homogeneous regions",
    "nps_f_av": "Noise texture (mean frequency)",
}


def _judge_level(level: Measure, after: NoisePowerSpectrum, before: NoisePowerSpectrum) -> Measure:
    change = 100 * (after.sigma / before.sigma - 1) if before.sigma else 0.0
    told = f"Noise in {after.tissue}: {before.sigma:.3g} before, {after.sigma:.3g} {after.unit} now"
    return level.judged(Verdict.NONE, f"{told} ({change:+.0f} %).")


def _judge_shift(coarse: Measure, after: NoisePowerSpectrum, before: NoisePowerSpectrum) -> Measure:
    shift = 100 * (after.f_av_per_mm / before.f_av_per_mm - 1)
    told = f"The mean frequency of the noise changed by {shift:+.0f} %"
    ratio = after.power / np.maximum(before.power, 1e-12 * before.power.max())
    coarse.details["ratio_after_before"] = plain(ratio)
    coarse.details["f_av_shift_percent"] = shift
    if shift < -20:
        return coarse.judged(Verdict.RED, f"{told}: the remaining noise looks like plastic.")
    if shift < -15:
        return coarse.judged(Verdict.AMBER, f"{told}: the texture has become coarser.")
    return coarse.judged(Verdict.GREEN, f"{told}: the texture is kept.")


def rings(
    size: int, dx: float, dy: float, *, corners: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the ring of each frequency of a DFT ``(size, size)``, and the middle of each ring.

    Rings end where the coarser axis does, unless the corners beyond are wanted too; frequencies
    outside all rings, and frequency 0, have the number of rings as index.
    """
    u, v = np.fft.fftfreq(size, dx), np.fft.fftfreq(size, dy)
    radius = np.hypot(u[None, :], v[:, None])
    width = 1.0 / (size * max(dx, dy))
    count = int((radius.max() if corners else 0.5 / max(dx, dy)) / width)
    index = np.rint(radius / width).astype(np.int64) - 1
    index[(index < 0) | (index >= count)] = count
    return index, (np.arange(count, dtype=np.float64) + 1.0) * width


def ring_mean(power: NDArray[np.float64], rings: NDArray[np.int64], count: int) -> Any:
    """Return the mean power in each of ``count`` rings."""
    total = np.bincount(rings.ravel(), power.ravel(), count + 1)
    return (total / np.maximum(np.bincount(rings.ravel(), minlength=count + 1), 1))[:count]


def mean_frequency(frequency: NDArray[np.float64], power: NDArray[np.float64]) -> float:
    """Return sum f P / sum P of a radial curve; 0 without power."""
    total = power.sum()
    return float((frequency * power).sum() / total) if total > 0 else 0.0


def interval(samples: Any) -> tuple[float, float]:
    """Return the range of the middle 95 % of the samples."""
    low, high = np.quantile(np.asarray(samples), (0.025, 0.975))
    return float(low), float(high)
