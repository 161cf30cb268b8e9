"""Find square regions of one homogeneous tissue, in which noise can be studied (layer: quality)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.tissue import FAT, SOFT, hu_like, measured, smooth_slices, spread

SIZES_PX = (64, 48, 32, 24, 16)
_ENOUGH, _FEWEST, _MOST, _SLICES = 24, 6, 200, 24


@dataclass(frozen=True)
class Rois:
    """Squares of ``size`` pixels in axial slices.

    Parameters
    ----------
    corners_kji
        Slice, row and column of the first pixel of each; shape ``(n, 3)``.
    size
        Pixels along each side.
    tissue
        What they show, in words.
    why_none
        Why there is none; empty if there are some.
    """

    corners_kji: NDArray[np.int64]
    size: int
    tissue: str
    why_none: str = ""

    def __len__(self) -> int:
        return len(self.corners_kji)

    def cut(self, values: NDArray[Any], step_k: int = 0) -> NDArray[np.float64]:
        """Return the squares of ``values[k + step_k]``, shape ``(n, size, size)``, float64."""
        n = self.size
        return np.stack(
            [values[k + step_k, j : j + n, i : i + n] for k, j, i in self.corners_kji]
        ).astype(np.float64)

    def continuing(self, step_k: int, slices: int) -> Rois:
        """Return the squares that have a slice ``step_k`` further on, of ``slices`` in all."""
        inside = self.corners_kji[:, 0] + step_k < slices
        return Rois(self.corners_kji[inside], self.size, self.tissue)


def find_rois(volume: Volume, *, mask: NDArray[np.bool_] | None = None) -> Rois:
    """Return the homogeneous squares of a volume, the largest size of which there are enough.

    In HU volumes soft tissue is preferred, then fat, then any material that is not air; grey
    volumes have no tissue ranges, so any homogeneous part counts. A square is homogeneous if the
    variance inside, after a quadratic surface is taken off, is at most twice that of the quietest
    fifth of all small squares: anatomy only ever adds variance.
    """
    planes = spread(volume.shape[0], _SLICES)
    good = measured(volume, mask)[planes]
    values = volume.values[planes]
    best = Rois(np.empty((0, 3), np.int64), SIZES_PX[-1], "", _why(volume, good))
    for name, inside in _materials(volume, values, good):
        table = _table(inside)
        quiet = _quiet_level(values, _squares(table, SIZES_PX[-1]))
        for size in SIZES_PX:
            found = _squares(table, size)
            if len(found):
                found = _quiet(values, found, size, quiet)
            if len(found) > len(best):
                corners = np.column_stack([planes[found[:, 0]], found[:, 1:]])
                best = Rois(corners, size, name)
            if len(best) >= _ENOUGH:
                return best
        if len(best) >= _FEWEST:
            return best
    if len(best) < _FEWEST:
        return Rois(np.empty((0, 3), np.int64), SIZES_PX[-1], "", _why(volume, good))
    return best


def _why(volume: Volume, good: NDArray[np.bool_]) -> str:
    if min(volume.shape[1:]) < SIZES_PX[-1]:
        return f"slices smaller than {SIZES_PX[-1]} pixels hold no region to measure noise in."
    if not good.any():
        return "no voxel is a real measurement (all padding, clipped or outside the mask)."
    return f"fewer than {_FEWEST} homogeneous regions of {SIZES_PX[-1]} pixels were found."


def _materials(
    volume: Volume, values: NDArray[np.float32], good: NDArray[np.bool_]
) -> list[tuple[str, NDArray[np.bool_]]]:
    if not hu_like(volume):
        return [("homogeneous material", good)]
    smoothed = smooth_slices(values, 2.0)
    ranges = ((SOFT.name, SOFT.low_hu, SOFT.high_hu), (FAT.name, FAT.low_hu, FAT.high_hu),
              ("homogeneous material", -900.0, 3000.0))  # fmt: skip
    return [(name, good & (smoothed > low) & (smoothed < high)) for name, low, high in ranges]


def _table(inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the summed-area table of each slice."""
    table = np.zeros((inside.shape[0], inside.shape[1] + 1, inside.shape[2] + 1), np.int32)
    np.cumsum(inside, axis=1, dtype=np.int32, out=table[:, 1:, 1:])
    np.cumsum(table, axis=2, out=table)
    return table


def _squares(table: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    """Return corners of squares that lie inside, on a grid of half the size, not overlapping."""
    if min(table.shape[1:]) <= size:
        return np.empty((0, 3), np.int64)
    step = size // 2
    full = (table[:, size:, size:] - table[:, :-size, size:] - table[:, size:, :-size]
            + table[:, :-size, :-size])[:, ::step, ::step]  # fmt: skip
    candidates = np.argwhere(full >= 0.99 * size * size)
    taken = np.zeros((full.shape[0], full.shape[1] + 1, full.shape[2] + 1), bool)
    chosen = []
    for k, j, i in candidates:
        if not taken[k, j : j + 2, i : i + 2].any():
            taken[k, j : j + 2, i : i + 2] = True
            chosen.append((k, j * step, i * step))
    return np.array(chosen, np.int64).reshape(-1, 3)


def _powers(values: NDArray[np.float32], corners: NDArray[np.int64], size: int) -> Any:
    return detrended(Rois(corners, size, "").cut(values)).var(axis=(1, 2))


def _quiet_level(values: NDArray[np.float32], corners: NDArray[np.int64]) -> float:
    if not len(corners):
        return 0.0
    power = _powers(values, corners[spread(len(corners), 8 * _MOST)], SIZES_PX[-1])
    return float(np.quantile(power[power > 0], 0.2)) if (power > 0).any() else 0.0


def _quiet(
    values: NDArray[np.float32], corners: NDArray[np.int64], size: int, level: float
) -> NDArray[np.int64]:
    corners = corners[spread(len(corners), 4 * _MOST)]
    power = _powers(values, corners, size)
    corners = corners[(power > 0) & (power <= 2 * level)]
    return corners[spread(len(corners), _MOST)]


def detrended(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take a quadratic surface off each square ``(n, size, size)``."""
    size = squares.shape[-1]
    y, x = (g.ravel() for g in np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j])
    base, _ = np.linalg.qr(np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1))
    flat = squares.reshape(len(squares), -1)
    out: NDArray[np.float64] = (flat - (flat @ base) @ base.T).reshape(squares.shape)
    return out
