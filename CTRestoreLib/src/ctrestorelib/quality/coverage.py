"""Whether a stated uncertainty is honest on this very scan (layer: quality; scipy inside).

A slice far enough away that its noise is independent is a second measurement of the same flat
tissue: ``y' = y[z + k]``. If the restored value ``x[z]`` is off by about its uncertainty ``u`` and
the noise of one voxel is ``sigma``, then ``|y' - x| <= 1.645 sqrt(sigma^2 + u^2)`` must hold for
nine voxels in ten. No clean volume is needed.

The change of anatomy between the two slices is taken from the restored slices, smoothed by a
Gaussian of 6 pixels; errors coarser than that are therefore not tested here (the drift measures
test them). Most of ``y' - x`` is the noise of ``y'``, so an error of the noise level counts more
than one of ``u``: unless a map is given, the level is taken from differences of noisy slices at
the very voxels that are tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.flatness import flat_slices
from ctrestorelib.quality.noise import noise_map, slice_correlation
from ctrestorelib.quality.pairs import check_pair
from ctrestorelib.quality.result import Measure, Verdict, plain
from ctrestorelib.quality.tissue import spread

EXPECTED = 0.90
FEWEST = 0.88
OUT_OF_DOMAIN = 1.5
"""Factor on the uncertainty beyond which the method does not know this kind of scan."""

_QUANTILE = 1.645
_INDEPENDENT = 0.1
_SLICES, _MOST_PER_PAIR, _FEWEST_VOXELS, _RESAMPLES = 24, 20_000, 2000, 300
_GUIDE_PX, _CHANGE_PX, _STEEP, _CHANGED = 2.5, 6.0, 0.12, 1.0
_NAME, _TITLE = "coverage", "Is the stated uncertainty honest? (noise-copy coverage)"


@dataclass(frozen=True)
class Coverage:
    """Share of second measurements within the stated uncertainty.

    Parameters
    ----------
    value
        Share, 0.90 if noise and uncertainty are right; None where it could not be measured.
    interval
        95 % interval of the share, by bootstrap over slice pairs.
    inflation
        Smallest factor, at least 1, by which the uncertainty must be multiplied for a share of
        0.88; infinite where no factor helps; None where the share is unknown.
    lag
        How many slices apart the two measurements are.
    voxels, pairs
        Number of voxels and of slice pairs.
    why_not
        Why it could not be measured; empty if it was.
    """

    value: float | None
    interval: tuple[float, float] | None = None
    inflation: float | None = None
    lag: int = 0
    voxels: int = 0
    pairs: int = 0
    why_not: str = ""

    @property
    def out_of_domain(self) -> bool:
        """Whether the uncertainty is so wrong that the method does not know this kind of scan."""
        return self.inflation is not None and self.inflation > OUT_OF_DOMAIN

    @property
    def verdict(self) -> Verdict:
        """Green if honest, amber if it must be widened, red if out of domain."""
        if self.inflation is None:
            return Verdict.NONE
        if self.out_of_domain:
            return Verdict.RED
        return Verdict.AMBER if self.inflation > 1.0 else Verdict.GREEN

    @property
    def sentence(self) -> str:
        """What the number says."""
        if self.value is None or self.inflation is None:
            return f"Not measurable: {self.why_not}"
        share = f"{100 * self.value:.0f} % of second measurements lie within the stated uncertainty"
        if self.verdict is Verdict.GREEN:
            wide = self.value > 2 * EXPECTED - FEWEST
            return f"{share} ({'a little too cautious' if wide else 'expected: 90 %'})."
        if self.verdict is Verdict.AMBER:
            return f"{share}: read the uncertainty as {self.inflation:.2f} times larger."
        return f"{share}: out of domain. The method does not know scans like this one."

    def to_measure(self) -> Measure:
        """Return the share as one line of a table."""
        if self.value is None:
            return Measure.missing(_NAME, _TITLE, self.why_not)
        protocol = (f"{self.voxels} flat voxels of {self.pairs} slice pairs, {self.lag} slices "
                    "apart, limit 1.645 standard deviations")  # fmt: skip
        return Measure(_NAME, _TITLE, self.value, "", self.interval, self.verdict, self.sentence,
                       protocol, details=self.to_json())  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the values as plain values."""
        result: dict[str, Any] = plain(self.__dict__ | {"out_of_domain": self.out_of_domain})
        return result


def coverage(
    noisy: Volume,
    restored: Volume,
    uncertainty: Volume,
    sigma_map: Volume | None = None,
    *,
    mask: NDArray[np.bool_] | None = None,
) -> Coverage:
    """Measure how often a second measurement lies within the stated uncertainty.

    Parameters
    ----------
    noisy, restored
        Original and result on one grid, in one unit.
    uncertainty
        One standard deviation of the error of ``restored`` at every voxel, same grid and unit.
    sigma_map
        Standard deviation of the noise of ``noisy`` at every voxel, where it is known; otherwise
        measured from differences of slices.
    mask
        Boolean ``[k, j, i]``: test only here.

    Raises
    ------
    GeometryError, UnitError
        If the volumes differ in grid or unit.
    """
    check_pair(restored, noisy, what="the original")
    check_pair(uncertainty, noisy, what="the original")
    if sigma_map is not None and sigma_map.shape != noisy.shape:
        message = f"The sigma map has shape {sigma_map.shape}, the volume {noisy.shape}."
        raise GeometryError(message)
    lag = independent_lag(noisy)
    if lag is None:
        return Coverage(None, why_not="no slice within three has noise of its own "
                        "(thick overlapping slices, or no flat tissue).")  # fmt: skip
    sigma = noise_map(noisy) if sigma_map is None else sigma_map
    samples = list(_samples((noisy, restored, uncertainty, sigma), lag, mask))
    voxels = sum(len(s.apart) for s in samples)
    if voxels < _FEWEST_VOXELS:
        return Coverage(None, lag=lag, why_not=f"only {voxels} flat voxels in both slices.")
    level = _level(samples) if sigma_map is None else 1.0
    return _judge(samples, level, lag)


