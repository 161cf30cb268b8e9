"""Value units and the HU <-> attenuation conversion (layer: core; imports numpy only)."""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import UnitError

MU_WATER_PER_MM = 0.0192
"""Attenuation of water in 1/mm at the effective energy of a 120 kVp CT scan (about 70 keV)."""


@enum.unique
class Unit(str, enum.Enum):
    """What the voxel values of a volume mean."""

    HU = "hu"
    PER_MM = "per_mm"
    GREY = "grey"

    @property
    def label(self) -> str:
        """The unit as a person reads it."""
        return {"hu": "HU", "per_mm": "1/mm", "grey": "grey value"}[self.value]


def check_mu_water(mu_water_per_mm: float) -> float:
    """Return ``mu_water_per_mm`` if it is a possible attenuation of water (1/mm).

    Raises
    ------
    UnitError
        If it is not between 0.01 and 0.2 per mm, for instance because it was given per cm.
    """
    if not 0.01 <= mu_water_per_mm <= 0.2:
        message = (
            "The attenuation of water must lie between 0.01 and 0.2 per mm; "
            f"got {mu_water_per_mm:g}."
        )
        hint = "Give it per millimetre: 0.0192 for 120 kVp CT, 0.02 for cone-beam CT."
        raise UnitError(message, hint=hint)
    return float(mu_water_per_mm)


def mu_from_hu(
    values_hu: ArrayLike, mu_water_per_mm: float = MU_WATER_PER_MM
) -> NDArray[np.float32]:
    """Convert HU to linear attenuation in 1/mm as float32; below -1000 HU the result is negative.

    HU = 1000 (mu - mu_water) / mu_water.
    """
    scale = check_mu_water(mu_water_per_mm)
    out = np.multiply(values_hu, np.float32(scale / 1000.0), dtype=np.float32)
    return _shifted(out, np.float32(scale))


def hu_from_mu(
    values_per_mm: ArrayLike, mu_water_per_mm: float = MU_WATER_PER_MM
) -> NDArray[np.float32]:
    """Convert linear attenuation in 1/mm to HU as float32 (inverse of :func:`mu_from_hu`)."""
    scale = check_mu_water(mu_water_per_mm)
    out = np.multiply(values_per_mm, np.float32(1000.0 / scale), dtype=np.float32)
    return _shifted(out, np.float32(-1000.0))


def _shifted(values: NDArray[np.float32], by: np.float32) -> NDArray[np.float32]:
    """Add in place: a volume of its own size is all that a conversion takes."""
    return np.add(values, by, out=values if isinstance(values, np.ndarray) else None)
