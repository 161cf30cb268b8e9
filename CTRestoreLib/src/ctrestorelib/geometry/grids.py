"""Finer and coarser voxel grids of the same space (layer: geometry; imports numpy only)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.field_of_view import default_grid

__all__ = ["block_mean", "default_grid", "refined", "refined_grid"]


def refined_grid(grid: VolumeGeometry, times: int) -> VolumeGeometry:
    """Return a grid with ``times`` as many voxels along each axis and the same outer faces."""
    matrix = np.array(grid.ijk_to_lps)
    matrix[:3, :3] /= times
    matrix[:3, 3] = grid.to_world([(1.0 / times - 1.0) / 2.0] * 3)
    k, j, i = (n * times for n in grid.shape)
    return VolumeGeometry((k, j, i), matrix)


def block_mean(volume: Volume, times: int) -> Volume:
    """Return the mean over blocks of ``times``^3 voxels: the inverse of refining.

    The volume's shape must be a multiple of ``times``.
    """
    k, j, i = (n // times for n in volume.shape)
    blocks = volume.values.reshape(k, times, j, times, i, times)
    matrix = np.array(volume.geometry.ijk_to_lps)
    matrix[:3, :3] *= times
    matrix[:3, 3] = volume.geometry.to_world([(times - 1) / 2.0] * 3)
    values = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return Volume(values, VolumeGeometry((k, j, i), matrix), volume.unit)


def refined(
    values: NDArray[np.float32], times: int, halo: tuple[int, int] = (0, 0)
) -> NDArray[np.float32]:
    """Interpolate ``values[k, j, i]`` to ``times`` as many voxels along each axis.

    Cubic convolution (doi:10.1109/TASSP.1981.1163711), exact for parabolas; the border voxels are
    repeated outwards.

    Parameters
    ----------
    values
        Shape (k, j, i).
    times
        Whole number; 1 returns the values.
    halo
        Slices at the low and high end of k that only serve the interpolation and are left out of
        the result; two on each side make slabs join without a seam.
    """
    if times == 1:
        return values[halo[0] : len(values) - halo[1]]
    out = np.asarray(values, dtype=np.float32)
    for axis in (2, 1, 0):
        out = _refined_axis(out, times, axis, halo if axis == 0 else (0, 0))
    return out


def _refined_axis(
    values: NDArray[np.float32], times: int, axis: int, halo: tuple[int, int]
) -> NDArray[np.float32]:
    size = values.shape[axis]
    fine = np.arange(halo[0] * times, (size - halo[1]) * times)
    position = (fine + 0.5) / times - 0.5
    base = np.floor(position).astype(np.intp)
    t = position - base
    shape = [1] * values.ndim
    shape[axis] = len(fine)
    taps = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    out: NDArray[np.float32] = np.float32(0) * np.take(values, np.zeros(len(fine), int), axis=axis)
    for offset, weight in enumerate(taps, start=-1):
        index = np.clip(base + offset, 0, size - 1)
        out += np.take(values, index, axis=axis) * weight.astype(np.float32).reshape(shape)
    return out
