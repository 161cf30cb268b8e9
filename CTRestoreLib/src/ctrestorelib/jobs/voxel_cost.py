"""What tasks cost whose time and memory grow with the voxels of one volume (layer: jobs)."""

from __future__ import annotations

from dataclasses import dataclass

from ctrestorelib.restorer.plan import BASE_BYTES, Budget, Plan, PlannedStage, require_fit


@dataclass(frozen=True)
class VoxelCost:
    """Cost of a task of one stage.

    Parameters
    ----------
    backend, stage
        What computes, and what a person reads while it does.
    bytes_per_voxel, voxels_per_second
        Memory beside that of an empty worker, and speed; measured.
    start_seconds
        Until the worker begins.
    advice
        What to do where it does not fit.
    """

    backend: str
    stage: str
    bytes_per_voxel: int
    voxels_per_second: float
    start_seconds: float
    advice: str

    def plan(self, voxels: int, budget: Budget, *, threads: int = 1) -> Plan:
        """Return the plan for a volume of this size.

        Raises
        ------
        DoesNotFit
            If it needs more memory than there is.
        """
        needed = BASE_BYTES + self.bytes_per_voxel * voxels
        require_fit(needed, budget, self.advice)
        seconds = self.start_seconds + voxels / self.voxels_per_second
        stages = (PlannedStage(self.stage, 1.0),)
        return Plan(self.backend, "cpu", threads, needed, seconds, stages)
