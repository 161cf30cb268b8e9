"""The same scan and box with larger voxels and pixels, and values from one grid to another.

Layer: recon. Grids here always fill the same box, with voxel ``i`` of ``n`` centred at
``(i + 0.5) / n`` of its edge, so that any number of voxels fits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.recon.detector import detector_part
from ctrestorelib.restorer.protocol import Inputs

Floats = NDArray[np.float32]


def coarse_shape(shape: tuple[int, int, int], most: int) -> tuple[int, int, int]:
    """Return a shape of equal proportions whose longest axis has at most ``most`` voxels."""
    times = max(1.0, max(shape) / most)
    k, j, i = (max(1, round(n / times)) for n in shape)
    return k, j, i


def grid_of_shape(grid: VolumeGeometry, shape: tuple[int, int, int]) -> VolumeGeometry:
    """Return the grid of ``shape`` (k, j, i) that fills the same box."""
    scale = [n / m for n, m in zip(reversed(grid.shape), reversed(shape), strict=True)]
    matrix = np.array(grid.ijk_to_lps)
    matrix[:3, :3] = matrix[:3, :3] * scale
    matrix[:3, 3] = grid.to_world([(s - 1.0) / 2.0 for s in scale])
    return VolumeGeometry(shape, matrix)


def binned_scan(scan: ProjectionSet, rows: int, cols: int) -> ProjectionSet:
    """Return the scan with pixels of ``rows`` x ``cols`` of its pixels; line integrals.

    Line integrals are averaged; the dose per pixel grows as the pixels do. Rows and columns that do
    not fill a pixel are left out evenly on both sides.
    """
    scan = scan.to_line_integrals()
    if rows == cols == 1:
        return scan
    high, wide = scan.values.shape[1] // rows, scan.values.shape[2] // cols
    top = (scan.values.shape[1] - high * rows) // 2
    left = (scan.values.shape[2] - wide * cols) // 2
    cut = scan.values[:, top : top + high * rows, left : left + wide * cols]
    blocks = cut.reshape(len(cut), high, rows, wide, cols)
    area = rows * cols
    return ProjectionSet(
        blocks.mean(axis=(2, 4), dtype=np.float32),
        _binned_geometry(scan.geometry, (top, high, rows), (left, wide, cols)),
        ProjectionKind.LINE_INTEGRAL,
        None if scan.i0 is None else scan.i0 * area,
        scan.electronic_sd * area**0.5,
    )


def bins_for(geometry: ConeBeamGeometry, grid: VolumeGeometry) -> tuple[int, int]:
    """Return how many rows and columns make a pixel about as large as a voxel's shadow.

    It is at most a fifth larger: coarser pixels would lose what the grid can show.
    """
    shadow = min(grid.spacing_mm) * _magnification(geometry)
    found = []
    for pixel, count in zip(geometry.pixel_mm, geometry.detector_shape, strict=True):
        found.append(int(np.clip(shadow / pixel + 0.35, 1, max(1, count // 8))))
    return found[0], found[1]


def coarser(inputs: Inputs, shape: tuple[int, int, int]) -> Inputs:
    """Return the inputs of a reconstruction for a grid of ``shape`` in the same box."""
    scan, grid = inputs.require_scan()
    coarse = grid_of_shape(grid, shape)
    mask = inputs.mask
    if mask is not None and mask.shape == grid.shape != shape:
        mask = resized(mask.astype(np.float32), shape) > 1e-3
    binned = binned_scan(scan, *bins_for(scan.geometry, coarse))
    return replace(inputs, projections=binned, grid=coarse, mask=mask)


def resized(values: Floats, shape: tuple[int, int, int]) -> Floats:
    """Return values ``[k, j, i]`` on the grid of ``shape`` in the same box.

    Finer: linear interpolation, the border going on; coarser: means over the area of each voxel.
    """
    out = values
    for axis, size in enumerate(shape):
        out = _resized_along(out, axis, size)
    return np.ascontiguousarray(out, dtype=np.float32)


def _resized_along(values: Floats, axis: int, size: int) -> Floats:
    before = values.shape[axis]
    if size == before:
        return values
    if size < before:
        return _means_along(values, axis, size)
    at = np.clip((np.arange(size) + 0.5) * before / size - 0.5, 0.0, before - 1.0)
    low = np.minimum(at.astype(np.int64), max(before - 2, 0))
    high = np.minimum(low + 1, before - 1)
    shape = [1, 1, 1]
    shape[axis] = size
    t = (at - low).astype(np.float32).reshape(shape)
    out = np.take(values, high, axis)
    first = np.take(values, low, axis)
    out -= first
    out *= t
    out += first
    return np.asarray(out)


def _means_along(values: Floats, axis: int, size: int) -> Floats:
    """Return means between the edges ``n before / size``, from differences of the running sum."""
    before = values.shape[axis]
    total = np.cumsum(np.moveaxis(values, axis, 0), axis=0, dtype=np.float64)
    total = np.concatenate([np.zeros_like(total[:1]), total])
    edges = np.arange(size + 1) * before / size
    low = np.minimum(edges.astype(np.int64), before - 1)
    t = (edges - low).reshape(-1, *([1] * (total.ndim - 1)))
    at = total[low] * (1.0 - t) + total[low + 1] * t
    means = np.diff(at, axis=0) * (size / before)
    return np.asarray(np.moveaxis(means, 0, axis), dtype=np.float32)


def _magnification(geometry: ConeBeamGeometry) -> float:
    if geometry.beam is Beam.PARALLEL:
        return 1.0
    return float((geometry.sdd_mm / np.maximum(geometry.sod_mm, 1e-6)).mean())


def _binned_geometry(
    geometry: ConeBeamGeometry, rows: tuple[int, int, int], cols: tuple[int, int, int]
) -> ConeBeamGeometry:
    (top, high, per_row), (left, wide, per_col) = rows, cols
    right = geometry.detector_shape[1] - left - wide * per_col
    part = detector_part(geometry, slice(top, top + high * per_row), -left, -right)
    return part.replace(
        u_mm=part.u_mm * per_col, v_mm=part.v_mm * per_row, detector_shape=(high, wide)
    )
