"""Where a denoiser holds back: bone on request, metal and starved places always (layer: inference).

Fine bone texture looks like noise to any denoiser, so bone may have a strength of its own. Around
metal, and where the noise is many times that of the rest, streaks are no noise at all: those places
keep their values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BONE_HU, METAL_HU = 150.0, 3000.0
MARGIN_MM = 3.0
STARVED = 5.0
"""Places whose noise level is this many times the typical one are left alone."""
_SPECK = 3  # voxels above the limit that do not yet make a structure


def bone_share(restored_hu: Floats, pixel_mm: float) -> Floats:
    """Return how much a pixel counts as bone ``[j, i]``, 0 to 1, softly ending 3 mm outside it.

    Parameters
    ----------
    restored_hu
        Slice ``[j, i]`` without its noise: noise must not pass for bone.
    """
    from scipy.ndimage import uniform_filter

    near = _near(restored_hu > BONE_HU, MARGIN_MM / pixel_mm, _SPECK)
    out: Floats = uniform_filter(near.astype(np.float32), _reach(MARGIN_MM / pixel_mm) | 1)
    return out


def untouchable(
    values_hu: Floats | None, level: Floats, typical: float, pixel_mm: float
) -> NDArray[np.bool_] | None:
    """Return where the original must stay ``[j, i]``, or None if nowhere.

    Parameters
    ----------
    values_hu
        Slice ``[j, i]``, None if it is not in HU.
    level, typical
        Noise level of the slice ``[j, i]`` and of the volume.
    """
    starved = level > STARVED * typical
    found = bool(starved.any())
    if values_hu is not None and values_hu.max() > METAL_HU:
        starved |= _near(values_hu > METAL_HU, MARGIN_MM / pixel_mm, 1)
        found = True
    return starved if found else None


def _near(inside: NDArray[np.bool_], pixels: float, count: int) -> NDArray[np.bool_]:
    """Return where a square around the pixel holds at least ``count`` pixels of ``inside``."""
    from scipy.ndimage import uniform_filter

    width = 2 * _reach(pixels) + 1
    share = uniform_filter(inside.astype(np.float32), width, mode="constant")
    return np.asarray(share * width**2 > count - 0.5)


def _reach(pixels: float) -> int:
    return int(np.clip(round(pixels), 1, 24))
