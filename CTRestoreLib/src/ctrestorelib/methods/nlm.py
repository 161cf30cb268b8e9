"""Non-local means: average pixels whose surroundings look alike (layer: methods)."""

from __future__ import annotations

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
    cost: ClassVar[SlabCost] = SlabCost("scikit-image", 0, 24, 1.0, block_slices=8)

    def halo(self, params: NlmParams) -> int:
        """Return 1: the slices above and below take part in the comparison."""
        del params
        return 1

    def filter_for(self, noise: Noise, params: NlmParams, threads: int) -> SlabFilter:
        """Choose how alike is alike from noise level, grain and slice distance."""
        side = neighbour_weight(noise.anisotropy)
        bandwidth = params.factor * automatic_bandwidth(noise.grain, params.patch, side)

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
    return float(BANDWIDTH * np.sqrt(2.0) * (2.0 / independent) ** 0.25)


BANDWIDTH = 0.7


def _filter_slice(slab: Floats, k: int, side: float, bandwidth: float, params: NlmParams) -> Floats:
    from skimage.restoration import denoise_nl_means

    # Sums of squares run over the whole slice: float32 would lose the differences beside metal.
    middle = slab[k].astype(np.float64)
    planes = [middle]
    if side > 0 and len(slab) > 1:
        near = (slab[max(k - 1, 0)], slab[min(k + 1, len(slab) - 1)])
        planes += [side * plane.astype(np.float64) for plane in near]
    share = float(np.mean([1.0] + [side**2] * (len(planes) - 1)))
    restored = denoise_nl_means(
        np.stack(planes, axis=-1) if len(planes) > 1 else middle,
        patch_size=params.patch | 1,
        patch_distance=params.search,
        h=bandwidth * np.sqrt(share),
        sigma=np.sqrt(share),
        channel_axis=-1 if len(planes) > 1 else None,
    )
    return np.asarray(restored[..., 0] if len(planes) > 1 else restored, dtype=np.float32)


RESTORER = NonLocalMeans()
