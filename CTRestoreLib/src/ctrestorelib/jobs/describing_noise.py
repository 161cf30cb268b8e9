"""Describing the noise of a scan in a child process (layer: jobs)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import Volume
from ctrestorelib.jobs.child import ChildTask
from ctrestorelib.jobs.folder import (
    full_disk_is_an_error,
    load_volume,
    read_end,
    save_volume,
    write_end,
    write_task,
)
from ctrestorelib.jobs.voxel_cost import VoxelCost
from ctrestorelib.quality.scan_noise import ScanNoise, describe_noise
from ctrestorelib.restorer.plan import Budget, Plan

# The volume, masks, and the map if it is wanted.
_COST = VoxelCost(
    "numpy", "Measure the noise", bytes_per_voxel=14, voxels_per_second=1e7, start_seconds=3,
    advice="Measure a smaller part: crop the volume.",
)  # fmt: skip


@dataclass(frozen=True)
class NoiseFound:
    """What a finished run brings.

    Parameters
    ----------
    noise
        The description, without its map.
    level
        The map as a volume; None unless it was asked for.
    """

    noise: ScanNoise
    level: Volume | None


def plan_description(voxels: int, budget: Budget) -> Plan:
    """Return what describing the noise of a volume of this size will cost.

    Raises
    ------
    DoesNotFit
        If it needs more memory than there is.
    """
    return _COST.plan(voxels, budget)


class RunningNoise(ChildTask[NoiseFound]):
    """A description of noise in a child process; use it like a running job.

    Parameters
    ----------
    volume
        The scan.
    with_map
        Whether the noise map is wanted as a volume.
    """

    def __init__(self, volume: Volume, *, with_map: bool = False) -> None:
        self._volume, self._with_map = volume, with_map
        super().__init__(plan_description(volume.geometry.voxels, Budget.detect()))

    def result(self, *, mapped: bool = False) -> NoiseFound:
        """Return what a finished run found; see :meth:`ChildTask.result`."""
        del mapped
        self._wait_until_done()
        end = read_end(self.folder)
        level = load_volume(self.folder, end["level"]) if end["level"] else None
        return NoiseFound(ScanNoise.from_json(end["noise"]), level)

    def _write_request(self) -> None:
        with full_disk_is_an_error():
            volume = save_volume(self.folder, "volume", self._volume)
            write_task(self.folder, "noise",
                       {"volume": volume, "with_map": self._with_map, "seed": 0})  # fmt: skip


def perform_noise(request_path: Path, job: Job) -> None:
    """Describe the volume that a request file names, in this very process; the worker calls it."""
    record = json.loads(request_path.read_text(encoding="utf-8"))
    folder = request_path.parent
    volume = load_volume(folder, record["volume"])
    with job.stage("Measure the noise", 1.0):
        noise = describe_noise(volume)
    level = None
    with full_disk_is_an_error():
        if record["with_map"] and noise.sigma is not None:
            level = save_volume(folder, "level", noise.sigma.whole(volume))
        write_end(folder, {"noise": noise.to_json(), "level": level})
