"""Voxel-driven backprojection in torch, on any device (layer: physics)."""

from __future__ import annotations

import torch  # noqa: TID253 - this module is imported only when torch computes

from ctrestorelib.physics.backproject import EDGE, IndexMatrices

BLOCK_VOXELS = {"cpu": 2**19, "cuda": 2**24}
"""Voxels in flight at once; each takes about 40 bytes."""


def backproject_torch(values: torch.Tensor, plan: IndexMatrices, out: torch.Tensor) -> None:
    """Add the backprojection of ``values[view, row, col]`` to ``out[k, j, i]``, slab by slab."""
    slices, rows, cols = out.shape
    step = max(1, BLOCK_VOXELS.get(out.device.type, 2**22) // (rows * cols))
    j, i = (torch.arange(n, dtype=torch.float64, device=out.device) for n in (rows, cols))
    for start in range(0, slices, step):
        slab = out[start : start + step]
        k = torch.arange(start, start + len(slab), dtype=torch.float64, device=out.device)
        for view, weight in enumerate(plan.weights.tolist()):
            if weight:
                _add_view(values[view], plan, view, (k, j, i), slab)


def _add_view(
    projection: torch.Tensor,
    plan: IndexMatrices,
    view: int,
    kji: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    slab: torch.Tensor,
) -> None:
    height, width = projection.shape
    k, j, i = kji
    # Sums of whole-number multiples in float64 per axis, then float32: rounding stays below 1e-4
    # pixel, and the large arrays are float32.
    u, v, w = (
        (a * k).float()[:, None, None] + (b * j).float()[:, None] + (c * i + d).float()
        for a, b, c, d in plan.matrices[view].tolist()
    )
    behind = w <= 0
    inverse = 1.0 / w.masked_fill_(behind, 1.0)
    u.mul_(inverse)
    v.mul_(inverse)
    inside = (u >= -EDGE) & (u <= width - 1 + EDGE) & (v >= -EDGE) & (v <= height - 1 + EDGE)
    inside &= ~behind
    grid = torch.empty((1, slab.numel(), 1, 2), device=slab.device)
    torch.mul(u.reshape(-1), 2.0 / width, out=grid[0, :, 0, 0]).add_(1.0 / width - 1.0)
    torch.mul(v.reshape(-1), 2.0 / height, out=grid[0, :, 0, 1]).add_(1.0 / height - 1.0)
    sampled = torch.nn.functional.grid_sample(
        projection[None, None], grid, mode="bilinear", padding_mode="border", align_corners=False
    ).view(slab.shape)
    factor = inside.float().mul_(float(plan.weights[view]))
    if plan.distance_weight:
        factor.mul_(inverse).mul_(inverse)
    slab.addcmul_(sampled, factor)
