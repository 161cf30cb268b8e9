"""Joseph's projector and its exact adjoint with numpy alone (layer: physics).

For machines without torch and numba: the same numbers, slower, in one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.physics.columns import ColumnLines, column_axis, column_lines
from ctrestorelib.physics.rays import IndexRays

Floats = NDArray[np.float32]
_PAD = 2


@dataclass(frozen=True)
class _Sheet:
    """All samples of one detector column: where its rays cross the planes of their main axis."""

    planes: NDArray[np.intp]  # (plane,)
    low: NDArray[np.intp]  # (plane,) lateral index below
    low_weight: Floats  # (plane, 1), zero outside the grid
    high_weight: Floats
    at: NDArray[np.int64]  # (plane, row) flat index into blended columns
    part: Floats  # (plane, row) weight of the next element


class NumpyColumns:
    """Projector for scans whose detector columns run along a voxel axis."""

    def __init__(self, rays: IndexRays, axis: int) -> None:
        self.rays = rays
        self.axis = axis
        self._table = column_lines(rays, axis)
        self._shape = [n for a, n in enumerate(rays.shape) if a != axis]
        self._rows = np.arange(rays.detector_shape[0], dtype=np.float64)

    def forward(self, volume: Floats) -> Floats:
        """Return line integrals [view, row, col] of volume [k, j, i]."""
        columns = np.ascontiguousarray(np.moveaxis(volume, self.axis, 2))
        out = np.zeros((self.rays.views, *self.rays.detector_shape), dtype=np.float32)
        width = columns.shape[2] + 2 * _PAD
        for (view, u), main, sheet in self._sheets():
            stack = columns if main == 0 else columns.swapaxes(0, 1)
            high = np.minimum(sheet.low + 1, stack.shape[1] - 1)
            blended = np.zeros((len(sheet.planes), width), dtype=np.float32)
            inner = blended[:, _PAD:-_PAD]
            np.multiply(stack[sheet.planes, np.maximum(sheet.low, 0)], sheet.low_weight, out=inner)
            inner += stack[sheet.planes, high] * sheet.high_weight
            flat = blended.reshape(-1)
            value = flat[sheet.at]
            value += sheet.part * (flat[sheet.at + 1] - value)
            out[view, :, u] = value.sum(axis=0) * self._length(view, u)
        return out

    def adjoint(self, projections: Floats) -> Floats:
        """Return the exact transpose of forward, applied to projections."""
        count = self.rays.shape[self.axis]
        columns = np.zeros((*self._shape, count), dtype=np.float32)
        width = count + 2 * _PAD
        for (view, u), main, sheet in self._sheets():
            stack = columns if main == 0 else columns.swapaxes(0, 1)
            value = np.asarray(projections[view, :, u]) * self._length(view, u)
            upper = sheet.part * value
            lower = value - upper
            size = len(sheet.planes) * width
            at = sheet.at.reshape(-1)
            flat = np.bincount(at, lower.reshape(-1), size)
            flat[1:] += np.bincount(at, upper.reshape(-1), size)[:-1]
            inner = flat.reshape(-1, width)[:, _PAD:-_PAD].astype(np.float32)
            # Each plane occurs once, so that no two of these additions meet.
            high = np.minimum(sheet.low + 1, stack.shape[1] - 1)
            stack[sheet.planes, np.maximum(sheet.low, 0)] += inner * sheet.low_weight
            stack[sheet.planes, high] += inner * sheet.high_weight
        return np.moveaxis(columns, 2, self.axis)

    def _length(self, view: int, u: int) -> Floats:
        a, b, c = self._table.squares_mm[view, u]
        length: Floats = np.sqrt(a + self._rows * (b + self._rows * c)).astype(np.float32)
        return length

    def _sheets(self) -> Iterator[tuple[tuple[int, int], int, _Sheet]]:
        table = self._table
        for view in range(self.rays.views):
            for u in range(self.rays.detector_shape[1]):
                first, end = table.planes[view, u]
                if end > first:
                    main = int(table.main[view, u])
                    yield (view, u), main, self._sheet(table, (view, u), (first, end), main)

    def _sheet(
        self, table: ColumnLines, place: tuple[int, int], span: tuple[int, int], main: int
    ) -> _Sheet:
        q0, q1, z0, z1, d0, d1 = table.lines[place]
        planes = np.arange(*span)
        x = planes - (self._shape[main] - 1) / 2.0
        q = q0 + x * q1
        low = np.floor(q).astype(np.intp)
        part = (q - low)[:, None]
        width = self.rays.shape[self.axis] + 2 * _PAD
        # Rays above or below the grid read the zeros that surround each blended column.
        start, step = (z0 + x * z1 + _PAD)[:, None], (d0 + x * d1)[:, None]
        z = (start + self._rows * step).astype(np.float32)
        np.clip(z, 0, width - 2, out=z)
        index = z.astype(np.int32)
        z -= index
        at = index + (np.arange(len(planes)) * width)[:, None]
        inside = ((low >= 0)[:, None], (low + 1 < self._shape[1 - main])[:, None])
        return _Sheet(
            planes=planes,
            low=low,
            low_weight=((1.0 - part) * inside[0]).astype(np.float32),
            high_weight=(part * inside[1]).astype(np.float32),
            at=at,
            part=z,
        )


@dataclass(frozen=True)
class _Bundle:
    """Rays of one view with the same main axis."""

    axis: int
    index: NDArray[np.intp]  # (ray,) into [row, col] flattened
    at_middle: NDArray[np.float64]  # (2, ray) lateral positions in the middle plane
    slope: NDArray[np.float64]
    length_mm: Floats
    limits: tuple[NDArray[np.float64], NDArray[np.float64]]  # first and last plane, as numbers


class NumpyRays:
    """Projector for any scan: all rays of a view cross one plane of voxels at a time."""

    axis = 2

    def __init__(self, rays: IndexRays) -> None:
        self.rays = rays

    def forward(self, volume: Floats) -> Floats:
        """Return line integrals [view, row, col] of volume [k, j, i]."""
        out = np.zeros((self.rays.views, *self.rays.detector_shape), dtype=np.float32)
        for view in range(self.rays.views):
            flat = out[view].reshape(-1)
            for bundle in self._bundles(view):
                total = np.zeros(len(bundle.index), dtype=np.float32)
                planes = np.moveaxis(volume, bundle.axis, 0)
                for plane in range(len(planes)):
                    padded = np.pad(planes[plane], (1, 2)).reshape(-1)
                    for at, weight in self._corners(bundle, plane):
                        total += padded[at] * weight
                flat[bundle.index] = total * bundle.length_mm
        return out

    def adjoint(self, projections: Floats) -> Floats:
        """Return the exact transpose of forward, applied to projections."""
        out = np.zeros(self.rays.shape, dtype=np.float32)
        for view in range(self.rays.views):
            flat = projections[view].reshape(-1)
            for bundle in self._bundles(view):
                values = flat[bundle.index] * bundle.length_mm
                planes = np.moveaxis(out, bundle.axis, 0)
                height, width = (n + 3 for n in planes.shape[1:])
                for plane in range(len(planes)):
                    total = np.zeros(height * width)
                    for at, weight in self._corners(bundle, plane):
                        total += np.bincount(at, values * weight, height * width)
                    planes[plane] += total.reshape(height, width)[1:-2, 1:-2]
        return out

    def _bundles(self, view: int) -> Iterator[_Bundle]:
        rays = self.rays
        rows, cols = rays.detector_shape
        v, u = (a.reshape(-1, 1) for a in np.mgrid[:rows, :cols].astype(np.float64))
        o, d = (t[view, 0] + u * t[view, 1] + v * t[view, 2] for t in (rays.origin, rays.direction))
        main = np.abs(d).argmax(axis=1)
        for axis in np.unique(main):
            index = np.flatnonzero(main == axis)
            lateral = [a for a in range(3) if a != axis]
            o_a, d_a = o[index, axis], d[index, axis]
            per_plane = d[index] / d_a[:, None]
            to_middle = (rays.shape[axis] - 1) / 2.0 - o_a
            length = np.linalg.norm(per_plane @ rays.to_mm.T, axis=1)
            ends = (o_a + rays.t_min * d_a, o_a + rays.t_max * d_a)
            yield _Bundle(
                axis=int(axis),
                index=index,
                at_middle=(o[index] + to_middle[:, None] * per_plane)[:, lateral].T,
                slope=per_plane[:, lateral].T,
                length_mm=length.astype(np.float32),
                limits=(np.minimum(*ends), np.maximum(*ends)),
            )

    def _corners(self, bundle: _Bundle, plane: int) -> Iterator[tuple[NDArray[np.intp], Floats]]:
        """Yield flat index and weight of the four neighbours, in a plane padded by (1, 2) zeros."""
        sizes = [n for a, n in enumerate(self.rays.shape) if a != bundle.axis]
        x = plane - (self.rays.shape[bundle.axis] - 1) / 2.0
        q = bundle.at_middle + x * bundle.slope
        height, width = sizes
        b, c = np.clip(q[0] + 1, 0, height + 1), np.clip(q[1] + 1, 0, width + 1)
        low_b, low_c = b.astype(np.intp), c.astype(np.intp)
        part_b, part_c = (b - low_b).astype(np.float32), (c - low_c).astype(np.float32)
        alive = ((plane >= bundle.limits[0]) & (plane <= bundle.limits[1])).astype(np.float32)
        at = low_b * (width + 3) + low_c
        for weight_b, step_b in (((1 - part_b) * alive, 0), (part_b * alive, width + 3)):
            yield at + step_b, weight_b * (1 - part_c)
            yield at + step_b + 1, weight_b * part_c


def numpy_joseph(rays: IndexRays) -> NumpyColumns | NumpyRays:
    """Return the faster projector that the scan permits."""
    axis = column_axis(rays)
    return NumpyRays(rays) if axis is None else NumpyColumns(rays, axis)
