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
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.flatness import MATERIAL, FlatSlice, flat_slice
from ctrestorelib.quality.noise import hidden_share, most_frequent, second_difference

Floats = NDArray[np.float32]

CELL_MM = 8.0
_GREY_CELL = 24  # pixels: grey volumes may have voxels of any size, or of none stated
_MOST_PLANES = 24
_STEP_MM = 2.5  # slices this far apart hold almost the same anatomy, and mostly their own noise
_VETO = 3.0  # the level may well vary threefold over a slice
_BEST = ("soft_tissue", "fat")
# Places with structure of their own count only where nothing better is near.
_OTHER_TRUST = {"lung": 0.05, MATERIAL: 0.002, "bone": 0.002}
_ROUNDS, _MARGIN = 4, 1.1
_SMOOTH_MM = 7.0  # with the cells themselves about 15 mm across
_FLOOR = 0.05
_ALIKE = 0.85
_ENOUGH = 0.1  # share of a cell that must be calm
_CALM = 0.4  # windows this near the most frequent deviation hold noise and little else
_QUANTILE = 0.35  # of the absolute rest: what anatomy adds is mostly above


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
    if step and _repeating(measured):
        step, measured = 0, [_alone(p) for p in measured]
    rows, columns = (_middles(volume.shape[a], cell[a]) for a in (1, 2))
    positions = (np.asarray(planes + 0.5 * step, dtype=np.float64), rows, columns)
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
    """One measured slice: its windows, and what the differences left of it, all ``[j, i]``.

    ``rest`` tells levels from place to place, ``sd`` (the local deviation of the slice, or of the
    difference of two) what a level is, and ``pair`` how much noise the two slices share.
    """

    windows: FlatSlice
    rest: Floats
    sd: Floats
    pair: tuple[Floats, Floats] | None


def _measure(volume: Volume, k: int, step: int, mask: NDArray[np.bool_] | None) -> _Plane:
    windows = flat_slice(volume, k, mask, veto=_VETO)
    here = np.nan_to_num(volume.values[k])
    fine = second_difference(here)
    if not step:
        return _Plane(windows, np.abs(fine), windows.sd, None)
    there = np.nan_to_num(volume.values[k + step])
    other = second_difference(there)
    sd = _local_sd(here - there, windows.window)
    return _Plane(windows, np.abs(fine - other), sd, (fine, other))


def _repeating(measured: Sequence[_Plane]) -> bool:
    """Whether slices were made of others, so that their difference holds too little noise."""
    alike = [_shared([p], [p.windows.any_flat()]) > _ALIKE for p in measured if p.windows.flat]
    return bool(alike) and float(np.mean(alike)) > 0.25


def _alone(plane: _Plane) -> _Plane:
    fine = plane.pair[0] if plane.pair else plane.rest
    return replace(plane, rest=np.abs(fine), sd=plane.windows.sd, pair=None)


def _local_sd(values: Floats, window: int) -> Floats:
    from scipy.ndimage import uniform_filter

    mean = uniform_filter(values, window)
    variance = uniform_filter(values * values, window) - mean * mean
    return np.asarray(np.sqrt(np.maximum(variance, 0.0) * (window**2 / (window**2 - 1.0))))


