"""Memory and time of filtered backprojection, for its plan (layer: recon)."""

from __future__ import annotations

from ctrestorelib.physics.backend import choose_backend
from ctrestorelib.recon.detector import block_views
from ctrestorelib.recon.footprint import TORCH_BYTES
from ctrestorelib.restorer.plan import (
    BASE_BYTES,
    Budget,
    InputShapes,
    Plan,
    PlannedStage,
    require_fit,
)

UPDATES_PER_SECOND = {"numba": 4e8, "torch": 1.2e8, "numpy": 2.5e7}
"""Voxel updates (voxels times views) per core and second."""

READINGS_PER_SECOND = 4e7
"""Readings weighted and filtered per core and second."""

RAY_STEPS_PER_SECOND = {"numba": 1.0e8, "torch": 3.0e7, "numpy": 6.0e6}
DEVICE_SPEEDUP = 50.0
START_SECONDS = 2.0  # libraries and compiled kernels are loaded

_HINT = "Choose a smaller grid or larger voxels (--shape, --spacing), or crop the projections."


def plan_fdk(shapes: InputShapes, budget: Budget, *, residual: bool = False) -> Plan:
    """Return the plan of one FDK.

    Parameters
    ----------
    residual
        Whether the result is projected forward to compare it with the measurements.

    Raises
    ------
    InputError
        If scan or grid are missing.
    DoesNotFit
        If memory does not suffice.
    """
    scan, grid = shapes.require_scan()
    backend = choose_backend("auto", budget.device)
    on_host = budget.device == "cpu"
    work = _work_bytes(shapes, backend)
    # Projections, the volume, and once more the volume while it is converted to HU.
    host = BASE_BYTES + (TORCH_BYTES if backend == "torch" else 0)
    host += 4 * shapes.readings + max(8 * shapes.voxels, 4 * shapes.voxels + work)
    host += 4 * 6 * shapes.readings if residual else 0
    require_fit(host, budget, _HINT)
    device = 0 if on_host else 4 * shapes.voxels + work
    if device and budget.device_bytes:
        require_fit(device, Budget(budget.device_bytes), "Compute on the CPU, or " + _HINT)
    seconds = _seconds(shapes, backend, budget.threads, on_host=on_host)
    check = 0.0
    if residual:
        check = shapes.readings * max(grid.shape) / RAY_STEPS_PER_SECOND[backend]
        check /= max(budget.threads, 1)
    return Plan(
        backend=backend,
        device=budget.device,
        threads=budget.threads,
        peak_host_bytes=host,
        peak_device_bytes=device,
        seconds=START_SECONDS + seconds + check,
        stages=_stages(seconds, check),
        block_slices=block_views(scan),
    )


def _work_bytes(shapes: InputShapes, backend: str) -> int:
    """Return the memory of one block of filtered views, and its transposed copy."""
    if shapes.scan is None:
        return 0
    rows, cols = shapes.scan.detector_shape
    block = 4 * block_views(shapes.scan) * rows * cols
    scratch = 40 * 2**19 if backend == "torch" else 2**20
    return 2 * block + 24 * 2 * rows * cols + scratch


def _seconds(shapes: InputShapes, backend: str, threads: int, *, on_host: bool) -> float:
    views = shapes.scan.views if shapes.scan is not None else 0
    updates = shapes.voxels * views / UPDATES_PER_SECOND[backend]
    filtering = shapes.readings / READINGS_PER_SECOND
    return (updates / (1.0 if on_host else DEVICE_SPEEDUP) + filtering) / max(threads, 1)


def _stages(seconds: float, check: float) -> tuple[PlannedStage, ...]:
    main = PlannedStage("Filter and backproject the views", seconds / (seconds + check))
    if check <= 0:
        return (main,)
    return main, PlannedStage("Check against the projections", check / (seconds + check))
