"""Whether a restoration shifted the mean HU of a tissue (layer: quality)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.pairs import check_pair
from ctrestorelib.quality.result import Measure, Verdict, plain
from ctrestorelib.quality.tissue import Tissue, hu_like, measured, spread, tissue_masks

_BLOCK_MM = 10.0
_SLICES = 64
_MIN_VOXELS = 1000


@dataclass(frozen=True)
class TissueDrift:
    """Mean of restored - original in one tissue.

    Parameters
    ----------
    tissue
        Name of the class.
    drift_hu, se_hu
        Mean shift and its standard error (from the spread between 1 cm blocks).
    limit_hu
        Shift that is still harmless.
    voxels
        Number of voxels in the class.
    worst_block_hu
        Largest mean shift of a 1 cm block that is at least half of this tissue.
    """

    tissue: str
    drift_hu: float
    se_hu: float
    limit_hu: float
    voxels: int
    worst_block_hu: float

    @property
    def verdict(self) -> Verdict:
        """Green within the limit, red clearly beyond it, amber where chance may explain it."""
        if abs(self.drift_hu) <= self.limit_hu:
            return Verdict.GREEN
        beyond = abs(self.drift_hu) - 1.96 * self.se_hu > self.limit_hu
        return Verdict.RED if beyond else Verdict.AMBER

    def to_json(self) -> dict[str, Any]:
        """Return the values with the verdict."""
        return {**plain(self.__dict__), "verdict": self.verdict.value}


def hu_drift(
    original: Volume, restored: Volume, *, mask: NDArray[np.bool_] | None = None
) -> list[TissueDrift]:
    """Return the drift of each tissue class present in an HU volume.

    The classes are told from the smoothed restored volume: told from the noisy one, selection alone
    would shift every mean.
    """
    check_pair(restored, original, what="the original")
    planes = spread(original.shape[0], _SLICES)
    good = measured(original, mask)[planes]
    geometry = restored.geometry.crop((slice(0, len(planes)), slice(None), slice(None)))
    part = Volume(restored.values[planes], geometry, restored.unit)
    change = part.values - original.values[planes]
    blocks = _blocks(part, planes)
    found = []
    for tissue, inside in tissue_masks(part, good).items():
        if inside.sum() >= _MIN_VOXELS:
            found.append(_drift(tissue, change[inside], blocks[inside]))
    return found


def drift_measures(
    original: Volume, restored: Volume, *, mask: NDArray[np.bool_] | None = None
) -> list[Measure]:
    """Return the drift of each tissue and the slope of restored against original."""
    slope = regression_slope(original, restored, mask=mask)
    if not hu_like(restored):
        why = "tissues are known only in HU volumes."
        return [Measure.missing("hu_drift", "HU drift", why), slope]
    found = hu_drift(original, restored, mask=mask)
    if not found:
        why = f"no tissue fills more than {_MIN_VOXELS} voxels."
        return [Measure.missing("hu_drift", "HU drift", why), slope]
    return [*(_as_measure(d) for d in found), slope]


def regression_slope(
    original: Volume, restored: Volume, *, mask: NDArray[np.bool_] | None = None
) -> Measure:
    """Return the slope of restored against original means of 1 cm blocks.

    Block means carry hardly any noise; voxel values would give a slope below 1 for every denoiser,
    because noise in the original counts as signal there.
    """
    name, title = "hu_slope", "Contrast scale (slope of restored against original)"
    check_pair(restored, original, what="the original")
    planes = spread(original.shape[0], _SLICES)
    good = measured(original, mask)[planes]
    if good.sum() < _MIN_VOXELS:
        return Measure.missing(name, title, "too few voxels are real measurements.")
    labels = _blocks(original, planes)[good]
    count = np.bincount(labels)
    full = count >= 0.5 * count.max()
    x, y = (np.bincount(labels, v.values[planes][good].astype(np.float64))[full] / count[full]
            for v in (original, restored))  # fmt: skip
    if len(x) < 8 or np.ptp(x) == 0:
        return Measure.missing(name, title, "the volume holds fewer than 8 blocks of 12 pixels.")
    dx, dy = x - x.mean(), y - y.mean()
    slope = float((dx * dy).sum() / (dx * dx).sum())
    se = float(np.sqrt(((dy - slope * dx) ** 2).sum() / (len(x) - 2) / (dx * dx).sum()))
    verdict = Verdict.GREEN if 0.99 <= slope <= 1.01 else Verdict.RED
    if verdict is Verdict.RED and slope - 1.96 * se <= 1.01 and slope + 1.96 * se >= 0.99:
        verdict = Verdict.AMBER
    told = {"green": "Contrast is kept as it was.", "red": "Contrast was scaled.",
            "amber": "Contrast may have been scaled."}[verdict.value]  # fmt: skip
    return Measure(name, title, slope, "", (slope - 1.96 * se, slope + 1.96 * se), verdict, told,
                   f"means of {len(x)} blocks of about 1 cm (12 to 24 pixels)")  # fmt: skip


def _as_measure(drift: TissueDrift) -> Measure:
    low, high = drift.drift_hu - 1.96 * drift.se_hu, drift.drift_hu + 1.96 * drift.se_hu
    told = {
        Verdict.GREEN: f"The mean of {drift.tissue} is kept.",
        Verdict.AMBER: f"The mean of {drift.tissue} may have shifted; the volume is too small "
        "to be sure.",
        Verdict.RED: f"The mean of {drift.tissue} shifted by more than the harmless "
        f"{drift.limit_hu:g} HU.",
    }[drift.verdict]
    name = "hu_drift_" + drift.tissue.replace(" ", "_")
    return Measure(name, f"HU drift, {drift.tissue}", drift.drift_hu, "HU", (low, high),
                   drift.verdict, told, f"restored - original, {drift.voxels} voxels, limit "
                   f"{drift.limit_hu:g} HU", details=drift.to_json())  # fmt: skip


def _blocks(volume: Volume, planes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the 1 cm block of every voxel of the chosen slices."""
    dx, dy, dz = volume.geometry.spacing_mm
    # 1 cm, but never so few voxels that one block is all rim (coarse) or all volume (micro-CT).
    across, down = (float(np.clip(_BLOCK_MM / d, 12, 24)) for d in (dx, dy))
    deep = float(np.clip(_BLOCK_MM / dz, 2, 24))
    _, k = np.unique((planes / deep).astype(np.int64), return_inverse=True)
    j = (np.arange(volume.shape[1]) / down).astype(np.int64)
    i = (np.arange(volume.shape[2]) / across).astype(np.int64)
    rows, columns = int(j[-1]) + 1, int(i[-1]) + 1
    number: NDArray[np.int64] = (k[:, None, None] * rows + j[:, None]) * columns + i
    return number


def _drift(tissue: Tissue, change: NDArray[np.float32], labels: NDArray[np.int64]) -> TissueDrift:
    count = np.bincount(labels).astype(np.float64)
    total = np.bincount(labels, change.astype(np.float64))
    used = count > 0
    count, total = count[used], total[used]
    mean = total.sum() / count.sum()
    # Ratio estimator: blocks are the independent units, voxels are not (noise is correlated).
    spread_sum = np.square(total - mean * count).sum()
    blocks = len(count)
    factor = blocks / (blocks - 1) if blocks > 1 else 1.0
    se = float(np.sqrt(factor * spread_sum) / count.sum()) if blocks > 1 else abs(float(mean))
    half = count >= 0.5 * count.max()
    means = total[half] / count[half]
    worst = float(means[np.argmax(np.abs(means))])
    return TissueDrift(tissue.name, float(mean), se, tissue.drift_limit_hu, int(count.sum()), worst)
