"""How much memory projecting and backprojecting need, known beforehand (layer: physics)."""

from __future__ import annotations

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.physics.backend import choose_backend
from ctrestorelib.physics.backproject import index_matrices
from ctrestorelib.physics.columns import column_axis
from ctrestorelib.physics.joseph_numpy import columns_at_once
from ctrestorelib.physics.rays import index_rays

_VIEW_BLOCK = 2**26
_TORCH_SAMPLES = {"cpu": 2**20, "cuda": 2**25}
_TORCH_VOXELS = {"cpu": 2**19, "cuda": 2**24}


def operator_bytes(
    scan: ConeBeamGeometry, grid: VolumeGeometry, backend: str = "auto", device: str = "cpu"
) -> int:
    """Return the peak memory of ``A(x)`` and ``A.T(y)`` beyond x, y and the result, in bytes.

    It holds for volumes from ``A.asarray`` or ``A.zeros_domain``; others may be copied once.
    """
    backend = choose_backend(backend, device)
    rows, cols = scan.detector_shape
    readings = 4 * scan.views * rows * cols
    if backend == "torch":
        samples = _TORCH_SAMPLES.get(device.partition(":")[0], 2**22)
        rays = max(cols, samples // 16)
        # The transpose also holds one block of planes twice; where sums race, as whole numbers.
        block = max(1, samples // min(rays, rows * cols * scan.views))
        plane = max(grid.voxels // n for n in grid.shape) * min(block, max(grid.shape))
        return samples * 52 + rays * 300 + plane * (8 if device == "cpu" else 24)
    columns = column_axis(index_rays(scan, grid)) is not None
    table = 100 * scan.views * cols if columns else 0
    if backend == "numba":
        return table + (min(readings, max(_VIEW_BLOCK, 4 * rows * cols)) if columns else 0)
    if columns:
        at_once = columns_at_once(grid.shape, rows)
        return table + at_once * max(grid.shape) * (40 * rows + 24 * max(grid.shape))
    return 350 * rows * cols + 8 * max(grid.voxels // n for n in grid.shape)


def backproject_bytes(
    scan: ConeBeamGeometry, grid: VolumeGeometry, backend: str = "auto", device: str = "cpu"
) -> int:
    """Return the peak memory of ``backproject`` beyond projections and volume, in bytes."""
    backend = choose_backend(backend, device)
    rows, cols = scan.detector_shape
    slice_voxels = grid.shape[1] * grid.shape[2]
    if backend == "torch":
        return 50 * max(_TORCH_VOXELS.get(device.partition(":")[0], 2**22), slice_voxels)
    if backend == "numpy":
        return 64 * max(2**17, slice_voxels)
    if index_matrices(scan, grid, distance_weight=False).column_axis(grid.shape) is None:
        return 2**16
    turned = 4 * cols * (rows + 3)
    return turned * min(scan.views, max(1, _VIEW_BLOCK // (4 * rows * cols)))
