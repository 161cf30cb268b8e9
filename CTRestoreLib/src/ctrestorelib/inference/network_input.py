"""What a residual network sees of one slice, and its answer (layer: inference).

The slices around the one to restore, in HU or grey values, divided by the noise level of the
middle one; at the ends of the volume they are mirrored. Rows and columns get a mirrored margin,
because the network's convolutions pad with zeros. Slices too large for memory go in tiles that
overlap by more than the network can see, so that a tile's size changes nothing but the last bits.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.slices import mirrored
from ctrestorelib.core.units import Unit, hu_from_mu
from ctrestorelib.core.volume import PADDING_BELOW_HU, Volume
from ctrestorelib.inference.runtimes import Runtime
from ctrestorelib.quality.sigma_map import SigmaMap

Floats = NDArray[np.float32]

HALF = 2
"""Slices seen on each side of the middle one."""
MARGIN = 16
"""Mirrored rows and columns around a slice."""
GRID = 16
"""Rows and columns that the network takes are multiples of this."""
SIGHT = 112
"""The network looks at most so far, in pixels; a multiple of :data:`GRID`."""
TILE = 1216
"""Largest number of rows or columns worked on at once."""


@dataclass(frozen=True)
class NetworkSlice:
    """One slice as the network gets it.

    Parameters
    ----------
    stack, context
        ``[5, j, i]`` and ``[2, j, i]``.
    values
        The middle slice ``[j, i]`` in HU, or grey values; scanner padding filled.
    level
        Noise level ``[j, i]`` in the same unit.
    padding
        Where nothing was measured ``[j, i]``, or None.
    """

    stack: Floats
    context: Floats
    values: Floats
    level: Floats
    padding: NDArray[np.bool_] | None


class NetworkInput:
    """Prepares slices of a volume for a residual network.

    Parameters
    ----------
    volume
        Any unit; attenuation is seen as HU.
    sigma
        Its noise, in its unit.
    """

    def __init__(self, volume: Volume, sigma: SigmaMap) -> None:
        self._volume, self._sigma = volume, sigma
        self._ready: OrderedDict[int, tuple[Floats, NDArray[np.bool_] | None]] = OrderedDict()
        self._hole: NDArray[np.bool_] | None = None
        self._nearest: tuple[NDArray[np.intp], ...] = ()

    @property
    def is_hu(self) -> bool:
        """Whether the network may know what the values mean."""
        return self._volume.unit is not Unit.GREY

    def slice(self, k: int) -> NetworkSlice:
        """Return slice ``k`` as the network gets it."""
        values, padding = self._prepared(k)
        level = self._sigma.slice(k)
        if self._volume.unit is Unit.PER_MM:
            level = hu_from_mu(level) + np.float32(1000.0)
        around = [mirrored(k + d, self._volume.shape[0]) for d in range(-HALF, HALF + 1)]
        stack = np.stack([self._prepared(n)[0] for n in around])
        stack /= level
        context = np.zeros((2, *values.shape), dtype=np.float32)
        if self.is_hu:
            np.clip(values / np.float32(1000.0), -1.0, 3.0, out=context[0])
            np.clip(np.log2(level / np.float32(20.0)), -4.0, 4.0, out=context[1])
        return NetworkSlice(stack, context, values, level, padding)

    def _prepared(self, k: int) -> tuple[Floats, NDArray[np.bool_] | None]:
        if k not in self._ready:
            values = np.array(self._volume.values[k], dtype=np.float32)
            if self._volume.unit is Unit.PER_MM:
                values = hu_from_mu(values)
            self._ready[k] = (values, self._fill(values))
            while len(self._ready) > 2 * HALF + 3:
                self._ready.popitem(last=False)
        return self._ready[k]

    def _fill(self, values: Floats) -> NDArray[np.bool_] | None:
        """Replace scanner padding by the nearest measured value; return where it was."""
        if self._volume.unit is not Unit.HU or values.min() >= PADDING_BELOW_HU:
            return None
        hole = values < PADDING_BELOW_HU
        if hole.all():
            values[:] = -1000.0
            return hole
        if self._hole is None or not np.array_equal(hole, self._hole):
            from scipy.ndimage import distance_transform_edt

            # The corners outside the scan circle are the same in every slice.
            nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
            self._hole, self._nearest = hole, tuple(n[hole] for n in nearest)
        values[hole] = values[self._nearest]
        return hole


def predict(
    stack: Floats, context: Floats, runtime: Runtime, tile: int = TILE
) -> tuple[Floats, Floats]:
    """Return mean and log scale ``[j, i]`` of the noise of the middle slice, in noise units.

    Parameters
    ----------
    stack, context
        ``[5, j, i]`` and ``[2, j, i]``; any size.
    runtime
        The network.
    tile
        Largest number of rows or columns at once.
    """
    rows, cols = stack.shape[1:]
    ends = [(MARGIN, -(-(n + 2 * MARGIN) // GRID) * GRID - n - MARGIN) for n in (rows, cols)]
    seen, about = (np.pad(a, [(0, 0), *ends], mode="reflect")[None] for a in (stack, context))
    mean, log_scale = np.empty((2, *seen.shape[2:]), dtype=np.float32)
    for across in _tiles(seen.shape[2], tile):
        for along in _tiles(seen.shape[3], tile):
            part = (..., across.seen, along.seen)
            found = runtime.run(np.ascontiguousarray(seen[part]), np.ascontiguousarray(about[part]))
            target, inner = (across.filled, along.filled), (0, 0, across.inner, along.inner)
            mean[target], log_scale[target] = (f[inner] for f in found)
    window = (slice(MARGIN, MARGIN + rows), slice(MARGIN, MARGIN + cols))
    return mean[window], log_scale[window]


@dataclass(frozen=True)
class _Tile:
    """A range that is filled, seen through a wider one; ``inner`` is where it lies in that."""

    filled: slice
    seen: slice
    inner: slice


def _tiles(size: int, tile: int) -> list[_Tile]:
    """Cut ``size`` (a multiple of the grid) into ranges that see all that the network can."""
    if size <= tile:
        whole = slice(0, size)
        return [_Tile(whole, whole, whole)]
    core = max(GRID, (tile - 2 * SIGHT) // GRID * GRID)
    out = []
    for start in range(0, size, core):
        stop = min(size, start + core)
        low, high = max(0, start - SIGHT), min(size, stop + SIGHT)
        out.append(_Tile(slice(start, stop), slice(low, high), slice(start - low, stop - low)))
    return out
