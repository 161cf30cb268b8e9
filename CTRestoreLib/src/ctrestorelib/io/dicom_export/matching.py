"""Find for every slice of a volume the source slice with the very same pixels (layer: io)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.io.dicom_export.source import SourceSlice

Floats = NDArray[np.float64]
_FLOOR_MM = 0.02  # positions are often rounded to 0.01 mm


def slice_corners(geometry: VolumeGeometry) -> Floats:
    """Return the corners of every slice in LPS mm, shape (k, 4, 3), as a source slice has them."""
    k, j, i = geometry.shape
    ends = [(0, 0), (i - 1, 0), (0, j - 1), (i - 1, j - 1)]
    return geometry.to_world([[(x, y, z) for x, y in ends] for z in range(k)])


def match_slices(
    geometry: VolumeGeometry, slices: Sequence[SourceSlice]
) -> tuple[SourceSlice, ...] | None:
    """Return the source slice of each slice k of a volume, or None if any has none.

    A slice matches if it has the same number of rows and columns and its corners lie within a
    tenth of a pixel (and of the slice distance): as far as the reader lets rounded positions miss
    the grid. The volume may hold some of the slices only, in either order.
    """
    if any(s.corners_lps_mm is None for s in slices):
        return None
    size = geometry.shape[1:]
    fitting = [s for s in slices if s.rows_columns == size]
    if not fitting:
        return None
    wanted = slice_corners(geometry)
    offered = np.array([s.corners_lps_mm for s in fitting])
    normal = _normal(geometry)
    places, own = offered[:, 0] @ normal, wanted[:, 0] @ normal
    nearest = np.abs(own[:, None] - places[None, :]).argmin(axis=1)
    if len(set(nearest.tolist())) < len(nearest):
        return None
    if not _close(wanted - offered[nearest], geometry):
        return None
    return tuple(fitting[n] for n in nearest)


def _normal(geometry: VolumeGeometry) -> Floats:
    i, j, _k = geometry.direction.T
    normal: Floats = np.cross(i, j)
    return normal / np.linalg.norm(normal)


def _close(misses: Floats, geometry: VolumeGeometry) -> bool:
    normal = _normal(geometry)
    along = np.abs(misses @ normal)
    aside = np.linalg.norm(misses - (misses @ normal)[..., None] * normal, axis=-1)
    gap = geometry.spacing_mm[2] * abs(float(geometry.direction[:, 2] @ normal))
    pixel = min(geometry.spacing_mm[:2])
    # One slice has no distance to the next; its own plane must do.
    along_limit = max(_FLOOR_MM, 0.1 * gap) if geometry.shape[0] > 1 else _FLOOR_MM
    return bool(along.max() <= along_limit and aside.max() <= max(_FLOOR_MM, 0.1 * pixel))


def slices_near(corners: Floats, slices: Sequence[SourceSlice]) -> list[SourceSlice]:
    """Return the source slices that a resampled slice, given by its corners, can depend on."""
    all_corners = np.array([s.corners_lps_mm for s in slices])
    origin, row_end, column_end = all_corners[0][:3]
    normal = np.cross(row_end - origin, column_end - origin)
    length = float(np.linalg.norm(normal))
    if length == 0:
        return list(slices)
    places = all_corners[:, 0] @ normal / length
    gap = float(np.median(np.diff(np.sort(places)))) if len(places) > 1 else 0.0
    own = corners @ normal / length
    # Cubic interpolation reaches two slices to either side.
    low, high = own.min() - 2 * gap - _FLOOR_MM, own.max() + 2 * gap + _FLOOR_MM
    return [s for s, place in zip(slices, places, strict=True) if low <= place <= high]
