"""The map of what was measured: exact on small problems, 0 where nothing looked, 1 at most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.quality.result import Verdict
from ctrestorelib.recon.measured_share import measured_share, share_map, smoothed_within
from ctrestorelib.recon.solver import Problem
from ctrestorelib.restorer.plan import Plan
from ctrestorelib.restorer.protocol import Inputs

SD = 0.5


@pytest.fixture
def problem(operator):
    """Two views that do not see the last layer of voxels."""
    few = operator.subset([0, 1])
    few.matrix[:, 40:] = 0.0
    weights = np.random.default_rng(8).uniform(0.2, 3.0, few.range)
    return Problem(few, few.zeros_range(), weights, (1.0, 1.0, 1.0))


def exact_share(problem, inside=slice(None)):
    matrix = problem.operator.matrix[:, inside]
    hessian = matrix.T @ (problem.weights.reshape(-1, 1) * matrix)
    resolution = np.linalg.solve(hessian + np.eye(len(hessian)) / SD**2, hessian)
    return np.diag(resolution)


def test_the_mean_over_many_probes_is_the_exact_diagonal(problem):
    expected = exact_share(problem).reshape(problem.operator.domain)
    assert 0.1 < expected[:2].mean() < 0.9  # neither of the two easy answers
    found = measured_share(problem, prior_sd_per_mm=SD, probes=3000, steps=25)
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / 3000**0.5)


def test_the_scatter_of_one_probe_is_as_small_as_promised(problem):
    expected = exact_share(problem).reshape(problem.operator.domain)
    errors = [
        measured_share(problem, prior_sd_per_mm=SD, probes=1, steps=25, seed=n) - expected
        for n in range(100)
    ]
    assert np.std(errors, axis=0).max() < 0.6  # 0.5 and the error of 100 draws


def test_voxels_that_no_reading_sees_get_exactly_zero(problem):
    found = measured_share(problem, prior_sd_per_mm=SD, probes=3, steps=10)
    assert not found[2].any()
    assert found[:2].all()


def test_voxels_outside_the_object_are_not_asked(problem):
    support = np.zeros(problem.operator.domain)
    support[0] = 1.0
    inside = support.reshape(-1) > 0
    bound = replace(problem, support=support)
    found = measured_share(bound, prior_sd_per_mm=SD, probes=2000, steps=25)
    assert not found[1:].any()
    np.testing.assert_allclose(found[0].reshape(-1), exact_share(problem, inside), atol=0.05)


def test_a_better_prior_leaves_less_to_measure(problem):
    shares = [
        measured_share(problem, prior_sd_per_mm=sd, probes=200, steps=40).mean()
        for sd in (0.05, 0.3, 2.0)
    ]
    assert shares[0] < 0.1
    assert shares == sorted(shares)


def test_too_few_steps_are_cautious(problem):
    few, many = (
        measured_share(problem, prior_sd_per_mm=5.0, probes=400, steps=n).mean() for n in (2, 40)
    )
    assert few < many


def test_smoothing_keeps_unseen_at_zero_and_does_not_darken_its_neighbours():
    seen = np.ones((9, 9, 9), dtype=bool)
    seen[:, :, :4] = False
    out = smoothed_within(np.where(seen, np.float32(0.6), np.float32(9.0)), seen)
    assert not out[~seen].any()
    np.testing.assert_allclose(out[seen], 0.6, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"prior_sd_per_mm": 0.0}, {"probes": 0}])
def test_nonsense_is_refused(problem, wrong):
    with pytest.raises(UsageError):
        measured_share(problem, **{"prior_sd_per_mm": SD, **wrong})


def plan():
    return Plan("auto", "cpu", 1, 0, 0.0, ())


def mapped(rods, scan_of, views, *, mask=None, job=None, **changes):
    inputs = Inputs(
        projections=scan_of(rods, views=views, **changes), grid=rods.geometry, mask=mask
    )
    return share_map(inputs, rods, plan(), job or Job(), cells=12)


def test_more_views_measure_more_and_the_words_follow(rods, scan_of):
    few, many = (mapped(rods, scan_of, views, i0=1e5) for views in (2, 40))
    assert few.typical < 0.5 * many.typical
    assert few.verdict is not Verdict.GREEN
    assert many.verdict is Verdict.GREEN
    assert few.percent.unit is Unit.GREY
    assert few.percent.geometry.matches(rods.geometry)
    assert 0.0 <= few.percent.values.min() < few.percent.values.max() <= 100.0
    assert few.detail_mm == pytest.approx(4.0)
    assert "4 mm" in few.sentence
    assert few.to_measure().value == pytest.approx(100 * few.typical)


def test_outside_the_field_of_view_and_the_mask_nothing_was_measured(rods, scan_of):
    mask = np.zeros(rods.shape, dtype=bool)
    mask[:, 4:20, 4:20] = True
    found = mapped(rods, scan_of, 2, cols=8, mask=mask)
    projections = scan_of(rods, views=2, cols=8)
    unseen = projections.geometry.seen_by(rods.geometry) == 0
    assert unseen.any()
    assert not found.percent.values[unseen | ~mask].any()
    assert found.percent.values.any()
    assert found.unseen > 0.1
    assert "no view" in found.sentence


def test_it_is_the_same_on_every_run_and_can_be_cancelled(rods, scan_of):
    first, second = (mapped(rods, scan_of, 4).percent.values for _ in range(2))
    np.testing.assert_array_equal(first, second)
    with pytest.raises(Cancelled):
        job = Job(is_cancelled=lambda: True)
        with job.stage("What was measured", 1.0):
            mapped(rods, scan_of, 4, job=job)
