"""A scan as a network with a fixed square detector wants to see it (layer: inference).

The square detector stands upright in the plane of each view's own detector, its middle where the
isocentre's shadow falls, and shows a cube of a given edge: whatever the resolution, shift, turn or
flip of the true detector was, the cube has the same size on it. Source and plane stay, so that the
geometry stays exact.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry

Floats = NDArray[np.float32]

FEWEST_ROWS = 8
"""A detector with fewer rows shows lines, not pictures."""
_MOST_RAYS = 8  # along each edge of a pixel


def seen_edge_mm(geometry: ConeBeamGeometry) -> float:
    """Return the edge of the cube about the isocentre that the detector's longest reach shows.

    The reach is taken from the isocentre's shadow to the farthest edge of the detector, scaled down
    to the isocentre; of all views the median.

    Raises
    ------
    GeometryError
        If the detector is a line, or the source lies at the isocentre.
    """
    rows, cols = geometry.detector_shape
    if min(rows, cols) < FEWEST_ROWS:
        message = f"Expected a flat panel; the detector has {rows} x {cols} pixels."
        raise GeometryError(message, hint="Fan-beam scans are for 'tv' or 'fdk'.")
    shadow, magnification = _isocentre(geometry)
    u, v = shadow[:, 0], shadow[:, 1]
    along_u = np.maximum(u + 0.5, cols - 0.5 - u) * np.linalg.norm(geometry.u_mm, axis=1)
    along_v = np.maximum(v + 0.5, rows - 0.5 - v) * np.linalg.norm(geometry.v_mm, axis=1)
    return 2.0 * float(np.median(np.maximum(along_u, along_v) / magnification))


def square_detector(geometry: ConeBeamGeometry, edge_mm: float, pixels: int) -> ConeBeamGeometry:
    """Return the scan with an upright square detector that shows a cube about the isocentre.

    Parameters
    ----------
    geometry
        Any scan with a flat detector.
    edge_mm
        Edge of the cube: the detector is as large as the shadow of its central section.
    pixels
        Pixels along each edge.

    Raises
    ------
    GeometryError
        If a view looks along the rotation axis, so that its detector has no upright.
    """
    shadow, magnification = _isocentre(geometry)
    rows, cols = geometry.detector_shape
    steps = shadow - np.array([(cols - 1) / 2.0, (rows - 1) / 2.0])
    middle = (
        geometry.detector_centre_mm + steps[:, :1] * geometry.u_mm + steps[:, 1:] * geometry.v_mm
    )
    facing = np.sign(np.einsum("ij,ij->i", geometry.normals, geometry.ray_to_source))
    normals = geometry.normals * facing[:, None]
    axis = geometry.world_to_gantry[1, :3]
    upright = axis - (normals @ axis)[:, None] * normals
    height = np.linalg.norm(upright, axis=1, keepdims=True)
    if height.min() < 0.05:
        message = f"View {int(height.argmin())} looks along the rotation axis."
        raise GeometryError(message, hint="Take that view out, or use a classical method.")
    upright = upright / height
    pixel = (edge_mm * magnification / pixels)[:, None]
    return geometry.replace(
        detector_centre_mm=middle,
        u_mm=np.cross(upright, normals) * pixel,
        v_mm=upright * pixel,
        detector_shape=(pixels, pixels),
    )


def resampled(
    scan: ProjectionSet, target: ConeBeamGeometry, views: Iterable[int] | None = None
) -> Floats:
    """Return the readings of a scan on the detector of ``target`` ``[view, row, col]``.

    Parameters
    ----------
    scan
        Line integrals.
    target
        The same views with another detector in the same planes.
    views
        Indices in their order, for a progress bar; all views.

    Notes
    -----
    Bilinear, several times a pixel where the new pixels are larger; 0 beside the old detector.
    """
    from scipy.ndimage import map_coordinates

    out = np.zeros((target.views, *target.detector_shape), np.float32)
    rays = int(np.clip(np.ceil(max(_ratio(target, scan.geometry)) - 0.01), 1, _MOST_RAYS))
    for view in range(target.views) if views is None else views:
        where = _readings(scan.geometry, target, view, rays)
        found = map_coordinates(scan.values[view], where, order=1, mode="grid-constant")
        rows, cols = target.detector_shape
        out[view] = found.reshape(rows, rays, cols, rays).mean(axis=(1, 3))
    return out


def _isocentre(geometry: ConeBeamGeometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the isocentre's shadow falls (col, row), and its magnification, by view."""
    isocentre = np.linalg.inv(geometry.world_to_gantry)[:, 3]
    uvw = geometry.matrices @ isocentre
    if uvw[:, 2].min() <= 0:
        message = "The rotation axis does not lie between source and detector."
        raise GeometryError(message, hint="Check the scan's isocentre (world_to_gantry).")
    return uvw[:, :2] / uvw[:, 2:], 1.0 / uvw[:, 2]


def _ratio(target: ConeBeamGeometry, source: ConeBeamGeometry) -> list[float]:
    return [new / old for new, old in zip(target.pixel_mm, source.pixel_mm, strict=True)]


def _readings(
    source: ConeBeamGeometry, target: ConeBeamGeometry, view: int, rays: int
) -> NDArray[np.float64]:
    """Return (row, col) in ``source`` of each ray of each pixel of ``target``: [2, row, col]."""
    rows, cols = target.detector_shape
    fine = target.replace(
        u_mm=target.u_mm / rays, v_mm=target.v_mm / rays, detector_shape=(rows * rays, cols * rays)
    )
    matrix = source.matrices[view]
    uvw = fine.pixel_positions_mm(view) @ matrix[:, :3].T + matrix[:, 3]
    return np.asarray(np.moveaxis(uvw[..., 1::-1] / uvw[..., 2:], -1, 0))
