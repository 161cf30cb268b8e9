"""Joseph's projector and its exact adjoint with numpy alone (layer: physics).

For machines without torch and numba: the same numbers, slower, in one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.physics.columns import column_axis, column_lines
from ctrestorelib.physics.rays import IndexRays

Floats = NDArray[np.float32]
_PAD = 2
_SAMPLES = 2**15


@dataclass(frozen=True)
class _Sheets:
    """All samples of some detector columns of one view with the same main axis.

    Where their rays cross the planes of that axis, from the first plane that any of them needs.
    """

    view: int
    main: int
    columns: NDArray[np.intp]  # (col,)
    planes: NDArray[np.intp]  # (plane,)
    low: NDArray[np.intp]  # (col, plane) lateral index below, within the grid
    high: NDArray[np.intp]
    low_weight: Floats  # (col, plane, 1), zero outside the grid and on planes that others need
    high_weight: Floats
    at: NDArray[np.intp]  # (col, plane, row) flat index into blended columns
    part: Floats  # (col, plane, row) weight of the next element


class NumpyColumns:
    """Projector for scans whose detector columns run along a voxel axis."""

    def __init__(self, rays: IndexRays, axis: int) -> None:
        self.rays = rays
        self.axis = axis
        self._table = column_lines(rays, axis)
        self._shape = [n for a, n in enumerate(rays.shape) if a != axis]
        self._rows = np.arange(rays.detector_shape[0], dtype=np.float64)
        self._at_once = columns_at_once(rays.shape, rays.detector_shape[0])

    def forward(self, volume: Floats) -> Floats:
        """Return line integrals [view, row, col] of volume [k, j, i]."""
        columns = np.ascontiguousarray(np.moveaxis(volume, self.axis, 2))
        out = np.zeros((self.rays.views, *self.rays.detector_shape), dtype=np.float32)
        width = columns.shape[2] + 2 * _PAD
        for sheets in self._sheets():
            stack = columns if sheets.main == 0 else columns.swapaxes(0, 1)
            blended = np.zeros((*sheets.low.shape, width), dtype=np.float32)
            inner = blended[..., _PAD:-_PAD]
            np.multiply(stack[sheets.planes, sheets.low], sheets.low_weight, out=inner)
            inner += stack[sheets.planes, sheets.high] * sheets.high_weight
            flat = blended.reshape(-1)
            value = flat[sheets.at]
            value += sheets.part * (flat[sheets.at + 1] - value)
            lines = value.sum(axis=1) * self._length(sheets)
            out[sheets.view][:, sheets.columns] = lines.T
        return out

    def adjoint(self, projections: Floats) -> Floats:
        """Return the exact transpose of forward, applied to projections."""
        count = self.rays.shape[self.axis]
        columns = np.zeros((*self._shape, count), dtype=np.float32)
        width = count + 2 * _PAD
        for sheets in self._sheets():
            stack = columns if sheets.main == 0 else columns.swapaxes(0, 1)
            readings = np.asarray(projections[sheets.view])[:, sheets.columns].T
            value = (readings * self._length(sheets))[:, None]
            upper = sheets.part * value
            lower = value - upper
            size = sheets.low.size * width
            at = sheets.at.reshape(-1)
            flat = np.bincount(at, lower.reshape(-1), size)
            flat[1:] += np.bincount(at, upper.reshape(-1), size)[:-1]
            inner = flat.reshape(*sheets.low.shape, width)[..., _PAD:-_PAD].astype(np.float32)
            below, above = inner * sheets.low_weight, inner * sheets.high_weight
            # One detector column meets each plane once: no two of its additions meet.
            for n in range(len(sheets.columns)):
                stack[sheets.planes, sheets.low[n]] += below[n]
                stack[sheets.planes, sheets.high[n]] += above[n]
        return np.moveaxis(columns, 2, self.axis)

    def _length(self, sheets: _Sheets) -> Floats:
        """Return the length in mm between planes, (col, row)."""
        a, b, c = self._table.squares_mm[sheets.view, sheets.columns].T[..., None]
        length: Floats = np.sqrt(a + self._rows * (b + self._rows * c)).astype(np.float32)
        return length

    def _sheets(self) -> Iterator[_Sheets]:
        planes = self._table.planes
        for view in range(self.rays.views):
            crossing = planes[view, :, 1] > planes[view, :, 0]
            for main in (0, 1):
                found = np.flatnonzero(crossing & (self._table.main[view] == main))
                for start in range(0, len(found), self._at_once):
                    yield self._some(view, main, found[start : start + self._at_once])

    def _some(self, view: int, main: int, columns: NDArray[np.intp]) -> _Sheets:
        spans = self._table.planes[view, columns]
        planes = np.arange(spans[:, 0].min(), spans[:, 1].max())
        needed = (planes >= spans[:, :1]) & (planes < spans[:, 1:])
        lines = self._table.lines[view, columns].T[..., None]  # (6, col, 1)
        q0, q1, z0, z1, d0, d1 = lines
        x = planes - (self._shape[main] - 1) / 2.0
        q = q0 + x * q1
        low = np.floor(q).astype(np.intp)
        part, last = q - low, self._shape[1 - main] - 1
        width = self.rays.shape[self.axis] + 2 * _PAD
        # Rays above or below the grid read the zeros that surround each blended column.
        start, step = (z0 + x * z1 + _PAD)[..., None], (d0 + x * d1)[..., None]
        z = (start + self._rows * step).astype(np.float32)
        np.clip(z, 0, width - 2, out=z)
        at = z.astype(np.intp)
        z -= at
        at += (np.arange(low.size) * width).reshape(*low.shape, 1)
        low_weight = (1.0 - part) * (needed & (low >= 0) & (low <= last))
        high_weight = part * (needed & (low >= -1) & (low < last))
        return _Sheets(
            view=view,
            main=main,
            columns=columns,
            planes=planes,
            low=np.clip(low, 0, last),
            high=np.clip(low + 1, 0, last),
            low_weight=low_weight[..., None].astype(np.float32),
            high_weight=high_weight[..., None].astype(np.float32),
            at=at,
            part=z,
        )


def columns_at_once(shape: tuple[int, int, int], rows: int) -> int:
    """Return how many detector columns are worked on together.

    As many as stay in the processor's cache: small scans would spend their time in Python.
    """
    return max(1, _SAMPLES // (max(shape) * max(rows, *shape)))


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
