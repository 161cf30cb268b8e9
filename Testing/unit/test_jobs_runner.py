"""The worker process: results, cancel, death and full disks. Nothing is lost, nothing half-made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from inspect import signature
from pathlib import Path

import numpy as np
import psutil
import pytest

from ctrestorelib.core.errors import (
    Cancelled,
    DoesNotFit,
    InputError,
    ResourceError,
    UsageError,
)
from ctrestorelib.core.job import Job
from ctrestorelib.core.provenance import array_sha256, environment
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs import worker
from ctrestorelib.jobs.execute import execute
from ctrestorelib.jobs.folder import PREFIX, create_folder
from ctrestorelib.jobs.identity import identities
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import RunningJob, run_job
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

BUDGET = Budget(host_bytes=8 * 2**30, threads=1)


@pytest.fixture
def jobs_folder(tmp_path, monkeypatch):
    folder = tmp_path / "jobs"
    monkeypatch.setenv("CTRESTORE_JOBS", str(folder))
    return folder


def big_volume() -> Volume:
    """Return a volume whose non-local means takes several seconds."""
    values = np.random.default_rng(0).normal(0, 20, (80, 256, 256)).astype(np.float32)
    return Volume(values, VolumeGeometry.from_spacing(values.shape, (1, 1, 1)), Unit.HU)


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def started(job: RunningJob) -> bool:
    return any(event["kind"] == "stage" for event in job.poll())


def test_a_child_process_gives_what_the_method_gives(small_ct, jobs_folder):
    request = JobRequest("bilateral", Inputs(volume=small_ct), budget=BUDGET, strength=0.7)
    events = []
    result = run_job(request, events.append)
    here = execute(request, BUDGET, Job())
    np.testing.assert_array_equal(result.volume.values, here.volume.values)
    assert result.volume.geometry == small_ct.geometry
    assert result.provenance.strength == 0.7
    assert result.provenance.inputs[0].role == "volume"
    assert events[0]["kind"] == "started"
    assert events[-1]["kind"] == "done"
    assert list(jobs_folder.iterdir()) == []


def test_a_mapped_result_is_the_same_and_cannot_be_written_to(small_ct, jobs_folder):
    with RunningJob(JobRequest("bilateral", Inputs(volume=small_ct), budget=BUDGET)) as job:
        mapped, plain = job.result(mapped=True), job.result()
        assert not mapped.volume.values.flags.writeable
        assert plain.volume.values.flags.writeable
        np.testing.assert_array_equal(mapped.volume.values, plain.volume.values)
        del mapped
    assert list(jobs_folder.iterdir()) == []


@pytest.mark.parametrize("task", worker.TASKS)
def test_every_task_of_the_worker_is_there(task):
    assert list(signature(worker.perform_of(task)).parameters) == ["request_path", "job"]


def test_the_worker_stamps_what_the_host_would(small_ct, jobs_folder):
    mask = small_ct.values > 0
    inputs = Inputs(volume=small_ct, mask=mask)
    request = JobRequest("bilateral", inputs, budget=BUDGET, sop_instance_uids=("1.2", "1.3"))
    made = run_job(request)
    assert made.provenance.inputs == identities(request)
    assert [i.role for i in made.provenance.inputs] == ["volume", "mask"]
    assert made.provenance.inputs[0].sop_instance_uids == ("1.2", "1.3")
    assert made.provenance.output_sha256 == array_sha256(made.volume.values)
    assert made.provenance.environment == environment()


def test_cancel_ends_the_worker_and_leaves_nothing(jobs_folder):
    with RunningJob(JobRequest("nlm", Inputs(volume=big_volume()), budget=BUDGET)) as job:
        wait_for(lambda: started(job))
        job.cancel()
        wait_for(lambda: (job.poll(), job.finished)[1])
        with pytest.raises(Cancelled):
            job.result()
    assert list(jobs_folder.iterdir()) == []


def test_a_killed_worker_is_reported_and_leaves_nothing(jobs_folder):
    volume = big_volume()
    before = volume.values.copy()
    with RunningJob(JobRequest("nlm", Inputs(volume=volume), budget=BUDGET)) as job:
        wait_for(lambda: started(job))
        os.kill(job.pid, signal.SIGKILL)
        with pytest.raises(ResourceError, match="your data are unchanged"):
            job.result()
    np.testing.assert_array_equal(volume.values, before)
    assert list(jobs_folder.iterdir()) == []


def test_closing_a_running_job_kills_it(jobs_folder):
    job = RunningJob(JobRequest("nlm", Inputs(volume=big_volume()), budget=BUDGET))
    wait_for(lambda: started(job))
    job.close()
    assert not psutil.pid_exists(job.pid)
    assert list(jobs_folder.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="the parent of a Windows process does not change")
def test_a_worker_without_host_stops(jobs_folder, tmp_path):
    host = textwrap.dedent(
        """
        import os, time, numpy as np
        from ctrestorelib.core.units import Unit
        from ctrestorelib.core.volume import Volume, VolumeGeometry
        from ctrestorelib.jobs.request import JobRequest
        from ctrestorelib.jobs.runner import RunningJob
        from ctrestorelib.restorer.plan import Budget
        from ctrestorelib.restorer.protocol import Inputs
        values = np.random.default_rng(0).normal(0, 20, (80, 256, 256)).astype(np.float32)
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
    pid = int(out.stdout)
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")
    # The next job clears away what the dead host could not.
    assert len(list(jobs_folder.glob(f"{PREFIX}*"))) == 1
    fresh = create_folder()
    assert list(jobs_folder.glob(f"{PREFIX}*")) == [fresh]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on file sizes")
