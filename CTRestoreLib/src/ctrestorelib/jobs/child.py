"""A task in a child process: start, watch, stop, clear away (layer: jobs).

:class:`ChildTask` knows processes, folders and events; its subclasses know what is asked for and
what comes back. Hosts with an event loop poll it; everybody else calls :func:`wait_for`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from ctrestorelib.core.child_python import child_environment, module_command
from ctrestorelib.core.errors import Cancelled, ResourceError, error_from_json
from ctrestorelib.core.job import Event
from ctrestorelib.core.system import kill_group, kill_tree, process_exists
from ctrestorelib.jobs.folder import create_folder, load_array
from ctrestorelib.restorer.plan import Plan

R = TypeVar("R")
Self = TypeVar("Self", bound="ChildTask[Any]")

WORKER = "ctrestorelib.jobs.worker"

GRACE_S = 5.0
"""How long a worker may take to stop by itself after Cancel."""

POLL_S = 0.05
_FULL_BYTES = 2**20  # a disk with less room is full


class ChildTask(ABC, Generic[R]):
    """A task in a child process.

    Use it as a context manager, or call :meth:`close`: the job folder goes with it. Subclasses
    plan first and call :meth:`__init__` last.

    Parameters
    ----------
    plan
        How the run will go.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.fraction = 0.0
        self.warnings: list[dict[str, str]] = []
        self._started = time.monotonic()
        self._cancelled_at: float | None = None
        self._read_from = 0
        self._worker_pid = 0
        self._end: Event | None = None
        self.folder = create_folder()
        try:
            self._write_request()
            self._process = _spawn(self.folder, plan.threads)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @abstractmethod
    def _write_request(self) -> None:
        """Write ``request.json`` and the arrays it names into the job folder."""

    @abstractmethod
    def result(self, *, mapped: bool = False) -> R:
        """Return the result of a finished task, waiting for its end.

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

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the worker; until it has reported, of the program that starts it."""
        return self._worker_pid or self._process.pid

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
            kill_tree(self._process)
        events = self._new_events()
        for event in events:
            if event["kind"] == "progress":
                self.fraction = float(event["fraction"])
            elif event["kind"] == "warning":
                self.warnings.append({"code": event["code"], "text": event["text"]})
            elif event["kind"] == "started":
                self._worker_pid = int(event["pid"])
            elif event["kind"] in ("done", "error"):
                self._end = event
        return events

    def cancel(self) -> None:
        """Ask the worker to stop; it is killed with its children if it does not."""
        if self._cancelled_at is not None:
            return
        self._cancelled_at = time.monotonic()
        try:
            (self.folder / "cancel").touch()
        except OSError:  # no room for even an empty file
            kill_tree(self._process)

    def preview(self) -> Any:
        """Return the latest preview slice ``[j, i]``, or None if there is none yet."""
        if not (self.folder / "preview.npy").exists():
            return None
        return load_array(self.folder, "preview", mapped=False)

    def close(self) -> None:
        """Stop the worker if it still runs, and remove the job folder."""
        if not self.finished:
            kill_tree(self._process)
        self._kill_orphan()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_until_done(self) -> None:
        """Return when the worker is done; raise what :meth:`result` promises if it failed."""
        self.poll()
        if self._end is None or not self.finished:
            self._process.wait()
            self.poll()
        if self._cancelled_at is not None and (self._end is None or self._end["kind"] != "done"):
            raise Cancelled
        if self._end is None:
            raise _died(self._process.returncode, self.folder)
        if self._end["kind"] == "error":
            raise error_from_json(self._end)

    def _kill_orphan(self) -> None:
        """Kill a worker that outlived the launcher which started it."""
        worker = self._worker_pid
        if worker not in (0, self._process.pid) and process_exists(worker):
            kill_group(self._process.pid)

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


def wait_for(
    task: ChildTask[R],
    on_event: Callable[[Event], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> R:
    """Wait for a task's end, close it and return its result.

    Parameters
    ----------
    task
        A started task.
    on_event
        Receives every event as it comes.
    is_cancelled
        Asked about twenty times a second; True stops the task. Ctrl-C stops it too.

    Raises
    ------
    Cancelled, CTRestoreError
        See :meth:`ChildTask.result`.
    """
    with task:
        while not task.finished:
            try:
                _deliver(task, on_event)
                if is_cancelled is not None and is_cancelled():
                    task.cancel()
                time.sleep(POLL_S)
            except KeyboardInterrupt:
                if task.cancelling:  # the second Ctrl-C does not wait
                    raise Cancelled from None
                task.cancel()
        _deliver(task, on_event)
        return task.result()


def _deliver(task: ChildTask[R], on_event: Callable[[Event], None] | None) -> None:
    for event in task.poll():
        if on_event is not None:
            on_event(event)


def _spawn(folder: Path, threads: int) -> subprocess.Popen[bytes]:
    command = [*module_command(WORKER), str(folder / "request.json")]
    try:
        with (folder / "worker.log").open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(threads),
                # A session of its own: Ctrl-C in a terminal reaches the host only, which decides
                # what it means; and the whole group can be killed at once.
                start_new_session=os.name != "nt",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
    except OSError as error:
        message = f"The process that does the work cannot be started: {error.strerror or error}."
        hint = "Free some memory and disk space; CTRESTORE_PYTHON, if set, must name a Python."
        raise ResourceError(message, hint=hint) from error


def _died(return_code: int, folder: Path) -> ResourceError:
    message = (
        f"The restoration process stopped without a word (exit code {return_code}); "
        "your data are unchanged."
    )
    if shutil.disk_usage(folder).free < _FULL_BYTES:
        hint = "The disk of the job folder is full: free some space, or set CTRESTORE_JOBS."
    elif _says_no_module(folder):
        hint = "Its Python lacks a package that CTRestore needs; CTRESTORE_PYTHON names another."
    else:
        hint = (
            "It was killed, most often because memory ran out: try a smaller region or close "
            "programs."
        )
    return ResourceError(message, hint=hint)


def _says_no_module(folder: Path) -> bool:
    return b"No module named" in (folder / "worker.log").read_bytes()[-4000:]
