"""With nothing but what Slicer brings, methods run through a real worker or say what they lack."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import ctrestorelib
from ctrestorelib.methods.registry import all_methods

BUNDLED = ("numpy", "scipy", "SimpleITK", "pydicom", "PIL", "requests", "packaging")

LEARNED = {"ctd", "horuseye"} & set(all_methods())
NEED_TORCH = {"cts", "deepsparse"} & set(all_methods())
FOREIGN = {
    "torch", "onnxruntime", "numba", "skimage", "pywt", "psutil", "array_api_compat", "click",
    "rich",
}  # fmt: skip

# Read by every Python that starts, host and worker: other packages look as if not installed.
SITE = f"""
import atexit, os, sys
from importlib.machinery import PathFinder

ALLOWED = {{*sys.stdlib_module_names, *{BUNDLED!r}, "ctrestorelib"}}

class Bundled(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED and not top.startswith("_sysconfigdata"):
            return None
        return super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, *arguments, **named):
        found = super().find_distributions(*arguments, **named)
        return (d for d in found if d.metadata["Name"] != "ctrestorelib")

sys.meta_path = [Bundled if finder is PathFinder else finder for finder in sys.meta_path]
sys.slicer_like = True

def tell():
    file = os.path.join(os.path.dirname(__file__), f"loaded-{{os.getpid()}}")
    with open(file, "w") as stream:
        stream.write(" ".join({{name.partition(".")[0] for name in sys.modules}}))

atexit.register(tell)
"""

HOST = """
import json, sys
import numpy as np

assert sys.slicer_like
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import RunningJob
from ctrestorelib.jobs.scan import RunningScan, ScanRequest
from ctrestorelib.methods.registry import all_methods, default_method
from ctrestorelib.physics.scan_protocol import ScanProtocol
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.restorer.spec import Kind, Role

SIZE = 24
_, j, i = np.mgrid[:SIZE, :SIZE, :SIZE] - 11.5
truth = np.where(np.hypot(j, i) < 9, 40.0, -1000.0)
truth[np.hypot(j - 3, i) < 3] = 900.0
grid = VolumeGeometry.from_spacing(truth.shape, (2.0, 2.0, 2.0))
clean = Volume(truth, grid, Unit.HU)
noisy = clean.with_values(truth + np.random.default_rng(0).normal(0, 30, truth.shape))
budget = Budget.detect()

protocol = ScanProtocol(views=20, pixel_mm=4.0, i0=1e5, refine=1)
with RunningScan(ScanRequest(clean, protocol, budget=budget)) as scan:
    projections = scan.result().projections

unmet, errors, before = {}, {}, {}
for name, restorer in all_methods().items():
    unmet[name] = restorer.spec.needs.unmet(set(Role))
    if unmet[name]:
        continue
    few = {"iterations": 10, "sweeps": 3, "least_misfit": 0.8}
    fields = restorer.Params.__dataclass_fields__
    if restorer.spec.kind is Kind.DENOISER:
        inputs, params, start = Inputs(volume=noisy), {}, noisy
    else:
        wants_prior = Role.PRIOR_VOLUME in restorer.spec.needs.required
        prior = clean.to_unit(Unit.PER_MM) if wants_prior else None
        inputs = Inputs(projections=projections, grid=grid, prior=prior)
        params = {n: v for n, v in few.items() if n in fields}
        start = clean.with_values(np.zeros_like(truth))
    with RunningJob(JobRequest(name, inputs, params=params, budget=budget)) as job:
        result = job.result()
        made = result.volume
    inside = np.hypot(j, i) < 7
    error = lambda v: float(np.sqrt(((v.values - truth)[:, inside[0]] ** 2).mean()))
    errors[name], before[name] = error(made), error(start)

print(json.dumps({"unmet": unmet, "errors": errors, "before": before,
                  "version": result.provenance.environment["ctrestorelib"],
                  "views": projections.geometry.views,
                  "default": default_method(Kind.DENOISER).spec.id}))
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("slicer_like")
    (folder / "sitecustomize.py").write_text(SITE)
    (folder / "host.py").write_text(HOST)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, folder / "host.py"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = [set(file.read_text().split()) for file in folder.glob("loaded-*")]
    return {**json.loads(done.stdout), "loaded": loaded}


def test_the_registry_lists_everything_and_names_what_is_missing(report):
    assert set(report["unmet"]) == set(all_methods())
    lacking = {name: text for name, text in report["unmet"].items() if text}
    assert lacking == {
        "wavelet": "Needs the Python package PyWavelets, which is not installed.",
        **dict.fromkeys(
            LEARNED, "Needs the Python package onnxruntime or torch, which is not installed."
        ),
        **dict.fromkeys(NEED_TORCH, "Needs the Python package torch, which is not installed."),
    }


def test_the_default_is_one_that_runs(report):
    assert report["default"] == "nlm"
    assert "nlm" in report["errors"]


def test_every_other_method_runs_and_improves(report):
    assert set(report["errors"]) == set(all_methods()) - {"wavelet", *LEARNED, *NEED_TORCH}
    for name, error in report["errors"].items():
        assert error < 0.95 * report["before"][name], name


def test_a_virtual_scan_runs(report):
    assert report["views"] == 20


def test_the_record_knows_our_version_without_an_installer(report):
    # The copy inside the extension has no package metadata; nor has the library in this test.
    assert report["version"] == ctrestorelib.__version__


def test_neither_host_nor_workers_loaded_anything_else(report):
    assert len(report["loaded"]) == 1 + 1 + len(report["errors"])  # host, scan, one a method
    for modules in report["loaded"]:
        assert not modules & FOREIGN
