"""Total variation: the smoothest image that stays close to the noisy one (layer: methods)."""

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

ITERATIONS = 60
WEIGHT = 0.5
"""Weight of the total variation in noise units for white noise."""


@dataclass(frozen=True, kw_only=True)
class TvDenoiseParams:
    """Parameters of total variation denoising."""

    sigma: Sigma = None
    factor: Factor = 1.0
    iterations: Annotated[
        int,
        Param("Iterations", "Steps towards the solution; more is slower and exacter.", "",
              (10, 500), True),
    ] = ITERATIONS  # fmt: skip


class TotalVariation(SlabDenoiser[TvDenoiseParams]):
    """Total variation (Chambolle's projection) in each slice."""

    spec: ClassVar[RestorerSpec] = RestorerSpec(
        id="tv-denoise",
        title="Flat regions, sharp borders (total variation)",
        summary="Finds the image with the least ups and downs that still explains the scan. Sharp "
        "borders and clean flat regions; fine texture turns into patches when used strongly.",
        kind=Kind.DENOISER,
        needs=NEEDS_VOLUME,
        references=(
            Reference("Rudin LI, Osher S, Fatemi E. Nonlinear total variation based noise removal "
                      "algorithms. Physica D 60, 1992.", "10.1016/0167-2789(92)90242-F"),
            Reference("Chambolle A. An algorithm for total variation minimization and "
                      "applications. J Math Imaging Vis 20, 2004.",
                      "10.1023/B:JMIV.0000011325.36760.1e"),
        ),
        presets=PRESETS,
    )  # fmt: skip
    Params: ClassVar[type] = TvDenoiseParams
    cost: ClassVar[SlabCost] = SlabCost("scikit-image", 0, 10, 0.5, block_slices=8)

    def halo(self, params: TvDenoiseParams) -> int:
        """Return 0: slices are independent."""
        del params
        return 0

    def filter_for(self, noise: Noise, params: TvDenoiseParams, threads: int) -> SlabFilter:
        """Choose the weight from the noise level and its grain."""
        weight = params.factor * automatic_weight(noise.grain)

        def work(slab: Floats, first: int, last: int) -> Floats:
            def one(k: int) -> Floats:
                return _filter_slice(slab[k], weight, params.iterations)

            return each_slice(one, first, last, threads)

        return work


def automatic_weight(grain: float) -> float:
    """Return the weight in noise units: coarse grain has less variation to push down."""
    return float(WEIGHT * np.sqrt(grain))


def _filter_slice(plane: Floats, weight: float, iterations: int) -> Floats:
    from skimage.restoration import denoise_tv_chambolle

    # eps=0: a stop that depends on the image would make results depend on where it is cut.
    restored = denoise_tv_chambolle(plane, weight=weight, eps=0.0, max_num_iter=iterations)
    return np.asarray(restored, dtype=np.float32)


RESTORER = TotalVariation()
