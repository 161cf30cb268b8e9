"""Virtual scans in the worker process: the same projections, the same care as for restorations."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, DoesNotFit, GeometryError, ResourceError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.provenance import array_sha256
from ctrestorelib.core.system import process_exists
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind
from ctrestorelib.jobs.scan import RunningScan, ScanRequest, read_scan, run_scan, write_scan
from ctrestorelib.physics.virtual_scan import ScanProtocol, virtual_scan
from ctrestorelib.restorer.plan import Budget

BUDGET = Budget(host_bytes=8 * 2**30, threads=1)
SMALL = ScanProtocol(views=8, pixel_mm=4.0, i0=1e5)


@pytest.fixture
def jobs_folder(tmp_path, monkeypatch):
    folder = tmp_path / "jobs"
    monkeypatch.setenv("CTRESTORE_JOBS", str(folder))
    return folder


def long_scan() -> ScanRequest:
    """Return a scan that takes many seconds, in many steps."""
    values = np.zeros((64, 128, 128), np.float32)
    volume = Volume(values, VolumeGeometry.from_spacing(values.shape, (1, 1, 1)), Unit.HU)
    protocol = ScanProtocol(views=720, rows=400, cols=400, oversample=2)
    return ScanRequest(volume, protocol, budget=BUDGET)


def wait_for_stage(task, seconds=60.0):
    end = time.monotonic() + seconds
    while not any(event["kind"] == "stage" for event in task.poll()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_child_process_gives_what_the_scan_gives(small_ct, jobs_folder):
    events = []
    request = ScanRequest(
        small_ct, SMALL, seed=5, budget=BUDGET, sop_instance_uids=("1.2.3",),
        notes=({"code": "assumed", "text": "Something was assumed."},),
    )  # fmt: skip
    result = run_scan(request, events.append)
    here = virtual_scan(small_ct, SMALL, Job(seed=5), budget=BUDGET)
    np.testing.assert_array_equal(result.projections.values, here.values)
    assert result.projections.geometry.to_json() == here.geometry.to_json()
    assert (result.projections.i0, result.projections.kind) == (1e5, ProjectionKind.LINE_INTEGRAL)
    assert result.projections.electronic_sd == here.electronic_sd
    assert [events[0]["kind"], events[-1]["kind"]] == ["started", "done"]
    assert list(jobs_folder.iterdir()) == []
    record = result.record
    assert record["protocol"]["views"] == 8
    assert record["seed"] == 5
    assert record["inputs"] == [
        {
            "role": "volume",
            "sha256": array_sha256(small_ct.values),
            "shape": small_ct.shape,
            "sop_instance_uids": ("1.2.3",),
        }
    ]
    assert record["output_sha256"] == array_sha256(here.values)
    assert record["warnings"][0]["code"] == "assumed"
    assert record["environment"]["numpy"] == np.__version__
    json.dumps(record)


def test_another_seed_gives_other_noise(small_ct, jobs_folder):
    first, second = (run_scan(ScanRequest(small_ct, SMALL, seed=s, budget=BUDGET)) for s in (1, 2))
    assert first.record["output_sha256"] != second.record["output_sha256"]


def test_counts_and_a_geometry_of_ones_own_travel_to_the_worker(small_ct, jobs_folder):
    protocol = ScanProtocol(views=6, pixel_mm=4.0, i0=1e4, as_counts=True)
    geometry = protocol.geometry_for(small_ct.geometry)[::2]
    result = run_scan(ScanRequest(small_ct, protocol, geometry, budget=BUDGET))
    assert result.projections.geometry.views == 3
    assert result.projections.kind is ProjectionKind.COUNTS
    assert result.record["own_geometry"] is True


def test_the_request_survives_the_file(small_ct, tmp_path):
    geometry = SMALL.geometry_for(small_ct.geometry)
    request = ScanRequest(small_ct, SMALL, geometry, seed=9, budget=BUDGET)
    write_scan(tmp_path, request)
    back = read_scan(tmp_path / "request.json")
    assert (back.protocol, back.seed, back.budget) == (SMALL, 9, BUDGET)
    assert back.geometry is not None
    assert back.geometry.to_json() == geometry.to_json()
    np.testing.assert_array_equal(back.volume.values, small_ct.values)
    assert not back.volume.values.flags.writeable


def test_warnings_of_the_scan_are_told_and_kept(small_ct, jobs_folder):
    protocol = ScanProtocol(views=4, rows=8, cols=8, pixel_mm=1.0)
    with RunningScan(ScanRequest(small_ct, protocol, budget=BUDGET)) as scan:
        codes = {w["code"] for w in scan.result().record["warnings"]}
        assert codes == {w["code"] for w in scan.warnings}
    assert "lateral-truncation" in codes


def test_cancel_ends_the_worker_and_leaves_nothing(jobs_folder):
    with RunningScan(long_scan()) as scan:
        wait_for_stage(scan)
        scan.cancel()
        assert scan.cancelling
        with pytest.raises(Cancelled):
            scan.result()
        worker = scan.pid
    assert not process_exists(worker)
    assert list(jobs_folder.iterdir()) == []


def test_a_killed_worker_is_reported_and_leaves_nothing(jobs_folder):
    with RunningScan(long_scan()) as scan:
        wait_for_stage(scan)
        os.kill(scan.pid, signal.SIGKILL)
        with pytest.raises(ResourceError, match="your data are unchanged"):
            scan.result()
    assert list(jobs_folder.iterdir()) == []


def test_closing_a_running_scan_kills_it(jobs_folder):
    scan = RunningScan(long_scan())
    wait_for_stage(scan)
    scan.close()
    assert not process_exists(scan.pid)
    assert list(jobs_folder.iterdir()) == []


def test_what_cannot_be_scanned_fails_before_anything_starts(small_ct, jobs_folder):
    with pytest.raises(DoesNotFit):
        RunningScan(ScanRequest(small_ct, SMALL, budget=Budget(host_bytes=1000)))
    with pytest.raises(GeometryError, match="pass through the object"):
        RunningScan(ScanRequest(small_ct, ScanProtocol(sod_mm=10), budget=BUDGET))
    with pytest.raises(UsageError, match="Views"):
        ScanRequest(small_ct, ScanProtocol(views=0))
    assert not jobs_folder.exists()


def test_a_refusal_of_the_worker_comes_back_as_its_own_error(small_ct, jobs_folder):
    protocol = ScanProtocol(views=4, pixel_mm=4.0, as_counts=True)
    with pytest.raises(UsageError, match="Counts need i0"):
        run_scan(ScanRequest(small_ct, protocol, budget=BUDGET))
    assert list(jobs_folder.iterdir()) == []


FULL_DISK = """
import resource, sys
import numpy as np
from ctrestorelib.core.errors import CTRestoreError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.scan import ScanRequest, run_scan
from ctrestorelib.physics.virtual_scan import ScanProtocol
from ctrestorelib.restorer.plan import Budget

limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
values = np.zeros((16, 16, 16), np.float32)
volume = Volume(values, VolumeGeometry.from_spacing(values.shape, (2, 2, 2)), Unit.HU)
try:
    run_scan(ScanRequest(volume, ScanProtocol(views=12), budget=Budget(2**33)))
except CTRestoreError as error:
    print(type(error).__name__, error)
    sys.exit(error.exit_code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on file sizes")
@pytest.mark.parametrize("limit_bytes", [8_000, 20_000])
def test_a_full_disk_costs_nothing(tmp_path, jobs_folder, limit_bytes):
    """The first limit is met by the volume on its way in, the second by the projections."""
    script = tmp_path / "host.py"
    script.write_text(textwrap.dedent(FULL_DISK))
    done = subprocess.run(
        [sys.executable, script, str(limit_bytes)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stdout + done.stderr
    assert "ResourceError The job's arrays cannot be written: " in done.stdout
    assert "CTRESTORE_JOBS" in done.stdout
    assert list(jobs_folder.iterdir()) == []
