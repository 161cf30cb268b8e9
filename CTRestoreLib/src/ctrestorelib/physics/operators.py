"""X-ray projection as a linear operator that knows its transpose (layer: physics)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.physics.backend import choose_arrays, choose_backend, choose_threads
from ctrestorelib.physics.rays import index_rays


class Engine(Protocol):
    """What a backend provides: both directions, on its own kind of array.

    It is fastest with volumes whose voxels are contiguous in memory along ``axis``.
    """

    axis: int

    def forward(self, volume: Any) -> Any:
        """Return line integrals [view, row, col] of volume [k, j, i]."""

    def adjoint(self, projections: Any) -> Any:
        """Return the transpose of forward, applied to projections."""


class XrayOperator:
    """Joseph's ray-driven projection of a grid by a scan, and its exact adjoint.

    ``A(x)`` takes attenuation in 1/mm and returns line integrals (no unit); ``A.T(y)`` is the exact
    transpose. Both give the same numbers on every run, whatever the number of threads.

    Parameters
    ----------
    geometry
        Source and detector of every view.
    grid
        The voxels; any orientation, handedness and shear.
    backend
        ``"auto"``, ``"numba"``, ``"torch"`` or ``"numpy"``.
    device
        ``"cpu"`` or a torch device.
    threads
        CPU threads; by default all cores this process may use.
    arrays
        The kind it returns, whatever it is given: ``"numpy"``, ``"torch"`` or ``"auto"``, which
        decides by backend and grid: :func:`~ctrestorelib.physics.backend.choose_arrays`.

    Notes
    -----
    Values outside the outermost voxel centres fall linearly to zero over one voxel. Cone-beam rays
    start at the source and end at the detector, even where the grid reaches farther. Arrays are
    float32: with numba numpy's for grids of up to 128^3 voxels, else torch tensors if torch is
    installed; with torch tensors; with numpy numpy's.

    References
    ----------
    P. Joseph, doi:10.1109/TMI.1982.4307572.
    """

    def __init__(
        self,
        geometry: ConeBeamGeometry,
        grid: VolumeGeometry,
        *,
        backend: str = "auto",
        device: str = "cpu",
        threads: int | None = None,
        arrays: str = "auto",
    ) -> None:
        self.geometry = geometry
        self.grid = grid
        self.backend = choose_backend(backend, device)
        self.arrays = choose_arrays(arrays, self.backend, grid.voxels)
        self.device = device
        self.threads = choose_threads(threads)

    @property
    def domain(self) -> tuple[int, int, int]:
        """Shape of a volume, (k, j, i)."""
        return self.grid.shape

    @property
    def range(self) -> tuple[int, int, int]:
        """Shape of the projections, (views, rows, cols)."""
        return (self.geometry.views, *self.geometry.detector_shape)

    @property
    def T(self) -> AdjointOperator:  # noqa: N802 - as in A.T
        """The adjoint operator: projections to volume."""
        return AdjointOperator(self)

    def __call__(self, volume: Any) -> Any:
        """Return line integrals [view, row, col] of ``volume`` [k, j, i] in 1/mm."""
        _require_shape("The volume", volume, self.domain)
        return self._wrap(self._engine.forward(self._unwrap(volume)))

    def adjoint(self, projections: Any) -> Any:
        """Return the exact transpose applied to ``projections`` [view, row, col]."""
        _require_shape("The projections", projections, self.range)
        return self._wrap(self._engine.adjoint(self._unwrap(projections)))

    def subset(self, view_indices: slice | Sequence[int] | NDArray[Any]) -> XrayOperator:
        """Return the operator of some views: same backend, device and kind of arrays."""
        return self.with_geometry(self.geometry[view_indices])

    def with_geometry(self, geometry: ConeBeamGeometry) -> XrayOperator:
        """Return the operator of another scan: same grid, backend, device and kind of arrays."""
        return XrayOperator(
            geometry,
            self.grid,
            backend=self.backend,
            device=self.device,
            threads=self.threads,
            arrays=self.arrays,
        )

    # -- arrays -------------------------------------------------------------------------------
    @property
    def uses_torch_arrays(self) -> bool:
        """Whether it returns torch tensors (else numpy arrays)."""
        return self.arrays == "torch"

    def asarray(self, values: Any) -> Any:
        """Return ``values`` as a float32 array of the operator's kind, on its device.

        A volume comes in the memory order in which the operator is fastest; its axes stay
        (k, j, i).
        """
        as_kind = self._as_tensor if self.uses_torch_arrays else _as_numpy
        return self._laid_out(as_kind(values))

    def _laid_out(self, values: Any) -> Any:
        """Return a volume in the memory order that the backend works in; anything else as it is.

        Sums, products and ``zeros_like`` keep the order, so that solvers never pay for it again.
        """
        if tuple(values.shape) != self.domain:
            return values
        axis = self._engine.axis
        if isinstance(values, np.ndarray):
            ordered = np.ascontiguousarray(np.moveaxis(values, axis, 2))
            return np.moveaxis(ordered, 2, axis)
        return values.movedim(axis, 2).contiguous().movedim(2, axis)

    def to_numpy(self, values: Any) -> NDArray[np.float32]:
        """Return ``values`` as a C-contiguous float32 numpy array."""
        return np.ascontiguousarray(_as_numpy(values))

    def zeros_domain(self) -> Any:
        """Return a volume of zeros."""
        axis = self._engine.axis
        shape = [n for a, n in enumerate(self.domain) if a != axis]
        zeros = np.zeros((*shape, self.domain[axis]), dtype=np.float32)
        return self.asarray(np.moveaxis(zeros, 2, axis))

    def zeros_range(self) -> Any:
        """Return projections of zeros."""
        return self.asarray(np.zeros(self.range, dtype=np.float32))

    def _unwrap(self, values: Any) -> Any:
        if self.backend == "torch":
            return self._laid_out(self._as_tensor(values)).detach()
        return _as_numpy(values)

    def _wrap(self, values: Any) -> Any:
        return values if self.backend == self.arrays == "torch" else self.asarray(values)

    def _as_tensor(self, values: Any) -> Any:
        import torch

        if isinstance(values, np.ndarray):
            strange = not values.flags.writeable or min(values.strides, default=0) < 0
            values = values.copy() if strange else values
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    @cached_property
    def _engine(self) -> Engine:
        rays = index_rays(self.geometry, self.grid)
        if self.backend == "numba":
            from ctrestorelib.physics.joseph_numba import numba_joseph

            return numba_joseph(rays, self.threads)
        if self.backend == "numpy":
            from ctrestorelib.physics.joseph_numpy import numpy_joseph

            return numpy_joseph(rays)
        from ctrestorelib.physics.joseph_torch import TorchJoseph

        return TorchJoseph(rays, self.device)


class AdjointOperator:
    """The transpose of an :class:`XrayOperator`: projections to volume."""

    def __init__(self, operator: XrayOperator) -> None:
        self.operator = operator

    @property
    def T(self) -> XrayOperator:  # noqa: N802 - as in A.T
        """The projection operator again."""
        return self.operator

    @property
    def domain(self) -> tuple[int, int, int]:
        """Shape of the projections, (views, rows, cols)."""
        return self.operator.range

    @property
    def range(self) -> tuple[int, int, int]:
        """Shape of a volume, (k, j, i)."""
        return self.operator.domain

    def __call__(self, projections: Any) -> Any:
        """Return the exact transpose applied to ``projections`` [view, row, col]."""
        return self.operator.adjoint(projections)


def _as_numpy(values: Any) -> NDArray[np.float32]:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


def _require_shape(name: str, values: Any, shape: tuple[int, int, int]) -> None:
    if tuple(values.shape) != shape:
        message = f"{name} must have shape {shape}; got {tuple(values.shape)}."
        raise GeometryError(message)


def project(operator: XrayOperator | AdjointOperator, values: Any) -> Any:
    """Apply an operator so that torch can differentiate through it.

    Parameters
    ----------
    operator
        ``A`` or ``A.T``.
    values
        Torch tensor of the operator's domain; its gradient is the transpose of what arrives.

    Raises
    ------
    UsageError
        If the operator does not return torch tensors.
    """
    forward = operator if isinstance(operator, XrayOperator) else operator.operator
    if not forward.uses_torch_arrays:
        message = "Gradients need an operator that returns torch tensors."
        raise UsageError(message, hint="Install torch, and choose arrays='torch'.")
    from ctrestorelib.physics.autograd import apply

    return apply(operator, values)
