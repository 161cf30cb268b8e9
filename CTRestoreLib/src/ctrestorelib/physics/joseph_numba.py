"""Joseph's projector and its exact adjoint on the CPU with numba (layer: physics)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.physics import kernels_joseph, kernels_rays
from ctrestorelib.physics.columns import column_axis, column_lines
from ctrestorelib.physics.rays import IndexRays
from ctrestorelib.physics.sharing import share

VIEW_BLOCK_BYTES = 2**26
"""Projections that are held in transposed order at once."""


class NumbaColumns:
    """Projector for scans whose detector columns run along a voxel axis.

    Volumes are fastest when that axis is the contiguous one in memory; others are copied.
    """

    def __init__(self, rays: IndexRays, axis: int, threads: int) -> None:
        self.rays = rays
        self.axis = axis
        self.threads = threads
        self._table = column_lines(rays, axis)

    def forward(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return line integrals [view, row, col] of volume [k, j, i]."""
        columns = np.ascontiguousarray(np.moveaxis(volume, self.axis, 2))
        table, rows, cols = self._table, *self.rays.detector_shape
        out = np.empty((self.rays.views, rows, cols), dtype=np.float32)

        def work(first: int, last: int) -> None:
            kernels_joseph.forward_columns(
                columns, table.main, table.planes, table.lines, table.squares_mm, first, last, out
            )

        blocks = -(-cols // kernels_joseph.U_BLOCK)
        share(work, self.rays.views * blocks, self.threads)
        return out

    def adjoint(self, projections: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the exact transpose of forward, applied to projections."""
        shape = [n for axis, n in enumerate(self.rays.shape) if axis != self.axis]
        columns = np.zeros((*shape, self.rays.shape[self.axis]), dtype=np.float32)
        projections = np.ascontiguousarray(projections)
        block = max(1, VIEW_BLOCK_BYTES // projections[0].nbytes)
        for start in range(0, len(projections), block):
            self._adjoint_block(projections[start : start + block], start, columns)
        return np.moveaxis(columns, 2, self.axis)

    def _adjoint_block(
        self, projections: NDArray[np.float32], start: int, columns: NDArray[np.float32]
    ) -> None:
        table, (views, rows, cols) = self._table, projections.shape
        chosen = slice(start, start + views)
        weighed = np.empty((views, cols, rows), dtype=np.float32)

        def weigh(first: int, last: int) -> None:
            kernels_joseph.weigh_columns(
                projections, table.squares_mm[chosen], first, last, weighed
            )

        share(weigh, views * -(-cols // kernels_joseph.U_BLOCK), self.threads)
        for main in (0, 1):

            def work(first: int, last: int, main: int = main) -> None:
                kernels_joseph.adjoint_columns(
                    weighed, table.main[chosen], table.planes[chosen], table.lines[chosen],
                    main, first, last, columns,
                )  # fmt: skip

            share(work, columns.shape[main], self.threads, parts=16)


class NumbaRays:
    """Projector for any scan, ray by ray."""

    axis = 2

    def __init__(self, rays: IndexRays, threads: int) -> None:
        self.rays = rays
        self.threads = threads
        self._ray_arguments = (rays.origin, rays.direction, (rays.t_min, rays.t_max), rays.to_mm)

    def forward(self, volume: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return line integrals [view, row, col] of volume [k, j, i]."""
        volume = np.ascontiguousarray(volume)
        out = np.empty((self.rays.views, *self.rays.detector_shape), dtype=np.float32)

        def work(first: int, last: int) -> None:
            kernels_rays.forward_rays(volume, *self._ray_arguments, first, last, out)

        share(work, self.rays.views * self.rays.detector_shape[0], self.threads)
        return out

    def adjoint(self, projections: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the exact transpose of forward, applied to projections."""
        projections = np.ascontiguousarray(projections)
        volume = np.zeros(self.rays.shape, dtype=np.float32)
        for axis in range(3):

            def work(first: int, last: int, axis: int = axis) -> None:
                kernels_rays.adjoint_rays(
                    projections, *self._ray_arguments, axis, first, last, volume
                )

            share(work, volume.shape[axis], self.threads)
        return volume


def numba_joseph(rays: IndexRays, threads: int) -> NumbaColumns | NumbaRays:
    """Return the faster projector that the scan permits."""
    axis = column_axis(rays)
    return NumbaRays(rays, threads) if axis is None else NumbaColumns(rays, axis, threads)
