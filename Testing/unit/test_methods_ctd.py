"""The learned denoiser as a method: plan, warnings, uncertainty, records."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.jobs.execute import execute
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import run_job
from ctrestorelib.methods.ctd import RESTORER, CtdParams, Precision, Variant
from ctrestorelib.restorer import spec
from ctrestorelib.restorer.plan import Budget, InputShapes
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.restorer.spec import Needs, Role
from ctrestorelib.weights.store import released, sha256_of, weights_file

pytest.importorskip("onnxruntime")
BUDGET = Budget(host_bytes=8 * 2**30, threads=1)
LARGE = InputShapes(volume=(300, 512, 512))


def denoised(volume, job=None, strength=1.0, **params):
    request = JobRequest("ctd", Inputs(volume=volume), params=params, strength=strength)
    return execute(request, BUDGET, job or Job())


def warned(volume, **params):
    job = Job()
    denoised(volume, job, **params)
    return {w["code"]: w["text"] for w in job.warnings}


def stretched(volume, spacing_mm):
    geometry = VolumeGeometry.from_spacing(volume.shape, spacing_mm)
    return Volume(volume.values, geometry, volume.unit)


def test_the_plan_of_a_large_scan_is_modest_and_says_who_computes():
    plan = RESTORER.plan(LARGE, CtdParams(), replace(BUDGET, threads=2))
    assert (plan.backend, plan.precision) == ("onnxruntime", "float32")
    assert plan.peak_host_bytes < 2.5e9
    assert plan.seconds < 90
    fast = RESTORER.plan(LARGE, CtdParams(variant=Variant.FAST), replace(BUDGET, threads=2))
    assert fast.seconds < 0.7 * plan.seconds
    more = RESTORER.plan(LARGE, CtdParams(uncertainty=True), BUDGET)
    assert more.peak_host_bytes > plan.peak_host_bytes
    assert len(more.stages) == len(plan.stages) + 1
    rough = RESTORER.plan(LARGE, CtdParams(precision=Precision.FAST), BUDGET)
    assert rough.precision in ("float32", "bfloat16")


def test_strength_is_exact(small_ct):
    full = denoised(small_ct).volume.values
    part = denoised(small_ct, strength=0.3).volume.values
    np.testing.assert_allclose(part, small_ct.values + 0.3 * (full - small_ct.values), atol=1e-3)


def test_the_factor_and_the_level_turn_the_right_way(small_ct):
    def removed(**params):
        return float(np.std(denoised(small_ct, **params).volume.values - small_ct.values))

    level = denoised(small_ct).report["sigma"]
    assert removed(factor=0.5) < removed() < removed(factor=1.3)
    assert removed(sigma=level) == pytest.approx(removed(), rel=1e-3)
    with pytest.raises(InputError, match="level of 0"):
        denoised(small_ct, sigma=0.0)


def test_the_uncertainty_is_checked_on_the_scan(small_ct):
    job = Job()
    estimate = denoised(small_ct, job, uncertainty=True)
    assert estimate.uncertainty.geometry == small_ct.geometry
    assert estimate.uncertainty.values.min() > 0
    assert {"value", "inflation", "why_not"} <= set(estimate.report["coverage"])


def test_a_usual_scan_needs_no_warning(small_ct):
    assert not set(warned(small_ct)) & {
        "thick-slices", "out-of-domain-noise", "out-of-domain-pixel", "coarse-grain", "left-alone"
    }  # fmt: skip


def test_unusual_scans_are_named(small_ct):
    assert "5 mm apart" in warned(stretched(small_ct, (0.8, 0.8, 5.0)))["thick-slices"]
    assert "pixels of 4 mm" in warned(stretched(small_ct, (4.0, 4.0, 1.0)))["out-of-domain-pixel"]
    loud = np.random.default_rng(1).normal(0, 260, small_ct.shape)
    noisy = small_ct.with_values(np.maximum(small_ct.values + loud, -1400))
    assert "noise level is 2" in warned(noisy)["out-of-domain-noise"]
    metal = small_ct.values.copy()
    metal[:, 15:18, 22:25] = 3500.0
    metal = small_ct.with_values(metal)
    assert "was left as it was" in warned(metal)["left-alone"]
    kept = denoised(metal).volume.values[:, 15:18, 22:25]
    np.testing.assert_array_equal(kept, 3500.0)


def test_shared_and_coarse_noise_is_named(small_ct):
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(3)
    clean = np.full((24, 96, 96), 40.0)

    def scan(widths):
        noise = gaussian_filter(rng.normal(0, 1, clean.shape), widths)
        geometry = VolumeGeometry.from_spacing(clean.shape, (0.7, 0.7, 1.0))
        return Volume(clean + 20 * noise / noise.std(), geometry, Unit.HU)

    assert "share noise" in warned(scan((1.0, 0.4, 0.4)))["overlapping-slices"]
    assert "50 %" in warned(scan((0.0, 2.6, 2.6)))["coarse-grain"]
    assert not {"overlapping-slices", "coarse-grain"} & set(warned(scan((0.0, 0.6, 0.6))))


def test_the_record_names_the_weights(small_ct):
    record = run_job(JobRequest("ctd", Inputs(volume=small_ct), budget=BUDGET)).provenance
    path = weights_file("ctd-standard", "onnx")
    assert record.weights_sha256 == {path.name: sha256_of(path)}
    assert record.plan["backend"] == "onnxruntime"
    assert set(RESTORER.spec.weights) <= set(released())


def test_needs_of_which_one_is_enough(monkeypatch):
    needs = Needs(required=(Role.VOLUME,), packages=("json",), any_package=("absent_one", "json"))
    assert needs.unmet({Role.VOLUME}) == ""
    assert needs.to_install() == ()
    monkeypatch.setattr(spec, "_importable", lambda package: False)
    assert needs.to_install() == ("json", "absent_one")
    assert "json and absent_one or json, which is not" in needs.unmet({Role.VOLUME})
    assert importlib.util.find_spec("json") is not None
    assert Needs(required=()).to_install() == ()
