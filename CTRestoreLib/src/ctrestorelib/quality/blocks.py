"""Cut a residual into blocks, the independent units of the residual-structure test (quality)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.tissue import measured, spread

BLOCK_KJI = (4, 16, 16)
_MOST_BLOCKS = 8000  # examined at most: slabs of 4 slices are left out evenly


@dataclass(frozen=True, eq=False)
class BlockField:
    """Blocks of a residual; every array is ``[block, k, j, i]`` unless said otherwise.

    Parameters
    ----------
    unit_residual
        Residual divided by the block's noise level; 0 where not measured.
    original
        The noisy values, for ranking blocks by structure.
    steepness
        Gradient of the smoothed restored volume in units of its own noise gradient.
    side
        Signed distance to the nearest strong edge in pixels, negative on the dark side; NaN far
        from edges.
    valid
        Which voxels were measured.
    level
        Noise level of each block, shape ``(blocks,)``.
    place
        Index of each block in the grid of blocks, shape ``(blocks, 3)``.
    grid, first_kji
        Shape of that grid, and the first voxel of each block along each axis.
    """

    unit_residual: NDArray[np.float32]
    original: NDArray[np.float32]
    steepness: NDArray[np.float32]
    side: NDArray[np.float32]
    valid: NDArray[np.bool_]
    level: NDArray[np.float64]
    place: NDArray[np.int64]
    grid: tuple[int, int, int]
    first_kji: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.level)

    def spread_out(self, per_block: NDArray[Any]) -> NDArray[np.float32]:
        """Return one value per block on the grid of blocks, 0 where there is none."""
        out = np.zeros(self.grid, np.float32)
        out[tuple(self.place.T)] = per_block
        return out


def block_field(original: Volume, restored: Volume, mask: NDArray[np.bool_] | None) -> BlockField:
    """Cut both volumes into blocks and keep those where noise was measured and removed."""
    depth = min(BLOCK_KJI[0], original.shape[0])
    rows = np.arange(original.shape[1] // BLOCK_KJI[1]) * BLOCK_KJI[1]
    columns = np.arange(original.shape[2] // BLOCK_KJI[2]) * BLOCK_KJI[2]
    slabs = max(2, _MOST_BLOCKS // max(1, len(rows) * len(columns)))
    starts = spread(original.shape[0] // depth, slabs) * depth
    grid = (len(starts), len(rows), len(columns))
    good = measured(original, mask)
    floor = _smallest_noise(original, restored, good)
    parts = []
    for n, start in enumerate(starts):
        if not (len(rows) and len(columns)):
            break
        slab = slice(int(start), int(start) + depth)
        noisy, clean = original.values[slab], restored.values[slab]
        steep, side = edges(clean)
        fields = [_cut(a) for a in (noisy - clean, noisy, steep, side, good[slab])]
        parts.append(_kept(n, fields, grid, floor))
    if not parts:
        empty = np.zeros((0, depth, *BLOCK_KJI[1:]), np.float32)
        return BlockField(empty, empty, empty, empty, empty > 0, np.zeros(0),
                          np.zeros((0, 3), np.int64), grid, (starts, rows, columns))  # fmt: skip
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    unit, noisy, steep, side, valid, level, place = joined
    return BlockField(unit, noisy, steep, side, valid, level, place, grid, (starts, rows, columns))


def _smallest_noise(original: Volume, restored: Volume, good: NDArray[np.bool_]) -> float:
    """Return the residual below which nothing was removed: rounding, constant regions."""
    some = spread(original.shape[0], 16)
    residual = np.abs(original.values[some] - restored.values[some])[good[some]]
    return 0.02 * float(np.quantile(residual, 0.9)) if residual.size else 0.0


def _kept(
    n: int, fields: list[NDArray[Any]], grid: tuple[int, int, int], floor: float
) -> tuple[NDArray[Any], ...]:
    residual, noisy, steep, side, valid = fields
    inside = np.where(valid, residual, np.nan).reshape(len(residual), -1)
    enough = valid.reshape(len(valid), -1).mean(axis=1) >= 0.5
    level = np.zeros(len(residual))
    # The median of |r| is that of the noise even where a minority of voxels holds an edge.
    level[enough] = np.nanmedian(np.abs(inside[enough]), axis=1) / 0.6745
    use = enough & (level > floor)
    unit = np.where(valid[use], residual[use] / level[use, None, None, None], 0)
    j, i = np.divmod(np.flatnonzero(use), grid[2])
    place = np.stack([np.full(len(j), n), j, i], axis=1)
    return (unit.astype(np.float32), noisy[use], steep[use], side[use], valid[use], level[use],
            place)  # fmt: skip


def _cut(slab: NDArray[Any]) -> NDArray[Any]:
    """Return blocks ``[block, k, 16, 16]`` of a slab ``[k, j, i]`` without the rim."""
    depth, rows, columns = slab.shape
    down, across = rows // BLOCK_KJI[1], columns // BLOCK_KJI[2]
    inner = slab[:, : down * BLOCK_KJI[1], : across * BLOCK_KJI[2]]
    blocks = inner.reshape(depth, down, BLOCK_KJI[1], across, BLOCK_KJI[2])
    return blocks.transpose(1, 3, 0, 2, 4).reshape(-1, depth, *BLOCK_KJI[1:])


def edges(clean: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return steepness in noise units, and signed distance to strong edges, of each slice.

    An edge is a zero crossing of the Laplacian whose gradient is more than 8 times that of the
    volume's own remaining noise, so that noise does not decide where edges are. For the same reason
    edges of a slice are sought in the mean of its two neighbours: noise that remains in the slice
    itself is correlated with what was removed there.
    """
    from scipy.ndimage import gaussian_gradient_magnitude, gaussian_laplace

    steep = np.empty_like(clean)
    side = np.full_like(clean, np.nan)
    for k, plane in enumerate(_neighbours(clean)):
        slope = gaussian_gradient_magnitude(plane, 1.5, mode="nearest")
        steep[k] = slope / _noise_slope(slope, plane)
        bend = gaussian_laplace(plane, 1.5, mode="nearest")
        side[k] = _signed_distance(bend, steep[k] > _STRONG)
    return steep, side


