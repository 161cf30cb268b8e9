"""Memory and time of iterative reconstructions, for their plans (layer: recon)."""

from __future__ import annotations

from dataclasses import dataclass

from ctrestorelib.physics.backend import choose_arrays, choose_backend
from ctrestorelib.restorer.plan import (
    BASE_BYTES,
    Budget,
    InputShapes,
    Plan,
    PlannedStage,
    require_fit,
)

TORCH_BYTES = 132 * 2**20
"""Memory of torch itself, where it is loaded."""

_RAY_STEPS_PER_SECOND = {"numba": 4.0e8, "torch": 4.0e7, "numpy": 6.0e6}  # per core
_VOXEL_PASSES_PER_SECOND = 6.0e8  # whole-volume operations of one pass, per core
_HINT = (
    "Choose a smaller grid or larger voxels (--shape, --spacing), crop the projections, "
    "or close other programs."
)


@dataclass(frozen=True)
class Footprint:
    """What a method holds and does, in units of whole volumes and whole projection sets.

    Parameters
    ----------
    volumes, projections
        Float32 arrays of the output's and of the scan's size at the peak.
    passes
        Projections plus backprojections of all views in one iteration.
    volume_passes
        Element-wise operations on whole volumes in one iteration.
    needs_torch
        Whether it loads torch for any grid, not for large ones only.
    """

    volumes: float
    projections: float
    passes: float = 2.0
    volume_passes: float = 8.0
    needs_torch: bool = False


def plan_iterations(
    shapes: InputShapes,
    budget: Budget,
    footprint: Footprint,
    stages: tuple[tuple[str, int], ...],
) -> Plan:
    """Return the plan of a method whose stages are ``(title, iterations)``.

    Raises
    ------
    InputError
        If scan or grid are missing.
    DoesNotFit
        If memory does not suffice.
    """
    _, grid = shapes.require_scan()
    backend = choose_backend("auto", budget.device)
    work = 4 * (footprint.volumes * shapes.voxels + footprint.projections * shapes.readings)
    arrays = choose_arrays("auto", backend, shapes.voxels)
    base = BASE_BYTES + (TORCH_BYTES if arrays == "torch" or footprint.needs_torch else 0)
    on_host = budget.device == "cpu"
    host = base + int(work if on_host else 4 * (3 * shapes.voxels + 3 * shapes.readings))
    require_fit(host, budget, _HINT)
    if not on_host and work > budget.device_bytes > 0:
        require_fit(int(work), Budget(budget.device_bytes), "Compute on the CPU, or " + _HINT)
    steps = shapes.readings * max(grid.shape) * footprint.passes
    once = steps / _RAY_STEPS_PER_SECOND[backend]
    once += shapes.voxels * footprint.volume_passes / _VOXEL_PASSES_PER_SECOND
    total = max(sum(n for _, n in stages), 1)
    parts = tuple(PlannedStage(title, n / total) for title, n in stages)
    return Plan(
        backend=backend,
        device=budget.device,
        threads=budget.threads,
        peak_host_bytes=host,
        peak_device_bytes=0 if on_host else int(work),
        seconds=2.0 + once * total / max(budget.threads, 1),
        stages=parts,
    )
