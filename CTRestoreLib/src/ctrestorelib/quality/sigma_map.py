"""Where in a volume the noise is how strong: a coarse grid, read slab by slab (layer: quality).

CT noise is strong behind dense bone and in the middle of the body, weak near the skin; its level
changes slowly. So it is kept on a grid of cells of some millimetres and interpolated on demand: a
map of a large scan takes kilobytes instead of as much memory as the scan.

The level of a cell is a robust deviation of what is left of the values after a second difference
in the slice and, where slices are thin, a difference of two slices. Both remove anatomy; what they
do to the noise itself is measured in the calm parts of soft tissue and taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.flatness import MATERIAL, FlatSlice, flat_slice
from ctrestorelib.quality.noise import hidden_share, second_difference

Floats = NDArray[np.float32]

CELL_MM = 8.0
_GREY_CELL = 24  # pixels: grey volumes may have voxels of any size, or of none stated
_MOST_PLANES = 24
_STEP_MM = 2.5  # slices this far apart hold almost the same anatomy, and mostly their own noise
_VETO = 3.0  # the level may well vary threefold over a slice
_BEST, _OTHER = ("soft_tissue", "fat"), ("lung", "bone", MATERIAL)
_OTHER_TRUST = 0.05  # places with structure of their own count where nothing better is near
_SMOOTH_MM = 7.0  # with the cells themselves about 15 mm across
_FLOOR = 0.05


@dataclass(frozen=True)
class SigmaMap:
    """The noise level of every voxel of a volume, interpolated when asked for.

    Parameters
    ----------
    levels
        Level at the middle of each cell, ``[cell k, cell j, cell i]``, in ``unit``.
    positions
        Per axis (k, j, i): voxel index of the middle of each cell, rising.
    shape
        Shape ``[k, j, i]`` of the volume.
    unit
        Unit of the levels: the volume's.
    method
        How it was measured, in words.
    known
        Share of the cells with a measurement of their own; the others take their neighbours'.
    """

    levels: Floats
    positions: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
    shape: tuple[int, int, int]
    unit: Unit
    method: str
    known: float

    @property
    def typical(self) -> float:
        """Median level of the cells; 0 for a volume without noise, such as a constant one."""
        return float(np.median(self.levels))

    def slab(self, first: int, last: int) -> Floats:
        """Return the levels of slices ``first..last`` (``last`` excluded), ``[n, j, i]``.

        Every value is positive unless :attr:`typical` is 0.

        Raises
        ------
        UsageError
            If there are no such slices.
        """
        if not 0 <= first < last <= self.shape[0]:
            message = f"Slices {first} to {last} were asked for; there are {self.shape[0]}."
            raise UsageError(message)
        along_k = _between(self.positions[0], np.arange(first, last))
        rows = _between(self.positions[1], np.arange(self.shape[1]))
        columns = _between(self.positions[2], np.arange(self.shape[2])).T
        out = np.empty((last - first, *self.shape[1:]), dtype=np.float32)
        for into, weights in zip(out, along_k, strict=True):
            np.matmul(rows @ np.tensordot(weights, self.levels, axes=1), columns, out=into)
        return out

    def slice(self, k: int) -> Floats:
        """Return the levels of slice ``k``, ``[j, i]``."""
        plane: Floats = self.slab(k, k + 1)[0]
        return plane

    def scaled(self, factor: float) -> SigmaMap:
        """Return the map with every level multiplied by a positive ``factor``."""
        if not factor > 0:
            message = f"A noise map is scaled by a positive factor; got {factor:g}."
            raise UsageError(message)
        return SigmaMap(self.levels * np.float32(factor), self.positions, self.shape, self.unit,
                        self.method, self.known)  # fmt: skip

    def whole(self, volume: Volume) -> Volume:
        """Return the map as a volume on the grid of ``volume``, to be looked at."""
        if volume.shape != self.shape:
            message = f"The map is of a volume of shape {self.shape}; got one of {volume.shape}."
            raise GeometryError(message)
        return volume.with_values(self.slab(0, self.shape[0]))


def sigma_map(
    volume: Volume, mask: NDArray[np.bool_] | None = None, cell_mm: float = CELL_MM
) -> SigmaMap:
    """Measure the local noise level of a volume in up to 24 of its slices.

    Parameters
    ----------
    volume
        Any unit. HU and 1/mm are measured in tissue, soft tissue and fat above all; grey values
        in whatever is calm. Scanner padding and background are left out.
    mask
        Array ``[k, j, i]``: only windows wholly inside count.
    cell_mm
        Size of the cells; grey volumes use at most 24 voxels.

    Raises
    ------
    GeometryError
        If the mask has another shape.
    """
    if mask is not None and mask.shape != volume.shape:
        message = f"The mask has shape {mask.shape}, the volume {volume.shape}."
        raise GeometryError(message)
    dx, dy, dz = volume.geometry.spacing_mm
    cell = [max(1, round(cell_mm / d)) for d in (dz, dy, dx)]
    if volume.unit == Unit.GREY:
        cell = [min(c, _GREY_CELL) for c in cell]
    step = slice_step(volume)
    planes = _planes(volume.shape[0], step, cell[0])
    measured = [_measure(volume, int(k), step, mask) for k in planes]
    positions = (planes + 0.5 * step, *(_middles(volume.shape[a], cell[a]) for a in (1, 2)))
    gap_mm = dz * float(np.median(np.diff(planes))) if len(planes) > 1 else cell_mm
    levels, known = _levels(measured, cell, (_SMOOTH_MM / gap_mm, *2 * (_SMOOTH_MM / cell_mm,)))
    how = f"differences of slices {step} apart" if step else "second differences in single slices"
    return SigmaMap(levels, positions, volume.shape, volume.unit, how, known)


def slice_step(volume: Volume) -> int:
    """Return how many slices apart two are subtracted; 0 where slices are too far apart for it."""
    step = max(1, round(_STEP_MM / volume.geometry.spacing_mm[2]))
    if volume.unit == Unit.GREY:
        step = 2  # voxels of micro-CT are about cubes
    thick = volume.unit != Unit.GREY and volume.geometry.spacing_mm[2] > 1.5 * _STEP_MM
    return 0 if thick or volume.shape[0] <= 2 * step else step


@dataclass(frozen=True)
class _Plane:
    """One measured slice: its windows, and what the differences left of it ``[j, i]``."""

    windows: FlatSlice
    rest: Floats


def _measure(volume: Volume, k: int, step: int, mask: NDArray[np.bool_] | None) -> _Plane:
    values = volume.values[k].astype(np.float32)
    if step:
        values = values - volume.values[k + step]
    return _Plane(flat_slice(volume, k, mask, veto=_VETO), np.abs(second_difference(values)))


def _planes(slices: int, step: int, gap: int) -> NDArray[np.int64]:
    last = slices - 1 - step
    count = int(np.clip(round(last / gap) + 1, 1, _MOST_PLANES))
    if count == 1:
        return np.array([last // 2])
    return np.linspace(0, last, count).round().astype(np.int64)


def _middles(size: int, step: int) -> NDArray[np.float64]:
    starts = np.arange(0, size, step)
    return 0.5 * (starts + np.minimum(starts + step, size) - 1.0)


def _levels(
    measured: Sequence[_Plane], cell: Sequence[int], reach: tuple[float, ...]
) -> tuple[Floats, float]:
    """Return smoothed levels of all cells ``[k, j, i]``, and the share that was measured."""
    from scipy.ndimage import gaussian_filter

    best = tuple(n for n in _BEST if any(n in p.windows.flat for p in measured))
    scale = _scale(measured, best)
    total: NDArray[np.float64] = np.zeros(())
    weight: NDArray[np.float64] = np.zeros(())
    have = np.zeros(1, dtype=bool)
    for names, trust in ((best, 1.0), (_OTHER, _OTHER_TRUST)):
        if not names:
            continue
        found = scale * np.stack([_cells(p, names, cell[1], cell[2]) for p in measured])
        known = np.isfinite(found) & (found > 0)
        filled = np.where(known, found, 0.0)
        have = have | known
        # Normalised convolution: a wide one fills far gaps, the narrow one rules where it can.
        for wide, share in ((1.0, 1.0), (4.0, 1e-3)):
            spread = [wide * r for r in reach]
            total = total + trust * share * gaussian_filter(filled, spread, mode="nearest")
            weight = weight + trust * share * gaussian_filter(
                known.astype(float), spread, mode="nearest"
            )
    if not have.any():
        return np.zeros(have.shape if have.ndim == 3 else (1, 1, 1), np.float32), 0.0
    middle = float(np.median((total / np.maximum(weight, 1e-12))[have]))
    levels = (total + 1e-9 * middle) / (weight + 1e-9)
    return np.maximum(levels, _FLOOR * middle).astype(np.float32), float(have.mean())


def _scale(measured: Sequence[_Plane], best: tuple[str, ...]) -> float:
    """Return noise level over median rest, in the calm windows of the best class there is."""
    for name in (*best, MATERIAL, *_OTHER):
        inside = [p for p in measured if name in p.windows.flat]
        if not inside:
            continue
        sd = np.concatenate([p.windows.sd[p.windows.flat[name]] for p in inside])
        rest = np.concatenate([p.rest[p.windows.flat[name]] for p in inside])
        calm = sd <= np.median(sd)
        if np.median(rest[calm]) > 0:
            hidden = hidden_share([p.windows for p in inside], name)
            level = np.sqrt((sd[calm].astype(float) ** 2).mean() / (1.0 - hidden))
            return float(level / np.median(rest[calm]))
    return 0.0


def _cells(plane: _Plane, names: tuple[str, ...], height: int, width: int) -> NDArray[np.float64]:
    """Median rest of the flat windows per cell ``[j, i]``; NaN where there are too few."""
    from scipy.ndimage import median

    shape = plane.rest.shape
    rows, cols = (-(-n // c) for n, c in zip(shape, (height, width), strict=True))
    j, i = np.nonzero(plane.windows.any_flat(names))
    cell = (j // height) * cols + i // width
    enough = np.flatnonzero(np.bincount(cell, minlength=rows * cols) >= height * width / 10)
    out = np.full(rows * cols, np.nan)
    if enough.size:
        out[enough] = median(plane.rest[j, i], cell, enough)
    return out.reshape(rows, cols)


def _between(positions: NDArray[np.float64], at: NDArray[np.int64]) -> Floats:
    """Return the matrix ``[at, position]`` of linear interpolation, constant beyond the ends."""
    out = np.zeros((len(at), len(positions)), dtype=np.float32)
    place = np.interp(at, positions, np.arange(len(positions)))
    low = np.minimum(place.astype(int), max(0, len(positions) - 2))
    rows = np.arange(len(at))
    out[rows, low] = 1.0 - (place - low)
    if len(positions) > 1:
        out[rows, low + 1] = place - low
    return out
