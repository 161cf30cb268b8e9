"""The field of view of a scan, and the voxel grid that covers it (layer: geometry)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry

GRID_AXES = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Columns: the directions of i, j, k in the gantry frame (x, -z, y): k is the rotation axis.

With :func:`~ctrestorelib.geometry.frames.patient_to_gantry` they are left, back and head.
"""


def default_grid(
    geometry: ConeBeamGeometry, spacing_mm: float | Sequence[float] | None = None
) -> VolumeGeometry:
    """Return a grid that covers the field of view of a scan.

    Parameters
    ----------
    geometry
        Any scan. A detector of one row gives one slice.
    spacing_mm
        Voxel size, one number or three ``(i, j, k)``; by default the detector's pixel size scaled
        down to the rotation axis.

    Returns
    -------
    VolumeGeometry
        Square slices ``[j, i]`` perpendicular to the rotation axis, wide enough for the outermost
        rays, stacked along the axis (k) over the detector's height there.
    """
    pixel = pixel_at_axis_mm(geometry)
    i, j, k = _spacing(spacing_mm, (pixel[1], pixel[1], pixel[1]))
    rows = geometry.detector_shape[0]
    if rows == 1 and spacing_mm is None:
        k = pixel[0]
    radius, (bottom, top) = field_of_view_mm(geometry)
    slices = 1 if rows == 1 else _count(top - bottom, k)
    shape = (slices, _count(2 * radius, j), _count(2 * radius, i))
    grid = np.eye(4)
    grid[:3, :3] = GRID_AXES * [i, j, k]
    centre = np.array([0.0, (bottom + top) / 2, 0.0])
    half = (np.array([shape[2], shape[1], shape[0]]) - 1) / 2
    grid[:3, 3] = centre - grid[:3, :3] @ half
    return VolumeGeometry(shape, np.linalg.inv(geometry.world_to_gantry) @ grid)


def field_of_view_mm(geometry: ConeBeamGeometry) -> tuple[float, tuple[float, float]]:
    """Return the radius of the field of view and its lower and upper end along the axis, in mm.

    The radius is the distance of the outermost rays from the rotation axis. The height is that of
    the detector, scaled down to the axis.
    """
    rows, cols = geometry.detector_shape
    edges = [_nearest_to_axis(geometry, side * cols / 2, 0.0)[0] for side in (-1, 1)]
    heights = [_nearest_to_axis(geometry, 0.0, side * rows / 2)[1] for side in (-1, 1)]
    return float(np.max(edges)), (float(np.min(heights)), float(np.max(heights)))


def pixel_at_axis_mm(geometry: ConeBeamGeometry) -> tuple[float, float]:
    """Return the pixel size ``(row, column)`` in mm, scaled from the detector to the axis."""
    row, col = geometry.pixel_mm
    if geometry.beam is Beam.PARALLEL:
        return row, col
    scale = float(np.median(geometry.sod_mm / geometry.sdd_mm))
    return row * scale, col * scale


def _nearest_to_axis(
    geometry: ConeBeamGeometry, u: float, v: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distance from the axis and height of the rays through pixel offset (u, v)."""
    frame = geometry.world_to_gantry
    pixel = geometry.detector_centre_mm + u * geometry.u_mm + v * geometry.v_mm
    point = pixel @ frame[:3, :3].T + frame[:3, 3]
    if geometry.beam is Beam.PARALLEL:
        ray = geometry.source_gantry
    else:
        ray = geometry.source_gantry - point
    flat = ray[:, [0, 2]]
    length = np.linalg.norm(flat, axis=1)
    if length.min() <= 0:
        message = "A ray runs along the rotation axis: the scan has no field of view around it."
        raise GeometryError(message, hint="Give the grid yourself (--shape and --spacing).")
    along = -np.einsum("ij,ij->i", point[:, [0, 2]], flat) / length**2
    distance = np.abs(point[:, 0] * flat[:, 1] - point[:, 2] * flat[:, 0]) / length
    return distance, point[:, 1] + along * ray[:, 1]


def _count(length_mm: float, spacing_mm: float) -> int:
    # A hair above a whole number of voxels is rounding, not a reason for one more.
    return max(1, int(np.ceil(length_mm / spacing_mm - 1e-6)))


def _spacing(
    given: float | Sequence[float] | None, default: tuple[float, float, float]
) -> tuple[float, float, float]:
    if given is None:
        return default
    values = np.broadcast_to(np.asarray(given, dtype=np.float64), 3)
    if not np.isfinite(values).all() or values.min() <= 0:
        message = f"The voxel size must be positive millimetres; got {given}."
        raise GeometryError(message)
    i, j, k = values.tolist()
    return (i, j, k)
