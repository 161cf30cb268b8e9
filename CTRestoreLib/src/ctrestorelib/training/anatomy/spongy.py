"""Trabecular bone texture: grains, rods and plates in the band that CT resolves (layer: training).

Ramp-filtered noise lives in the same band of frequencies, so a denoiser that has not seen enough
of this texture takes it for noise and wipes it away.
"""

from __future__ import annotations

import numpy as np

from ctrestorelib.training.anatomy.canvas import Canvas
from ctrestorelib.training.anatomy.fields import Array, band_field
from ctrestorelib.training.anatomy.trees import random_direction


def spongy_texture(canvas: Canvas, *, frequency: float | None = None) -> Array:
    """Return trabecular bone over the whole canvas, HU.

    Parameters
    ----------
    canvas
        Gives grid and chance.
    frequency
        Centre of the band in lp/mm; drawn between 0.3 and 1.0 where None.

    Returns
    -------
    numpy.ndarray
        float32 ``[k, j, i]``: marrow plus 150 to 400 HU of trabeculae whose density varies.
    """
    rng = canvas.rng
    frequency = frequency or float(np.exp(rng.uniform(np.log(0.3), np.log(1.0))))
    kind = rng.choice(["grains", "rods", "plates", "mixed"])
    bone = _lattice(canvas, str(kind), frequency)
    marrow = rng.uniform(-80, 120)
    contrast = rng.uniform(150, 400) * (1 + 0.3 * np.clip(canvas.field(20.0), -2, 2))
    texture: Array = (marrow + contrast * bone).astype(np.float32)
    return texture


def _lattice(canvas: Canvas, kind: str, frequency: float) -> Array:
    """Return trabeculae between 0 and 1, or for grains about 0 to 1 without a hard limit."""
    rng = canvas.rng
    axis, stretch = random_direction(rng), float(rng.uniform(1.0, 3.0))
    octaves = float(rng.uniform(0.25, 0.8))

    # The zeros of a field come twice per period, so rods and plates need half the frequency.
    centre = frequency if kind == "grains" else 0.5 * frequency

    def part() -> Array:
        return band_field(
            rng, canvas.shape, canvas.spacing, centre, octaves=octaves, axis=axis, stretch=stretch
        )

    if kind == "grains":
        return 0.4 + 0.35 * part()
    width = float(rng.uniform(0.35, 0.8))
    if kind == "plates":
        return _near_zero(np.abs(part()), 0.8 * width)
    # Two fields vanish together on curves: rods.
    first, second = part(), part()
    rods = _near_zero(np.sqrt(first**2 + second**2), 1.4 * width)
    if kind == "rods":
        return rods
    plates = np.float32(rng.uniform(0.4, 0.9)) * _near_zero(np.abs(first), 0.4 * width)
    mixed: Array = np.maximum(rods, plates)
    return mixed


def _near_zero(field: Array, width: float) -> Array:
    """Return 1 where a field is small, 0 where it is large, with a ramp half as wide."""
    ramp: Array = np.clip(1.5 - field / np.float32(width), 0, 1)
    return ramp