def _planes(slices: int, step: int, gap: int) -> NDArray[np.int64]:
    last = slices - 1 - step
    count = int(np.clip(round(last / gap) + 1, 1, _MOST_PLANES))
    if count == 1:
        return np.array([last // 2])
    return np.linspace(0, last, count).round().astype(np.int64)


def _middles(size: int, step: int) -> NDArray[np.float64]:
    starts = np.arange(0, size, step)
    return np.asarray(0.5 * (starts + np.minimum(starts + step, size) - 1.0))


def _levels(
    measured: Sequence[_Plane], cell: Sequence[int], reach: tuple[float, ...]
) -> tuple[Floats, float]:
    """Return smoothed levels of all cells ``[k, j, i]``, and the share that was measured."""
    reference, common = _reference([p.windows for p in measured])
    measured = [_without_edges(p, _VETO * common) for p in measured]
    names = {n for p in measured for n in p.windows.flat}
    best = tuple(n for n in _BEST if n in names)
    scale = _scale([p for p in measured if reference in p.windows.flat], reference, cell)
    rows, columns = (-(-n // c) for n, c in zip(measured[0].rest.shape, cell[1:], strict=True))
    grid = (len(measured), rows, columns)
    found, trust = [np.zeros(grid)], [np.zeros(grid)]
    for group, weight in ((best, 1.0), *(((n,), t) for n, t in _OTHER_TRUST.items())):
        if names & set(group):
            level = scale * np.stack([_cell_rest(p, group, cell) for p in measured])
            known = np.isfinite(level) & (level > 0)
            found.append(np.where(known, level, 0.0))
            trust.append(weight * known)
    have = np.any(np.stack(trust) > 0, axis=0)
    if not have.any():
        return np.zeros(grid, np.float32), 0.0
    return _smooth(np.stack(found), np.stack(trust), reach), float(have.mean())


def _smooth(
    found: NDArray[np.float64], trust: NDArray[np.float64], reach: tuple[float, ...]
) -> Floats:
    """Blend the classes ``[class, k, j, i]`` into one smooth map, doubting what sticks out.

    Anatomy only ever adds to a level: a cell well above its surroundings has seen some.
    """
    weight = trust
    for _ in range(_ROUNDS):
        levels = _blend((found * weight).sum(axis=0), weight.sum(axis=0), reach)
        doubt = np.minimum(1.0, _MARGIN * levels / np.maximum(found, 1e-12)) ** 4
        weight = trust * doubt
    floor = _FLOOR * float(np.median(levels))
    return np.maximum(levels, floor).astype(np.float32)


def _blend(
    total: NDArray[np.float64], weight: NDArray[np.float64], reach: tuple[float, ...]
) -> NDArray[np.float64]:
    """Normalised convolution: a wide one fills far gaps, the narrow one rules where it can."""
    from scipy.ndimage import gaussian_filter

    above, below = np.zeros_like(total), np.zeros_like(total)
    for wide, share in ((1.0, 1.0), (4.0, 1e-3)):
        spread = [wide * r for r in reach]
        above += share * gaussian_filter(total, spread, mode="nearest")
        below += share * gaussian_filter(weight, spread, mode="nearest")
    middle = float(total.sum() / weight.sum())
    return (above + 1e-12 * middle) / (below + 1e-12)


def _reference(windows: Sequence[FlatSlice]) -> tuple[str, float]:
    """Return the class whose windows tell the level best, and their most frequent deviation.

    That is the quieter one of soft tissue and fat: where a scan has none of a tissue, the rims of
    other things pass for it.
    """
    for names in (_BEST, (MATERIAL,), ("lung",), ("bone",)):
        found = []
        for name in names:
            own = [w.sd[w.flat[name]] for w in windows if name in w.flat]
            if own and (common := most_frequent(np.concatenate(own))) > 0:
                found.append((common, name))
        if found:
            common, name = min(found)
            return name, common
    return "", 0.0


def _without_edges(plane: _Plane, limit: float) -> _Plane:
    """Return the plane without windows whose deviation is too large for noise."""
    flat = {n: f & (plane.windows.sd <= limit) for n, f in plane.windows.flat.items()}
    windows = replace(plane.windows, flat={n: f for n, f in flat.items() if f.any()})
    return replace(plane, windows=windows)


def _scale(inside: Sequence[_Plane], name: str, cell: Sequence[int]) -> float:
    """Return noise level over rest: the median over calm cells of the class ``name``."""
    if not inside:
        return 0.0
    common = most_frequent(np.concatenate([p.sd[p.windows.flat[name]] for p in inside]))
    if common == 0:
        return 0.0
    calm = [p.windows.flat[name] & (np.abs(p.sd / common - 1.0) <= _CALM) for p in inside]
    pairs = zip(inside, calm, strict=True)
    ratios = np.concatenate([_ratios(p, c, cell[1], cell[2]) for p, c in pairs])
    if not ratios.size:
        return 0.0
    hidden = hidden_share([p.windows for p in inside], name)
    return float(np.median(ratios) / np.sqrt((1.0 - hidden) * _times(inside, calm)))


def _ratios(
    plane: _Plane, where: NDArray[np.bool_], height: int, width: int
) -> NDArray[np.float64]:
    """Return deviation over rest of the cells of a slice that are calm enough."""
    cells = _Cells(where, height, width)
    rest = cells.quantiles(plane.rest)
    return np.sqrt(cells.means(plane.sd.astype(np.float64) ** 2))[rest > 0] / rest[rest > 0]


def _times(inside: Sequence[_Plane], calm: Sequence[NDArray[np.bool_]]) -> float:
    """Return how often ``sd`` holds the noise's variance: 2 (1 - correlation) for two slices."""
    if any(p.pair is None for p in inside):
        return 1.0
    return 2.0 * (1.0 - min(_shared(inside, calm), _ALIKE))


def _shared(planes: Sequence[_Plane], where: Sequence[NDArray[np.bool_]]) -> float:
    """Return the correlation of the fine part of the two slices of each plane."""
    pairs = [(p.pair, w) for p, w in zip(planes, where, strict=True) if p.pair is not None]
    a, b = (np.concatenate([pair[n][w] for pair, w in pairs]).astype(float) for n in (0, 1))
    power = float(a @ a + b @ b)
    return 2.0 * float(a @ b) / power if power > 0 else 0.0


class _Cells:
    """The cells of a slice that hold enough of the pixels ``where`` ``[j, i]``."""

    def __init__(self, where: NDArray[np.bool_], height: int, width: int) -> None:
        self.shape = tuple(-(-n // c) for n, c in zip(where.shape, (height, width), strict=True))
        self._pixels = np.nonzero(where)
        j, i = self._pixels
        self._cell = (j // height) * self.shape[1] + i // width
        self._count = np.bincount(self._cell, minlength=self.shape[0] * self.shape[1])
        self.enough = np.flatnonzero(self._count >= _ENOUGH * height * width)

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of each cell that has enough."""
        total = np.bincount(self._cell, values[self._pixels], minlength=self._count.size)
        return np.asarray(total[self.enough] / self._count[self.enough])

    def quantiles(self, rest: Floats) -> NDArray[np.float64]:
        """Return the quantile of ``rest`` in each cell that has enough."""
        values = rest[self._pixels].astype(np.float64)
        top = 1.0001 * float(values.max(initial=0.0)) or 1.0
        # One plain sort of cell number plus value is much faster than an indirect sort by both.
        ordered = np.sort(self._cell + values / top)
        count = self._count[self.enough]
        at = np.cumsum(self._count)[self.enough] - count
        at += (_QUANTILE * (count - 1)).round().astype(int)
        return np.asarray((ordered[at] - self.enough) * top)

    def spread(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``[cell j, cell i]`` with the values of those cells, NaN elsewhere."""
        out = np.full(self._count.size, np.nan)
        out[self.enough] = values
        return out.reshape(self.shape)


def _cell_rest(plane: _Plane, names: tuple[str, ...], cell: Sequence[int]) -> NDArray[np.float64]:
    """Return the rest of the flat windows per cell ``[j, i]``; NaN where there are too few."""
    cells = _Cells(plane.windows.any_flat(names), cell[1], cell[2])
    return cells.spread(cells.quantiles(plane.rest))


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
