"""How noisy a volume is, measured in the volume itself (layer: quality).

In CT the noise is grainy: neighbouring pixels are correlated, so that estimators built on pixel
differences are wrong by factors. The level is therefore read from the local standard deviation of
flat windows, as the mode of its histogram.

References
----------
.. [1] Christianson O et al. Automated technique to measure noise in clinical CT examinations.
   AJR 205(1), 2015. doi:10.2214/AJR.14.13613
.. [2] Immerkaer J. Fast noise variance estimation. Comput Vis Image Underst 64(2), 1996.
   doi:10.1006/cviu.1996.0060
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.flatness import MATERIAL, FlatSlice, flat_slices

LAGS = 3
_STRUCTURE = 2.5
_TRUSTED = ("soft_tissue", "fat")  # flat enough to stand for the scan's noise, in this order


@dataclass(frozen=True)
class TissueNoise:
    """Noise inside one tissue: ``sigma`` and its 95 % interval in the volume's unit."""

    sigma: float
    interval: tuple[float, float]
    mean: float
    windows: int


@dataclass(frozen=True)
class NoiseEstimate:
    """What :func:`estimate_noise` found.

    Parameters
    ----------
    sigma
        Standard deviation of the noise, in ``unit``; 0 for a constant volume.
    interval
        95 % confidence interval of ``sigma``.
    unit
        Unit of all values here.
    tissues
        Noise by tissue (``soft_tissue``, ``fat``, ``lung``, ``bone``; those present). Lung and
        bone include their own fine structure.
    slice_correlation
        Correlation of the noise of slices 1, 2, 3 apart; empty for one slice.
    pixel_correlation
        Correlation of the noise of pixels 1, 2, 3 apart in a slice (mean of both axes): 0 for
        white noise, high for soft kernels.
    method
        ``"soft_tissue"`` or ``"fat"`` (mode of local deviations there), ``"differences"`` (no such
        tissue: second differences, corrected for the noise's correlation) or ``"none"`` (constant).
    slices
        Number of slices that were measured.
    """

    sigma: float
    interval: tuple[float, float]
    unit: Unit
    tissues: Mapping[str, TissueNoise] = field(default_factory=dict)
    slice_correlation: tuple[float, ...] = ()
    pixel_correlation: tuple[float, ...] = ()
    method: str = "none"
    slices: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as plain values."""
        return asdict(self) | {
            "unit": self.unit.value,
            "tissues": {name: asdict(t) for name, t in self.tissues.items()},
        }


def estimate_noise(volume: Volume, mask: NDArray[np.bool_] | None = None) -> NoiseEstimate:
    """Measure the noise of ``volume`` in up to 32 of its slices.

    Parameters
    ----------
    volume
        Any unit. HU and 1/mm are measured by tissue; grey values, phantoms and everything without
        soft tissue or fat by second differences. Scanner padding and NaN are left out.
    mask
        Array ``[k, j, i]``: only windows wholly inside count.

    Raises
    ------
    GeometryError
        If the mask has another shape.
    """
    if mask is not None and mask.shape != volume.shape:
        message = f"The mask has shape {mask.shape}, the volume {volume.shape}."
        raise GeometryError(message)
    runs = list(flat_slices(volume, mask))
    measured = [s for run in runs for s in run]
    tissues = {
        name: _tissue_noise(measured, name)
        for name in ("soft_tissue", "fat", "lung", "bone")
        if any(name in s.flat for s in measured)
    }
    for name in _TRUSTED:
        if name in tissues:
            level, method = tissues[name], name
            break
    else:
        level, method, name = _difference_noise(measured), "differences", MATERIAL
    # Only edges and fine structure pass for "flat" there: no measure of noise.
    tissues = {n: t for n, t in tissues.items() if t.sigma <= _STRUCTURE * level.sigma}
    if level.sigma == 0.0:
        return NoiseEstimate(0.0, (0.0, 0.0), volume.unit, slices=len(measured))
    return NoiseEstimate(
        level.sigma,
        level.interval,
        volume.unit,
        tissues,
        slice_correlation(runs, name),
        pixel_correlation(measured, name),
        method,
        len(measured),
    )


def noise_map(volume: Volume) -> Volume:
    """Return the local noise level as a whole volume; see :func:`.sigma_map.sigma_map`."""
    from ctrestorelib.quality.sigma_map import sigma_map  # it builds on this module

    return sigma_map(volume).whole(volume)


def slice_correlation(runs: Sequence[Sequence[FlatSlice]], name: str) -> tuple[float, ...]:
    """Return the noise correlation 1, 2, 3 slices apart in the flat windows of class ``name``."""
    out = []
    for lag in range(1, LAGS + 1):
        pairs = [(run[i], run[i + lag]) for run in runs for i in range(len(run) - lag)]
        sums = np.zeros(3)
        for a, b in pairs:
            both = a.flat.get(name, np.False_) & b.flat.get(name, np.False_)
            if np.ndim(both) and both.any():
                x, y = a.residual[both], b.residual[both]
                sums += (float(x @ y), float(x @ x), float(y @ y))
        if sums[1] * sums[2] == 0:
            break
        out.append(float(sums[0] / np.sqrt(sums[1] * sums[2])))
    return tuple(out)


def pixel_correlation(measured: Sequence[FlatSlice], name: str) -> tuple[float, ...]:
    """Return the noise correlation 1, 2, 3 pixels apart, mean of both axes."""
    out = []
    for lag in range(1, LAGS + 1):
        product = power = 0.0
        for s in measured:
            if name not in s.flat or min(s.mean.shape) <= lag:
                continue
            for r, f in ((s.residual, s.flat[name]), (s.residual.T, s.flat[name].T)):
                both = f[:, lag:] & f[:, :-lag]
                x, y = r[:, lag:][both], r[:, :-lag][both]
                product += float(x @ y)
                power += 0.5 * float(x @ x + y @ y)
        out.append(product / power if power > 0 else 0.0)
    return tuple(out)


def _tissue_noise(measured: Sequence[FlatSlice], name: str) -> TissueNoise:
    """Level of the local deviations per slice, median over slices."""
    return _over_slices(measured, name, lambda s, flat: typical_deviation(s.sd[flat]))


def _difference_noise(measured: Sequence[FlatSlice]) -> TissueNoise:
    """Second differences everywhere, scaled by deviation over difference inside single windows."""

    def level(s: FlatSlice, flat: NDArray[np.bool_]) -> float:
        from scipy.ndimage import uniform_filter

        difference = second_difference(s.residual.astype(np.float64))
        local = np.sqrt(np.maximum(uniform_filter(difference**2, s.window), 0.0))[flat]
        if not local.min() > 0:
            return typical_deviation(s.sd[flat])
        correction = float(np.median(s.sd[flat] / local))
        fine = float(np.median(np.abs(difference[flat]))) / 0.6745
        return min(correction * fine, float(np.percentile(s.sd[flat], 90)))

    return _over_slices(measured, MATERIAL, level)


def _over_slices(
    measured: Sequence[FlatSlice],
    name: str,
    level_of: Callable[[FlatSlice, NDArray[np.bool_]], float],
) -> TissueNoise:
    levels, spreads, means, windows = [], [], [], 0
    for s in measured:
        if name not in s.flat:
            continue
        flat = s.flat[name]
        levels.append(level_of(s, flat))
        # Windows overlap: about one in each window's area is independent.
        independent = max(1.0, np.count_nonzero(flat) / s.window**2)
        spreads.append(float(s.sd[flat].std()) / np.sqrt(independent))
        means.append(float(s.mean[flat].mean()))
        windows += int(np.count_nonzero(flat))
    if not levels:
        return TissueNoise(0.0, (0.0, 0.0), 0.0, 0)
    grain = 1.0 / np.sqrt(1.0 - hidden_share(measured, name))
    sigma, half = (float(grain) * x for x in _centre(levels, spreads))
    return TissueNoise(
        sigma, (max(0.0, sigma - half), sigma + half), float(np.mean(means)), windows
    )


def hidden_share(measured: Sequence[FlatSlice], name: str) -> float:
    """Share of the noise's variance that the local mean swallows: large for coarse grain."""
    window = next(s.window for s in measured if name in s.flat)
    rho = (1.0, *pixel_correlation(measured, name), 0.0)
    lag = np.arange(1 - window, window)
    pairs = (window - np.abs(lag)).astype(float)
    apart = np.interp(np.hypot(lag[:, None], lag), np.arange(len(rho)), rho)
    return float(np.clip((np.outer(pairs, pairs) * apart).sum() / window**4, 0.0, 0.4))


