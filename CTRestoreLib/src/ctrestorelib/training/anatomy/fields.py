"""Random fields: smooth ones for shapes, band-limited ones for texture (layer: training)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.fft

Array = npt.NDArray[np.float32]


def smooth_field(rng: np.random.Generator, shape: Sequence[int], cell: Sequence[float]) -> Array:
    """Return a smooth random field of zero mean and unit variance.

    Random values on a coarse grid are interpolated by cubic B-splines whose weights are scaled so
    that every voxel has the same variance.

    Parameters
    ----------
    rng
        Where the coarse values come from.
    shape
        (k, j, i); a size may be 0.
    cell
        Size of a coarse cell along k, j, i, in voxels.

    Returns
    -------
    numpy.ndarray
        float32 ``[k, j, i]``.
    """
    planes, rows, columns = (
        _spline_weights(n, c, rng.random()) for n, c in zip(shape, cell, strict=True)
    )
    knots = (planes.shape[1], rows.shape[1], columns.shape[1])
    coarse = rng.standard_normal(knots, dtype=np.float32)
    coarse = np.tensordot(planes, coarse, axes=1)
    fine: Array = np.matmul(np.matmul(rows, coarse), columns.T)
    return fine


def _spline_weights(size: int, cell: float, phase: float) -> Array:
    """Return the ``[size, knots]`` cubic B-spline weights, each row of unit length."""
    place = np.arange(size, dtype=np.float32) / np.float32(cell) + np.float32(phase + 1.0)
    count = int(np.ceil(size / cell)) + 4
    away = np.abs(place[:, None] - np.arange(count, dtype=np.float32))
    near = 2 / 3 - away**2 * (1 - away / 2)
    weights = np.where(away < 1, near, np.clip(2 - away, 0, None) ** 3 / 6)
    unit: Array = (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
    return unit


def band_field(
    rng: np.random.Generator,
    shape: Sequence[int],
    spacing: Sequence[float],
    frequency: float,
    *,
    octaves: float = 0.7,
    axis: Sequence[float] = (0.0, 0.0, 1.0),
    stretch: float = 1.0,
) -> Array:
    """Return a random texture of one band of spatial frequencies, zero mean, unit variance.

    Parameters
    ----------
    rng
        Where the random spectrum comes from.
    shape
        (k, j, i), each at least 1.
    spacing
        (dx, dy, dz) in mm.
    frequency
        Centre of the band in line pairs per mm; at most 0.42 per pixel is used.
    octaves
        Standard deviation of the band, in octaves.
    axis, stretch
        Structures are ``stretch`` times as long along ``axis`` (x, y, z) as across it.

    Returns
    -------
    numpy.ndarray
        float32 ``[k, j, i]``.
    """
    planes = shape[0] + max(3, shape[0] // 3)  # the spectrum is periodic; more so hides it
    planes = scipy.fft.next_fast_len(planes)
    grid = (planes, *(scipy.fft.next_fast_len(n, real=True) for n in shape[1:]))
    band = _band(
        grid,
        spacing,
        min(frequency, 0.42 / spacing[0]),
        octaves=octaves,
        axis=axis,
        stretch=stretch,
    )
    spectrum = rng.standard_normal((*band.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    field: Array = scipy.fft.irfftn(spectrum * band, s=grid, workers=1)
    field = field[: shape[0], : shape[1], : shape[2]]
    return field / max(float(field.std()), 1e-12)


def _band(
    grid: Sequence[int],
    spacing: Sequence[float],
    frequency: float,
    *,
    octaves: float,
    axis: Sequence[float],
    stretch: float,
) -> Array:
    """Return the gain of each frequency of a half spectrum: a Gaussian over log frequency."""
    fz = np.fft.fftfreq(grid[0], spacing[2]).astype(np.float32)[:, None, None]
    fy = np.fft.fftfreq(grid[1], spacing[1]).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(grid[2], spacing[0]).astype(np.float32)
    unit = np.asarray(axis, np.float32) / np.float32(np.linalg.norm(axis))
    along = fx * unit[0] + fy * unit[1] + fz * unit[2]
    square = fx**2 + fy**2 + fz**2 + np.float32(stretch**2 - 1) * along**2
    square[0, 0, 0] = 1e-12
    away = np.log2(square / np.float32(frequency**2)) * np.float32(0.5 / octaves)
    # A density of modes that grows with f**2 would push the peak up; dividing by f undoes it.
    gain: Array = np.exp(-0.5 * away**2) / np.sqrt(square)
    return gain
