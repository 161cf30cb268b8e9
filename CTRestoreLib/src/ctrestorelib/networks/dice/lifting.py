"""From features of views to features of points in space (layer: networks).

Coordinates are those of two unit squares and a unit cube: a point's (x, y, z) run from -1 to 1 over
the cube, a detector's (column, row) from -1 to 1 over the detector, both from outer edge to outer
edge. So they do not depend on the number of voxels or pixels, and every scale of features uses the
same 3 x 4 matrices. What is true of any projection is true of these matrices: any arc, shift, tilt
or distance is fine, parallel beams too.
"""

from __future__ import annotations

import torch
from torch.nn import functional

_BEHIND = 9.0  # a detector coordinate that no detector has


def cube_centres(cells: int) -> torch.Tensor:
    """Return the voxel centres of the cube's grid ``[cells^3, 3]``, x fastest, as (x, y, z)."""
    at = (torch.arange(cells, dtype=torch.float32) + 0.5) * (2.0 / cells) - 1.0
    z, y, x = torch.meshgrid(at, at, at, indexing="ij")
    return torch.stack([x, y, z], dim=-1).reshape(-1, 3)


def on_detectors(points: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Return where points fall on the detectors.

    Parameters
    ----------
    points
        ``[batch, point, 3]`` in the cube's coordinates.
    matrices
        ``[batch, view, 3, 4]``: (x, y, z, 1) to w (column, row, 1).

    Returns
    -------
    torch.Tensor
        ``[batch, view, point, 2]`` as (column, row); far outside where a point lies behind the
        source. Always float32: half precision would be a pixel off.
    """
    with torch.autocast(points.device.type, enabled=False):
        points, matrices = points.float(), matrices.float()
        turned = points[:, None] @ matrices[..., :3].transpose(-1, -2)
        shadow = turned + matrices[:, :, None, :, 3]
        depth = shadow[..., 2:]
        in_front = depth > 1e-6
        at = shadow[..., :2] / torch.where(in_front, depth, torch.ones_like(depth))
        return torch.where(in_front, at, torch.full_like(at, _BEHIND))


def read_views(features: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Read features of each view at detector coordinates, bilinearly; zero outside.

    Parameters
    ----------
    features
        ``[batch, view, channel, row, col]``.
    at
        ``[batch, view, point, 2]``, see :func:`on_detectors`.

    Returns
    -------
    torch.Tensor
        ``[batch, view, channel, point]``.
    """
    batch, views = features.shape[:2]
    with torch.autocast(features.device.type, enabled=False):
        read = functional.grid_sample(
            features.flatten(0, 1).float(), at.flatten(0, 1)[:, :, None], align_corners=False
        )
    return read[..., 0].unflatten(0, (batch, views))


def read_strongest(features: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Return the largest of :func:`read_views` over all views ``[batch, channel, point]``.

    View by view, so that it takes little memory where no gradients are kept.
    """
    strongest = read_views(features[:, :1], at[:, :1])[:, 0]
    for view in range(1, features.shape[1]):
        one = slice(view, view + 1)
        strongest = torch.maximum(strongest, read_views(features[:, one], at[:, one])[:, 0])
    return strongest


def read_cube(features: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Read 3-D features ``[batch, channel, k, j, i]`` at points, trilinearly.

    Beyond the outermost voxel centres they go on unchanged.

    Returns
    -------
    torch.Tensor
        ``[batch, channel, point]``.
    """
    with torch.autocast(features.device.type, enabled=False):
        read = functional.grid_sample(
            features.float(), points.float()[:, None, None],
            padding_mode="border", align_corners=False,
        )  # fmt: skip
    return read[:, :, 0, 0]
