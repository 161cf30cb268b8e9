"""The guard rails of a denoised volume: everything that is shown with it (layer: jobs).

Long volumes are sampled, so that 512 x 512 x 300 voxels take about half a minute of one core: four
runs of 16 slices, spread evenly, for all but the inserted marks and the coverage, which choose
their own places in the whole volume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ctrestorelib.core.errors import Cancelled, CTRestoreError
from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import Volume
from ctrestorelib.jobs.execute import execute
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.quality.coverage import coverage
from ctrestorelib.quality.flatness import sampled_slices
from ctrestorelib.quality.marks import MarkRecovery, recovery
from ctrestorelib.quality.measure import MeasureReport, measure
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

SAMPLED_SLICES = 64
_RUN = 16


@dataclass(frozen=True)
class MethodUse:
    """The method that made a result, so that it can be asked again on a small piece.

    Parameters
    ----------
    method_id, params, strength, seed
        As in the request (or the record) of the result.
    """

    method_id: str
    params: Mapping[str, Any]
    strength: float = 1.0
    seed: int = 0

    def on(self, budget: Budget) -> Callable[[Volume], Volume]:
        """Return the method as a function from volume to volume."""

        def restore(volume: Volume) -> Volume:
            request = JobRequest(self.method_id, Inputs(volume=volume), self.params,
                                 strength=self.strength, seed=self.seed)  # fmt: skip
            return execute(request, budget, Job(seed=self.seed)).volume

        return restore

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**self.__dict__, "params": dict(self.params)}


def guard_report(
    original: Volume,
    restored: Volume,
    *,
    uncertainty: Volume | None = None,
    method: MethodUse | None = None,
    budget: Budget | None = None,
    job: Job | None = None,
) -> MeasureReport:
    """Measure everything that guards a denoised volume.

    Parameters
    ----------
    original, restored
        Volumes on one grid in one unit.
    uncertainty
        Standard deviation of the error of ``restored``, where the method gives one.
    method
        What made ``restored``; without it no marks can be inserted.
    budget
        Memory and cores for running the method; measured if None.
    job
        Progress and cancelling.

    Raises
    ------
    GeometryError, UnitError
        If grids or units differ.
    Cancelled
        If the job was cancelled.
    """
    job = job or Job()
    with job.stage("Measure noise, edges and removed structure", 0.6):
        first, second, note = sampled_pair(original, restored)
        report = measure(second, original=first)
    measures, notes = list(report.measures), [*report.notes, *note]
    with job.stage("Check the uncertainty", 0.1):
        if uncertainty is not None:
            measures.append(coverage(original, restored, uncertainty).to_measure())
    with job.stage("Insert marks and restore them", 0.3):
        if method is not None:
            measures += _marks(original, method, budget or Budget.detect(), job).to_measures()
    return replace(report, measures=tuple(measures), notes=tuple(notes))


def sampled_pair(original: Volume, restored: Volume) -> tuple[Volume, Volume, tuple[str, ...]]:
    """Return both volumes in at most 64 slices, and a sentence that says so.

    Runs of 16 slices are laid on each other, so at three places neighbouring slices are none.
    """
    slices = original.shape[0]
    if slices <= SAMPLED_SLICES:
        return original, restored, ()
    planes = [k for run in sampled_slices(slices, SAMPLED_SLICES // _RUN, _RUN) for k in run]
    grid = original.geometry.crop((slice(0, len(planes)), slice(None), slice(None)))
    pair = (Volume(np.ascontiguousarray(v.values[planes]), grid, v.unit)
            for v in (original, restored))  # fmt: skip
    first, second = pair
    runs = SAMPLED_SLICES // _RUN
    told = f"Measured in {len(planes)} of {slices} slices ({runs} runs of {_RUN})."
    return first, second, (told,)


def _marks(original: Volume, method: MethodUse, budget: Budget, job: Job) -> MarkRecovery:
    restore = method.on(budget)

    def checked(volume: Volume) -> Volume:
        job.check()
        return restore(volume)

    try:
        return recovery(original, checked)
    except Cancelled:
        raise
    except CTRestoreError as error:
        return MarkRecovery(why_not=f"the method refused the cut-out: {error.message}")


def method_of(record: Mapping[str, Any] | None) -> MethodUse | None:
    """Return what a provenance record says about the method; None without a record."""
    if record is None:
        return None
    return MethodUse(record["method"], record["params"], record["strength"], record["seed"])
