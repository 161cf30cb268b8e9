"""The checks of a reconstruction in a child process, for hosts with an event loop (layer: jobs)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import Volume
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.jobs.checking import (
    ReconstructionCheck,
    calibrated_request,
    check_reconstruction,
    with_geometry,
)
from ctrestorelib.jobs.child import ChildTask
from ctrestorelib.jobs.folder import (
    full_disk_is_an_error,
    load_volume,
    read_end,
    read_request,
    save_volume,
    write_end,
    write_request,
)
from ctrestorelib.jobs.measuring import measure_from_json
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.quality.result import plain
from ctrestorelib.restorer.plan import Budget

R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What a calibration in a child process brings.

    Parameters
    ----------
    request
        With the better geometry if one was found, otherwise as it was.
    sentence
        What was found.
    """

    request: JobRequest
    sentence: str


class _RunningChecks(ChildTask[R]):
    """A child process that works on a reconstruction's request.

    Parameters
    ----------
    request
        A reconstruction. It is planned before anything starts.
    task
        What the worker does with it: ``check`` or ``calibrate``.
    """

    def __init__(self, request: JobRequest, task: str) -> None:
        self.budget = request.budget or Budget.detect()
        self.request = replace(request, budget=self.budget)
        self._task = task
        super().__init__(self.request.plan())

    def _write_request(self) -> None:
        write_request(self.folder, self.request, self.budget)
        path = self.folder / "request.json"
        with full_disk_is_an_error():
            record = json.loads(path.read_text(encoding="utf-8"))
            record |= {"task": self._task, **self._further()}
            path.write_text(json.dumps(record), encoding="utf-8")

    def _further(self) -> dict[str, Any]:
        """Write further arrays; return what else the worker needs."""
        return {}


class RunningCheck(_RunningChecks[ReconstructionCheck]):
    """:func:`check_reconstruction` in a child process; use it like a running job.

    Parameters
    ----------
    request
        What was asked for.
    volume
        The result, in HU or 1/mm.
    report
        The method's own report.
    """

    def __init__(self, request: JobRequest, volume: Volume, report: Mapping[str, Any]) -> None:
        self._volume, self._report = volume, report
        super().__init__(request, "check")

    def result(self, *, mapped: bool = False) -> ReconstructionCheck:
        """Return what a finished check found; see :meth:`ChildTask.result`."""
        self._wait_until_done()
        end = read_end(self.folder)
        percent = end["percent"]
        return ReconstructionCheck(
            tuple(measure_from_json(m) for m in end["measures"]),
            None if percent is None else load_volume(self.folder, percent, mapped=mapped),
        )

    def _further(self) -> dict[str, Any]:
        checked = save_volume(self.folder, "checked", self._volume)
        return {"checked": checked, "report": plain(dict(self._report))}


class RunningCalibration(_RunningChecks[Calibrated]):
    """:func:`calibrated_request` in a child process; use it like a running job."""

    def __init__(self, request: JobRequest) -> None:
        super().__init__(request, "calibrate")

    def result(self, *, mapped: bool = False) -> Calibrated:
        """Return the request to run; see :meth:`ChildTask.result`."""
        del mapped
        self._wait_until_done()
        end = read_end(self.folder)
        if end["geometry"] is None:
            return Calibrated(self.request, end["sentence"])
        geometry = ConeBeamGeometry.from_json(end["geometry"])
        return Calibrated(with_geometry(self.request, geometry, end["sentence"]), end["sentence"])


def perform_check(request_path: Path, job: Job) -> None:
    """Check the volume that a request file names, in this very process; the worker calls it."""
    folder, record = request_path.parent, json.loads(request_path.read_text(encoding="utf-8"))
    request, budget = read_request(request_path)
    volume = load_volume(folder, record["checked"])
    found = check_reconstruction(
        replace(request, budget=budget), volume, report=record["report"], job=job
    )
    percent = found.measured_percent
    with full_disk_is_an_error():
        saved = None if percent is None else save_volume(folder, "percent", percent)
        write_end(folder, {"measures": [m.to_json() for m in found.measures], "percent": saved})


def perform_calibration(request_path: Path, job: Job) -> None:
    """Look for a better geometry, in this very process; the worker calls it."""
    request, budget = read_request(request_path)
    _, found = calibrated_request(replace(request, budget=budget), job)
    geometry = found.geometry.to_json() if found.accepted else None
    with full_disk_is_an_error():
        write_end(request_path.parent, {"sentence": found.sentence, "geometry": geometry})
