"""Where a volume shows which tissue, told from smoothed values (layer: quality; scipy inside)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, padding_mask


@dataclass(frozen=True)
class Tissue:
    """A class of tissue by its HU range.

    Parameters
    ----------
    name
        As a person reads it.
    low_hu, high_hu
        Range of the local mean.
    drift_limit_hu
        How far a denoiser may shift the mean of the class.
    """

    name: str
    low_hu: float
    high_hu: float
    drift_limit_hu: float


LUNG = Tissue("lung or foam", -950.0, -700.0, 2.0)
FAT = Tissue("fat", -140.0, -60.0, 1.0)
SOFT = Tissue("soft tissue", -20.0, 100.0, 1.0)
BONE = Tissue("bone", 250.0, 2000.0, 5.0)
TISSUES = (LUNG, FAT, SOFT, BONE)


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Return at most ``most`` indices spread evenly over ``range(count)``."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))


def smooth_slices(values: NDArray[Any], sigma_px: float) -> NDArray[np.float32]:
    """Smooth each slice of ``[k, j, i]`` by a Gaussian of ``sigma_px`` pixels; float32."""
    from scipy.ndimage import gaussian_filter

    source = np.asarray(values, dtype=np.float32)
    out: NDArray[np.float32] = gaussian_filter(source, (0.0, sigma_px, sigma_px), mode="nearest")
    return out


def measured(volume: Volume, mask: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Return where values are real measurements: no padding, no clipping at either end.

    Scanners and 8-bit stores clip; where more than a twentieth of the neighbours sit at the lowest
    or highest value of the volume, noise is cut off and nothing about it can be learned.
    """
    from scipy.ndimage import uniform_filter

    values = volume.values
    good = ~padding_mask(volume)
    if mask is not None:
        good &= mask
    if not good.any():
        return good
    inside = values[good]
    for end in (inside.min(), inside.max()):
        at_end = values == end
        if at_end.mean() < 1e-3:
            continue
        crowd = uniform_filter(at_end.astype(np.float32), (1, 5, 5), mode="nearest")
        good &= crowd <= 0.05
    return good


def hu_like(volume: Volume) -> bool:
    """Whether tissue ranges in HU apply to the volume."""
    return volume.unit == Unit.HU


def tissue_masks(volume: Volume, good: NDArray[np.bool_]) -> dict[Tissue, NDArray[np.bool_]]:
    """Return the interior of every tissue class in an HU volume.

    The class is told from values smoothed within the slice, away from edges, so that noise does not
    decide which voxel belongs to it (that would shift every class mean).
    """
    from scipy.ndimage import gaussian_filter, minimum_filter

    smoothed = smooth_slices(volume.values, 2.0)
    out = {}
    for tissue in TISSUES:
        inside = (smoothed > tissue.low_hu) & (smoothed < tissue.high_hu) & good
        out[tissue] = minimum_filter(inside, size=(1, 3, 3), mode="constant", cval=0)
    steep = np.hypot(
        gaussian_filter(smoothed, (0, 1, 1), order=(0, 1, 0)),
        gaussian_filter(smoothed, (0, 1, 1), order=(0, 0, 1)),
    )
    # Bone is never flat; its interior is all there is.
    return {t: m if t is BONE else m & (steep < 15.0) for t, m in out.items()}
