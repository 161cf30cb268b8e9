"""The grids of a field, from the voxels to the coarsest, and how they are read (layer: recon).

A level is a grid of nodes over the same box as the voxels. The finest has a node in every voxel;
each next one has nodes that are farther apart by one factor. Between nodes values change linearly
along each axis, so that a level is read on a whole voxel grid by one small matrix per axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
Matrix = NDArray[np.float32]

GROWTH = 1.3
"""Distance of the nodes of a level over that of the next finer one."""

COARSEST_NODES = 8
"""No level has fewer nodes than this along its longest axis (unless there are fewer voxels)."""


def level_shapes(
    shape: Shape, spacing_mm: tuple[float, float, float], growth: float = GROWTH
) -> tuple[Shape, ...]:
    """Return the nodes ``(k, j, i)`` of every level, the finest first.

    Parameters
    ----------
    shape
        Voxels along ``(k, j, i)``.
    spacing_mm
        Their size along the same axes. An axis with larger voxels is thinned out later.
    growth
        Ratio of the node distances of neighbouring levels.
    """
    extent = [(n - 1) * h for n, h in zip(shape, spacing_mm, strict=True)]
    levels = [shape]
    distance = min(spacing_mm)
    while True:
        distance *= growth
        if max(extent) / distance < COARSEST_NODES - 1:
            return tuple(levels)
        k, j, i = (
            min(n, max(2, round(e / distance) + 1)) for n, e in zip(shape, extent, strict=True)
        )
        levels.append((k, j, i))


def node_count(shapes: Sequence[Shape]) -> int:
    """Return the number of nodes of all levels together."""
    return sum(k * j * i for k, j, i in shapes)


def linear_weights(nodes: int, positions: NDArray[np.float64]) -> Matrix:
    """Return the matrix ``[position, node]`` that reads nodes linearly.

    ``positions`` are shares of the way from the first node (0) to the last (1); beyond the ends
    the end's value holds.
    """
    if nodes == 1:
        return np.ones((len(positions), 1), dtype=np.float32)
    at = np.clip(positions, 0.0, 1.0) * (nodes - 1)
    low = np.minimum(at.astype(np.int64), nodes - 2)
    out = np.zeros((len(positions), nodes), dtype=np.float32)
    rows = np.arange(len(positions))
    out[rows, low] = 1.0 - (at - low)
    out[rows, low + 1] = at - low
    return out


@dataclass(frozen=True, eq=False)
class Readout:
    """How a level is read on a voxel grid.

    Parameters
    ----------
    matrices
        ``[voxel, node]`` for the axes k, j, i; None for an axis whose nodes are the voxels.
    """

    matrices: tuple[Matrix | None, Matrix | None, Matrix | None]

    @property
    def is_identity(self) -> bool:
        """Whether every node is a voxel."""
        return all(m is None for m in self.matrices)


def readout(nodes: Shape, finest: Shape, voxels: Shape) -> Readout:
    """Return how a level of ``nodes`` is read on ``voxels``.

    ``voxels`` cover the same box as the ``finest`` grid; both have their centres at (n + 0.5) / N
    of it, and a level spans the finest centres.
    """
    matrices: list[Matrix | None] = []
    for n, fine, coarse in zip(nodes, finest, voxels, strict=True):
        if n == fine == coarse:
            matrices.append(None)
            continue
        centres = (np.arange(coarse) + 0.5) * fine / coarse - 0.5
        matrices.append(linear_weights(n, centres / max(fine - 1, 1)))
    return Readout((matrices[0], matrices[1], matrices[2]))
