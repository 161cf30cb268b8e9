"""How noise should vary over a slice, told from what the slice absorbs (layer: quality).

Fewer photons arrive behind more material: the logarithm of a reading has a variance of exp(p) over
the photons sent, p the line integral. Reconstruction sums these variances over all rays through a
point. So the *shape* of the noise follows from the slice itself, its level does not.

Bowtie filters and tube currents that follow the body take part of that variation back. How much is
not known, so half of the exponent is used: between a scanner that evens out nothing and one that
evens out everything. What is wrong about that varies over centimetres, and is measured.

References
----------
.. [1] Buzug TM. Computed Tomography: From Photon Statistics to Modern Cone-Beam CT. Springer 2008.
   doi:10.1007/978-3-540-39408-2
.. [2] Wunderlich A, Noo F. Image covariance and lesion detectability in direct fan-beam x-ray
   computed tomography. Phys Med Biol 53(10), 2008. doi:10.1088/0031-9155/53/10/002
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

UNEVEN = 0.4
"""Share of the attenuation that the variance follows."""
_MOST_PIXELS = 96  # a side: the shape is smooth
_VIEWS = 36
_MOST_PATH = 12.0  # behind metal a reading holds no photons, however thick it is


@dataclass(frozen=True)
class NoiseShape:
    """Relative noise of some slices on a coarse grid.

    Parameters
    ----------
    values
        ``[slice, j, i]``, with a median of 1 over all slices.
    positions
        For rows and columns: pixel index of the middle of each coarse pixel, rising.
    """

    values: Floats
    positions: tuple[NDArray[np.float64], NDArray[np.float64]]


def noise_shape(
    slices: Sequence[Floats], pixel_mm: tuple[float, float], block: tuple[int, int] = (1, 1)
) -> NoiseShape:
    """Return where in ``slices`` noise should be how strong, relative to their median.

    Parameters
    ----------
    slices
        Attenuation ``[j, i]`` of each, in 1/mm; all of one shape.
    pixel_mm
        Pixel size along j and i.
    block
        Rows and columns averaged into one coarse pixel, at least.
    """
    from scipy.ndimage import gaussian_filter

    shape = slices[0].shape
    steps = [max(b, math.ceil(n / _MOST_PIXELS)) for b, n in zip(block, shape, strict=True)]
    small = np.stack([_reduced(s, steps) for s in slices])
    size_mm = (steps[0] * pixel_mm[0], steps[1] * pixel_mm[1])
    rays, bin_mm = _rays(small.shape[1:], size_mm)
    mu = np.maximum(small.reshape(len(small), -1), 0.0).T  # noise must not absorb in air
    path = np.minimum((rays @ mu) * np.float32(size_mm[0] * size_mm[1] / bin_mm), _MOST_PATH)
    variance = rays.T @ np.exp(np.float32(UNEVEN) * path)
    spread = np.sqrt(variance.T.reshape(small.shape) / _VIEWS)
    smooth = gaussian_filter(spread, (0, 1, 1), mode="nearest")
    places = [_middles(n, s) for n, s in zip(shape, steps, strict=True)]
    return NoiseShape((smooth / np.median(smooth)).astype(np.float32), (places[0], places[1]))


def _reduced(image: Floats, steps: Sequence[int]) -> Floats:
    """Mean over blocks; the last ones repeat the border."""
    ends = [(0, -n % s) for n, s in zip(image.shape, steps, strict=True)]
    wide = np.pad(image, ends, mode="edge")
    rows, cols = (n // s for n, s in zip(wide.shape, steps, strict=True))
    return np.asarray(wide.reshape(rows, steps[0], cols, steps[1]).mean(axis=(1, 3)), np.float32)


def _middles(size: int, step: int) -> NDArray[np.float64]:
    return np.asarray(np.arange(0, size, step) + 0.5 * (step - 1.0), dtype=np.float64)


def _rays(shape: tuple[int, ...], size_mm: tuple[float, float]) -> tuple[Any, float]:
    """Return the sparse matrix ``[view and bin, pixel]`` of parallel rays, and the bin width.

    A pixel is shared by the two bins it projects between. The transpose backprojects.
    """
    from scipy.sparse import csr_matrix

    rows, cols = shape
    bin_mm = max(size_mm)
    y = (np.arange(rows) - 0.5 * (rows - 1))[:, None] * size_mm[0]
    x = (np.arange(cols) - 0.5 * (cols - 1)) * size_mm[1]
    bins = math.ceil(math.hypot(rows * size_mm[0], cols * size_mm[1]) / bin_mm) + 3
    angles = np.pi * np.arange(_VIEWS) / _VIEWS
    at = [((x * np.cos(a) + y * np.sin(a)) / bin_mm + 0.5 * (bins - 1)).ravel() for a in angles]
    low = np.floor(np.stack(at)).astype(np.int32)
    part = (np.stack(at) - low).astype(np.float32)
    row = low + bins * np.arange(_VIEWS, dtype=np.int32)[:, None]
    pixel = np.broadcast_to(np.arange(rows * cols, dtype=np.int32), row.shape)
    weights = np.concatenate([1.0 - part.ravel(), part.ravel()])
    places = np.concatenate([row.ravel(), row.ravel() + 1]), np.tile(pixel.ravel(), 2)
    return csr_matrix((weights, places), shape=(bins * _VIEWS, rows * cols)), bin_mm
