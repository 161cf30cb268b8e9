"""How far each reading can be trusted: its variance from dose, detector and model (layer: recon).

Three parts add up:

* quantum and electronic noise of a line integral, ``exp(p) / I0 * (1 + s^2 exp(p) / I0)``, with
  the given ``I0`` or one measured from the data;
* what voxels cannot represent: an edge lies anywhere within a voxel, so line integrals of a voxel
  image are off by a fraction of the projection's slope;
* a small relative error of any line integral (scatter, beam hardening, interpolation).

Reference: Thibault et al. 2006 (statistical model of line integrals), doi:10.1117/12.660281.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.geometry.projections import ProjectionSet

EDGE_FRACTION = 0.05
RELATIVE_ERROR = 5e-4
LEAST_VARIANCE = 1e-4
"""No reading counts as better than this share of the worst variance."""

AIR_LEVEL = 0.02
TILE = 8
MIN_TILES = 10
CALM_SHARE = 0.15
_MAD_TO_SD = 1.4826
_CALM_BIAS = 1.17  # the quantile above against the median, for pure noise in tiles of 64


@enum.unique
class NoiseSource(str, enum.Enum):
    """Where the noise level comes from."""

    DOSE = "the scan's I0"
    MEASURED = "fine structure of the projections, because I0 is not known"


@dataclass(frozen=True, eq=False)
class DataNoise:
    """Variance of each line integral.

    Parameters
    ----------
    variance
        Shape [view, row, col], float32: noise and model error together.
    i0
        Counts without object that the noise corresponds to.
    source
        Whether ``i0`` was given or measured.
    """

    variance: NDArray[np.float32]
    i0: float
    source: NoiseSource

    @property
    def weights(self) -> NDArray[np.float32]:
        """One over the variance."""
        return np.asarray(1.0 / self.variance, dtype=np.float32)

    @property
    def typical_sd(self) -> float:
        """Median standard deviation of a line integral."""
        return float(np.sqrt(np.median(self.variance)))


def data_noise(projections: ProjectionSet) -> DataNoise:
    """Return the variance of every line integral of a scan.

    ``projections`` are line integrals; their ``i0`` and ``electronic_sd`` are used if given.
    """
    smooth = _box3(projections.values)
    given = projections.i0
    i0 = measured_i0(projections.values) if given is None else given
    variance = _quantum_variance(smooth, i0, projections.electronic_sd)
    variance += np.square(RELATIVE_ERROR * smooth)
    variance += np.square(np.float32(EDGE_FRACTION)) * _slope_squared(smooth)
    floor = max(float(variance.max()) * LEAST_VARIANCE, 1e-12)
    np.maximum(variance, np.float32(floor), out=variance)
    source = NoiseSource.MEASURED if given is None else NoiseSource.DOSE
    return DataNoise(variance, i0, source)


def measured_i0(line_integrals: NDArray[np.float32]) -> float:
    """Return the ``I0`` whose quantum noise equals the fine structure of the projections.

    Diagonal differences of 2 x 2 neighbours cancel smooth structure; scaled by ``exp(-p / 2)`` they
    all have the standard deviation ``1 / sqrt(I0)``. The median of each tile makes edges count
    little (Donoho and Johnstone 1994, doi:10.1093/biomet/81.3.425), and the calmest tiles tell the
    noise: the others show anatomy as well. Detectors of one row are differenced along it.
    """
    p = line_integrals
    if min(p.shape[1:]) >= 2:
        a, b = p[:, :-1:2, :-1:2], p[:, :-1:2, 1::2]
        c, d = p[:, 1::2, :-1:2], p[:, 1::2, 1::2]
        detail, mean = (a - b - c + d) / 2.0, (a + b + c + d) / 4.0
    elif p.shape[2] >= 3:
        detail = (p[:, :, 2:] - 2.0 * p[:, :, 1:-1] + p[:, :, :-2]) / np.sqrt(6.0)
        mean = p[:, :, 1:-1]
    else:
        return 1e5
    # Air is often processed and too clean to tell anything.
    scaled = np.where(mean > AIR_LEVEL * float(mean.max()), np.abs(detail), np.nan)
    sd = _calm_median(scaled * np.exp(-mean / 2.0)) * _MAD_TO_SD
    return float(np.clip(1.0 / max(sd, 1e-6) ** 2, 1e2, 1e10))


def _calm_median(detail: NDArray[np.floating[Any]]) -> float:
    """Return the typical value of the calmest tiles of each view; NaN marks what does not count."""
    high = min(detail.shape[1], TILE)
    wide = min(detail.shape[2], TILE * TILE // high)
    rows, cols = detail.shape[1] // high, detail.shape[2] // wide
    tiles = detail[:, : rows * high, : cols * wide].reshape(len(detail), rows, high, cols, wide)
    tiles = np.moveaxis(tiles, 3, 2).reshape(-1, high * wide)
    full = ~np.isnan(tiles).any(axis=1)
    if full.sum() < MIN_TILES:
        rest = detail[~np.isnan(detail)]
        return float(np.median(rest)) if rest.size else 0.0
    return float(np.quantile(np.median(tiles[full], axis=1), CALM_SHARE)) * _CALM_BIAS


def _quantum_variance(
    line_integrals: NDArray[np.float32], i0: float, electronic_sd: float
) -> NDArray[np.float32]:
    counts = i0 * np.exp(-np.clip(line_integrals, 0.0, np.log(max(i0, 2.0))))
    return np.asarray((1.0 + electronic_sd**2 / counts) / counts, dtype=np.float32)


def _box3(p: NDArray[np.float32]) -> NDArray[np.float32]:
    # The mean over 3 x 3 pixels: variances from noisy readings would favour those that are too low.
    out = p
    for axis in (1, 2):
        padded = np.pad(out, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        n = out.shape[axis]
        parts = [np.take(padded, range(s, s + n), axis=axis) for s in range(3)]
        out = (parts[0] + parts[1] + parts[2]) / np.float32(3.0)
    return out


def _slope_squared(p: NDArray[np.float32]) -> NDArray[np.float32]:
    total = np.zeros_like(p)
    for axis in (1, 2):
        if p.shape[axis] >= 2:
            total += np.square(np.gradient(p, axis=axis))
    return total
