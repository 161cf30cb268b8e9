"""Writing a derived DICOM series in a child process (layer: jobs)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ctrestorelib.core.job import Job
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.volume import Volume
from ctrestorelib.io.dicom_export.options import ExportOptions, Identity
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
from ctrestorelib.restorer.plan import Budget, Plan

_COST = VoxelCost(
    "pydicom", "Write slices", bytes_per_voxel=8, voxels_per_second=1e7, start_seconds=2,
    advice="Close other programs, or export a smaller volume.",
)  # fmt: skip


@dataclass(frozen=True)
class ExportRequest:
    """A volume to write as a derived DICOM series.

    Parameters
    ----------
    volume, record
        The result, and how it was made.
    folder
        A new or empty folder.
    sources
        Files of the series that it was made from; none makes a new patient and study.
    options
        Choices for the series. A typed patient is kept in the private job folder only, and goes
        with it.
    """

    volume: Volume
    record: Provenance | None
    folder: Path
    sources: tuple[Path, ...] = ()
    options: ExportOptions = field(default_factory=ExportOptions)

    def plan(self) -> Plan:
        """Return what it will cost; raises :class:`DoesNotFit` if it does not fit."""
        return plan_export_job(self.volume.geometry.voxels, Budget.detect())


def plan_export_job(voxels: int, budget: Budget) -> Plan:
    """Return what writing a series of this many voxels will cost.

    Raises
    ------
    DoesNotFit
        If it needs more memory than there is.
    """
    return _COST.plan(voxels, budget)


@dataclass(frozen=True)
class ExportOutcome:
    """What was written.

    Parameters
    ----------
    folder, files
        Where, and how many slices.
    clipped
        Voxels outside the range of the stored type.
    notes
        What a person should know, in sentences.
    series_uid
        Of the new series.
    """

    folder: Path
    files: int
    clipped: int
    notes: tuple[str, ...]
    series_uid: str


class RunningExport(ChildTask[ExportOutcome]):
    """An export in a child process; use it like a running job."""

    def __init__(self, request: ExportRequest) -> None:
        self.request = request
        super().__init__(request.plan())

    def result(self, *, mapped: bool = False) -> ExportOutcome:
        """Return what was written; see :meth:`ChildTask.result`."""
        del mapped
        self._wait_until_done()
        found = read_end(self.folder)
        return ExportOutcome(
            self.request.folder,
            found["files"],
            found["clipped"],
            tuple(found["notes"]),
            found["series_uid"],
        )

    def _write_request(self) -> None:
        request = self.request
        with full_disk_is_an_error():
            record: dict[str, Any] = {
                "volume": save_volume(self.folder, "volume", request.volume),
                "record": None if request.record is None else request.record.to_json(),
                "target": str(request.folder.absolute()),
                "sources": [str(path.absolute()) for path in request.sources],
                "options": asdict(request.options),
                "seed": 0,
            }
            write_task(self.folder, "export", record)


def perform_export(request_path: Path, job: Job) -> None:
    """Write the series that a request file describes, in this very process."""
    from ctrestorelib.io.dicom_export.writing import export_series

    record = json.loads(request_path.read_text(encoding="utf-8"))
    given = record["options"]
    options = ExportOptions(**{**given, "identity": Identity(**given["identity"])})
    report = export_series(
        load_volume(request_path.parent, record["volume"]),
        None if record["record"] is None else Provenance.from_json(record["record"]),
        Path(record["target"]),
        source=[Path(path) for path in record["sources"]] or None,
        options=options,
        job=job,
    )
    with full_disk_is_an_error():
        write_end(
            request_path.parent,
            {
                "files": len(report.files),
                "clipped": report.clipped,
                "notes": [note.text for note in report.notes],
                "series_uid": report.series_uid,
            },
        )
