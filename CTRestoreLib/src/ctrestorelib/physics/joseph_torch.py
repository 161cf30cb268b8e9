"""Joseph's projector and its exact adjoint in torch, on any device (layer: physics).

Both directions share one walk: rays of the same main axis cross a block of planes together, and
torch's bilinear sampling, or its transpose, does each plane.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch  # noqa: TID253 - this module is imported only when torch computes
from numpy.typing import NDArray

from ctrestorelib.physics.rays import IndexRays

_OUTSIDE = -4.0
BLOCK_SAMPLES = {"cpu": 2**20, "cuda": 2**25}
"""Samples (rays times planes) in flight at once, about 40 bytes each."""
BLOCK_PLANES = 16
"""Planes that a full block of rays crosses at once; a ray takes about 300 bytes."""


@dataclass(frozen=True)
class _Bundle:
    """Rays of one main axis: flat indices into the projections, lines and lengths."""

    axis: int
    index: torch.Tensor  # (ray,) into [view, row, col] flattened
    middle: torch.Tensor  # (ray, 2) lateral position in the middle plane
    slope: torch.Tensor  # (ray, 2) lateral step from plane to plane
    length_mm: torch.Tensor  # (ray,)
    first: torch.Tensor | None  # (ray,) limits of the planes, None if all are crossed
    last: torch.Tensor | None


class TorchJoseph:
    """Forward projection and adjoint for one scan and one grid.

    Parameters
    ----------
    rays
        Rays in voxel indices.
    device
        Torch device name.
    """

    axis = 2

    def __init__(self, rays: IndexRays, device: str) -> None:
        self.rays = rays
        self.device = torch.device(device)
        self._block = BLOCK_SAMPLES.get(self.device.type, 2**22)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Return line integrals ``[view, row, col]`` of ``volume[k, j, i]``."""
        rays = self.rays
        out = torch.zeros((rays.views, *rays.detector_shape), device=self.device)
        flat = out.view(-1)
        for bundle in self._bundles():
            planes = volume.movedim(bundle.axis, 0)
            total = torch.zeros(len(bundle.index), device=self.device)
            for start, stop in self._plane_blocks(bundle):
                grid = self._grid(bundle, start, stop)
                block = planes[start:stop].unsqueeze(1)
                total += torch.nn.functional.grid_sample(
                    block, grid, mode="bilinear", padding_mode="zeros", align_corners=False
                ).sum(dim=(0, 1, 2))
            flat[bundle.index] = total * bundle.length_mm
        return out

    def adjoint(self, projections: torch.Tensor) -> torch.Tensor:
        """Return the exact transpose of :meth:`forward` applied to ``projections``."""
        out = torch.zeros(self.rays.shape, device=self.device)
        flat = projections.reshape(-1)
        for bundle in self._bundles():
            planes = out.movedim(bundle.axis, 0)
            values = flat[bundle.index] * bundle.length_mm
            scatter = _scatter if self.device.type == "cpu" else _scatter_fixed_point
            for start, stop in self._plane_blocks(bundle):
                grid = self._grid(bundle, start, stop)
                planes[start:stop] += scatter(values, grid, planes[start:stop])
        return out

    def _bundles(self) -> Iterator[_Bundle]:
        """Yield all rays, some detector rows at a time; rows are counted through all views."""
        rows, cols = self.rays.detector_shape
        step = max(1, self._block // (BLOCK_PLANES * cols))
        for start in range(0, self.rays.views * rows, step):
            yield from self._bundles_of(start, min(start + step, self.rays.views * rows))

    def _bundles_of(self, start: int, stop: int) -> Iterator[_Bundle]:
        """Split the rays of some detector rows by their main axis."""
        rows, cols = self.rays.detector_shape
        views, v = np.divmod(np.arange(start, stop), rows)
        origin, direction = (
            self._rays_of(table, views, v) for table in (self.rays.origin, self.rays.direction)
        )
        clips = any(self.rays.clips(view) for view in np.unique(views))
        main = direction.abs().argmax(dim=1)
        for axis in range(3):
            index = torch.nonzero(main == axis).squeeze(1)
            if len(index):
                bundle = self._bundle(axis, origin[index], direction[index], clips=clips)
                yield _Bundle(axis, index + start * cols, *bundle)

    def _rays_of(
        self, table: NDArray[np.float64], views: NDArray[np.intp], v: NDArray[np.intp]
    ) -> torch.Tensor:
        """Return origins or directions of whole detector rows, (ray, 3)."""
        first = self._tensor(table[views, 0] + v[:, None] * table[views, 2])[:, None]
        step = self._tensor(table[views, 1])[:, None]
        u = torch.arange(self.rays.detector_shape[1], dtype=torch.float64, device=self.device)
        return (first + u[:, None] * step).reshape(-1, 3)

    def _bundle(
        self, axis: int, origin: torch.Tensor, direction: torch.Tensor, *, clips: bool
    ) -> tuple[Any, ...]:
        lateral = [a for a in range(3) if a != axis]
        per_plane = direction / direction[:, axis : axis + 1]
        # Lines are anchored in the middle of the grid: float32 is finest there.
        middle = (self.rays.shape[axis] - 1) / 2.0
        at_middle = origin + (middle - origin[:, axis : axis + 1]) * per_plane
        length = (per_plane @ self._tensor(self.rays.to_mm).T).norm(dim=1)
        first = last = None
        if clips:
            ends = (origin[:, axis], (origin + direction)[:, axis])
            first, last = torch.minimum(*ends).float(), torch.maximum(*ends).float()
        return (
            at_middle[:, lateral].float(),
            per_plane[:, lateral].float(),
            length.float(),
            first,
            last,
        )

    def _plane_blocks(self, bundle: _Bundle) -> Iterator[tuple[int, int]]:
        count = self.rays.shape[bundle.axis]
        step = max(1, self._block // len(bundle.index))
        for start in range(0, count, step):
            yield start, min(start + step, count)

    def _grid(self, bundle: _Bundle, start: int, stop: int) -> torch.Tensor:
        """Return sampling positions of torch's kind, (plane, 1, ray, 2)."""
        count = self.rays.shape[bundle.axis]
        plane = torch.arange(start, stop, dtype=torch.float32, device=self.device)[:, None]
        sizes = [n for axis, n in enumerate(self.rays.shape) if axis != bundle.axis]
        grid = torch.empty((stop - start, 1, len(bundle.index), 2), device=self.device)
        for lateral, size in enumerate(sizes):
            position = grid[:, 0, :, 1 - lateral]  # torch wants the fastest axis first
            torch.addcmul(
                bundle.middle[:, lateral], plane - (count - 1) / 2.0, bundle.slope[:, lateral],
                out=position,
            )  # fmt: skip
            position.mul_(2.0 / size).add_(1.0 / size - 1.0)
        if bundle.first is not None and bundle.last is not None:
            outside = (plane < bundle.first) | (plane > bundle.last)
            grid[:, 0].masked_fill_(outside.unsqueeze(-1), _OUTSIDE)
        return grid

    def _tensor(self, array: Any) -> torch.Tensor:
        return torch.tensor(array, dtype=torch.float64, device=self.device)


def _scatter(values: torch.Tensor, grid: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Transpose of bilinear sampling on a CPU: torch's own, one thread for each plane."""
    shape = (grid.shape[0], 1, 1, len(values))
    gradient, _ = torch.ops.aten.grid_sampler_2d_backward(
        values.expand(shape).contiguous(), like.unsqueeze(1).contiguous(), grid,
        0, 0, False, [True, False],
    )  # fmt: skip
    return gradient.squeeze(1)


def _scatter_fixed_point(
    values: torch.Tensor, grid: torch.Tensor, like: torch.Tensor
) -> torch.Tensor:
    """Transpose of bilinear sampling where additions race: whole numbers add in any order.

    The scale leaves room for the sum of all values, so nothing can overflow.
    """
    planes, height, width = like.shape
    scale = 2.0**61 / values.double().abs().sum().clamp_min(1e-30)
    x = (grid[:, 0, :, 0] + 1.0) * (width / 2.0) - 0.5
    y = (grid[:, 0, :, 1] + 1.0) * (height / 2.0) - 0.5
    x0, y0 = x.floor(), y.floor()
    base = torch.arange(planes, device=like.device)[:, None] * (height * width)
    out = torch.zeros(planes * height * width, dtype=torch.int64, device=like.device)
    for dy in (0, 1):
        for dx in (0, 1):
            xi, yi = x0 + dx, y0 + dy
            weight = (1.0 - (x - xi).abs()) * (1.0 - (y - yi).abs())
            inside = (xi >= 0) & (xi < width) & (yi >= 0) & (yi < height)
            amount = (weight * inside * values).double().mul_(scale).round_().to(torch.int64)
            index = base + torch.where(inside, yi * width + xi, 0).to(torch.int64)
            out.index_add_(0, index.reshape(-1), amount.reshape(-1))
    return (out.double() / scale).to(torch.float32).view(planes, height, width)
