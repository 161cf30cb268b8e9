"""Scans in which the object turns and source and detector stand still (layer: geometry)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.geometry.frames import rotation_y
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry


def turntable_scan(
    *,
    source_mm: ArrayLike,
    detector_centre_mm: ArrayLike,
    u_mm: ArrayLike,
    v_mm: ArrayLike,
    axis_point_mm: ArrayLike,
    axis_direction: ArrayLike,
    angles_rad: ArrayLike,
    detector_shape: tuple[int, int],
) -> ConeBeamGeometry:
    """Build a cone-beam geometry from a laboratory set-up, as micro-CT scanners describe it.

    The world becomes the object's own frame: its origin is ``axis_point_mm``, its y axis the
    rotation axis, and at angle 0 the source lies in its y-z plane at positive z.

    Parameters
    ----------
    source_mm, detector_centre_mm, axis_point_mm
        Laboratory positions in mm, shape (3,), right-handed axes.
    u_mm, v_mm
        Laboratory steps from one pixel to the next along columns and rows.
    axis_direction
        Direction of the rotation axis, any length.
    angles_rad
        How far the source has turned about ``axis_direction`` (right-handed) *as seen from the
        object*; the object itself turns by the opposite angles.
    detector_shape
        ``(rows, cols)``.
    """
    source, centre, u, v, point = (
        np.asarray(a, dtype=np.float64)
        for a in (source_mm, detector_centre_mm, u_mm, v_mm, axis_point_mm)
    )
    to_object = _object_axes(source - point, np.asarray(axis_direction, dtype=np.float64))
    turn = rotation_y(np.atleast_1d(np.asarray(angles_rad, dtype=np.float64)))

    def turned(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(turn @ (to_object @ vector), dtype=np.float64)

    return ConeBeamGeometry(
        beam=Beam.CONE,
        source=turned(source - point),
        detector_centre_mm=turned(centre - point),
        u_mm=turned(u),
        v_mm=turned(v),
        detector_shape=detector_shape,
        world_to_gantry=np.eye(4),
    )


def _object_axes(to_source: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(axis)
    y = axis / length if length > 0 else axis
    z = to_source - (to_source @ y) * y
    if length == 0 or np.linalg.norm(z) < 1e-9:
        message = "The rotation axis needs a direction and must not pass through the source."
        raise GeometryError(message)
    z = z / np.linalg.norm(z)
    return np.stack([np.cross(y, z), y, z])
