"""What all stores of training items share: making them in processes, writing each as a whole."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

_TOLD_EVERY = 10


def run_tasks(
    work: Callable[[T], object],
    tasks: Sequence[T],
    processes: int,
    report: Callable[[str], None] | None = None,
) -> None:
    """Do ``work`` for each task, in order or in fresh processes, and report every tenth.

    Parameters
    ----------
    work
        Can be pickled; writes its result itself.
    tasks
        Can be pickled too.
    processes
        1 works in this process.
    report
        Receives lines for people.
    """
    if processes == 1:
        for n, task in enumerate(tasks):
            work(task)
            _tell(report, n + 1, len(tasks))
        return
    # Spawned, not forked: threads of numerical libraries do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_end_with_parent) as pool:
        for n, _ in enumerate(pool.map(work, tasks)):
            _tell(report, n + 1, len(tasks))


def _end_with_parent() -> None:
    """Let this worker end when its parent does: a killed one cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write a ``.npy`` file as a whole or not at all."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.save(file, values)
    temporary.replace(path)


def save_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON file as a whole or not at all; an item is complete when it is there."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(record))
    temporary.replace(path)


def _tell(report: Callable[[str], None] | None, done: int, total: int) -> None:
    if report and (done % _TOLD_EVERY == 0 or done == total):
        report(f"{done} of {total} items made")
