"""Time and memory of one large volume, on two cores, against the plan."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.store import Store

from ctrestorelib.core.job import Job
from ctrestorelib.methods.registry import method
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs
from sparse_view.cases import load_case
from sparse_view.methods import DEEPSPARSE, DEFAULT, Method
from sparse_view.running import Effort

CASE, VIEWS, THREADS = "chest-10-1e5", 10, 2
TIMED = ("tv", "tv-views", "naf", DEEPSPARSE, DEFAULT)
"""Methods whose speed is promised or asked for."""


def measured(store: Store, chosen: Sequence[Method], cells: int) -> dict[str, dict[str, Any]]:
    """Return one record per timed method, measuring what is not known yet.

    Every method runs in a process of its own, so that its peak is its own.
    """
    out = {}
    for known in (m for m in chosen if m.name in TIMED):
        mark = _mark(known.registered)
        record = store.read("speed", f"{cells}", known.name, mark)
        if record is None:
            environment = {**os.environ, "NUMBA_NUM_THREADS": str(THREADS),
                           "OMP_NUM_THREADS": str(THREADS)}  # fmt: skip
            command = [sys.executable, "-m", "sparse_view.speed", str(store.folder),
                       known.registered, str(cells)]  # fmt: skip
            if subprocess.call(command, env=environment) != 0:
                continue
            record = store.read("speed", f"{cells}", known.name, mark)
        if record is not None:
            out[known.name] = record
    return out


def measure(folder: Path, method_id: str, cells: int) -> None:
    """Reconstruct once and keep what it took."""
    case = load_case(CASE, cells, folder)
    restorer = method(method_id)
    params = restorer.Params()
    inputs = Inputs(projections=case.scan, grid=case.reference.geometry)
    plan = restorer.plan(inputs.shapes(), params, Budget(host_bytes=64 * 2**30, threads=THREADS))
    start = time.perf_counter()
    with Effort() as effort:
        restorer.restore(inputs, params, plan, Job(seed=1))
    record = {
        "fingerprint": _mark(method_id), "cells": cells, "views": VIEWS,
        "wall_seconds": time.perf_counter() - start, "planned_seconds": plan.seconds,
        "peak_mb": effort.peak_mb, "planned_mb": plan.peak_host_bytes / 2**20,
    }  # fmt: skip
    Store(folder).write("speed", f"{cells}", method_id, record)


def _mark(method_id: str) -> str:
    return f"{method_id} {method(method_id).spec.version}"


if __name__ == "__main__":
    measure(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
