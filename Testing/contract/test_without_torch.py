"""Where torch and numba cannot be installed, every classical method still runs, and agrees."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ctrestorelib.core.job import Job
from ctrestorelib.jobs.execute import execute
from ctrestorelib.jobs.folder import write_request
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.methods.registry import all_methods
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.spec import Kind

RECONSTRUCTOR = Kind.RECONSTRUCTOR
BUDGET = Budget(host_bytes=8 * 2**30, threads=2)
FEW = {"iterations": 20, "sweeps": 5, "least_misfit": 0.8}

ALONE = """
import importlib.util, sys
from pathlib import Path

blocked = {"torch", "numba"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.split(".")[0] in blocked else find(name, package)
)
from ctrestorelib.jobs.worker import run

codes = [run(Path(p) / "request.json") for p in sys.argv[1:]]
assert not blocked & set(sys.modules)
sys.exit(max(codes))
"""


def request_of(restorer, inputs_for) -> JobRequest:
    names = restorer.Params.__dataclass_fields__
    params = {n: v for n, v in FEW.items() if n in names and restorer.spec.kind is RECONSTRUCTOR}
    return JobRequest(restorer.spec.id, inputs_for(restorer), params=params)


@pytest.mark.parametrize("kind", ["denoiser", "reconstructor"])
def test_every_method_runs_and_agrees(kind, inputs_for, tmp_path, monkeypatch):
    monkeypatch.setattr("ctrestorelib.physics.backend.NUMPY_VOXELS", 0)  # as for large grids
    wanted = (r for r in all_methods().values() if r.spec.kind.value == kind)
    # Those that name torch as a need are greyed where it is absent: test_bundled_packages.
    methods = {r.spec.id: r for r in wanted if "torch" not in r.spec.needs.packages}
    for method, restorer in methods.items():
        (tmp_path / method).mkdir()
        write_request(tmp_path / method, request_of(restorer, inputs_for), BUDGET)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *(str(tmp_path / m) for m in methods)],
        capture_output=True,
        text=True,
        check=False,
    )
    events = {m: (tmp_path / m / "events.jsonl").read_text() for m in methods}
    assert done.returncode == 0, (done.stderr, events)
    for method, restorer in methods.items():
        alone = np.load(tmp_path / method / "result.npy")
        usual = execute(request_of(restorer, inputs_for), BUDGET, Job()).volume.values
        # Sums in another order: a few HU where bone meets air, far less elsewhere.
        assert np.sqrt(np.mean((alone - usual) ** 2)) < 1.0, method
