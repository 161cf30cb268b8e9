"""Total variation that views set aside steer: near the best it could be, whatever the noise."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.job import Job, Stage
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.methods import tv, tv_views
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.recon import chosen_tv
from ctrestorelib.recon import tv as tv_step
from ctrestorelib.recon.tv_pyramid import tv_pyramid
from ctrestorelib.restorer.plan import Budget, Plan, PlannedStage
from ctrestorelib.restorer.protocol import Inputs

BUDGET = Budget(host_bytes=8 * 2**30, threads=1)
GRID = VolumeGeometry.from_spacing((24,) * 3, (4.0,) * 3)


def body():
    """Return a soft body with an insert and a hole, 1/mm: TV's best case and its worst in one."""
    k, j, i = (np.indices(GRID.shape) - 11.5) / 24
    values = 0.019 * np.clip(4 * (1 - (j / 0.4) ** 2 - (i / 0.34) ** 2), 0, 1)
    values += 0.012 * np.exp(-((k - 0.1) ** 2 + j**2 + (i - 0.1) ** 2) / 0.008)
    values[((j + 0.15) ** 2 + (i + 0.1) ** 2 < 0.006) & (abs(k) < 0.3)] *= 0.2
    return values.astype(np.float32)


def scanned(views=12, i0=1e5, arc=180.0, cols=40):
    geometry = ConeBeamGeometry.circular(
        sod_mm=300.0, sdd_mm=450.0, angles_rad=np.deg2rad(np.arange(views) * arc / views),
        detector_shape=(40, cols), pixel_mm=(5.0, 5.0),
    )  # fmt: skip
    operator = XrayOperator(geometry, GRID, threads=1)
    lines = operator.to_numpy(operator(operator.asarray(body())))
    counts = np.random.default_rng(0).poisson(i0 * np.exp(-lines.astype(float)))
    lines = -np.log(np.maximum(counts, 1) / i0).astype(np.float32)
    return Inputs(
        projections=ProjectionSet(lines, geometry, ProjectionKind.LINE_INTEGRAL, i0), grid=GRID
    )


def reconstruct(restorer, inputs, job=None, **params):
    chosen = restorer.Params(**params)
    plan = restorer.plan(inputs.shapes(), chosen, BUDGET)
    return restorer.restore(inputs, chosen, plan, job or Job())


def error(estimate):
    return float(np.sqrt(np.mean((estimate.volume.values - body()) ** 2)))


@pytest.mark.parametrize("i0", [3e3, 1e7])
def test_it_comes_near_the_best_smoothing_at_any_dose(i0):
    inputs = scanned(i0=i0)
    found = reconstruct(tv_views.RESTORER, inputs)
    best = min(error(reconstruct(tv.RESTORER, inputs, noise_factor=t)) for t in (2, 1, 0.8, 0.3))
    assert error(found) < 1.05 * best
    tried = found.report["tv_misfits_tried"]
    # A neighbour may be better by chance.
    assert tried[f"{found.report['tv_misfit_allowed']:g}"] < 1.02 * min(tried.values())


def test_over_a_short_arc_it_is_plain_total_variation():
    inputs = scanned(views=8, arc=60.0)
    found, plain = (reconstruct(m.RESTORER, inputs) for m in (tv_views, tv))
    np.testing.assert_array_equal(found.volume.values, plain.volume.values)
    assert found.report["tv_misfits_tried"] == {}


def test_too_few_views_to_spare_one_take_the_usual_smoothing():
    found = reconstruct(tv_views.RESTORER, scanned(views=4))
    assert found.report["tv_misfit_allowed"] == tv.NOISE_FACTOR
    assert Volume(body(), GRID, Unit.PER_MM).shape == found.volume.shape


def test_no_closer_fit_is_tried_than_is_asked_for():
    found = reconstruct(tv_views.RESTORER, scanned(i0=1e7), least_misfit=0.55)
    assert found.report["tv_misfit_allowed"] == 0.55
    assert "0.35" not in found.report["tv_misfits_tried"]


def test_the_share_of_the_choice_shrinks_as_the_grid_grows():
    shares = []
    for cells in (64, 128, 256):
        first, last = chosen_tv.chosen_stages((cells,) * 3)
        shares.append(first[1] / (first[1] + last[1]))
    assert shares[0] > shares[1] > shares[2] > 0


def test_a_scan_that_no_volume_explains_gets_a_target_within_reach():
    inputs = scanned(views=12, i0=1e6)
    drawn = np.random.default_rng(1).normal(0, 0.03, inputs.projections.values.shape)
    smooth = np.repeat(np.repeat(drawn[:, ::4, ::4], 4, 1), 4, 2).astype(np.float32)
    broken = inputs.projections.replace(values=inputs.projections.values + smooth)
    found = reconstruct(tv_views.RESTORER, Inputs(projections=broken, grid=GRID))
    plain = reconstruct(tv.RESTORER, Inputs(projections=broken, grid=GRID))
    assert found.report["tv_misfit_allowed"] >= 2
    assert found.report["tv_misfit_allowed"] >= found.report["tv_misfit_chosen"]
    assert error(found) < error(plain)


def test_no_looser_target_is_taken_than_comes_nearer_to_the_measurements(monkeypatch):
    inputs = scanned(views=12, i0=1e6)
    drawn = np.random.default_rng(1).normal(0, 0.03, inputs.projections.values.shape)
    broken = inputs.projections.replace(values=inputs.projections.values + np.float32(drawn))
    misfits, solve = {}, chosen_tv.tv_pyramid

    def watched(*given, target, **more):
        found = solve(*given, target=target, **more)
        misfits[target] = found.session.problem.misfit_of(found.values)
        return found

    monkeypatch.setattr(chosen_tv, "tv_pyramid", watched)
    found = reconstruct(tv_views.RESTORER, Inputs(projections=broken, grid=GRID))
    assert len(misfits) > 1
    taken = found.report["tv_misfit_allowed"]
    assert misfits[taken] == min(misfits.values())


def test_rays_that_miss_the_volume_do_not_spoil_the_start_on_a_finer_grid(monkeypatch):
    weights, find = [], tv_step._multiplier

    def watched(*given):
        weights.append(find(*given))
        return weights[-1]

    monkeypatch.setattr(tv_step, "_multiplier", watched)
    inputs, plan = scanned(cols=80), Plan("auto", "cpu", 1, 0, 1.0, (PlannedStage("TV", 1.0),))
    stage = Stage(Job(), "TV", 0.0, 1.0)
    coarse = tv_pyramid(inputs, plan, Job(), stage, shape=(12, 12, 12))
    weights.clear()
    with np.errstate(over="raise", invalid="raise"):
        tv_pyramid(inputs, plan, Job(), stage, start=coarse)
    assert np.isfinite(weights).all()
    assert min(weights) > 0
