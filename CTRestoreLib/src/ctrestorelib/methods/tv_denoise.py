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
    cost: ClassVar[SlabCost] = SlabCost("numpy", 0, 10, 0.2, block_slices=8)

    def halo(self, params: TvDenoiseParams) -> int:
        """Return 0: slices are independent."""
        del params
        return 0

    def filter_for(self, noise: Noise, params: TvDenoiseParams, threads: int) -> SlabFilter:
        """Choose the weight from the noise level and its grain."""
        weight = params.factor * automatic_weight(noise.grain)

        def work(slab: Floats, first: int, last: int) -> Floats:
            def one(k: int) -> Floats:
                return chambolle(slab[k], weight, params.iterations)

            return each_slice(one, first, last, threads)

        return work


def automatic_weight(grain: float) -> float:
    """Return the weight in noise units: coarse grain has less variation to push down."""
    return float(WEIGHT * np.sqrt(grain))


def chambolle(plane: Floats, weight: float, iterations: int) -> Floats:
    """Return the image that has the least total variation while staying close to ``plane``.

    Minimises ``TV(u) + |u - plane|^2 / (2 weight)`` by Chambolle's iteration for the dual field
    (2004), always the same number of steps: a stop that depends on the image would make results
    depend on where it is cut.

    Parameters
    ----------
    plane
        Noisy slice ``[j, i]``.
    weight
        Weight of the total variation; more is smoother.
    iterations
        How often the restored image is computed; at least 1.
    """
    down, right = np.zeros_like(plane), np.zeros_like(plane)  # the dual field
    slope_down, slope_right = np.zeros_like(plane), np.zeros_like(plane)
    step = np.float32(0.25)
    for _ in range(iterations - 1):
        restored = _minus_divergence(plane, down, right)
        np.subtract(restored[1:], restored[:-1], out=slope_down[:-1])
        np.subtract(restored[:, 1:], restored[:, :-1], out=slope_right[:, :-1])
        length = slope_down * slope_down
        length += slope_right * slope_right
        np.sqrt(length, out=length)
        length *= step / np.float32(weight)
        length += 1
        down -= step * slope_down
        down /= length
        right -= step * slope_right
        right /= length
    return _minus_divergence(plane, down, right)


def _minus_divergence(plane: Floats, down: Floats, right: Floats) -> Floats:
    """Return the plane minus the divergence of the dual field, which is the restored image."""
    out = plane - down
    out -= right
    out[1:] += down[:-1]
    out[:, 1:] += right[:, :-1]
    return out


RESTORER = TotalVariation()
