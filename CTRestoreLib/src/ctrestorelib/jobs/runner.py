"""Restorations in a child process (layer: jobs).

Hosts with an event loop poll a :class:`RunningJob`; everybody else calls :func:`run_job`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ctrestorelib.core.job import Event
from ctrestorelib.core.params import params_to_json
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.volume import Volume
from ctrestorelib.jobs.child import ChildTask, wait_for
from ctrestorelib.jobs.execute import options_of
from ctrestorelib.jobs.folder import read_result, write_request
from ctrestorelib.jobs.identity import identities_from
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.restorer.plan import Budget


@dataclass(frozen=True)
class JobResult:
    """What a finished job leaves: the volume, what is known about it and how it was made."""

    volume: Volume
    provenance: Provenance
    uncertainty: Volume | None = None

    @property
    def report(self) -> dict[str, Any]:
        """The method's own numbers: residuals, stop reason, measured noise."""
        return self.provenance.report


class RunningJob(ChildTask[JobResult]):
    """A restoration in a child process.

    Use it as a context manager, or call :meth:`close`: the job folder goes with it.

    Parameters
    ----------
    request
        What to do. It is planned before anything starts, so what cannot fit fails at once.
    """

    def __init__(self, request: JobRequest) -> None:
        self.budget = request.budget or Budget.detect()
        self.request = replace(request, budget=self.budget)
        super().__init__(self.request.plan())

    def result(self, *, mapped: bool = False) -> JobResult:
        """Return the result of a finished job, waiting for its end.

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
        volume, uncertainty, record = read_result(self.folder, mapped=mapped)
        return JobResult(volume, self._provenance(record), uncertainty)

    def _write_request(self) -> None:
        write_request(self.folder, self.request, self.budget)

    def _provenance(self, record: dict[str, Any]) -> Provenance:
        request, spec = self.request, self.request.restorer.spec
        return Provenance(
            method=spec.id,
            method_version=spec.version,
            params=params_to_json(request.resolved_params()),
            inputs=identities_from(record["inputs"], request.sop_instance_uids),
            plan=self.plan.to_json(),
            seed=request.seed,
            strength=request.strength,
            options=options_of(request, self.budget),
            weights_sha256=record["report"].get("weights_sha256", {}),
            warnings=(*request.notes, *self.warnings),
            report=record["report"],
            output_sha256=record["output_sha256"],
            environment=record["environment"],
            seconds=round(self.seconds, 3),
        )


def run_job(
    request: JobRequest,
    on_event: Callable[[Event], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> JobResult:
    """Run a request in a child process and wait for it.

    Parameters
    ----------
    request
        What to do.
    on_event
        Receives every event as it comes.
    is_cancelled
        Asked about twenty times a second; True stops the job. Ctrl-C stops it too.

    Raises
    ------
    Cancelled, CTRestoreError
        See :meth:`RunningJob.result`.
    """
    return wait_for(RunningJob(request), on_event, is_cancelled)