def second_difference(values: NDArray[np.floating[Any]]) -> Any:
    """Response to the mask (1 -2 1) x (1 -2 1), scaled to keep the deviation of white noise."""
    wide = np.pad(values, 1, mode="edge")
    rows = wide[:-2] - 2 * wide[1:-1] + wide[2:]
    return (rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]) / 6


def typical_deviation(sd: NDArray[np.float32]) -> float:
    """Root mean square of the local deviations around the most frequent one.

    The mode alone lies a little low, since deviations of few pixels scatter; windows far above it
    hold structure.
    """
    mode = most_frequent(sd)
    near = sd[np.abs(sd - mode) <= 0.4 * mode]
    return float(np.sqrt((near**2).mean())) if near.size else mode


def most_frequent(sd: NDArray[np.float32]) -> float:
    """Return the most frequent local deviation; the histogram is smoothed by a tenth of it."""
    from scipy.ndimage import gaussian_filter1d

    low, high = (float(x) for x in np.percentile(sd, (1, 95)))
    if high <= low * 1.001:
        return float(np.median(sd))
    counts, edges = np.histogram(sd, bins=100, range=(low, high))
    width = max(1.5, 0.1 * float(np.median(sd)) / float(edges[1] - edges[0]))
    smooth = gaussian_filter1d(counts.astype(float), width, mode="constant")
    best = int(smooth.argmax())
    return float(0.5 * (edges[best] + edges[best + 1]))


def _centre(levels: Sequence[float], spreads: Sequence[float]) -> tuple[float, float]:
    """Median over slices and the half width of its 95 % interval."""
    values = np.asarray(levels)
    between = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    within = float(np.median(spreads))
    error = 1.253 * float(np.hypot(between, within)) / np.sqrt(len(values))
    return float(np.median(values)), float(1.96 * error)
