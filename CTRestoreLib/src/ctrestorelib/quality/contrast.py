"""Contrast-to-noise ratio of two tissues (layer: quality)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.result import Measure
from ctrestorelib.quality.tissue import FAT, SOFT, hu_like, measured, spread, tissue_masks

_TITLE = "Contrast-to-noise ratio (CNR)"
_SLICES = 32
_CAUTION = "A higher ratio alone does not mean that small lesions are seen better."


def cnr(
    volume: Volume,
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    *,
    names: tuple[str, str] = ("region 1", "region 2"),
) -> Measure:
    """Return |m1 - m2| / sqrt((s1^2 + s2^2) / 2) of two regions of the volume.

    The standard deviations are those within each slice, pooled, so that a slow change of the mean
    along the stack does not count as noise. The interval is a bootstrap over slices.
    """
    parts = [_slice_sums(volume.values, region) for region in (first, second)]
    for region, sums in zip(names, parts, strict=True):
        if sums[:, 0].sum() < 50:
            return Measure.missing("cnr", _TITLE, f"{region} has fewer than 50 voxels.")
    value = _ratio(parts[0], parts[1])
    if value is None:
        return Measure.missing("cnr", _TITLE, "the regions contain no noise at all.")
    rng = np.random.default_rng(0)
    samples = [_ratio(*(p[rng.integers(0, len(p), len(p))] for p in parts)) for _ in range(300)]
    kept = [s for s in samples if s is not None]
    low, high = np.quantile(kept, (0.025, 0.975))
    interval = (float(low), float(high)) if min(len(p) for p in parts) > 2 else None
    return Measure("cnr", _TITLE, value, "", interval, sentence=_CAUTION,
                   protocol=f"{names[0]} against {names[1]}, noise within slices")  # fmt: skip


def cnr_measure(volume: Volume, *, guide: Volume, mask: NDArray[np.bool_] | None = None) -> Measure:
    """Return the contrast-to-noise ratio of soft tissue against fat, found in ``guide``."""
    if not hu_like(volume):
        return Measure.missing("cnr", _TITLE, "tissues are known only in HU volumes.")
    planes = spread(volume.shape[0], _SLICES)
    values = volume.values[planes]
    small = guide.crop((slice(0, len(planes)), slice(None), slice(None)))
    small = small.with_values(guide.values[planes])
    good = measured(guide, mask)[planes]
    masks = tissue_masks(small, good)
    for tissue in (SOFT, FAT):
        if masks[tissue].sum() < 500:
            return Measure.missing("cnr", _TITLE, f"hardly any {tissue.name} was found.")
    part = small.with_values(values)
    return cnr(part, masks[SOFT], masks[FAT], names=(SOFT.name, FAT.name))


def _slice_sums(values: NDArray[Any], region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return count, sum and squared deviation from the slice's own mean, for each slice."""
    rows = []
    for plane, chosen in zip(values, region, strict=True):
        inside = plane[chosen].astype(np.float64)
        if inside.size > 1:
            rows.append((inside.size, inside.sum(), inside.var() * inside.size))
    return np.array(rows, np.float64).reshape(-1, 3)


def _ratio(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    a, b = first.sum(axis=0), second.sum(axis=0)
    noise = np.sqrt((a[2] / a[0] + b[2] / b[0]) / 2)
    return float(abs(a[1] / a[0] - b[1] / b[0]) / noise) if noise > 0 else None
