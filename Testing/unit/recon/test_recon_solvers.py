"""Every solver reaches the answer that algebra gives; the loop stops and reports as it should."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.recon.arrays import guarded_inverse
from ctrestorelib.recon.asd_pocs import AsdPocs
from ctrestorelib.recon.cgls import Cgls
from ctrestorelib.recon.sirt import Sart
from ctrestorelib.recon.solver import Discrepancy, Stagnation, Step, StopReason
from ctrestorelib.recon.subsets import golden_order, ordered_subsets
from ctrestorelib.recon.tv import TotalVariation

ALL_VIEWS = (tuple(range(6)),)
ONE_BY_ONE = tuple((v,) for v in (0, 3, 1, 4, 2, 5))
SOLVERS = {
    "sirt": Sart(ALL_VIEWS),
    "sart": Sart(ONE_BY_ONE),
    "cgls": Cgls(),
    "tv": TotalVariation(contrast_per_mm=1.0),
    "asd-pocs": AsdPocs(Sart(ONE_BY_ONE), contrast_per_mm=1.0),
}
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


@pytest.mark.parametrize(
    ("solver", "iterations", "tolerance"),
    [
        (Sart(ALL_VIEWS, relaxation=1.9), 2000, 1e-6),
        (Sart(ONE_BY_ONE), 400, 1e-6),
        (Cgls(), 70, 1e-9),
        (TotalVariation(target=1e-8, contrast_per_mm=1.0), 3000, 1e-3),
    ],
    ids=["sirt", "sart", "cgls", "tv"],
)
def test_a_consistent_system_is_solved(operator, pose, run, solver, iterations, tolerance):
    truth = np.random.default_rng(0).random(operator.domain)
    solution = run(solver, pose(operator, operator(truth)), iterations)
    np.testing.assert_allclose(solution.values, truth, atol=tolerance)


def test_cgls_is_numpys_least_squares(operator, pose, run):
    data = np.random.default_rng(1).normal(size=operator.range)
    expected = np.linalg.lstsq(operator.matrix, data.reshape(-1), rcond=None)[0]
    solution = run(Cgls(), pose(operator, data, nonnegative=False), 120)
    np.testing.assert_allclose(solution.values.reshape(-1), expected, atol=1e-8)


def test_cgls_with_weights_solves_the_weighted_normal_equations(operator, pose, run):
    rng = np.random.default_rng(2)
    data = rng.normal(size=operator.range)
    problem = pose(operator, data, nonnegative=False)
    problem.weights[:] = rng.uniform(0.2, 5.0, operator.range)
    root = np.sqrt(problem.weights.reshape(-1))
    expected = np.linalg.lstsq(
        root[:, None] * operator.matrix, root * data.reshape(-1), rcond=None
    )[0]
    solution = run(Cgls(), problem, 200)
    np.testing.assert_allclose(solution.values.reshape(-1), expected, atol=1e-7)


@every_solver
def test_zero_data_give_zero_at_once(operator, pose, run, solver):
    solution = run(solver, pose(operator, operator.zeros_range()), 50)
    assert not solution.values.any()
    assert solution.stop_reason is StopReason.SOLVED
    assert solution.iterations == 1


@every_solver
def test_cancel_is_heard_at_any_iteration(operator, pose, run, solver):
    data = operator(np.ones(operator.domain))
    for allowed in (0, 1, 4):
        answers = iter([False] * (allowed + 1))
        job = Job(is_cancelled=lambda answers=answers: next(answers, True))
        with pytest.raises(Cancelled):
            run(solver, pose(operator, data), 20, job=job)


@every_solver
def test_support_and_data_stay_as_they_were(operator, pose, run, solver):
    support = np.zeros(operator.domain)
    support[:, 1:3, 1:4] = 1.0
    truth = support * 0.7
    data = operator(truth)
    before = data.copy()
    solution = run(solver, pose(operator, data, sd=0.05, support=support), 60)
    assert not solution.values[support == 0].any()
    assert abs(solution.values[support == 1].mean() - 0.7) < 0.1
    np.testing.assert_array_equal(data, before)


def test_a_warm_start_is_used_and_not_written_to(operator, pose, run):
    truth = np.random.default_rng(5).random(operator.domain)
    start = truth + 0.01
    kept = start.copy()
    solution = run(Sart(ONE_BY_ONE), pose(operator, operator(truth), start=start), 1)
    assert np.abs(solution.values - truth).max() < 0.02
    np.testing.assert_array_equal(start, kept)


def test_discrepancy_stops_at_the_noise(operator, pose, run):
    rng = np.random.default_rng(6)
    data = operator(rng.random(operator.domain)) + rng.normal(0, 0.3, operator.range)
    rule = Discrepancy(tau=1.02)
    solution = run(Cgls(), pose(operator, data, sd=0.3, nonnegative=False), 100, rules=(rule,))
    assert solution.stop_reason is StopReason.DISCREPANCY
    assert solution.iterations < 60
    assert solution.history[-1].misfit <= 1.02**2 < solution.history[-2].misfit
    assert "noise" in solution.stop_reason.value


def test_stagnation_waits_for_calm_steps_and_a_small_misfit():
    rule = Stagnation(1e-3, patience=2, misfit_below=1.5)
    moving, calm, calm_but_off = Step(1, 1.0, 1e-2), Step(2, 1.0, 1e-4), Step(2, 9.0, 1e-4)
    assert rule([moving, calm]) is None
    assert rule([calm, calm]) is StopReason.STAGNATION
    assert rule([calm_but_off, calm_but_off]) is None
    assert rule([calm]) is None


def test_rays_and_voxels_that_hardly_touch_get_no_weight():
    out = guarded_inverse(np.array([0.0, 0.009, 0.02, 1.0]))
    np.testing.assert_allclose(out, [0.0, 0.0, 50.0, 1.0])
    assert not guarded_inverse(np.zeros(3)).any()


def test_excluded_readings_do_not_matter(operator, pose, run):
    truth = np.random.default_rng(8).random(operator.domain)
    for solver, iterations in ((Sart(ONE_BY_ONE), 50), (Cgls(), 30), (SOLVERS["tv"], 50)):
        results = []
        for spoiled in (0.0, 1e3):
            data = operator(truth)
            data[2, 1] += spoiled
            problem = pose(operator, data)
            problem.weights[2, 1] = 0.0
            results.append(run(solver, problem, iterations).values)
        np.testing.assert_allclose(results[0], results[1], atol=1e-8)


@pytest.mark.parametrize("count", [1, 2, 5, 16, 61])
def test_golden_order_uses_every_view_once(count):
    assert sorted(golden_order(count)) == list(range(count))


def test_golden_order_jumps_far():
    order = np.array(golden_order(60))
    jump = np.abs(np.diff(order))
    assert np.minimum(jump, 60 - jump).min() >= 10


def test_subsets_spread_their_views_and_fold_opposite_ones():
    angles = np.deg2rad(np.arange(0, 360, 15))
    subsets = ordered_subsets(angles, 4)
    assert sorted(v for s in subsets for v in s) == list(range(24))
    for subset in subsets:
        folded = np.sort(np.mod(np.rad2deg(angles[list(subset)]), 180).round(6))
        assert np.diff(folded).max() <= 45
    with pytest.raises(UsageError, match="subsets"):
        ordered_subsets(angles, 25)
