"""How far noise repeats from slice to slice (layer: quality; scipy inside)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.result import Measure, Verdict, plain
from ctrestorelib.quality.rois import Rois, find_rois
from ctrestorelib.quality.tissue import smooth_slices

_RESAMPLES = 300
_HIGH_PASS_PX = 2.0


@dataclass(frozen=True)
class SliceCorrelation:
    """Correlation of the noise of slices ``k`` apart, for ``k`` = 1, 2, ...

    Parameters
    ----------
    rho
        Correlation coefficients; ``rho[0]`` belongs to neighbouring slices.
    intervals
        95 % confidence interval of each, by bootstrap over the regions.
    regions
        Number of regions used.
    """

    rho: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    regions: int

    def to_json(self) -> dict[str, Any]:
        """Return the values as plain lists."""
        result: dict[str, Any] = plain(self.__dict__)
        return result


def slice_correlation(
    volume: Volume, *, lags: int = 3, rois: Rois | None = None
) -> SliceCorrelation | None:
    """Measure the correlation of high-passed slices inside homogeneous tissue.

    A Gaussian of 2 pixels is taken off each slice, so that slow changes of tissue, which do repeat
    from slice to slice, do not count as noise. ``None`` where there is too little to measure.
    """
    rois = find_rois(volume) if rois is None else rois
    if not len(rois) or volume.shape[0] < 2:
        return None
    rng = np.random.default_rng(0)
    rho, intervals, used = [], [], 0
    for lag in range(1, lags + 1):
        pairs = _products(volume.values, rois, lag)
        if len(pairs) < 6:
            break
        used = max(used, len(pairs))
        rho.append(_rho(pairs))
        picks = rng.integers(0, len(pairs), (_RESAMPLES, len(pairs)))
        low, top = np.quantile([_rho(pairs[p]) for p in picks], (0.025, 0.975))
        intervals.append((float(low), float(top)))
    return SliceCorrelation(tuple(rho), tuple(intervals), used) if rho else None


def slice_correlation_measure(volume: Volume, *, rois: Rois) -> Measure:
    """Return the correlation of neighbouring slices with what it allows."""
    name, title = "slice_correlation", "Slice-to-slice noise correlation"
    if volume.shape[0] < 2:
        return Measure.missing(name, title, "the volume has only one slice.")
    found = slice_correlation(volume, rois=rois)
    if found is None:
        why = rois.why_none or "too few homogeneous regions continue in the next slice."
        return Measure.missing(name, title, why)
    rho = found.rho[0]
    verdict, told = _meaning(rho)
    return Measure(name, title, rho, "", found.intervals[0], verdict, told,
                   f"high-passed neighbouring slices, {found.regions} regions",
                   details=found.to_json())  # fmt: skip


def _meaning(rho: float) -> tuple[Verdict, str]:
    if rho < 0.1:
        told = "Neighbouring slices carry independent noise: learning from them is safe."
        return Verdict.GREEN, told
    if rho <= 0.6:
        told = "Slices share part of their noise; methods that learn from neighbours must correct."
        return Verdict.AMBER, told
    told = "Slices share most of their noise (thick or resampled): neighbours teach nothing new."
    return Verdict.RED, told


def _products(values: NDArray[np.float32], rois: Rois, lag: int) -> NDArray[np.float64]:
    """Return the sums xx, yy, xy of every region that is homogeneous in both slices."""
    kept = rois.continuing(lag, values.shape[0])
    if not len(kept):
        return np.empty((0, 3))
    a, b = (_high_passed(kept.cut(values, step))[:, 2:-2, 2:-2] for step in (0, lag))
    a = a - a.mean(axis=(1, 2), keepdims=True)
    b = b - b.mean(axis=(1, 2), keepdims=True)
    sums = np.stack([(a * a).sum((1, 2)), (b * b).sum((1, 2)), (a * b).sum((1, 2))], axis=1)
    # A region whose continuation is much louder has met an edge there.
    same = (sums[:, 1] < 2 * sums[:, 0]) & (sums[:, 1] > 0)
    kept_sums: NDArray[np.float64] = sums[same]
    return kept_sums


def _high_passed(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    return squares - smooth_slices(squares, _HIGH_PASS_PX)


def _rho(sums: NDArray[np.float64]) -> float:
    xx, yy, xy = sums.sum(axis=0)
    return float(xy / np.sqrt(xx * yy))
