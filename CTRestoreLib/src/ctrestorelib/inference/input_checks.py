"""What to tell a person before trusting a learned denoiser on this scan (layer: inference)."""

from __future__ import annotations

from collections.abc import Iterator

from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.noise import NoiseEstimate
from ctrestorelib.quality.sigma_map import SigmaMap

TRAINED_SIGMA_HU = (3.0, 150.0)
TRAINED_PIXEL_MM = (0.35, 2.0)
"""What training draws from: `BatchSettings.sigma_range` and `denoiser_items.ANATOMY_PIXEL_MM`."""
THICK_MM, OVERLAP = 3.0, 0.3
COARSE = 0.86
"""Correlation of neighbouring pixels above which grain is coarser than any seen in training."""


def doubts(
    volume: Volume, noise: NoiseEstimate, sigma: SigmaMap | None = None
) -> Iterator[tuple[str, str]]:
    """Yield code and sentence of every reason to look twice.

    Parameters
    ----------
    volume
        What is to be denoised.
    noise
        What :func:`~ctrestorelib.quality.noise.estimate_noise` found in it.
    sigma
        Its noise map.
    """
    yield from _about_slices(volume, noise)
    if sigma is not None and sigma.doubt:
        yield "noise-map", sigma.doubt
    yield from _about_noise(noise)
    pixel_mm = max(volume.geometry.spacing_mm[:2])
    low, high = TRAINED_PIXEL_MM
    if volume.unit is not Unit.GREY and not low <= pixel_mm <= high:
        yield (
            "out-of-domain-pixel",
            (
                f"Out of domain: pixels of {pixel_mm:.2g} mm; the network was trained on "
                f"{low:g} to {high:g} mm. Look at the removed noise before you use the result."
            ),
        )


def _about_slices(volume: Volume, noise: NoiseEstimate) -> Iterator[tuple[str, str]]:
    spacing_mm = volume.geometry.spacing_mm[2]
    if volume.unit is not Unit.GREY and spacing_mm > THICK_MM:
        yield (
            "thick-slices",
            (
                f"Slices are {spacing_mm:.2g} mm apart: neighbours help less, and the check for "
                "removed anatomy sees less. Thinner slices of the same scan give a better result."
            ),
        )
    rho = noise.slice_correlation
    if rho and rho[0] > OVERLAP:
        yield (
            "overlapping-slices",
            (
                f"Neighbouring slices share noise (correlation {rho[0]:.2f}): they overlap or were "
                "smoothed. Less noise can be told from anatomy than in separate slices."
            ),
        )


def _about_noise(noise: NoiseEstimate) -> Iterator[tuple[str, str]]:
    scale = {Unit.HU: 1.0, Unit.PER_MM: 1000.0 / MU_WATER_PER_MM}.get(noise.unit)
    low, high = TRAINED_SIGMA_HU
    if scale is not None and not low <= noise.sigma * scale <= high:
        yield (
            "out-of-domain-noise",
            (
                f"Out of domain: the noise level is {noise.sigma * scale:.3g} HU; the network was "
                f"trained on {low:g} to {high:g} HU."
            ),
        )
    grain = noise.pixel_correlation
    if grain and grain[0] > COARSE:
        yield (
            "coarse-grain",
            (
                f"The grain is coarse (neighbouring pixels correlate by {grain[0]:.2f}), as after "
                "iterative reconstruction, smoothing or enlarging. A strength of 50 % keeps the "
                "result from looking like plastic."
            ),
        )
