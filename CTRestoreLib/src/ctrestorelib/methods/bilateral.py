"""Bilateral filter: average neighbours of similar value (layer: methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ctrestorelib.core.params import Param
from ctrestorelib.inference.itk import filter_with_itk, kernel_spacing
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
)
from ctrestorelib.restorer.spec import Kind, Reference, RestorerSpec

RANGE = 2.2
"""How far values of alike pixels may differ, in noise units."""
_REACH = 2.5  # ITK cuts its Gaussian there


@dataclass(frozen=True, kw_only=True)
class BilateralParams:
    """Parameters of the bilateral filter."""

    sigma: Sigma = None
    factor: Factor = 1.0
    radius: Annotated[
        float,
        Param("Neighbourhood", "Width of the neighbourhood (standard deviation).", "pixels",
              (0.5, 4), True),
    ] = 1.2  # fmt: skip


class Bilateral(SlabDenoiser[BilateralParams]):
    """Bilateral filter in three dimensions; distances are true ones."""

    spec: ClassVar[RestorerSpec] = RestorerSpec(
        id="bilateral",
        title="Average of similar neighbours (bilateral filter)",
        summary="Averages neighbouring voxels whose values are similar, in all three directions. "
        "Simple and predictable; removes less grain than non-local means.",
        kind=Kind.DENOISER,
        needs=NEEDS_VOLUME,
        references=(
            Reference("Tomasi C, Manduchi R. Bilateral filtering for gray and color images. "
                      "ICCV 1998.", "10.1109/ICCV.1998.710815"),
        ),
        presets=PRESETS,
    )  # fmt: skip
    Params: ClassVar[type] = BilateralParams
    cost: ClassVar[SlabCost] = SlabCost("simpleitk", 3, 0, 2.4, block_slices=8)

    def halo(self, params: BilateralParams) -> int:
        """Return the reach of the neighbourhood when voxels are cubes; thick slices need less."""
        return int(np.ceil(_REACH * params.radius))

    def filter_for(self, noise: Noise, params: BilateralParams, threads: int) -> SlabFilter:
        """Choose the range of alike values from the noise level."""
        spacing = kernel_spacing(noise.volume.geometry.spacing_mm)

        def work(slab: Floats, first: int, last: int) -> Floats:
            import SimpleITK

            bilateral = SimpleITK.BilateralImageFilter()
            bilateral.SetDomainSigma(params.radius)
            bilateral.SetRangeSigma(RANGE * params.factor)
            bilateral.SetNumberOfRangeGaussianSamples(256)
            return filter_with_itk(bilateral, slab, spacing, threads)[first:last]

        return work


RESTORER = Bilateral()
