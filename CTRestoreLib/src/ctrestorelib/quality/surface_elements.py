"""Small pieces of a mask's surface with position and area (layer: quality; numpy only).

The boundary of a voxel mask runs between eight neighbouring voxel centres. Each such cell that
holds both inside and outside corners carries one surface element: where the boundary crosses the
cell, and how large it is there. Area matters: with thick slices a flat top has many more cells
per square centimetre than a side wall, and a plain mean over cells would listen to the top only.

Surface elements with area are the idea of Nikolov et al. 2018, doi:10.48550/arXiv.1809.04430.
There areas come from a table of triangles; here they follow from the crossed edges, whose sum is
the exact projection of the surface on each axis. Flat walls along the grid are exact; on planes
of any direction the area came out 6 % (cubic voxels) to 17 % (slices four times as thick) too
large, where triangles gave 27 % and 36 %. Positions go through the full affine, so that oblique
and sheared grids need no special case.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.volume import VolumeGeometry

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

_CORNERS = np.array([(c & 1, c >> 1 & 1, c >> 2 & 1) for c in range(8)], dtype=np.float64)
"""Offsets (i, j, k) of the eight corners of a cell; bit 0 is i, bit 1 is j, bit 2 is k."""


@dataclass(frozen=True)
class SurfaceElements:
    """The surface of a mask in pieces.

    Parameters
    ----------
    points_lps_mm
        Centre of each element, shape ``(n, 3)``.
    area_mm2
        Area of each element, shape ``(n,)``.
    """

    points_lps_mm: Floats
    area_mm2: Floats

    def __len__(self) -> int:
        """Return the number of elements."""
        return len(self.area_mm2)

    def within(self, geometry: VolumeGeometry) -> SurfaceElements:
        """Return the elements that lie between the voxel centres of another grid."""
        ijk = self.points_lps_mm @ geometry.lps_to_ijk[:3, :3].T + geometry.lps_to_ijk[:3, 3]
        last = np.array(geometry.shape[::-1]) - 1
        keep = ((ijk >= -1e-6) & (ijk <= last + 1e-6)).all(axis=1)
        return SurfaceElements(self.points_lps_mm[keep], self.area_mm2[keep])


def surface_elements(mask: Mask, geometry: VolumeGeometry) -> SurfaceElements:
    """Return the surface elements of a mask ``[k, j, i]``.

    Where the mask runs out of the image there is no element: the cut is no surface of the object.

    Raises
    ------
    GeometryError
        If mask and geometry differ in shape.
    """
    if mask.shape != geometry.shape:
        message = f"The mask has shape {mask.shape}, its grid {geometry.shape}."
        raise GeometryError(message)
    box = bounding_box(mask, margin=1)
    if box is None or min(s.stop - s.start for s in box) < 2:
        return SurfaceElements(np.empty((0, 3)), np.empty(0))
    code = _corner_code(mask[box])
    where = np.flatnonzero((code != 0) & (code != 255))
    kinds = code.ravel()[where]
    area, offset = _element_of_code(geometry.ijk_to_lps[:3, :3].tobytes())
    kji = np.unravel_index(where, code.shape)
    corner = [n + s.start for n, s in zip(kji[::-1], box[::-1], strict=True)]
    ijk = np.stack(corner, axis=1) + offset[kinds]
    return SurfaceElements(geometry.to_world(ijk), area[kinds])


def bounding_box(mask: Mask, *, margin: int = 0) -> tuple[slice, slice, slice] | None:
    """Return the smallest box around a mask, widened but kept in the grid; None if it is empty."""
    slices = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(used):
            return None
        start, stop = max(0, used[0] - margin), min(mask.shape[axis], used[-1] + 1 + margin)
        slices.append(slice(int(start), int(stop)))
    k, j, i = slices
    return k, j, i


def _corner_code(mask: Mask) -> NDArray[np.uint8]:
    """Return for every cell which of its corners are inside, as eight bits."""
    bits = np.ascontiguousarray(mask).view(np.uint8)
    k, j, i = (n - 1 for n in mask.shape)
    code = np.zeros((k, j, i), dtype=np.uint8)
    for corner in range(8):
        x, y, z = corner & 1, corner >> 1 & 1, corner >> 2 & 1
        code |= bits[z : z + k, y : y + j, x : x + i] << corner
    return code


@lru_cache(maxsize=16)
def _element_of_code(axes: bytes) -> tuple[Floats, Floats]:
    """Return area in mm^2 ``(256,)`` and centre as an offset in voxels ``(256, 3)``.

    ``axes`` holds the 3x3 matrix from voxel steps to millimetres.
    """
    to_mm = np.frombuffer(axes, dtype=np.float64).reshape(3, 3)
    normal_to_mm2 = np.linalg.det(to_mm) * np.linalg.inv(to_mm).T
    area, centre = np.zeros(256), np.full((256, 3), 0.5)
    for code in range(1, 255):
        normal, centre[code] = _crossing(code)
        area[code] = np.linalg.norm(normal_to_mm2 @ normal)
    return area, centre


def _crossing(code: int) -> tuple[Floats, Floats]:
    """Return how the boundary crosses a cell: its normal times area, and its centre, in voxels.

    Each edge between an inside and an outside corner stands for a quarter of a voxel face.
    """
    normal, middles = np.zeros(3), []
    for axis in range(3):
        steps = [(low, low | 1 << axis) for low in range(8) if not low >> axis & 1]
        signs = np.array([(code >> low & 1) - (code >> high & 1) for low, high in steps])
        # The sides of a thin sheet face each other; they must add up, not cancel.
        normal[axis] = np.abs(signs).sum() / 4 * (1 if signs.sum() >= 0 else -1)
        middles += [_CORNERS[list(steps[n])].mean(axis=0) for n in np.flatnonzero(signs)]
    return normal, np.mean(middles, axis=0)
