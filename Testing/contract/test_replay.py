"""Every result can tell how it was made, and be made again in a fresh process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.jobs import child, worker
from ctrestorelib.jobs.replay import replay
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import run_job
from ctrestorelib.methods.registry import all_methods
from ctrestorelib.restorer.plan import Budget

METHODS = all_methods()
BUDGET = Budget(host_bytes=8 * 2**30, threads=1)


@pytest.fixture
def at_once(monkeypatch):
    """Let jobs run in this very process; what replays them then is the only fresh one."""

    def spawn(folder, _threads):
        worker.run(folder / "request.json")
        return subprocess.Popen([sys.executable, "-S", "-c", ""])

    with monkeypatch.context() as patch:
        patch.setattr(child, "_spawn", spawn)
        yield patch


@pytest.mark.parametrize("restorer", METHODS.values(), ids=METHODS.keys())
def test_a_recorded_run_replays_voxel_by_voxel(restorer, inputs_for, tmp_path, at_once):
    inputs = inputs_for(restorer)
    result = run_job(JobRequest(restorer.spec.id, inputs, budget=BUDGET, seed=11))
    at_once.undo()
    result.provenance.write(tmp_path / "result.json")
    record = Provenance.read(tmp_path / "result.json")
    assert record.method == restorer.spec.id
    assert record.params
    repeated = replay(record, inputs)  # in a process of its own
    assert repeated.identical, repeated.differences
    np.testing.assert_array_equal(repeated.result.volume.values, result.volume.values)


def test_another_input_is_not_replayed(volume, inputs_for):
    restorer = METHODS["bilateral"]
    record = run_job(JobRequest("bilateral", inputs_for(restorer), budget=BUDGET)).provenance
    other = type(inputs_for(restorer))(volume=volume.with_values(volume.values + 1))
    with pytest.raises(InputError, match="not the one"):
        replay(record, other)
