"""Which part of the detector, and how many views at once, an FDK works on (layer: recon)."""

from __future__ import annotations

import numpy as np

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.recon.obliquity import lateral

BLOCK_BYTES = 16 * 2**20
"""Filtered projections held at once."""

MAX_BLOCK_VIEWS = 32
"""More views at once would only make cancelling slow."""


def rows_needed(geometry: ConeBeamGeometry, grid: VolumeGeometry) -> slice:
    """Return the detector rows that some voxel of the grid is projected to.

    Raises
    ------
    GeometryError
        If there are none.
    """
    k, j, i = (n - 1 for n in grid.shape)
    ends = ((-0.5, i + 0.5), (-0.5, j + 0.5), (-0.5, k + 0.5))
    corners = grid.to_world([(a, b, c) for a in ends[0] for b in ends[1] for c in ends[2]])
    rows, cols = geometry.detector_shape
    depth = np.einsum("ni,ci->nc", geometry.matrices[:, 2, :3], corners)
    if (depth + geometry.matrices[:, 2, 3:]).min() <= 0:  # a source within the grid sees anything
        return slice(0, rows)
    pixel = geometry.project(corners)
    low, high = pixel.min(axis=1), pixel.max(axis=1)  # (view, 2) as (col, row)
    hit = (low[:, 0] <= cols - 0.5) & (high[:, 0] >= -0.5)
    hit &= (low[:, 1] <= rows - 0.5) & (high[:, 1] >= -0.5)
    if not hit.any():
        message = "The grid lies outside the beam: no view projects it onto the detector."
        hint = "Check origin and size of the grid; the rotation axis is the gantry's y axis."
        raise GeometryError(message, hint=hint)
    first = int(np.clip(np.floor(low[hit, 1].min()) - 1, 0, rows - 1))
    last = int(np.clip(np.ceil(high[hit, 1].max()) + 1, 0, rows - 1))
    return slice(first, last + 1)


def missing_columns(geometry: ConeBeamGeometry) -> tuple[int, int]:
    """Return how many columns are missing left and right for a detector centred on the axis."""
    cols = geometry.detector_shape[1]
    at = lateral(geometry, [-0.5, cols - 0.5]).mean(axis=0)
    reach = np.tan(at) if geometry.beam is Beam.CONE else at
    axis = cols * -reach[0] / (reach[1] - reach[0])  # where the axis falls, in columns
    lacking = int(np.ceil(abs(cols - 2 * axis) - 1e-6))
    return (lacking, 0) if axis < cols / 2 else (0, lacking)


def detector_part(
    geometry: ConeBeamGeometry, rows: slice, left: int = 0, right: int = 0
) -> ConeBeamGeometry:
    """Return the scan with some detector rows only, and with columns added on both sides."""
    height, cols = geometry.detector_shape
    down = (rows.start + rows.stop - height) / 2.0
    across = (right - left) / 2.0
    return geometry.replace(
        detector_centre_mm=geometry.detector_centre_mm
        + down * geometry.v_mm
        + across * geometry.u_mm,
        detector_shape=(rows.stop - rows.start, cols + left + right),
    )


def block_views(geometry: ConeBeamGeometry) -> int:
    """Return how many views are filtered before they are backprojected."""
    rows, cols = geometry.detector_shape
    return int(np.clip(BLOCK_BYTES // (4 * rows * cols), 1, min(MAX_BLOCK_VIEWS, geometry.views)))
