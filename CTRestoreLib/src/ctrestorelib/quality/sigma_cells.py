"""Noise levels of cells of some millimetres, and how they bend a shape (layer: quality).

Anatomy only ever adds to a level, so cells that stick out of their surroundings are doubted; and
a cell in fine anatomy tells its level only within a factor of two, so where cells scatter much they
only bend a shape that is expected anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.quality.flatness import MATERIAL
from ctrestorelib.quality.noise import hidden_share
from ctrestorelib.quality.sigma_planes import (
    BEST,
    VETO,
    Plane,
    calm_windows,
    reference_class,
    times_counted,
    without_edges,
)

Floats = NDArray[np.float32]

# Places with structure of their own count only where nothing better is near.
_OTHER_TRUST = {"lung": 0.05, MATERIAL: 0.002, "bone": 0.002}
_ROUNDS, _MARGIN = 4, 1.1
_AROUND_MM = 14.0  # surroundings that cells scatter about
_BEND_MM = (7.0, 60.0)  # over how much cells are averaged that bend the expected shape
_SCATTER = 0.36  # deviation of the logarithm up to which cells are believed as they are
_MISFIT = 2.0  # cells that bend the expected shape by more than this deny it
_FEWEST = 30
_FLOOR = 0.05
_ENOUGH = 0.1  # share of a cell that must be calm
_QUANTILE = 0.35  # of the absolute rest: what anatomy adds is mostly above


@dataclass(frozen=True)
class MeasuredCells:
    """What was measured: levels and trust by class ``[class, k, j, i]``, and of what."""

    levels: NDArray[np.float64]
    trust: NDArray[np.float64]
    measured: Sequence[Plane]
    reference: str

    @property
    def known(self) -> float:
        """Share of the cells that were measured."""
        return float(np.any(self.trust > 0, axis=0).mean())

    def smooth(self, over_mm: float, size_mm: tuple[float, float]) -> Floats:
        """Return the levels blended over ``over_mm``; ``size_mm``: of cells across and along."""
        if self.known == 0.0:
            return np.zeros(self.levels.shape[1:], dtype=np.float32)
        gap_mm, cell_mm = size_mm
        return _smooth(self.levels, self.trust, (over_mm / gap_mm, *2 * (over_mm / cell_mm,)))

    def bent(self, shape: Floats, size_mm: tuple[float, float]) -> Floats | None:
        """Return ``shape``, bent to the levels, for a level of 1; None where they deny it.

        Only the class that is trusted most counts: a shape needs no help to cross a gap.
        """
        best = self.trust.reshape(len(self.trust), -1).max(axis=1).argmax(keepdims=True)
        known = self.trust[best] > 0
        relative = replace(self, levels=self.levels[best] / shape, trust=known.astype(float))
        bend = relative.smooth(relative.reach(size_mm), size_mm)
        bend /= np.median(bend[known[0]])
        if float(np.percentile(np.abs(np.log(bend[known[0]])), 90)) > np.log(_MISFIT):
            return None
        return np.asarray(shape * np.clip(bend, 1.0 / _MISFIT, _MISFIT))

    def reach(self, size_mm: tuple[float, float]) -> float:
        """Return over how many mm to average the one class: far where its cells scatter.

        The errors of neighbouring cells are alike, as is the anatomy that they are made of. So they
        average out more slowly than those of noise, and the reach rises faster than for noise.
        """
        known = self.trust[0] > 0
        around = self.smooth(_AROUND_MM, size_mm)
        off = np.where(known, np.log(np.where(known, self.levels[0], 1.0) / around), np.nan)
        apart = [np.sqrt(0.5) * _spread(np.diff(off, axis=a)) for a in (1, 2)]
        scatter = max(_spread(off), *apart)
        low, high = _BEND_MM
        wanted = low * (scatter / _SCATTER) ** 6 / float(known.mean()) ** (1 / 3)
        return float(np.clip(wanted, low, high))


def measured_cells(measured: Sequence[Plane], cell: Sequence[int]) -> MeasuredCells:
    """Return the levels of all cells by class of tissue."""
    reference, common = reference_class([p.windows for p in measured])
    measured = [without_edges(p, VETO * common) for p in measured]
    names = {n for p in measured for n in p.windows.flat}
    best = tuple(n for n in BEST if n in names)
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
    return MeasuredCells(np.stack(found), np.stack(trust), measured, reference)


def _spread(values: NDArray[np.float64]) -> float:
    """Return a robust deviation of the values that are known; 1 where hardly any is."""
    known = values[np.isfinite(values)]
    if known.size < _FEWEST:
        return 1.0
    return 1.4826 * float(np.median(np.abs(known - np.median(known))))


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


def _scale(inside: Sequence[Plane], name: str, cell: Sequence[int]) -> float:
    """Return noise level over rest: the median over calm cells of the class ``name``."""
    if not inside:
        return 0.0
    calm = calm_windows(inside, name)
    pairs = zip(inside, calm, strict=True)
    ratios = np.concatenate([_ratios(p, c, cell[1], cell[2]) for p, c in pairs])
    if not ratios.size:
        return 0.0
    hidden = hidden_share([p.windows for p in inside], name)
    return float(np.median(ratios) / np.sqrt((1.0 - hidden) * times_counted(inside, calm)))


def _ratios(plane: Plane, where: NDArray[np.bool_], height: int, width: int) -> NDArray[np.float64]:
    """Return deviation over rest of the cells of a slice that are calm enough."""
    cells = _Cells(where, height, width)
    rest = cells.quantiles(plane.rest)
    return np.sqrt(cells.means(plane.sd.astype(np.float64) ** 2))[rest > 0] / rest[rest > 0]


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


def _cell_rest(plane: Plane, names: tuple[str, ...], cell: Sequence[int]) -> NDArray[np.float64]:
    """Return the rest of the flat windows per cell ``[j, i]``; NaN where there are too few."""
    cells = _Cells(plane.windows.any_flat(names), cell[1], cell[2])
    return cells.spread(cells.quantiles(plane.rest))
