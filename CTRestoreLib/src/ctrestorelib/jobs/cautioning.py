"""What to know about a volume before denoising it, found in a child process (layer: jobs)."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from ctrestorelib.jobs.measuring import plan_quality
from ctrestorelib.quality.cautions import Caution, cautions, sampled
from ctrestorelib.restorer.plan import Budget


class RunningCautions(ChildTask[tuple[Caution, ...]]):
    """A look at a volume in a child process; only the dozen slices it needs are handed over.

    Parameters
    ----------
    volume
        The volume to denoise.
    facts
        How it was reconstructed, by DICOM keyword, where that is known.
    """

    def __init__(self, volume: Volume, facts: Mapping[str, str] | None = None) -> None:
        self._part, self._facts = sampled(volume), dict(facts or {})
        super().__init__(plan_quality(self._part.geometry.voxels, Budget.detect()))

    def result(self, *, mapped: bool = False) -> tuple[Caution, ...]:
        """Return the cautions of a finished look; see :meth:`ChildTask.result`."""
        del mapped
        self._wait_until_done()
        return tuple(Caution(**c) for c in read_end(self.folder)["cautions"])

    def _write_request(self) -> None:
        with full_disk_is_an_error():
            volume = save_volume(self.folder, "volume", self._part)
            record = {"volume": volume, "facts": self._facts, "seed": 0}
            write_task(self.folder, "caution", record)


def perform_cautions(request_path: Path, job: Job) -> None:
    """Look at the volume that a request file names, in this very process; the worker calls it."""
    record = json.loads(request_path.read_text(encoding="utf-8"))
    volume = load_volume(request_path.parent, record["volume"])
    with job.stage("Look at the volume", 1.0):
        found = cautions(volume, record["facts"])
    with full_disk_is_an_error():
        write_end(request_path.parent, {"cautions": [vars(c) for c in found]})
