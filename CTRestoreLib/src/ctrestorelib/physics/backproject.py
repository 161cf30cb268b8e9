"""Voxel-driven backprojection, the last step of filtered backprojection (layer: physics)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.physics.backend import choose_backend, choose_threads

EDGE = 0.5 + 1e-3
"""A pixel reaches half its width beyond its centre; the rest is room for rounding."""


@dataclass(frozen=True, eq=False)
class IndexMatrices:
    """What backprojection needs to know of a scan.

    Parameters
    ----------
    matrices
        Shape (view, 3, 4): voxel indices ``(k, j, i, 1)`` to ``w (u, v, 1)``, scaled so that the
        factor of a voxel is ``1 / w**2``.
    weights
        Shape (view,): factor of each view.
    distance_weight
        Whether the factor ``1 / w**2`` applies.
    """

    matrices: NDArray[np.float64]
    weights: NDArray[np.float32]
    distance_weight: bool


def backproject(
    projections: Any,
    geometry: ConeBeamGeometry,
    grid: VolumeGeometry,
    *,
    view_weights: ArrayLike | None = None,
    distance_weight: bool = True,
    out: Any = None,
    backend: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
) -> Any:
    """Sum, for every voxel, the readings at the place where it is projected to.

    Parameters
    ----------
    projections
        ``[view, row, col]``, usually filtered; numpy array or torch tensor.
    geometry
        Scan of these projections.
    grid
        Voxels to fill.
    view_weights
        One factor for each view (an FDK's angular step in radians, for instance); 1 by default.
    distance_weight
        Multiply by ``(SOD / (SOD - s))**2``, s being the voxel's distance from the axis towards the
        source (FDK). For any geometry this is ``(w0 / w)**2`` with the projection matrix's w at the
        voxel and at the gantry's origin; 1 for a parallel beam.
    out
        Volume to add to, of shape ``grid.shape`` and the same kind as ``projections``: lets the
        caller filter and backproject a few views at a time.
    backend, device, threads
        As for :class:`~ctrestorelib.physics.operators.XrayOperator`.

    Returns
    -------
    Volume ``[k, j, i]``, float32; a torch tensor if ``projections`` is one, else a numpy array.

    Notes
    -----
    Readings are interpolated linearly. A voxel that no pixel of a view covers, or that lies behind
    the source, receives nothing from that view. Same numbers on every run.

    References
    ----------
    L. A. Feldkamp, L. C. Davis, J. W. Kress, doi:10.1364/JOSAA.1.000612.
    """
    expected = (geometry.views, *geometry.detector_shape)
    if tuple(projections.shape) != expected:
        message = f"Expected projections of shape {expected}; got {tuple(projections.shape)}."
        raise GeometryError(message)
    if out is not None and tuple(out.shape) != grid.shape:
        message = f"out must have the grid's shape {grid.shape}; got {tuple(out.shape)}."
        raise GeometryError(message)
    plan = index_matrices(geometry, grid, view_weights, distance_weight=distance_weight)
    backend = choose_backend(backend, device)
    return _run(projections, plan, grid, out, backend, device, choose_threads(threads))


def index_matrices(
    geometry: ConeBeamGeometry,
    grid: VolumeGeometry,
    view_weights: ArrayLike | None = None,
    *,
    distance_weight: bool = True,
) -> IndexMatrices:
    """Return the projection matrices in voxel indices, scaled for the distance weight."""
    weights = np.ones(geometry.views) if view_weights is None else np.asarray(view_weights, float)
    if weights.shape != (geometry.views,) or not np.isfinite(weights).all():
        message = (
            f"view_weights must be {geometry.views} finite numbers; got shape {weights.shape}."
        )
        raise UsageError(message)
    isocentre = np.linalg.inv(geometry.world_to_gantry)[:, 3]
    at_isocentre = geometry.matrices[:, 2] @ isocentre
    cone = geometry.beam is Beam.CONE
    if cone and distance_weight and at_isocentre.min() <= 0:
        message = "The gantry's origin lies behind the source in at least one view."
        hint = "Set world_to_gantry so that the rotation axis passes through its origin."
        raise GeometryError(message, hint=hint)
    matrices = geometry.matrices @ grid.ijk_to_lps
    if cone and distance_weight:
        matrices = matrices / at_isocentre[:, None, None]
    return IndexMatrices(
        matrices=np.ascontiguousarray(matrices[:, :, [2, 1, 0, 3]]),
        weights=weights.astype(np.float32),
        distance_weight=distance_weight and cone,
    )


def _run(
    projections: Any,
    plan: IndexMatrices,
    grid: VolumeGeometry,
    out: Any,
    backend: str,
    device: str,
    threads: int,
) -> Any:
    import torch

    from ctrestorelib.physics.backproject_torch import backproject_torch

    given_torch = isinstance(projections, torch.Tensor)
    values = torch.as_tensor(projections, dtype=torch.float32, device=device)
    total = torch.zeros(grid.shape, device=device)
    backproject_torch(values, plan, total)
    if out is not None:
        out += total if given_torch else total.cpu().numpy()
        return out
    return total if given_torch else total.cpu().numpy()
