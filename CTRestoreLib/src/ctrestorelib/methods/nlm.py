"""Non-local means: average pixels whose surroundings look alike (layer: methods)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ctrestorelib.core.params import Param
from ctrestorelib.inference.slabs import (
    NEEDS_VOLUME,
    PRESETS,
    Factor,
    Floats,
    Noise,
    Sigma,
    SlabCost,
    SlabDenoiser,
    SlabFilter,
    each_slice,
)
from ctrestorelib.restorer.spec import Kind, Reference, RestorerSpec

Window = tuple[slice, slice]

_MIN_NEIGHBOUR = 0.25  # below this the slices above and below no longer help


@dataclass(frozen=True, kw_only=True)
class NlmParams:
    """Parameters of non-local means."""

    sigma: Sigma = None
    factor: Factor = 1.0
    patch: Annotated[
        int,
        Param("Patch size", "Width of the compared surroundings; odd.", "pixels", (3, 11), True),
    ] = 5
    search: Annotated[
        int,
        Param("Search radius", "How far to look for similar spots.", "pixels", (2, 20), True),
    ] = 6


class NonLocalMeans(SlabDenoiser[NlmParams]):
    """Non-local means in each slice; neighbouring slices help to compare, not to average."""

    spec: ClassVar[RestorerSpec] = RestorerSpec(
        id="nlm",
        title="Grain removal by similar spots (non-local means)",
        summary="Averages pixels whose surroundings look alike; keeps edges and repeated texture. "
        "The best classical choice for the grainy noise of low-dose CT.",
        kind=Kind.DENOISER,
        needs=NEEDS_VOLUME,
        references=(
            Reference("Buades A, Coll B, Morel JM. A non-local algorithm for image denoising. "
                      "CVPR 2005.", "10.1109/CVPR.2005.38"),
            Reference("Darbon J et al. Fast nonlocal filtering applied to electron cryomicroscopy. "
                      "ISBI 2008.", "10.1109/ISBI.2008.4541250"),
        ),
        presets=PRESETS,
    )  # fmt: skip
    Params: ClassVar[type] = NlmParams
    cost: ClassVar[SlabCost] = SlabCost("numpy", 0, 12, 0.7, block_slices=8)

    def halo(self, params: NlmParams) -> int:
        """Return 1: the slices above and below take part in the comparison."""
        del params
        return 1

    def filter_for(self, noise: Noise, params: NlmParams, threads: int) -> SlabFilter:
        """Choose how alike is alike from noise level, grain and slice distance."""
        side = neighbour_weight(noise.anisotropy)
        bandwidth = params.factor * automatic_bandwidth(noise.grain, params.patch | 1, side)

        def work(slab: Floats, first: int, last: int) -> Floats:
            def one(k: int) -> Floats:
                return _filter_slice(slab, k, side, bandwidth, params)

            return each_slice(one, first, last, threads)

        return work


def neighbour_weight(anisotropy: float) -> float:
    """Return how much the slices above and below count in the comparison, 0 to 1."""
    weight = 1.0 / (1.0 + (anisotropy / 3.0) ** 2)
    return weight if weight >= _MIN_NEIGHBOUR else 0.0


def automatic_bandwidth(grain: float, patch: int, side: float) -> float:
    """Return the bandwidth h, in noise units, at which noise alone still counts as alike.

    The mean squared difference of two patches of pure noise is 2, give or take 2 sqrt(2 / n) with n
    independent values: the grain's area says how many a patch holds.
    """
    independent = patch**2 * (1 + 2 * side**4) / grain
    tuned = BANDWIDTH * patch / (patch - 1)
    return float(tuned * np.sqrt(2.0) * (2.0 / independent) ** 0.25)


BANDWIDTH = 0.7


def _filter_slice(slab: Floats, k: int, side: float, bandwidth: float, params: NlmParams) -> Floats:
    planes = [slab[k]]
    if side > 0 and len(slab) > 1:
        near = (slab[max(k - 1, 0)], slab[min(k + 1, len(slab) - 1)])
        planes += [np.float32(side) * plane for plane in near]
    noise_power = 1 + side**2 * (len(planes) - 1)
    return nonlocal_means(planes, noise_power, params.patch | 1, params.search, bandwidth)


def nonlocal_means(
    planes: Sequence[Floats], noise_power: float, patch: int, reach: int, bandwidth: float
) -> Floats:
    """Average each pixel of the first plane with those whose surroundings look alike.

    The weight of a pair is ``exp(-max(0, d - 2) / bandwidth^2)`` with ``d`` the mean squared
    difference of the two patches in noise units, so that noise alone costs nothing (Buades 2005).
    For one shift between the pixels of a pair, the differences of all pairs are one array
    (Darbon 2008), and each pair is looked at once for both its pixels.

    A patch is ``patch - 1`` pixels wide: the first row and column of the odd patch stay out. At one
    bandwidth this left less error than the full patch on seven of eight test volumes, and it is
    what scikit-image compares.

    Parameters
    ----------
    planes
        Slices ``[j, i]`` that take part in the comparison; the first is the one to restore.
    noise_power
        Noise variance, summed over the planes.
    patch
        Width of the compared surroundings in pixels; odd.
    reach
        How far apart the pixels of a pair may be along each axis.
    bandwidth
        How different still counts as alike, in noise units.
    """
    half, width = patch // 2, patch - 1
    border = half + reach
    padded = [np.pad(plane, border, mode="reflect") for plane in planes]
    values = padded[0]
    total, weights = values.copy(), np.ones_like(values)  # a pixel is like itself
    scale = np.float32(-1.0 / (bandwidth**2 * width**2 * noise_power))
    for one, other in _pairs(values.shape, reach):
        weight = _squared_differences(padded, one, other, width)
        weight *= scale
        weight += np.float32(2.0 / bandwidth**2)
        np.minimum(weight, 0, out=weight)
        np.exp(weight, out=weight)
        first, second = _inner(one, half), _inner(other, half)
        total[first] += weight * values[second]
        total[second] += weight * values[first]
        weights[first] += weight
        weights[second] += weight
    total /= weights
    return total[border:-border, border:-border]


def _pairs(shape: tuple[int, ...], reach: int) -> Iterator[tuple[Window, Window]]:
    """Yield the two overlapping windows of every shift in one half of the search area."""
    rows, cols = shape
    for down in range(reach + 1):
        for right in range(-reach if down else 1, reach + 1):
            left, stop = max(0, -right), cols - max(0, right)
            one = (slice(0, rows - down), slice(left, stop))
            yield one, (slice(down, rows), slice(left + right, stop + right))


def _inner(window: Window, half: int) -> Window:
    """Return the pixels of a window whose patch lies inside: half - 1 before, half after them."""
    rows, cols = window
    return (
        slice(rows.start + half - 1, rows.stop - half),
        slice(cols.start + half - 1, cols.stop - half),
    )


def _squared_differences(
    planes: Sequence[Floats], one: Window, other: Window, width: int
) -> Floats:
    """Return the squared differences of two windows, summed over planes and patches.

    Sums are short and local: sums over the whole slice would lose all digits beside metal.
    """
    squares = np.zeros_like(planes[0][one])
    for plane in planes:
        difference = plane[one] - plane[other]
        difference *= difference
        squares += difference
    rows, cols = (n - width + 1 for n in squares.shape)
    down = squares[:rows].copy()
    for step in range(1, width):
        down += squares[step : step + rows]
    both = down[:, :cols].copy()
    for step in range(1, width):
        both += down[:, step : step + cols]
    return both


RESTORER = NonLocalMeans()
