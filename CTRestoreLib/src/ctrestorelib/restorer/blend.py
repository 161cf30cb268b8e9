"""Strength, region and mask: how much of a restoration reaches the result (layer: restorer)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import PADDING_BELOW_HU, Volume, has_padding


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
    if strength == 1.0 and mask is None and not has_padding(original):
        return restored.with_values(restored.values, original.unit)
    values = np.empty_like(original.values)
    for k in range(original.shape[0]):  # slice by slice: no temporary of the volume's size
        values[k] = _blend_slice(
            original.values[k], restored.values[k], strength, None if mask is None else mask[k]
        )
        if original.unit is Unit.HU:
            unmeasured = original.values[k] < PADDING_BELOW_HU
            values[k][unmeasured] = original.values[k][unmeasured]
    return original.with_values(values)


def _blend_slice(
    original: NDArray[np.float32],
    restored: NDArray[np.float32],
    strength: float,
    mask: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    mixed = restored
    if strength != 1.0:
        mixed = original + np.float32(strength) * (restored - original)
    return mixed if mask is None else np.where(mask, mixed, original)
