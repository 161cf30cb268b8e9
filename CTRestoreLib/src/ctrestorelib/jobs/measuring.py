"""Judging a restored volume without a reference, in a child process (layer: jobs).

A plain judgement measures the whole volume; the guard rails of a denoised one (``guards=True``)
sample it and also look at bone texture, uncertainty and inserted marks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from ctrestorelib.jobs.guarding import SAMPLED_SLICES, MethodUse, guard_report
from ctrestorelib.jobs.voxel_cost import VoxelCost
from ctrestorelib.quality.measure import MeasureReport
from ctrestorelib.quality.pairs import check_pair
from ctrestorelib.quality.result import Measure, Verdict
from ctrestorelib.restorer.plan import Budget, Plan

# Both volumes, their difference and its filtered copies, masks: measured.
_COST = VoxelCost(
    "numpy", "Measure", bytes_per_voxel=40, voxels_per_second=6e5, start_seconds=2,
    advice="Compare a smaller part: crop both volumes.",
)  # fmt: skip


@dataclass(frozen=True)
class QualityRequest:
    """A restored volume to judge against its original.

    Parameters
    ----------
    restored, original
        On one grid and in one unit.
    budget
        Memory and cores; measured at the start if None.
    guards
        Measure what guards a denoised volume; see :func:`guarding.guard_report`.
    uncertainty, method
        Of the result, where they are known; for the guard rails.

    Raises
    ------
    GeometryError, UnitError
        If grids or units differ.
    """

    restored: Volume
    original: Volume
    budget: Budget | None = None
    guards: bool = False
    uncertainty: Volume | None = None
    method: MethodUse | None = None

    def __post_init__(self) -> None:
        check_pair(self.restored, self.original, what="the original")

    def plan(self) -> Plan:
        """Return what it will cost; raises :class:`DoesNotFit` if it does not fit."""
        slices, rows, columns = self.original.shape
        if self.guards:
            slices = min(slices, SAMPLED_SLICES)
        return plan_quality(slices * rows * columns, self.budget or Budget.detect())


def plan_quality(voxels: int, budget: Budget) -> Plan:
    """Return what judging a volume of this size will cost.

    Raises
    ------
    DoesNotFit
        If it needs more memory than there is.
    """
    return _COST.plan(voxels, budget, threads=budget.threads)


class RunningMeasure(ChildTask[tuple[Measure, ...]]):
    """A quality measurement in a child process; use it like a running job."""

    def __init__(self, request: QualityRequest) -> None:
        self.request = request
        super().__init__(request.plan())

    def result(self, *, mapped: bool = False) -> tuple[Measure, ...]:
        """Return the measures of a finished run; see :meth:`ChildTask.result`."""
        del mapped
        self._wait_until_done()
        return tuple(measure_from_json(m) for m in read_end(self.folder)["measures"])

    def _write_request(self) -> None:
        with full_disk_is_an_error():
            record = {
                "restored": save_volume(self.folder, "restored", self.request.restored),
                "original": save_volume(self.folder, "original", self.request.original),
                "guards": self.request.guards,
                "seed": 0,
            }
            if self.request.uncertainty is not None:
                said = self.request.uncertainty
                record["uncertainty"] = save_volume(self.folder, "uncertainty", said)
            if self.request.method is not None:
                record["method"] = self.request.method.to_json()
            write_task(self.folder, "measure", record)


def perform_measure(request_path: Path, job: Job) -> None:
    """Judge the volumes that a request file names, in this very process; the worker calls it."""
    from ctrestorelib.quality.measure import measure

    record = json.loads(request_path.read_text(encoding="utf-8"))
    folder = request_path.parent
    restored, original = (load_volume(folder, record[n]) for n in ("restored", "original"))
    if record["guards"]:
        report = _guarded(folder, record, job)
    else:
        with job.stage("Measure noise, edges and removed structure", 1.0):
            report = measure(restored, original=original)
    with full_disk_is_an_error():
        write_end(folder, {"measures": [m.to_json() for m in report.measures]})


def _guarded(folder: Path, record: dict[str, Any], job: Job) -> MeasureReport:
    restored, original = (load_volume(folder, record[n]) for n in ("restored", "original"))
    said = record.get("uncertainty")
    method = record.get("method")
    return guard_report(
        original,
        restored,
        uncertainty=None if said is None else load_volume(folder, said),
        method=None if method is None else MethodUse(**method),
        job=job,
    )


def measure_from_json(record: dict[str, Any]) -> Measure:
    """Rebuild a measure written by :meth:`Measure.to_json`."""
    interval = record["interval_95"]
    return Measure(
        name=record["name"],
        title=record["title"],
        value=None if record["value"] is None else float(record["value"]),
        unit=record["unit"],
        interval=None if interval is None else (float(interval[0]), float(interval[1])),
        verdict=Verdict(record["verdict"]),
        sentence=record["sentence"],
        protocol=record["protocol"],
        not_measurable=record["not_measurable"],
        details=record["details"],
    )
