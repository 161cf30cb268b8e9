"""Physical noise images of a stack of slices, scaled to unit level (layer: training).

The noise is made as in :func:`ctrestorelib.physics.noise.insert_noise`: line integrals of each
slice say how many photons arrive, white noise of that variance is filtered and backprojected. What
is added here is the body outside a cropped field, which makes the streaks of a shoulder or a
pelvis, and the scale: a network in noise units needs each noise once, whatever its level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from ctrestorelib.core.units import MU_WATER_PER_MM, mu_from_hu
from ctrestorelib.physics.noise import (
    MAX_LOG_SD,
    coarse_line_integrals,
    moving_average,
    noise_image,
    white_views,
)
from ctrestorelib.physics.parallel2d import ParallelScan
from ctrestorelib.training.noise_recipe import NoiseRecipe

Floats = NDArray[np.float32]

_LEVEL_EVERY = 6  # slices between two looks at the photon numbers, which vary slowly
_LEVEL_PIXELS = 15


@dataclass(frozen=True)
class NoiseImages:
    """Noise of a stack of slices whose typical level is 1.

    Parameters
    ----------
    noise
        ``[k, j, i]``.
    level
        Local standard deviation of ``noise`` on the same grid, smooth.
    """

    noise: Floats
    level: Floats


def noise_images(
    hu: Floats, pixel_mm: float, recipe: NoiseRecipe, rng: np.random.Generator
) -> NoiseImages:
    """Return one noise realisation of the slices ``hu`` ``[k, j, i]``.

    Parameters
    ----------
    hu
        Noise-free slices in HU, or anything alike.
    pixel_mm
        Pixel size in the slice.
    recipe
        How the noise comes about.
    rng
        Source of randomness: the same state gives the same noise.
    """
    scan = ParallelScan(hu.shape[1:], (pixel_mm, pixel_mm), recipe.views, pixel_mm)
    weights = moving_average(recipe.slice_correlation)
    noise = np.empty(hu.shape, dtype=np.float32)
    for k, white in enumerate(white_views(rng, scan, weights, len(hu))):
        if k % _LEVEL_EVERY == 0:
            sd = _log_sd(hu[min(k + _LEVEL_EVERY // 2, len(hu) - 1)], scan, recipe)
        noise[k] = noise_image(sd * white, scan, recipe.kernel)
    level = local_level(noise)
    typical = np.float32(np.median(level))
    return NoiseImages(noise / typical, level / typical)


def local_level(noise: Floats) -> Floats:
    """Return the local standard deviation of pure noise ``[k, j, i]``, smooth over 15 pixels."""
    square = gaussian_filter(noise**2, (2.0, _LEVEL_PIXELS / 2, _LEVEL_PIXELS / 2), mode="nearest")
    square = uniform_filter(square, (5, 3, 3), mode="nearest")
    return np.asarray(np.sqrt(np.maximum(square, 1e-12)), dtype=np.float32)


def _log_sd(hu: Floats, scan: ParallelScan, recipe: NoiseRecipe) -> Floats:
    """Return the standard deviation of the log readings ``[view, bin]``."""
    mu = np.maximum(mu_from_hu(hu, MU_WATER_PER_MM), 0.0)
    p = coarse_line_integrals(np.asarray(mu, dtype=np.float32), scan).astype(np.float64)
    turned = np.cos(scan.angles_rad - recipe.direction_rad) ** 2
    p += (recipe.outside * (1.0 - recipe.flatness * turned))[:, None]
    p -= recipe.bowtie * (p - p.mean())  # more photons where the body is thick
    starved = np.exp(np.minimum(p, 30.0)) / recipe.i0
    sd = np.sqrt(starved + (recipe.electronic_sd * starved) ** 2)
    return np.minimum(sd, MAX_LOG_SD).astype(np.float32)
