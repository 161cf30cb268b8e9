"""How one training noise is made: dose, kernel, surroundings, slices (layer: training)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrestorelib.physics.parallel2d import Kernel


@dataclass(frozen=True)
class NoiseRecipe:
    """What shapes the noise of a scan; its level is chosen later.

    Parameters
    ----------
    kernel
        Reconstruction kernel.
    i0
        Photons per ray: sets how much electronic noise and starvation weigh.
    electronic_sd
        Electronic noise in counts.
    views
        Views over 180 degrees.
    outside
        Line integral through the body around the field, at its largest; the field is often a part
        of a slice.
    flatness
        How much less the body absorbs across than along, 0 (round) to 0.8.
    direction_rad
        Direction of the long way through the body.
    bowtie
        How far the bowtie filter and the tube current even out the noise over the slice and the
        views, 0 (not at all) to 1.
    slice_correlation
        Noise correlation of slices 1, 2, ... apart.
    """

    kernel: Kernel
    i0: float
    electronic_sd: float
    views: int
    outside: float
    flatness: float
    direction_rad: float
    bowtie: float
    slice_correlation: tuple[float, ...]


def draw_recipe(rng: np.random.Generator, pixel_mm: float) -> NoiseRecipe:
    """Draw a recipe: from soft to sharp kernels, from plenty of photons to starvation.

    Parameters
    ----------
    rng
        Source of randomness.
    pixel_mm
        Pixel size: kernels are drawn relative to what the pixels can show, so that both blurred and
        nearly white noise come up at any pixel size.
    """
    cutoff = float(np.exp(rng.uniform(np.log(0.13), np.log(1.0)))) / pixel_mm
    choices = [0.0, rng.uniform(0.0, 0.25), rng.uniform(0.25, 0.6)]
    rho = float(rng.choice(choices, p=[0.35, 0.4, 0.25]))
    return NoiseRecipe(
        kernel=Kernel(cutoff, float(rng.uniform(1.2, 4.0))),
        i0=float(np.exp(rng.uniform(np.log(2e3), np.log(5e5)))),
        electronic_sd=float(rng.uniform(2.0, 5.0)),
        views=int(rng.integers(180, 361)),
        outside=float(rng.uniform(0.0, 4.0)),
        flatness=float(rng.uniform(0.0, 0.7)),
        direction_rad=float(rng.uniform(0.0, np.pi)),
        bowtie=float(rng.uniform(0.0, 0.8)),
        slice_correlation=_profile(rho),
    )


def _profile(rho: float) -> tuple[float, ...]:
    """Return the correlations of a slice profile of two or three slices, given the first."""
    if rho < 0.01:
        return ()
    return (rho,) if rho <= 0.5 else (rho, max(0.0, 2 * rho - 1.0))
