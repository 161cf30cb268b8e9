"""Fan angles, and the weight of oblique rays in filtered backprojection (layer: recon).

Angles are those of the gantry frame, see :mod:`ctrestorelib.recon.weights`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry


def ray_weights(geometry: ConeBeamGeometry) -> NDArray[np.float32]:
    """Return the weight of every reading before the filter.

    For a ray of length l from source to pixel and a detector that faces the axis this is SOD / l:
    Feldkamp's cosine times SOD / SDD, so that the filter may use the detector's own pixel size and
    the backprojection the weight 1 / w^2 of the projection matrices. Detectors that are shifted
    or turned about their u or v axis are covered exactly (in the sense of Feldkamp's formula): each
    row is treated as a fan in its own plane through the source, with its own distance.

    Returns
    -------
    ndarray
        Shape (view, row, col), float32; (1, row, col) if all views are alike, (1, 1, 1) for
        parallel beams.

    Raises
    ------
    GeometryError
        If the detector rows run along the rotation axis.
    """
    if geometry.beam is Beam.PARALLEL:
        return np.ones((1, 1, 1), dtype=np.float32)
    # (view, row) coefficients: weight = sod (a + b x) / (d sqrt(d^2 + (x - foot)^2)), x in mm.
    a, b, d, foot = _row_planes(geometry)
    cols = geometry.detector_shape[1]
    step = np.linalg.norm(geometry.u_mm, axis=1)
    terms = np.stack([geometry.sod_mm[:, None] / d, a, b, d, foot, step[:, None] + 0.0 * a])
    if np.allclose(terms, terms[:, :1], rtol=1e-9, atol=1e-9):
        terms = terms[:, :1]
    scale, a32, b32, d32, foot32, step32 = terms[..., None].astype(np.float32)
    x = (np.arange(cols, dtype=np.float32) - np.float32((cols - 1) / 2.0)) * step32
    return np.asarray(scale * (a32 + b32 * x) / np.hypot(d32, x - foot32), dtype=np.float32)


def _row_planes(geometry: ConeBeamGeometry) -> tuple[NDArray[np.float64], ...]:
    """Return for each (view, row): central-ray cosine as ``a + b x``, distance, foot of the row."""
    turn = geometry.world_to_gantry[:3, :3]
    source = geometry.source_gantry
    along = geometry.u_mm @ turn.T
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    rows = geometry.detector_shape[0]
    middle = (geometry.detector_centre_mm - geometry.source) @ turn.T
    v = np.arange(rows) - (rows - 1) / 2.0
    q = middle[:, None] + v[:, None] * (geometry.v_mm @ turn.T)[:, None]
    foot = -np.einsum("nrj,nj->nr", q, along)
    distance = np.sqrt(np.einsum("nrj,nrj->nr", q, q) - foot**2)
    normal = np.cross(along[:, None], q)
    steep = np.abs(normal[..., 1]) / np.linalg.norm(normal, axis=-1)
    if steep.min() < 0.1:
        message = "The detector rows run along the rotation axis; they must run across it."
        raise GeometryError(message, hint="Swap rows and columns, or name the axis of rotation.")
    height = np.einsum("nrj,nj->nr", normal, source) / normal[..., 1]
    central = -np.broadcast_to(source[:, None], q.shape).copy()  # to the axis, in the row's plane
    central[..., 1] += height
    central /= np.linalg.norm(central, axis=-1, keepdims=True)
    a = np.einsum("nrj,nrj->nr", q, central)
    b = np.einsum("nrj,nj->nr", central, along)
    return a, b, distance, foot


def sample_spacing_mm(geometry: ConeBeamGeometry) -> NDArray[np.float64]:
    """Return the ramp filter's sample spacing of each view, in mm.

    The pixel size for a cone beam; for a parallel beam the distance between rays.
    """
    if geometry.beam is Beam.PARALLEL:
        return np.asarray(np.linalg.norm(np.cross(geometry.u_mm, geometry.source), axis=1))
    return np.asarray(np.linalg.norm(geometry.u_mm, axis=1))


def lateral(geometry: ConeBeamGeometry, columns: ArrayLike) -> NDArray[np.float64]:
    """Return the fan angle (radians; parallel beam: signed distance from the axis in mm).

    Measured in the middle row, where columns may be fractions; shape (view, len(columns)).
    """
    cols = geometry.detector_shape[1]
    shift = np.asarray(columns, dtype=np.float64) - (cols - 1) / 2.0
    t = geometry.world_to_gantry
    pixel = geometry.detector_centre_mm[:, None] + shift[:, None] * geometry.u_mm[:, None]
    pixel = pixel @ t[:3, :3].T + t[:3, 3]
    beta = geometry.angles_rad[:, None]
    if geometry.beam is Beam.PARALLEL:
        return np.asarray(pixel[..., 0] * np.cos(beta) - pixel[..., 2] * np.sin(beta))
    ray = geometry.source_gantry[:, None] - pixel
    gamma = np.arctan2(ray[..., 0], ray[..., 2]) - beta
    return np.asarray((gamma + np.pi) % (2 * np.pi) - np.pi)
