"""Strength, region and mask: how much of a restoration reaches the result (layer: restorer)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.volume import Volume, padding_mask


def check_strength(strength: float) -> float:
    """Return ``strength`` if it lies between 0 and 1, else raise :class:`UsageError`."""
    if not 0.0 <= strength <= 1.0:
        message = (
            f"Strength must lie between 0 (the original) and 1 (fully restored); got {strength:g}."
        )
        raise UsageError(message)
    return float(strength)


def blend(
    original: Volume,
    restored: Volume,
    strength: float = 1.0,
    mask: NDArray[np.bool_] | None = None,
) -> Volume:
    """Return ``original + strength * (restored - original)`` inside ``mask``.

    Strength 0 returns the original's values bit for bit; so do voxels outside the mask and voxels
    that were never measured (scanner padding). Strength 1 returns the restored values bit for bit.
    """
    check_strength(strength)
    if original.shape != restored.shape or (mask is not None and mask.shape != original.shape):
        message = f"Blending needs one grid; got shapes {original.shape} and {restored.shape}."
        raise GeometryError(message)
    if strength == 0.0:
        return original
    keep = padding_mask(original)
    if mask is not None:
        keep |= ~mask
    if strength == 1.0:
        values = restored.values.copy()
    else:
        values = original.values + np.float32(strength) * (restored.values - original.values)
    values[keep] = original.values[keep]
    return original.with_values(values)
