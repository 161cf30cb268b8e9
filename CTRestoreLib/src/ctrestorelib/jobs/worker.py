"""The worker process: ``python -m ctrestorelib.jobs.worker FOLDER/request.json`` (layer: jobs).

It appends events to ``events.jsonl`` and ends with a ``done`` or an ``error`` event. If its host
dies, it stops at the next step.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from ctrestorelib.core.errors import CTRestoreError, ResourceError
from ctrestorelib.core.job import Event, Job
from ctrestorelib.jobs.execute import execute
from ctrestorelib.jobs.folder import read_request, write_result
from ctrestorelib.quality.result import plain

_ASK_EVERY_S = 0.05


class EventLog:
    """Appends events to a file, one JSON object a line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = (folder / "events.jsonl").open("a", encoding="utf-8", buffering=1)

    def __call__(self, event: Event) -> None:
        """Append one event; a preview's slice goes to a file of its own."""
        if event["kind"] == "preview":
            np.save(self._folder / "preview.npy", event["slice"], allow_pickle=False)
            event = {"kind": "preview"}
        self._file.write(json.dumps(event) + "\n")


class CancelWatch:
    """Answers whether to stop: a ``cancel`` file is there, or the host process is gone."""

    def __init__(self, folder: Path) -> None:
        self._flag = folder / "cancel"
        self._host = os.getppid()
        self._next_look, self._answer = 0.0, False

    def __call__(self) -> bool:
        """Look at most every few hundredths of a second."""
        now = time.monotonic()
        if not self._answer and now >= self._next_look:
            self._next_look = now + _ASK_EVERY_S
            self._answer = self._flag.exists() or os.getppid() != self._host
        return self._answer


def run(request_path: Path) -> int:
    """Run the request; return the exit code of the process."""
    folder = request_path.parent
    log = EventLog(folder)
    try:
        request, budget = read_request(request_path)
        log({"kind": "started", "pid": os.getpid()})
        job = Job(emit=log, is_cancelled=CancelWatch(folder), seed=request.seed)
        estimate = execute(request, budget, job)
        write_result(folder, estimate.volume, estimate.uncertainty, plain(dict(estimate.report)))
        log({"kind": "done"})
    except CTRestoreError as error:
        log({"kind": "error", **error.to_json()})
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the process boundary: everything must be reported
        traceback.print_exc()
        known = _as_resource_error(error)
        log({"kind": "error", **(known or _as_bug(error)).to_json()})
        return (known or CTRestoreError).exit_code if known else 1
    return 0


def _as_resource_error(error: Exception) -> ResourceError | None:
    text = str(error)
    if isinstance(error, MemoryError) or "not enough memory" in text or "out of memory" in text:
        message = "The computer ran out of memory while restoring."
        return ResourceError(message, hint="Close other programs, or work on a smaller region.")
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
