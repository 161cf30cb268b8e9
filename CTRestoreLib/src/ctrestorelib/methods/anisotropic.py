"""Anisotropic diffusion: let grey values flow, but not across edges (layer: methods)."""

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

EDGE = 2.0
"""Gradient, in noise units per pixel, that begins to count as an edge."""

THICK = 2.0
"""Slices further apart than this many pixels are smoothed one by one: they show other anatomy."""


@dataclass(frozen=True, kw_only=True)
class AnisotropicParams:
    """Parameters of anisotropic diffusion."""

    sigma: Sigma = None
    factor: Factor = 1.0
    iterations: Annotated[
        int,
        Param("Iterations", "Steps of diffusion; more smooths further.", "", (1, 50), True),
    ] = 8


class AnisotropicDiffusion(SlabDenoiser[AnisotropicParams]):
    """Perona and Malik's diffusion, in three dimensions unless slices are thick."""

    spec: ClassVar[RestorerSpec] = RestorerSpec(
        id="anisotropic-diffusion",
        title="Smoothing that stops at edges (anisotropic diffusion)",
        summary="Lets grey values even out step by step where the image is calm and stops at "
        "edges; thick slices are treated one by one. Gentle on organ borders, fast.",
        kind=Kind.DENOISER,
        needs=NEEDS_VOLUME,
        references=(
            Reference("Perona P, Malik J. Scale-space and edge detection using anisotropic "
                      "diffusion. IEEE TPAMI 12(7), 1990.", "10.1109/34.56205"),
        ),
        presets=PRESETS,
    )  # fmt: skip
    Params: ClassVar[type] = AnisotropicParams
    cost: ClassVar[SlabCost] = SlabCost("simpleitk", 5, 0, 1.2, block_slices=24)

    def halo(self, params: AnisotropicParams) -> int:
        """Return one slice per iteration: that is how far a step reaches."""
        return params.iterations

    def filter_for(self, noise: Noise, params: AnisotropicParams, threads: int) -> SlabFilter:
        """Choose the edge threshold from the noise level."""
        spacing = kernel_spacing(noise.volume.geometry.spacing_mm)
        closest = min(spacing)
        edge = EDGE * params.factor

        def diffuse(slab: Floats) -> Floats:
            import SimpleITK

            calm = mean_squared_gradient(slab, spacing)
            if calm == 0:
                return slab
            diffusion = SimpleITK.GradientAnisotropicDiffusionImageFilter()
            diffusion.SetTimeStep(closest / 2 ** (slab.ndim + 1))
            diffusion.SetNumberOfIterations(params.iterations)
            # (ITK's curvature variant leaves isolated spots on strong edges.)
            # ITK measures edges against the slab's own mean gradient, once: undo that, so that
            # the same threshold holds in every slab.
            diffusion.SetConductanceScalingUpdateInterval(params.iterations + 1)
            diffusion.SetConductanceParameter(edge / np.sqrt(calm))
            return filter_with_itk(diffusion, slab, spacing, threads)

        def by_slice(slab: Floats, first: int, last: int) -> Floats:
            return np.concatenate([diffuse(slab[k : k + 1]) for k in range(first, last)])

        def in_space(slab: Floats, first: int, last: int) -> Floats:
            return diffuse(slab)[first:last]

        return by_slice if noise.anisotropy > THICK else in_space


def mean_squared_gradient(slab: Floats, spacing: tuple[float, float, float]) -> float:
    """Return the mean squared gradient as ITK computes it: central differences, mirrored edges."""
    total = 0.0
    for axis, step in enumerate(reversed(spacing)):
        if slab.shape[axis] == 1:
            continue
        ends = [(1, 1) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(slab, ends, mode="edge")
        ahead = np.moveaxis(padded, axis, 0)
        difference = ahead[2:] - ahead[:-2]
        total += float(np.einsum("abc,abc->", difference, difference, dtype=np.float64)) / (
            4.0 * step**2
        )
    return total / slab.size


RESTORER = AnisotropicDiffusion()
