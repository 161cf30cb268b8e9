"""Slicer's Python is a launcher that starts the real one: cancel, death and clearing away hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, ResourceError
from ctrestorelib.core.system import process_exists
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import RunningJob, run_job
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the launcher is a shell script")
BUDGET = Budget(host_bytes=8 * 2**30, threads=1)


@pytest.fixture(autouse=True)
def launcher(tmp_path, monkeypatch) -> Path:
    """A program that starts Python as its child and returns what it returns."""
    path = tmp_path / "PythonSlicer"
    path.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    path.chmod(0o755)
    monkeypatch.setenv("CTRESTORE_PYTHON", str(path))
    monkeypatch.setenv("CTRESTORE_JOBS", str(tmp_path / "jobs"))
    return path


def big_volume() -> Volume:
    values = np.random.default_rng(0).normal(0, 20, (160, 256, 256)).astype(np.float32)
    return Volume(values, VolumeGeometry.from_spacing(values.shape, (1, 1, 1)), Unit.HU)


def started() -> RunningJob:
    job = RunningJob(JobRequest("nlm", Inputs(volume=big_volume()), budget=BUDGET))
    launcher_pid = job.pid
    end = time.monotonic() + 60
    while not any(event["kind"] == "stage" for event in job.poll()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    assert job.pid != launcher_pid  # the worker itself, not its launcher
    return job


def gone(pid: int, seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while process_exists(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not process_exists(pid)


def test_a_job_runs_through_a_launcher(small_ct):
    result = run_job(JobRequest("bilateral", Inputs(volume=small_ct), budget=BUDGET))
    assert result.volume.values.std() > 0


def test_cancel_reaches_the_worker():
    with started() as job:
        job.cancel()
        with pytest.raises(Cancelled):
            job.result()
        assert gone(job.pid)


def test_closing_kills_the_worker_with_its_launcher(tmp_path):
    job = started()
    job.close()
    assert gone(job.pid)
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_killed_worker_is_reported():
    with started() as job:
        os.kill(job.pid, signal.SIGKILL)
        with pytest.raises(ResourceError, match="your data are unchanged"):
            job.result()


def test_a_killed_launcher_takes_the_worker_along(tmp_path):
    with started() as job:
        os.kill(job._process.pid, signal.SIGKILL)
        with pytest.raises(ResourceError, match="your data are unchanged"):
            job.result()
    assert gone(job.pid)
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_worker_whose_host_is_gone_stops_though_its_launcher_lives(tmp_path):
    host = textwrap.dedent(
        """
        import os, time, numpy as np
        from ctrestorelib.core.units import Unit
        from ctrestorelib.core.volume import Volume, VolumeGeometry
        from ctrestorelib.jobs.request import JobRequest
        from ctrestorelib.jobs.runner import RunningJob
        from ctrestorelib.restorer.plan import Budget
        from ctrestorelib.restorer.protocol import Inputs
        values = np.random.default_rng(0).normal(0, 20, (160, 256, 256)).astype(np.float32)
        volume = Volume(values, VolumeGeometry.from_spacing(values.shape, (1, 1, 1)), Unit.HU)
        job = RunningJob(JobRequest("nlm", Inputs(volume=volume), budget=Budget(2**33)))
        while not any(e["kind"] == "stage" for e in job.poll()):
            time.sleep(0.02)
        print(job.pid, flush=True)
        os._exit(9)
        """
    )
    path = tmp_path / "host.py"
    path.write_text(host)
    out = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    assert gone(int(out.stdout), seconds=4.0), out.stderr


def test_a_python_without_the_packages_is_named_as_the_reason(tmp_path, monkeypatch, small_ct):
    bare = tmp_path / "python-bare"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setenv("CTRESTORE_PYTHON", str(bare))
    with pytest.raises(ResourceError) as caught:
        run_job(JobRequest("bilateral", Inputs(volume=small_ct), budget=BUDGET))
    assert "lacks a package" in caught.value.hint


def test_a_file_beside_the_host_does_not_shadow_pythons_own(tmp_path, monkeypatch, small_ct):
    if sys.version_info < (3, 11):
        pytest.skip("PYTHONSAFEPATH came with Python 3.11")
    (tmp_path / "random.py").write_text("raise SystemExit('the wrong file')\n")
    monkeypatch.chdir(tmp_path)
    run_job(JobRequest("bilateral", Inputs(volume=small_ct), budget=BUDGET))