def _neighbours(clean: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(clean) < 2:
        return clean
    padded = np.pad(clean, ((1, 1), (0, 0), (0, 0)), mode="reflect")
    return np.asarray((padded[:-2] + padded[2:]) / 2, dtype=np.float32)


_STRONG = 8.0
_REACH_PX = 4.0


def _noise_slope(slope: NDArray[np.float32], plane: NDArray[np.float32]) -> float:
    """Return the gradient that remaining noise has; of a noise-free slice, 1/500 of its range."""
    moving = slope[slope > 0]
    if not moving.size:
        return 1.0
    # The lower third of a Rayleigh distribution lies below 0.9 sigma.
    noise = float(np.quantile(moving, 1 / 3)) / 0.9
    least = float(np.subtract(*np.quantile(plane, (0.98, 0.02)))) / 500
    return max(noise, least, 1e-12)


def _signed_distance(bend: NDArray[np.float32], strong: NDArray[np.bool_]) -> NDArray[np.float32]:
    from scipy.ndimage import distance_transform_edt

    dark = bend > 0
    crossing = np.zeros_like(dark)
    crossing[:-1] |= dark[:-1] != dark[1:]
    crossing[:, :-1] |= dark[:, :-1] != dark[:, 1:]
    line = crossing & strong
    if not line.any():
        return np.full_like(bend, np.nan)
    distance = distance_transform_edt(~line)
    signed: NDArray[np.float32] = np.where(dark, -distance - 0.5, distance + 0.5)
    signed[distance > _REACH_PX] = np.nan
    return np.asarray(signed, dtype=np.float32)
