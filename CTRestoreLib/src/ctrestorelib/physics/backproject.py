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


_STRAIGHT_PIXELS = 1e-4
"""A column of voxels may leave its detector column by this much over its length."""


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

    def column_axis(self, shape: tuple[int, ...]) -> int | None:
        """Return the voxel axis along which column and distance stay the same, None without one.

        Such an axis is parallel to the detector's columns in all views; the longest is returned.
        """
        mixed = np.abs(self.matrices[:, (0, 2), :3]).max(axis=0)  # (u or w, axis)
        scale = np.abs(self.matrices[:, 2] @ [*((n - 1) / 2 for n in shape), 1.0]).min()
        limits = np.array([_STRAIGHT_PIXELS, _STRAIGHT_PIXELS / 1000]) * max(scale, 1e-12)
        straight = [a for a in range(3) if (mixed[:, a] * shape[a] <= limits).all()]
        return max(straight, key=lambda a: shape[a], default=None)


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
    threads = choose_threads(threads)
    if backend == "torch":
        return _with_torch(projections, plan, grid.shape, out, device)
    return _with_numpy(projections, plan, grid.shape, out, (backend, threads))


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


def _with_torch(
    projections: Any, plan: IndexMatrices, shape: tuple[int, int, int], out: Any, device: str
) -> Any:
    import torch

    from ctrestorelib.physics.backproject_torch import backproject_torch

    given_torch = isinstance(projections, torch.Tensor)
    if out is None:
        out = torch.zeros(shape, device=device) if given_torch else np.zeros(shape, np.float32)
    on_device = torch.as_tensor(out, device=device)  # shares memory with a numpy array on the CPU
    values = torch.as_tensor(projections, dtype=torch.float32, device=device)
    backproject_torch(values, plan, on_device)
    if not given_torch and on_device.device.type != "cpu":
        out[...] = on_device.cpu().numpy()
    return out


def _with_numpy(
    projections: Any,
    plan: IndexMatrices,
    shape: tuple[int, int, int],
    out: Any,
    settings: tuple[str, int],
) -> Any:
    given_torch = hasattr(projections, "detach")
    values = projections.detach().numpy() if given_torch else np.asarray(projections)
    if out is None:
        out = np.zeros(shape, dtype=np.float32)
        if given_torch:
            import torch

            out = torch.from_numpy(out)
    target = out.numpy() if given_torch else out
    backend, threads = settings
    if backend == "numba":
        from ctrestorelib.physics.backproject_numba import backproject_numba

        backproject_numba(values, plan, target, threads)
    else:
        from ctrestorelib.physics.backproject_numpy import backproject_numpy

        backproject_numpy(values, plan, target)
    return out
