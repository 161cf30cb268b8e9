"""A field: features on grids of many resolutions, read by one small network (layer: recon).

The value at a place is ``network(features there)``: a network of two hidden layers that is the same
everywhere. The gradient is derived by hand and runs slab by slab, so that memory stays small and
torch is not needed; arrays are NumPy arrays or torch tensors.

References
----------
Mueller et al. 2022 (grids of many resolutions), doi:10.1145/3528223.3530127; Zha, Zhang and Li 2022
(fitted to one cone-beam scan), doi:10.1007/978-3-031-16446-0_42.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ctrestorelib.recon.arrays import Array, clip_below
from ctrestorelib.recon.field_fit.levels import Readout, Shape, readout

FEATURES = 2
HIDDEN = 16
START_SPREAD = 1e-4
"""Features begin this close to zero, as in NAF."""

SLAB_POINTS = 2**16
"""Voxels that the network reads at once."""

AsArray = Callable[[Any], Array]


@dataclass(eq=False)
class Field:
    """The numbers that are fitted.

    Parameters
    ----------
    shapes
        Nodes of every level, the finest first; the finest is the output's voxel grid.
    grids
        One array ``[feature, k, j, i]`` per level.
    network
        Weights and biases of three layers: ``W1, b1, W2, b2, W3``.
    """

    shapes: tuple[Shape, ...]
    grids: list[Array]
    network: list[Array]

    @classmethod
    def new(cls, shapes: Sequence[Shape], asarray: AsArray, rng: np.random.Generator) -> Field:
        """Return a field that is nearly zero everywhere."""
        grids = [
            asarray(rng.uniform(-START_SPREAD, START_SPREAD, (FEATURES, *s)).astype(np.float32))
            for s in shapes
        ]
        sizes = (FEATURES * len(shapes), HIDDEN, HIDDEN, 1)
        network = []
        for n_in, n_out in pairwise(sizes):
            spread = (2.0 / n_in) ** 0.5
            network.append(asarray(rng.normal(0, spread, (n_out, n_in)).astype(np.float32)))
            if n_out > 1:
                network.append(asarray(np.zeros((n_out, 1), dtype=np.float32)))
        return cls(tuple(shapes), grids, network)

    @property
    def parameters(self) -> list[Array]:
        """All fitted arrays: the grids, then the network."""
        return [*self.grids, *self.network]


class Reader:
    """Reads a field on one voxel grid, and sends gradients back.

    Parameters
    ----------
    field
        What is read.
    voxels
        Shape ``(k, j, i)`` of a grid over the same box as the field's finest level.
    asarray
        Makes an array of the field's kind.
    """

    def __init__(self, field: Field, voxels: Shape, asarray: AsArray) -> None:
        self.field, self.voxels = field, voxels
        self._levels = [_Level(readout(s, field.shapes[0], voxels), asarray) for s in field.shapes]

    def slabs(self) -> Iterator[tuple[int, int]]:
        """Return the slabs ``(first, end)`` along k in which the grid is read."""
        step = max(1, SLAB_POINTS // (self.voxels[1] * self.voxels[2]))
        for start in range(0, self.voxels[0], step):
            yield start, min(start + step, self.voxels[0])

    def read(self, first: int, end: int) -> Array:
        """Return the field ``[k, j, i]`` in one slab."""
        return self._layers(self._features(first, end))[-1].reshape(end - first, *self.voxels[1:])

    def send_back(self, first: int, end: int, slope: Array, gradients: list[Array]) -> None:
        """Add the gradient of a slab to ``gradients`` (in the order of ``Field.parameters``).

        ``slope`` ``[k, j, i]`` is the derivative of the loss by the field's values there.
        """
        field = self.field
        w1, _, w2, _, w3 = field.network
        levels = len(field.grids)
        features = self._features(first, end)
        first_hidden, second_hidden, _ = self._layers(features)
        g = slope.reshape(1, -1)
        gradients[levels + 4] += g @ second_hidden.T
        g = w3.T @ g
        g *= second_hidden > 0
        gradients[levels + 2] += g @ first_hidden.T
        gradients[levels + 3] += g.sum(1).reshape(-1, 1)
        g = w2.T @ g
        g *= first_hidden > 0
        gradients[levels] += g @ features.T
        gradients[levels + 1] += g.sum(1).reshape(-1, 1)
        g = w1.T @ g
        for n, level in enumerate(self._levels):
            part = g[n * FEATURES : (n + 1) * FEATURES]
            level.send_back(part.reshape(FEATURES, end - first, *self.voxels[1:]), first, end,
                            gradients[n])  # fmt: skip

    def _features(self, first: int, end: int) -> Array:
        """Return the features of a slab, ``[feature, voxel]``."""
        field = self.field
        points = (end - first) * self.voxels[1] * self.voxels[2]
        out = _empty(field.grids[0], (FEATURES * len(field.grids), points))
        for n, level in enumerate(self._levels):
            values = level.read(field.grids[n], first, end)
            out[n * FEATURES : (n + 1) * FEATURES] = values.reshape(FEATURES, points)
        return out

    def _layers(self, features: Array) -> tuple[Array, Array, Array]:
        w1, b1, w2, b2, w3 = self.field.network
        hidden = w1 @ features
        hidden += b1
        clip_below(hidden, 0.0)
        second = w2 @ hidden
        second += b2
        clip_below(second, 0.0)
        return hidden, second, w3 @ second


class _Level:
    """One level's matrices; both directions."""

    def __init__(self, how: Readout, asarray: AsArray) -> None:
        self.k, self.j, self.i = (None if m is None else asarray(m) for m in how.matrices)
        self._range = None if how.matrices[0] is None else how.matrices[0] > 0

    def read(self, grid: Array, first: int, end: int) -> Array:
        if self.k is None:
            values = grid[:, first:end]
        else:
            low, high = self._nodes(first, end)
            matrix = self.k[first:end, low:high]
            values = grid[:, low:high].reshape(FEATURES, high - low, -1)
            values = (matrix @ values).reshape(FEATURES, end - first, *grid.shape[2:])
        if self.j is not None:
            values = self.j @ values
        return values if self.i is None else values @ self.i.T

    def send_back(self, slope: Array, first: int, end: int, gradient: Array) -> None:
        if self.i is not None:
            slope = slope @ self.i
        if self.j is not None:
            slope = self.j.T @ slope
        if self.k is None:
            gradient[:, first:end] += slope
            return
        low, high = self._nodes(first, end)
        back = self.k[first:end, low:high].T @ slope.reshape(FEATURES, end - first, -1)
        gradient[:, low:high] += back.reshape(FEATURES, high - low, *gradient.shape[2:])

    def _nodes(self, first: int, end: int) -> tuple[int, int]:
        """Return the range of nodes that a slab of voxels touches."""
        assert self._range is not None
        touched = np.flatnonzero(self._range[first:end].any(axis=0))
        return int(touched[0]), int(touched[-1]) + 1


def _empty(like: Array, shape: tuple[int, ...]) -> Array:
    if isinstance(like, np.ndarray):
        return np.empty(shape, dtype=like.dtype)
    return like.new_empty(shape)
