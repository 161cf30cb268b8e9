"""Finer and coarser voxel grids that fill the same space (layer: geometry; numpy only).

References
----------
R. G. Keys, cubic convolution, doi:10.1109/TASSP.1981.1163711.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume, VolumeGeometry

Array = NDArray[np.float32]


def refined_grid(grid: VolumeGeometry, times: int) -> VolumeGeometry:
    """Return the grid that fills the same space with ``times`` as many voxels along each axis."""
    matrix = np.array(grid.ijk_to_lps)
    matrix[:3, :3] /= times
    matrix[:3, 3] = grid.to_world(np.full(3, (1 - times) / (2 * times)))
    k, j, i = (n * times for n in grid.shape)
    return VolumeGeometry((k, j, i), matrix)


def block_mean(volume: Volume, times: int) -> Volume:
    """Return the means of blocks of ``times``^3 voxels, on the grid that fills the same space.

    Voxels that do not fill a block at the end of an axis are left out.
    """
    k, j, i = (n // times for n in volume.shape)
    whole = volume.values[: k * times, : j * times, : i * times]
    blocks = whole.reshape(k, times, j, times, i, times)
    matrix = np.array(volume.geometry.ijk_to_lps)
    matrix[:3, :3] *= times
    matrix[:3, 3] = volume.geometry.to_world(np.full(3, (times - 1) / 2))
    means = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return Volume(means, VolumeGeometry((k, j, i), matrix), volume.unit)


def refined(values: Array, times: int, *, halo: tuple[int, int] = (0, 0)) -> Array:
    """Return ``values`` [k, j, i] interpolated to ``times`` as many voxels along each axis.

    The finer voxels fill the same space. Cubic convolution: exact for parabolas, and the finer
    voxels' mean nearly keeps the coarse value. At the border the outermost values go on.

    Parameters
    ----------
    halo
        Slices at the start and end of the first axis that only serve as neighbours.
    """
    if times == 1:
        return values[halo[0] : len(values) - halo[1]]
    out = _refined_along(values, 0, times, halo)
    return _refined_along(_refined_along(out, 1, times, (0, 0)), 2, times, (0, 0))


def _refined_along(values: Array, axis: int, times: int, halo: tuple[int, int]) -> Array:
    size = values.shape[axis] - sum(halo)
    missing = (max(0, 2 - halo[0]), max(0, 2 - halo[1]))
    padded = np.pad(values, [missing if a == axis else (0, 0) for a in range(3)], "edge")
    front = np.moveaxis(padded, axis, 0)[max(0, halo[0] - 2) :]
    out = np.empty((size * times, *front.shape[1:]), np.float32)
    for phase in range(times):
        shift = (phase + 0.5) / times - 0.5
        base = int(np.floor(shift))
        part = out[phase::times]
        part[...] = 0
        for tap, weight in enumerate(_keys(shift - base), start=base + 1):
            part += np.float32(weight) * front[tap : tap + size]
    return np.ascontiguousarray(np.moveaxis(out, 0, axis))


def _keys(t: float) -> tuple[float, float, float, float]:
    """Weights of the four neighbours at -1, 0, 1, 2 for a point at ``t`` in [0, 1)."""
    return (
        0.5 * (-(t**3) + 2 * t**2 - t),
        0.5 * (3 * t**3 - 5 * t**2 + 2),
        0.5 * (-3 * t**3 + 4 * t**2 + t),
        0.5 * (t**3 - t**2),
    )
