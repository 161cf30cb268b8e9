"""Frames and rotations of scan geometries (layer: geometry; imports numpy only)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.volume import read_only


def patient_to_gantry(isocentre_lps_mm: ArrayLike = (0.0, 0.0, 0.0)) -> NDArray[np.float64]:
    """Return the 4x4 map from LPS to a gantry that turns about the patient's long axis.

    Gantry x is the patient's left, gantry y (the rotation axis) points to the head, gantry z to the
    front: at angle 0 the source stands in front of the patient (an antero-posterior view), at 90
    degrees on the patient's left.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    matrix[:3, 3] = -matrix[:3, :3] @ np.asarray(isocentre_lps_mm, dtype=np.float64)
    return matrix


def rotation_y(angles_rad: ArrayLike) -> NDArray[np.float64]:
    """Return rotations about y that take +z to ``(sin b, 0, cos b)``; shape (view, 3, 3)."""
    c, s = np.cos(angles_rad), np.sin(angles_rad)
    zero, one = np.zeros_like(c), np.ones_like(c)
    rows = [[c, zero, s], [zero, one, zero], [-s, zero, c]]
    return np.ascontiguousarray(np.moveaxis(np.array(rows, dtype=np.float64), -1, 0))


def equal_angles(views: int, arc_deg: float = 360.0, start_deg: float = 0.0) -> NDArray[np.float64]:
    """Return equally spaced view angles in radians.

    A full turn does not repeat its first view. A shorter arc has its first view at the start, and
    each view stands for ``arc / views`` degrees.
    """
    if views < 1 or not 0 < abs(arc_deg) <= 360:
        message = (
            f"Expected at least one view and an arc of up to 360 degrees; got {views}, {arc_deg:g}."
        )
        raise GeometryError(message)
    steps = np.arange(views, dtype=np.float64) / views
    return np.asarray(np.deg2rad(start_deg + arc_deg * steps), dtype=np.float64)


def rigid_matrix(value: ArrayLike) -> NDArray[np.float64]:
    """Return a read-only copy of a rigid 4x4 matrix; :class:`GeometryError` if it is not rigid."""
    matrix = np.asarray(value, dtype=np.float64)
    if (
        matrix.shape != (4, 4)
        or not np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-6)
        or not np.allclose(matrix[3], (0, 0, 0, 1))
    ):
        message = "Expected a rigid 4x4 matrix (a rotation and a shift)."
        raise GeometryError(message)
    return read_only(matrix)


def tilt_matrix(tilt_rad: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the rotation about x, then y, then z by three angles in radians; shape (3, 3)."""
    out = np.eye(3)
    for axis, angle in enumerate(tilt_rad):
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        out = step @ out
    return out
