"""One reconstruction on one core: what came out, how long it took, what memory it needed."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctrestorelib.core.job import Job
from ctrestorelib.core.params import params_from
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.methods.registry import method
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Estimate, Inputs

BUDGET = Budget(host_bytes=16 * 2**30, threads=1)
_MEMORY = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Outcome:
    """What a method made of a case.

    Parameters
    ----------
    volume
        In HU.
    uncertainty
        Standard deviation in HU, None where the method tells none.
    seconds
        Processor time.
    peak_mb
        Memory beyond what the process held before, None where it cannot be measured.
    settings
        What was chosen, for the table.
    """

    volume: Volume
    uncertainty: Volume | None
    seconds: float
    peak_mb: float | None
    settings: Mapping[str, Any]


def run_method(
    method_id: str, scan: ProjectionSet, grid: VolumeGeometry, params: Mapping[str, Any]
) -> Estimate:
    """Run a registered reconstructor on one core; the same seed every time."""
    restorer = method(method_id)
    settings = params_from(restorer.Params, dict(params))
    inputs = Inputs(projections=scan, grid=grid)
    plan = restorer.plan(inputs.shapes(), settings, BUDGET)
    return restorer.restore(inputs, settings, plan, Job(seed=1))


def hu(volume: Volume) -> Volume:
    """Return an estimate's volume in HU."""
    return volume.to_unit(Unit.HU)


class Effort:
    """Measures processor time and peak memory of a ``with`` block.

    ``peak_mb`` counts from what the process held when the block began (Linux only).
    """

    seconds: float
    peak_mb: float | None

    def __enter__(self) -> Effort:
        self._before = _reset_peak()
        self._start = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self._start
        peak = _status_mb("VmHWM")
        self.peak_mb = None if None in (self._before, peak) else peak - self._before


def _reset_peak() -> float | None:
    """Let the peak start anew from what is held now, and return that in MB."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        _MEMORY.write_text("5")
    except OSError:
        return None
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024.0 for line in lines if line.startswith(name)), None)
