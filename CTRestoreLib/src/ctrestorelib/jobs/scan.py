"""Virtual scans in a child process (layer: jobs).

Hosts with an event loop poll a :class:`RunningScan`; everybody else calls :func:`run_scan`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ctrestorelib.core.job import Event, Job
from ctrestorelib.core.params import params_from, params_to_json, validated
from ctrestorelib.core.volume import Volume
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.jobs.child import ChildTask, wait_for
from ctrestorelib.jobs.folder import (
    full_disk_is_an_error,
    load_projections,
    load_volume,
    read_end,
    save_projections,
    save_volume,
    write_end,
    write_task,
)
from ctrestorelib.jobs.identity import identities_from, origin
from ctrestorelib.physics.scan_protocol import ScanProtocol
from ctrestorelib.physics.virtual_scan import plan_scan, virtual_scan
from ctrestorelib.restorer.plan import Budget, Plan

FORMAT = "ctrestore-virtual-scan"


@dataclass(frozen=True)
class ScanRequest:
    """One virtual scan to take.

    Parameters
    ----------
    volume
        What is scanned, in HU or 1/mm.
    protocol
        The scanner's settings.
    geometry
        A scan geometry to follow instead of the protocol's.
    seed
        Root of all random numbers.
    budget
        Memory and cores; measured at the start of the run if None.
    sop_instance_uids
        DICOM identity of the volume, for the record.
    notes
        What reading the volume had to assume, as ``{"code", "text"}``; kept in the record.

    Raises
    ------
    UsageError
        If a setting of the protocol is out of its range.
    """

    volume: Volume
    protocol: ScanProtocol
    geometry: ConeBeamGeometry | None = None
    seed: int = 0
    budget: Budget | None = None
    sop_instance_uids: tuple[str, ...] = ()
    notes: tuple[dict[str, str], ...] = ()

    def __post_init__(self) -> None:
        validated(self.protocol)

    def plan(self, budget: Budget | None = None) -> Plan:
        """Return how the scan would go; raises :class:`DoesNotFit` if it cannot."""
        chosen = budget or self.budget or Budget.detect()
        return plan_scan(self.volume.geometry, self.protocol, chosen, geometry=self.geometry)


@dataclass(frozen=True)
class ScanResult:
    """What a finished scan leaves: the projections, and how they were made, as plain values.

    ``record`` holds ``protocol``, ``seed``, ``inputs`` (identity of the volume), ``plan``,
    ``warnings``, ``output_sha256``, ``environment`` and ``seconds``.
    """

    projections: ProjectionSet
    record: dict[str, Any]


class RunningScan(ChildTask[ScanResult]):
    """A virtual scan in a child process.

    Use it as a context manager, or call :meth:`close`: the job folder goes with it.

    Parameters
    ----------
    request
        What to scan, and how. It is planned before anything starts, so what cannot fit, or a
        source inside the object, fails at once.
    """

    def __init__(self, request: ScanRequest) -> None:
        self.request = replace(request, budget=request.budget or Budget.detect())
        super().__init__(self.request.plan())

    def result(self, *, mapped: bool = False) -> ScanResult:
        """Return the projections of a finished scan, waiting for its end.

        Parameters
        ----------
        mapped
            Leave the values in the job folder's file: read-only, at no cost in time or memory. For
            a host that copies them elsewhere at once. Drop the result before :meth:`close`.

        Raises
        ------
        Cancelled
            If it was cancelled.
        CTRestoreError
            What the worker reported, or :class:`ResourceError` if it died without a word.
        """
        self._wait_until_done()
        found = read_end(self.folder)
        projections = load_projections(self.folder, found["projections"], mapped=mapped)
        return ScanResult(projections, self._record(found))

    def _write_request(self) -> None:
        write_scan(self.folder, self.request)

    def _record(self, found: dict[str, Any]) -> dict[str, Any]:
        request = self.request
        inputs = identities_from(found["inputs"], request.sop_instance_uids)
        return {
            "format": FORMAT,
            "version": 1,
            "protocol": params_to_json(request.protocol),
            "own_geometry": request.geometry is not None,
            "seed": request.seed,
            "inputs": [asdict(identity) for identity in inputs],
            "plan": self.plan.to_json(),
            "warnings": [*request.notes, *self.warnings],
            "output_sha256": found["output_sha256"],
            "environment": found["environment"],
            "seconds": round(self.seconds, 3),
            "research_use_only": True,
        }


def run_scan(
    request: ScanRequest,
    on_event: Callable[[Event], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> ScanResult:
    """Take a virtual scan in a child process and wait for it; see :func:`wait_for`."""
    return wait_for(RunningScan(request), on_event, is_cancelled)


def write_scan(folder: Path, request: ScanRequest) -> None:
    """Write the volume and ``request.json`` of a virtual scan.

    Raises
    ------
    ResourceError
        If the disk is full.
    """
    geometry = request.geometry
    with full_disk_is_an_error():
        record = {
            "protocol": params_to_json(request.protocol),
            "geometry": None if geometry is None else geometry.to_json(),
            "seed": request.seed,
            "budget": asdict(request.budget or Budget.detect()),
            "volume": save_volume(folder, "volume", request.volume),
        }
        write_task(folder, "scan", record)


def read_scan(path: Path) -> ScanRequest:
    """Read what :func:`write_scan` wrote; the volume is memory-mapped and cannot be written to."""
    record = json.loads(path.read_text(encoding="utf-8"))
    geometry = record["geometry"]
    return ScanRequest(
        volume=load_volume(path.parent, record["volume"]),
        protocol=params_from(ScanProtocol, record["protocol"]),
        geometry=None if geometry is None else ConeBeamGeometry.from_json(geometry),
        seed=record["seed"],
        budget=Budget(**record["budget"]),
    )


def perform_scan(request_path: Path, job: Job) -> None:
    """Take the scan that a request file describes, in this very process; the worker calls it."""
    request = read_scan(request_path)
    made = virtual_scan(
        request.volume, request.protocol, job, geometry=request.geometry, budget=request.budget
    )
    with full_disk_is_an_error():
        record = {"projections": save_projections(request_path.parent, made)}
        write_end(
            request_path.parent, record | origin([("volume", request.volume.values)], made.values)
        )
