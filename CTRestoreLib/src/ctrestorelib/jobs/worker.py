"""The worker process: ``python -m ctrestorelib.jobs.worker FOLDER/request.json`` (layer: jobs).

It appends events to ``events.jsonl`` and ends with a ``done`` or an ``error`` event. If its host
dies, it stops at the next step.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ctrestorelib.core.errors import CTRestoreError, ResourceError
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.job import Event, Job
from ctrestorelib.core.system import process_exists

_ASK_EVERY_S = 0.05
_FULL_DISK = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}

TASKS = {
    "restore": "execute:perform_restoration",
    "scan": "scan:perform_scan",
    "measure": "measuring:perform_measure",
    "noise": "describing_noise:perform_noise",
    "caution": "cautioning:perform_cautions",
    "export": "exporting:perform_export",
    "check": "running_checks:perform_check",
    "calibrate": "running_checks:perform_calibration",
}
"""What a worker can do, by the ``task`` of ``request.json``: module of this folder and function."""


class EventLog:
    """Appends events to a file, one JSON object a line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = (folder / "events.jsonl").open("a", encoding="utf-8", buffering=1)

    def __call__(self, event: Event) -> None:
        """Append one event; a preview's slice goes to a file of its own."""
        if event["kind"] == "preview":
            with atomic_path(self._folder / "preview.npy") as temporary:  # the host may be reading
                np.save(temporary, event["slice"], allow_pickle=False)
            event = {"kind": "preview"}
        self._file.write(json.dumps(event) + "\n")


class CancelWatch:
    """Answers whether to stop: a ``cancel`` file is there, or the host process is gone.

    Parameters
    ----------
    folder
        The job folder.
    host_pid
        Process id of the host. The parent process can be another one: Slicer's Python is started
        by a launcher, which outlives its host.
    """

    def __init__(self, folder: Path, host_pid: int) -> None:
        self._flag = folder / "cancel"
        self._host, self._parent = host_pid, os.getppid()
        self._next_look, self._answer = 0.0, False

    def __call__(self) -> bool:
        """Look at most every few hundredths of a second."""
        now = time.monotonic()
        if not self._answer and now >= self._next_look:
            self._next_look = now + _ASK_EVERY_S
            self._answer = self._flag.exists() or self._alone()
        return self._answer

    def _alone(self) -> bool:
        return os.getppid() != self._parent or not process_exists(self._host)


def run(request_path: Path) -> int:
    """Run the request; return the exit code of the process."""
    folder = request_path.parent
    log = EventLog(folder)
    try:
        record = json.loads(request_path.read_text(encoding="utf-8"))
        log({"kind": "started", "pid": os.getpid()})
        watch = CancelWatch(folder, record["host_pid"])
        perform_of(record["task"])(request_path, Job(log, watch, seed=record["seed"]))
        log({"kind": "done"})
    except CTRestoreError as error:
        log({"kind": "error", **error.to_json()})
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the process boundary: everything must be reported
        traceback.print_exc()
        known = _as_resource_error(error) or _as_bug(error)
        log({"kind": "error", **known.to_json()})
        return known.exit_code
    return 0


def perform_of(task: str) -> Callable[[Path, Job], None]:
    """Return the function that does a task; what the other tasks need is not loaded."""
    module, _, name = TASKS[task].partition(":")
    perform: Callable[[Path, Job], None] = getattr(
        importlib.import_module(f"ctrestorelib.jobs.{module}"), name
    )
    return perform


def _as_resource_error(error: Exception) -> ResourceError | None:
    text = str(error)
    if isinstance(error, MemoryError) or "not enough memory" in text or "out of memory" in text:
        message = "The computer ran out of memory while restoring."
        return ResourceError(message, hint="Close other programs, or work on a smaller region.")
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        message = "The disk of the job folder is full."
        hint = "Free some disk space, or set CTRESTORE_JOBS to a folder on a larger disk."
        return ResourceError(message, hint=hint)
    return None


def _as_bug(error: Exception) -> CTRestoreError:
    where = traceback.extract_tb(error.__traceback__)[-1]
    message = (
        f"CTRestore failed unexpectedly ({type(error).__name__} in "
        f"{Path(where.filename).name}, line {where.lineno}). Your data are unchanged."
    )
    return CTRestoreError(message, hint="Please report this with the provenance of the input.")


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
