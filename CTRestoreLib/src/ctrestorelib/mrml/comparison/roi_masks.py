"""The voxels inside a drawn box, turned as it may be (layer: mrml)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.mrml.regions import region_from_roi
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.transforms import RAS_FROM_LPS, array_of, to_world
from ctrestorelib.mrml.volumes import geometry_of

_ROUNDING_MM = 1e-6


def mask_from_roi(roi: Node, volume: Node) -> NDArray[np.bool_]:
    """Return which voxel centres of a volume lie inside a box, shape ``[k, j, i]``.

    Other than :func:`ctrestorelib.mrml.regions.region_from_roi` this follows a box that is turned
    against the volume, so that statistics never include what lies outside it.

    Parameters
    ----------
    roi
        A markups ROI, with or without a linear transform.
    volume
        A volume node, with or without a linear transform.

    Raises
    ------
    InputError
        If the box was not drawn, is no box, or holds no voxel centre.
    GeometryError
        If a transform warps space.
    """
    region = region_from_roi(roi, volume)
    mask = np.zeros(geometry_of(volume).shape, bool)
    part = tuple(slice(a, b) for a, b in region)
    mask[part] = _inside(roi, volume, region)
    if not mask.any():
        message = f"The region {roi.GetName()} holds no voxel of {volume.GetName()}."
        raise InputError(message, hint="Make the box larger than a voxel.")
    return mask


def _inside(roi: Node, volume: Node, region: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    """Return which voxels of a range (k, j, i) have their centre in the box."""
    box_to_world = to_world(roi) @ array_of(roi.GetObjectToNodeMatrix())
    ijk_to_world = to_world(volume) @ RAS_FROM_LPS @ geometry_of(volume).ijk_to_lps
    ijk_to_box = np.linalg.inv(box_to_world) @ ijk_to_world
    k, j, i = (np.arange(a, b, dtype=np.float64) for a, b in region)
    out = np.ones((len(k), len(j), len(i)), bool)
    for axis, half in enumerate(np.array(roi.GetSize()) / 2):
        di, dj, dk, start = ijk_to_box[axis]
        place = start + dk * k[:, None, None] + dj * j[:, None] + di * i
        out &= np.abs(place) <= half + _ROUNDING_MM
    return out
