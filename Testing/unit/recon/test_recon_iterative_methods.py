"""The iterative methods on small virtual scans: noise, masks, truncation, priors, backends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, InputError, UnitError
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.methods.registry import method
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

IDS = ("sirt", "os-sart", "cgls", "tv", "asd-pocs", "piccs")
BUDGET = Budget(host_bytes=8 * 2**30, threads=1)
every_method = pytest.mark.parametrize("name", IDS)


def restored(name, inputs, job=None, backend=None, **settings):
    restorer = method(name)
    params = restorer.Params(**settings)
    plan = restorer.plan(inputs.shapes(), params, BUDGET)
    if backend:
        plan = replace(plan, backend=backend)
    return restorer.restore(inputs, params, plan, job or Job())


def inputs_for(name, projections, volume, **more):
    prior = volume if name == "piccs" else None
    return Inputs(projections=projections, grid=volume.geometry, prior=prior, **more)


def error(estimate, volume):
    return float(np.sqrt(np.mean((estimate.volume.values - volume.values) ** 2)))


def test_tv_beats_os_sart_from_few_noisy_views(rods, scan_of):
    projections = scan_of(rods, views=5, i0=1e5)
    tv = error(restored("tv", inputs_for("tv", projections, rods)), rods)
    sart = error(restored("os-sart", inputs_for("os-sart", projections, rods)), rods)
    assert tv < 0.7 * sart


@pytest.mark.parametrize("name", ["tv", "asd-pocs", "cgls", "sirt"])
def test_chi_squared_is_about_one_on_a_noisy_scan(name, rods, scan_of):
    projections = scan_of(rods, views=24, i0=3e4)
    estimate = restored(name, inputs_for(name, projections, rods))
    residual = estimate.report["residual"]
    assert 0.6 < residual["chi_squared_per_reading"] < 1.3
    assert len(residual["chi_squared_per_view"]) == 24


def test_tv_reports_the_weight_that_the_noise_asked_for(rods, scan_of):
    weights = []
    for i0 in (1e4, 1e6):
        projections = scan_of(rods, views=10, i0=i0)
        report = restored("tv", inputs_for("tv", projections, rods)).report
        weights.append(report["smoothing_weight_mm2"])
    assert weights[0] > 0
    assert weights[1] > 0


@every_method
def test_zero_projections_give_zero(name, rods, scan_of):
    empty = rods.with_values(np.zeros(rods.shape))
    estimate = restored(name, inputs_for(name, scan_of(empty), empty))
    assert np.abs(estimate.volume.values).max() < 1e-6


@every_method
def test_numpy_computes_the_same(name, rods, scan_of):
    small = rods.crop((slice(8, 16),) * 3)
    projections = scan_of(small, views=4)
    few = {"cgls": "iterations", "tv": "iterations", "piccs": "iterations", "sirt": "iterations"}
    settings = {few.get(name, "sweeps"): 5}
    inputs = inputs_for(name, projections, small)
    fast = restored(name, inputs, **settings).volume.values
    plain = restored(name, inputs, backend="numpy", **settings).volume.values
    np.testing.assert_allclose(plain, fast, atol=2e-4 * small.values.max())


@every_method
def test_the_object_mask_is_respected(name, rods, scan_of):
    mask = rods.values > 0
    inputs = inputs_for(name, scan_of(rods), rods, mask=mask)
    values = restored(name, inputs).volume.values
    assert not values[~mask].any()
    assert values[mask].mean() == pytest.approx(rods.values[mask].mean(), rel=0.1)


def test_a_mask_of_another_shape_is_refused(rods, scan_of):
    inputs = inputs_for("tv", scan_of(rods), rods, mask=np.ones((2, 2, 2), dtype=bool))
    with pytest.raises(GeometryError, match="mask"):
        restored("tv", inputs)


@every_method
def test_a_grid_larger_than_the_field_of_view_stays_bounded(name, rods, scan_of):
    projections = scan_of(rods)
    wide = VolumeGeometry.from_spacing((24, 60, 60), (2.0, 2.0, 2.0))
    values = np.zeros(wide.shape, dtype=np.float32)
    values[:, 18:42, 18:42] = rods.values
    estimate = restored(name, inputs_for(name, projections, Volume(values, wide, Unit.PER_MM)))
    assert np.isfinite(estimate.volume.values).all()
    assert np.abs(estimate.volume.values).max() < 3 * rods.values.max()


def test_an_object_larger_than_the_grid_is_told(rods, scan_of):
    inner = rods.geometry.crop((slice(None), slice(8, 16), slice(8, 16)))
    job = Job()
    inputs = Inputs(projections=scan_of(rods), grid=inner)
    estimate = restored("os-sart", inputs, job)
    assert "object-outside-grid" in {w["code"] for w in job.warnings}
    assert np.isfinite(estimate.volume.values).all()
    fitting = Job()
    restored("os-sart", inputs_for("os-sart", scan_of(rods), rods), fitting)
    assert not fitting.warnings


def test_a_narrow_detector_is_told(rods, scan_of):
    job = Job()
    restored("os-sart", inputs_for("os-sart", scan_of(rods, cols=14), rods), job)
    assert "lateral-truncation" in {w["code"] for w in job.warnings}


def test_a_grid_that_no_ray_meets_is_refused(rods, scan_of):
    far = VolumeGeometry.from_spacing((8, 8, 8), (1, 1, 1), origin_lps_mm=(0, 5000, 0))
    with pytest.raises(GeometryError, match="No ray"):
        restored("sirt", Inputs(projections=scan_of(rods), grid=far))


def test_piccs_keeps_a_right_prior_and_reports_the_change(rods, scan_of):
    projections = scan_of(rods, views=6, i0=1e5)
    prior = error(restored("piccs", inputs_for("piccs", projections, rods)), rods)
    plain = error(restored("tv", inputs_for("tv", projections, rods)), rods)
    assert prior < 0.5 * plain
    changed = rods.values.copy()
    changed[10:14, 10:14, 4:8] = 0.035
    scan = scan_of(rods.with_values(changed), views=12, i0=1e5)
    report = restored("piccs", inputs_for("piccs", scan, rods)).report
    assert report["difference_to_prior_largest_per_mm"] > 0.008


def test_an_unfit_prior_is_refused(rods, scan_of):
    projections = scan_of(rods)
    inputs = Inputs(projections=projections, grid=rods.geometry)
    with pytest.raises(InputError, match="prior"):
        restored("piccs", inputs)
    with pytest.raises(UnitError, match="1/mm"):
        restored("piccs", replace(inputs, prior=rods.to_unit(Unit.HU)))
    moved = Volume(rods.values, VolumeGeometry.from_spacing(rods.shape, (2, 2, 3)), Unit.PER_MM)
    with pytest.raises(GeometryError, match="grid"):
        restored("piccs", replace(inputs, prior=moved))


def test_sentences_and_settings_are_reported(rods, scan_of):
    report = restored("cgls", inputs_for("cgls", scan_of(rods, i0=1e4), rods)).report
    assert report["stop_reason"] == "discrepancy"
    assert report["stop_sentence"].endswith(".")
    assert report["settings"]["iterations"] == 15
    assert report["noise_from"] == "the scan's I0"
