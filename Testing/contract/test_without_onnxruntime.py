"""The learned denoiser runs with PyTorch alone, without onnxruntime and safetensors, and agrees."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ctrestorelib.core.job import Job
from ctrestorelib.jobs.execute import execute
from ctrestorelib.jobs.folder import write_request
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

BUDGET = Budget(host_bytes=8 * 2**30, threads=1)

ALONE = """
import sys
from importlib.machinery import PathFinder
from pathlib import Path

blocked = {"onnxruntime", "safetensors", "onnx"}

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in blocked else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
from ctrestorelib.jobs.worker import run

code = run(Path(sys.argv[1]) / "request.json")
assert "torch" in sys.modules and not blocked & set(sys.modules)
sys.exit(code)
"""


def test_torch_alone_is_enough(volume, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    request = JobRequest("ctd", Inputs(volume=volume))
    write_request(tmp_path, request, BUDGET)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + (tmp_path / "events.jsonl").read_text()
    usual = execute(request, BUDGET, Job())
    assert usual.report["runtime"] == "onnxruntime float32 on cpu"
    np.testing.assert_allclose(np.load(tmp_path / "result.npy"), usual.volume.values, atol=0.1)