@pytest.mark.parametrize(
    ("limit_bytes", "words"), [(60_000, "cannot be written"), (123_100, "Cannot write")]
)
def test_a_full_disk_costs_nothing(small_ct, tmp_path, jobs_folder, limit_bytes, words):
    """The first limit is met by the job's arrays, the second by the result file only."""
    import resource

    np.save(tmp_path / "in.npy", small_ct.values)
    output = tmp_path / "out.nii"
    output.write_text("an older result")
    done = subprocess.run(
        [sys.executable, "-c", "from ctrestorelib.apps.cli.main import main; main()", "denoise",
         str(tmp_path / "in.npy"), str(output), "--method", "bilateral", "--voxel-size", "1,1,1",
         "--input-unit", "hu", "--overwrite"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)
        ),
    )  # fmt: skip
    assert done.returncode == 4, done.stdout + done.stderr
    assert words in done.stderr
    assert output.read_text() == "an older result"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.npy", "jobs", "out.nii"]
    assert list(jobs_folder.iterdir()) == []


def test_what_cannot_fit_fails_before_anything_starts(small_ct, jobs_folder):
    request = JobRequest("nlm", Inputs(volume=small_ct), budget=Budget(host_bytes=1000))
    with pytest.raises(DoesNotFit):
        RunningJob(request)
    assert not jobs_folder.exists()


def test_a_refused_input_comes_back_as_its_own_error(small_ct, jobs_folder):
    values = small_ct.values.copy()
    values[0, 0, 0] = np.nan
    broken = small_ct.with_values(values)
    with pytest.raises(InputError, match="1 voxels that are not numbers"):
        run_job(JobRequest("bilateral", Inputs(volume=broken), budget=BUDGET))
    assert list(jobs_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method_id": "nlmm"}, "nlm"),
        ({"params": {"strenght": 1}}, "no parameter"),
        ({"strength": 1.5}, "between 0"),
        ({"region_kji": ((0, 4), (0, 999), (0, 4))}, "inside the volume"),
    ],
)
def test_an_impossible_request_is_refused_at_once(small_ct, changes, words):
    fields = {"method_id": "nlm", "inputs": Inputs(volume=small_ct)} | changes
    with pytest.raises(UsageError, match=words):
        JobRequest(**fields)


def test_a_reconstructor_without_projections_says_what_it_needs(small_ct):
    with pytest.raises(InputError, match="projections with their geometry"):
        JobRequest("fdk", Inputs(volume=small_ct))


def test_the_job_folder_is_private(jobs_folder):
    folder = create_folder()
    assert isinstance(folder, Path)
    if os.name != "nt":
        assert folder.stat().st_mode & 0o077 == 0