def independent_lag(volume: Volume) -> int | None:
    """Return how many slices apart noise is independent (correlation below 0.1); None if over 3."""
    if volume.shape[0] < 2:
        return None
    runs = list(flat_slices(volume))
    known = {name for run in runs for s in run for name in s.flat}
    for name in ("soft_tissue", "fat", "material"):
        if name in known:
            rho = slice_correlation(runs, name)
            return next((n for n, r in enumerate(rho, 1) if abs(r) < _INDEPENDENT), None)
    return None


@dataclass(frozen=True)
class _Sample:
    """Voxels of one slice pair: y' - x, y' - y without anatomy, sigma and u."""

    apart: NDArray[np.float64]
    noise: NDArray[np.float64]
    sigma: NDArray[np.float64]
    u: NDArray[np.float64]


def _samples(
    volumes: tuple[Volume, Volume, Volume, Volume], lag: int, mask: NDArray[np.bool_] | None
) -> Iterator[_Sample]:
    from scipy.ndimage import gaussian_filter

    noisy, restored, u, sigma = volumes
    rng = np.random.default_rng(0)
    for k in spread(noisy.shape[0] - lag, _SLICES):
        here, there = (restored.values[n].astype(np.float64) for n in (k, k + lag))
        level = sigma.values[k].astype(np.float64)
        change = gaussian_filter(there - here, _CHANGE_PX, mode="nearest")
        flat = _flat(here, there, level, noisy.unit)
        flat &= noisy.values[k + lag] > noisy.values[k + lag].min()
        if mask is not None:
            flat &= mask[k] & mask[k + lag]
        chosen = np.flatnonzero(flat)
        if not chosen.size:
            continue
        if chosen.size > _MOST_PER_PAIR:
            chosen = np.sort(rng.choice(chosen, _MOST_PER_PAIR, replace=False))
        first, second = (noisy.values[n].astype(np.float64) for n in (k, k + lag))
        arrays = (second - here - change, second - first - change, level, u.values[k])
        yield _Sample(*(np.asarray(a, dtype=np.float64).ravel()[chosen] for a in arrays))


def _flat(
    here: NDArray[np.float64], there: NDArray[np.float64], sigma: NDArray[np.float64], unit: Unit
) -> NDArray[np.bool_]:
    """Flat tissue in both slices, told from restored values so that noise selects nothing."""
    from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

    guide = 0.5 * (here + there)
    steep = gaussian_gradient_magnitude(guide, _GUIDE_PX, mode="nearest")
    moved = np.abs(gaussian_filter(there - here, _GUIDE_PX, mode="nearest"))
    flat: NDArray[np.bool_] = (steep < _STEEP * sigma) & (moved < _CHANGED * sigma) & (sigma > 0)
    if unit == Unit.HU:  # lung and cancellous bone have fine structure that changes with k
        flat &= (guide > -150.0) & (guide < 120.0)
    return flat


def _level(samples: list[_Sample]) -> float:
    """Return by what the sigma map must be multiplied to explain differences of noisy slices."""
    square = np.concatenate([(s.noise / s.sigma) ** 2 for s in samples])
    # The median is deaf to the few voxels where anatomy changed after all.
    return float(np.sqrt(np.median(square) / 0.4549 / 2.0))


def _judge(samples: list[_Sample], level: float, lag: int) -> Coverage:
    inside, count, factors = [], [], []
    for s in samples:
        sigma, size = level * s.sigma, (s.apart / _QUANTILE) ** 2
        inside.append(float((size <= sigma**2 + s.u**2).sum()))
        count.append(float(len(s.apart)))
        # The factor at which each voxel is just covered: its quantile is the answer, exactly.
        lacking = np.maximum(size - sigma**2, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            factors.append(np.where(lacking > 0, np.sqrt(lacking) / s.u, 0.0))
    hits, total = np.array(inside), np.array(count)
    share = float(hits.sum() / total.sum())
    picks = np.random.default_rng(1).integers(0, len(hits), (_RESAMPLES, len(hits)))
    low, high = np.quantile(hits[picks].sum(1) / total[picks].sum(1), (0.025, 0.975))
    needed = float(np.quantile(np.concatenate(factors), FEWEST, method="higher"))
    inflation = 1.0 if share >= FEWEST else max(1.0, needed)
    return Coverage(share, (float(low), float(high)), inflation, lag, int(total.sum()), len(hits))
