"""The learned denoiser adapted to one scan: what is told, planned and stopped."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")

from ctrestorelib.core.errors import Cancelled, ResourceError
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.execute import execute
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.methods import ctd
from ctrestorelib.methods.ctd import RESTORER, CtdParams, Variant
from ctrestorelib.restorer.plan import Budget, InputShapes
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.training import adaptation

BUDGET = Budget(host_bytes=8 * 2**30, threads=1)
FAST = {"variant": Variant.FAST, "adapt": True}


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Learn for two steps instead of three hundred."""
    settings = partial(adaptation.AdaptationSettings, steps=2, batch=2, crop=32)
    monkeypatch.setattr(adaptation, "AdaptationSettings", settings)
    monkeypatch.setattr(adaptation, "_POOL", 2)
    monkeypatch.setattr(adaptation, "_JUDGES", 12)


@pytest.fixture(scope="module")
def scan():
    """Even soft tissue with white noise: enough to measure its texture."""
    rng = np.random.default_rng(2)
    grid = VolumeGeometry.from_spacing((12, 80, 80), (0.7, 0.7, 1.0))
    return Volume(40 + rng.normal(0, 20, grid.shape), grid, Unit.HU)


def run(volume, job):
    return execute(JobRequest("ctd", Inputs(volume=volume), params=FAST), BUDGET, job)


def test_what_came_of_it_is_told(scan):
    events = []
    job = Job(emit=events.append, seed=1)
    estimate = run(scan, job)
    told = estimate.report["adaptation"]
    assert "kept only if it measurably helps" in told["rule"]
    assert told["kept"] == (told["why"].startswith("The loss on") and "fell by" in told["why"])
    assert np.isfinite([told["before"], told["after"]]).all()
    warning = next(w for w in job.warnings if "adapted" in w["code"])
    assert warning["code"] == ("adapted" if told["kept"] else "not-adapted")
    assert "kept only if it measurably helps" in warning["text"]
    assert estimate.report["runtime"] == "torch float32 on cpu"
    assert list(estimate.report["weights_sha256"]) == ["ctd-fast.safetensors"]
    planned = [stage.title for stage in RESTORER.plan(
        Inputs(volume=scan).shapes(), CtdParams(**FAST), BUDGET).stages]  # fmt: skip
    titles = [e["title"] for e in events if e["kind"] == "stage"]
    assert titles[:2] == planned[:2] == ["Measure the noise", "Measure its texture"]
    assert titles[2:5] == [
        "Look at neighbouring slices", "Learn from this scan", "Judge by held-out slices",
    ]  # fmt: skip
    fractions = [e["fraction"] for e in events if e["kind"] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_a_scan_of_unknown_texture_is_denoised_as_usual(scan):
    few = scan.crop((slice(0, 5), slice(None), slice(None)))
    job = Job()
    estimate = run(few, job)
    assert not estimate.report["adaptation"]["kept"]
    assert np.std(estimate.volume.values) < 0.9 * np.std(few.values)
    assert "This one was not" in next(w for w in job.warnings if w["code"] == "not-adapted")["text"]


def test_cancel_is_heard_while_it_learns(scan):
    events = []
    learning = lambda: any(e.get("title") == "Learn from this scan" for e in events)  # noqa: E731
    with pytest.raises(Cancelled):
        run(scan, Job(emit=events.append, is_cancelled=learning))
    assert not any(e.get("title") == "Remove the noise" for e in events)


def test_the_plan_counts_the_learning():
    shapes = InputShapes(volume=(300, 512, 512))
    usual = RESTORER.plan(shapes, CtdParams(), BUDGET)
    more = RESTORER.plan(shapes, CtdParams(adapt=True), BUDGET)
    assert more.backend == "torch"
    assert more.seconds > usual.seconds + 60
    assert more.peak_host_bytes > usual.peak_host_bytes + 10 * shapes.voxels
    assert sum(stage.share for stage in more.stages) == pytest.approx(1.0)
    assert RESTORER.plan(shapes, CtdParams(adapt=True), replace(BUDGET, threads=4)).seconds < (
        0.5 * more.seconds
    )


def test_without_pytorch_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(ctd, "available", lambda package: package != "torch")
    with pytest.raises(ResourceError, match="needs the Python package torch"):
        RESTORER.plan(InputShapes(volume=(9, 64, 64)), CtdParams(adapt=True), BUDGET)
