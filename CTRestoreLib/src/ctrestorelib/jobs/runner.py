"""Starting, watching and stopping a worker process (layer: jobs).

Hosts with an event loop poll a :class:`RunningJob`; everybody else calls :func:`run_job`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ctrestorelib.core.errors import Cancelled, ResourceError, error_from_json
from ctrestorelib.core.job import Event
from ctrestorelib.core.params import params_to_json
from ctrestorelib.core.provenance import InputIdentity, Provenance, array_sha256, environment
from ctrestorelib.core.volume import Volume
from ctrestorelib.jobs.execute import options_of
from ctrestorelib.jobs.folder import create_folder, load_array, read_result, write_request
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.restorer.plan import Budget, Plan

GRACE_S = 5.0
"""How long a worker may take to stop by itself after Cancel."""

POLL_S = 0.05


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


class RunningJob:
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
        self.plan: Plan = self.request.plan()
        self.fraction = 0.0
        self.warnings: list[dict[str, str]] = []
        self._started = time.monotonic()
        self._cancelled_at: float | None = None
        self._read_from = 0
        self._end: Event | None = None
        self.folder = create_folder()
        try:
            write_request(self.folder, self.request, self.budget)
            self._process = _spawn(self.folder, self.plan.threads)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def __enter__(self) -> RunningJob:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @property
    def finished(self) -> bool:
        """Whether the worker has ended, well or not."""
        return self._process.poll() is not None

    @property
    def cancelling(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancelled_at is not None

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._started

    @property
    def seconds_left(self) -> float | None:
        """Estimated time left; None until there is something to judge by."""
        if self.fraction < 0.02:
            return None
        return self.seconds * (1.0 - self.fraction) / self.fraction

    def poll(self) -> list[Event]:
        """Return new events; never waits. Also enforces a cancel that the worker ignores."""
        asked = self._cancelled_at
        if asked is not None and not self.finished and time.monotonic() - asked > GRACE_S:
            _kill_tree(self._process)
        events = self._new_events()
        for event in events:
            if event["kind"] == "progress":
                self.fraction = float(event["fraction"])
            elif event["kind"] == "warning":
                self.warnings.append({"code": event["code"], "text": event["text"]})
            elif event["kind"] in ("done", "error"):
                self._end = event
        return events

    def cancel(self) -> None:
        """Ask the worker to stop; it is killed with its children if it does not."""
        if self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
            (self.folder / "cancel").touch()

    def preview(self) -> Any:
        """Return the latest preview slice ``[j, i]``, or None if there is none yet."""
        if not (self.folder / "preview.npy").exists():
            return None
        return load_array(self.folder, "preview", mapped=False)

    def result(self) -> JobResult:
        """Return the result of a finished job.

        Raises
        ------
        Cancelled
            If it was cancelled.
        CTRestoreError
            What the worker reported, or :class:`ResourceError` if it died without a word.
        """
        self.poll()
        if self._end is None or not self.finished:
            self._process.wait()
            self.poll()
        if self._cancelled_at is not None and (self._end is None or self._end["kind"] != "done"):
            raise Cancelled
        if self._end is None:
            raise _died(self._process.returncode)
        if self._end["kind"] == "error":
            raise error_from_json(self._end)
        volume, uncertainty, report = read_result(self.folder)
        return JobResult(volume, self._provenance(volume, report), uncertainty)

    def close(self) -> None:
        """Stop the worker if it still runs, and remove the job folder."""
        if not self.finished:
            _kill_tree(self._process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _new_events(self) -> list[Event]:
        path = self.folder / "events.jsonl"
        if not path.exists():
            return []
        with path.open("rb") as stream:
            stream.seek(self._read_from)
            data = stream.read()
        complete = data.rfind(b"\n") + 1
        self._read_from += complete
        return [json.loads(line) for line in data[:complete].splitlines()]

    def _provenance(self, volume: Volume, report: dict[str, Any]) -> Provenance:
        request, spec = self.request, self.request.restorer.spec
        return Provenance(
            method=spec.id,
            method_version=spec.version,
            params=params_to_json(request.resolved_params()),
            inputs=identities(request),
            plan=self.plan.to_json(),
            seed=request.seed,
            strength=request.strength,
            options=options_of(request, self.budget),
            warnings=(*request.notes, *self.warnings),
            report=report,
            output_sha256=array_sha256(volume.values),
            environment=environment(),
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
    with RunningJob(request) as job:
        while not job.finished:
            try:
                _deliver(job, on_event)
                if is_cancelled is not None and is_cancelled():
                    job.cancel()
                time.sleep(POLL_S)
            except KeyboardInterrupt:
                if job.cancelling:  # the second Ctrl-C does not wait
                    raise Cancelled from None
                job.cancel()
        _deliver(job, on_event)
        return job.result()


def identities(request: JobRequest) -> tuple[InputIdentity, ...]:
    """Return the identity of every input array of a request."""
    inputs = request.inputs
    arrays: list[tuple[str, Any, tuple[str, ...]]] = []
    if inputs.volume is not None:
        arrays.append(("volume", inputs.volume.values, request.sop_instance_uids))
    for n, split in enumerate(inputs.split_volumes or ()):
        arrays.append((f"split_{n}", split.values, ()))
    if inputs.projections is not None:
        arrays.append(("projections", inputs.projections.values, ()))
    if inputs.prior is not None:
        arrays.append(("prior", inputs.prior.values, ()))
    if inputs.mask is not None:
        arrays.append(("mask", inputs.mask, ()))
    return tuple(
        InputIdentity(role, array_sha256(a), tuple(int(n) for n in a.shape), uids)
        for role, a, uids in arrays
    )


def _deliver(job: RunningJob, on_event: Callable[[Event], None] | None) -> None:
    for event in job.poll():
        if on_event is not None:
            on_event(event)


def _spawn(folder: Path, threads: int) -> subprocess.Popen[bytes]:
    limits = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"),
        str(threads),
    )
    itk = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads)}
    with (folder / "worker.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ctrestorelib.jobs.worker", str(folder / "request.json")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **limits, **itk},
            # Ctrl-C in a terminal reaches the whole group; the host decides what it means.
            start_new_session=os.name != "nt",
        )


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    import psutil

    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    for child in family:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


def _died(return_code: int) -> ResourceError:
    message = (
        f"The restoration process stopped without a word (exit code {return_code}); "
        "your data are unchanged."
    )
    hint = (
        "It was killed, most often because memory ran out: try a smaller region or close programs."
    )
    return ResourceError(message, hint=hint)
