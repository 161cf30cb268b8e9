"""Two volumes that are compared must lie on one grid and mean the same (layer: quality)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, UnitError, UsageError
from ctrestorelib.core.volume import Volume

Values = Volume | NDArray[Any]
"""A volume, or a bare array ``[k, j, i]`` in any unit."""


def check_pair(image: Values, reference: Values, *, what: str = "the reference") -> None:
    """Raise unless both have one shape, one grid and one unit.

    Raises
    ------
    GeometryError
        If the grids differ; the message says in what.
    UnitError
        If one is in HU and the other is not.
    """
    if image.shape != reference.shape:
        message = f"The image has shape (k, j, i) = {image.shape}, {what} {reference.shape}."
        raise GeometryError(message, hint=_RESAMPLE)
    if not (isinstance(image, Volume) and isinstance(reference, Volume)):
        return
    if not image.geometry.matches(reference.geometry, tolerance_mm=1e-2):
        message = (
            f"The image and {what} lie on different grids: {grid_difference(image, reference)}."
        )
        raise GeometryError(message, hint=_RESAMPLE)
    if image.unit != reference.unit:
        message = f"The image is in {image.unit.label}, {what} in {reference.unit.label}."
        raise UnitError(message, hint="Convert one of them first.")


_RESAMPLE = "Resample one volume onto the grid of the other (same shape, spacing, origin) first."


def grid_difference(first: Volume, second: Volume) -> str:
    """Say in words what differs between the grids of two volumes."""
    a, b = first.geometry, second.geometry
    if a.shape != b.shape:
        return f"shape (k, j, i) {a.shape} against {b.shape}"
    if not np.allclose(a.spacing_mm, b.spacing_mm, atol=1e-4):
        return f"voxel size (i, j, k) {_mm(a.spacing_mm)} against {_mm(b.spacing_mm)}"
    if not np.allclose(a.direction, b.direction, atol=1e-4):
        return "the axes point in different directions"
    return f"origin {_mm(a.origin_lps_mm)} against {_mm(b.origin_lps_mm)}"


def _mm(numbers: Any) -> str:
    return " x ".join(f"{float(n):.4g}" for n in numbers) + " mm"


def array_of(values: Values) -> NDArray[Any]:
    """Return the array behind a volume or the array itself."""
    return values.values if isinstance(values, Volume) else np.asarray(values)


def mask_of(mask: Values | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return ``mask`` as a boolean array of ``shape``, or ``None``.

    Raises
    ------
    GeometryError
        If its shape differs.
    UsageError
        If it selects no voxel at all.
    """
    if mask is None:
        return None
    chosen: NDArray[np.bool_] = np.not_equal(array_of(mask), 0)
    if chosen.shape != shape:
        message = f"The mask has shape {chosen.shape}, the image {shape}."
        raise GeometryError(message, hint=_RESAMPLE)
    if not chosen.any():
        message = "The mask selects no voxel."
        raise UsageError(message, hint="Values other than 0 are inside the mask.")
    return chosen
