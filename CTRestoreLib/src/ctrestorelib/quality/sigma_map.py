"""Where in a volume the noise is how strong: a coarse grid, read slab by slab (layer: quality).

CT noise is strong behind dense bone and in the middle of the body, weak near the skin; its level
changes slowly. So it is kept on a grid of cells of some millimetres and interpolated on demand: a
map of a large scan takes kilobytes instead of as much memory as the scan.

The level of a cell is a robust deviation of what is left of the values after a second difference
in the slice and, where slices are thin, a difference of two slices. Both remove anatomy; what they
do to the noise itself is measured in the calm parts of soft tissue and taken back.

A single cell tells its level only within a factor of two or so, and fine anatomy adds to it. So
cells are not taken at their word: the map has the shape that the attenuation of the slices lets
expect (:mod:`~ctrestorelib.quality.noise_shape`), its level comes from all calm windows together,
and the cells may only bend it over several centimetres. Grey values tell no attenuation; there the
cells are smoothed a little and that is the map, as it is where attenuation explains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import PADDING_BELOW_HU, Volume
from ctrestorelib.quality.noise import hidden_share
from ctrestorelib.quality.noise_shape import noise_shape
from ctrestorelib.quality.sigma_cells import MeasuredCells, measured_cells
from ctrestorelib.quality.sigma_planes import (
    alone,
    are_repeating,
    divided,
    measured_plane,
    pooled_level,
)

Floats = NDArray[np.float32]
_Positions = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

CELL_MM = 8.0
_GREY_CELL = 24  # pixels: grey volumes may have voxels of any size, or of none stated
_MOST_PLANES = 24
_ENOUGH_PIXELS = 256  # rows and columns of a plane that tell its level
_STEP_MM = 2.5  # slices this far apart hold almost the same anatomy, and mostly their own noise
_SMOOTH_MM = 7.0  # with the cells themselves about 15 mm across
_DOUBT = (
    "The noise of this scan varies in another way than its attenuation lets expect (more than "
    "twofold). The noise map was smoothed from the measured places alone and is less certain."
)


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
    doubt
        A sentence if the noise does not vary as it should, so that cells were taken at their word.
    """

    levels: Floats
    positions: _Positions
    shape: tuple[int, int, int]
    unit: Unit
    method: str
    known: float
    doubt: str = ""

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
        return replace(self, levels=self.levels * np.float32(factor))

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
    measured = [measured_plane(volume, int(k), step, mask) for k in planes]
    if step and are_repeating(measured):
        step, measured = 0, [alone(p) for p in measured]
    rows, columns = (_middles(volume.shape[a], cell[a]) for a in (1, 2))
    positions = (np.asarray(planes + 0.5 * step, dtype=np.float64), rows, columns)
    gap_mm = dz * float(np.median(np.diff(planes))) if len(planes) > 1 else cell_mm
    found = measured_cells(measured, cell)
    how = f"differences of slices {step} apart" if step else "second differences in single slices"
    whole = SigmaMap(found.smooth(_SMOOTH_MM, (gap_mm, cell_mm)), positions, volume.shape,
                     volume.unit, how, found.known)  # fmt: skip
    if volume.unit == Unit.GREY or found.known == 0.0:
        return whole
    shape = _expected(volume, planes, cell, positions)
    bent = found.bent(shape, (gap_mm, cell_mm))
    if bent is None:
        return replace(whole, doubt=_DOUBT)
    level = _level(found, bent, positions)
    return replace(whole, levels=bent * np.float32(level), method=f"{how}, shape of attenuation")


def slice_step(volume: Volume) -> int:
    """Return how many slices apart two are subtracted; 0 where slices are too far apart for it."""
    step = max(1, round(_STEP_MM / volume.geometry.spacing_mm[2]))
    if volume.unit == Unit.GREY:
        step = 2  # voxels of micro-CT are about cubes
    thick = volume.unit != Unit.GREY and volume.geometry.spacing_mm[2] > 1.5 * _STEP_MM
    return 0 if thick or volume.shape[0] <= 2 * step else step


def _expected(
    volume: Volume, planes: NDArray[np.int64], cell: Sequence[int], positions: _Positions
) -> Floats:
    """Return the expected shape of the noise at the cells ``[k, j, i]``."""
    dx, dy, _ = volume.geometry.spacing_mm
    slices = [_attenuation(volume, int(k)) for k in planes]
    coarse = noise_shape(slices, (dy, dx), (max(1, cell[1] // 2), max(1, cell[2] // 2)))
    down, along = (_between(c, p) for c, p in zip(coarse.positions, positions[1:], strict=True))
    return np.asarray(down @ coarse.values @ along.T)


def _attenuation(volume: Volume, k: int) -> Floats:
    """Return slice ``k`` in 1/mm, what was not measured as air; noise in air stays around 0."""
    if volume.unit == Unit.PER_MM:
        return np.asarray(np.nan_to_num(volume.values[k], nan=0.0))
    values = np.nan_to_num(volume.values[k], nan=-1000.0)
    values = np.where(values < PADDING_BELOW_HU, np.float32(-1000.0), values)
    mu: Floats = (values + np.float32(1000.0)) * np.float32(MU_WATER_PER_MM / 1000.0)
    return mu


def _level(found: MeasuredCells, levels: Floats, positions: _Positions) -> float:
    """Return what relative ``levels`` must be multiplied with, told by all windows together."""
    size = found.measured[0].rest.shape
    every = max(1, min(size) // _ENOUGH_PIXELS)
    places = zip(positions[1:], size, strict=True)
    down, along = (_between(p, np.arange(0, n, every)) for p, n in places)
    pairs = zip(found.measured, levels, strict=True)
    even = [divided(p, down @ own @ along.T, every) for p, own in pairs]
    hidden = hidden_share([p.windows for p in found.measured], found.reference)
    return pooled_level(even, found.reference, hidden)


def _planes(slices: int, step: int, gap: int) -> NDArray[np.int64]:
    last = slices - 1 - step
    count = int(np.clip(round(last / gap) + 1, 1, _MOST_PLANES))
    if count == 1:
        return np.array([last // 2])
    return np.linspace(0, last, count).round().astype(np.int64)


def _middles(size: int, step: int) -> NDArray[np.float64]:
    starts = np.arange(0, size, step)
    return np.asarray(0.5 * (starts + np.minimum(starts + step, size) - 1.0))


def _between(positions: NDArray[np.float64], at: NDArray[Any]) -> Floats:
    """Return the matrix ``[at, position]`` of linear interpolation, constant beyond the ends."""
    out = np.zeros((len(at), len(positions)), dtype=np.float32)
    place = np.interp(at, positions, np.arange(len(positions)))
    low = np.minimum(place.astype(int), max(0, len(positions) - 2))
    rows = np.arange(len(at))
    out[rows, low] = 1.0 - (place - low)
    if len(positions) > 1:
        out[rows, low + 1] = place - low
    return out
