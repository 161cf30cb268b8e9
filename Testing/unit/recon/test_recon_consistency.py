"""The data-consistency step solves its equations, holds on as told, and obeys the constraints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.physics.backend import available
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.recon.consistency import consistent, relative_strength, typical_diagonal
from ctrestorelib.recon.solver import Problem


@pytest.fixture
def problem(operator):
    """A small weighted problem without constraints, whose data no volume explains exactly."""
    rng = np.random.default_rng(5)
    data, weights = rng.normal(size=operator.range), rng.uniform(0.2, 5.0, operator.range)
    return Problem(operator, data, weights, (1.0, 1.0, 1.0), nonnegative=False)


@pytest.fixture
def guess(operator):
    return np.random.default_rng(6).random(operator.domain)


def hessian(problem):
    matrix = problem.operator.matrix
    return matrix.T @ (problem.weights.reshape(-1, 1) * matrix)


def objective(problem, x, start, strength):
    residual = problem.operator(x) - problem.data
    return 0.5 * (problem.weights * residual**2).sum() + 0.5 * strength * ((x - start) ** 2).sum()


@pytest.mark.parametrize("strength", [0.0, 0.3, 4.0])
def test_it_solves_the_normal_equations(problem, guess, strength):
    matrix = problem.operator.matrix
    away = (problem.weights * (problem.data - problem.operator(guess))).reshape(-1)
    left = hessian(problem) + strength * np.eye(matrix.shape[1])
    expected = guess.reshape(-1) + np.linalg.solve(left, matrix.T @ away)
    found = consistent(problem, guess, strength=strength, steps=300)
    np.testing.assert_allclose(found.reshape(-1), expected, atol=1e-4)


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_no_step_makes_the_objective_worse(problem, guess, strength):
    values = [
        objective(problem, consistent(problem, guess, strength=strength, steps=n), guess, strength)
        for n in range(12)
    ]
    assert (np.diff(values) < 0).all()


def test_a_guess_without_error_is_left_alone(problem, guess):
    exact = replace(problem, data=problem.operator(guess))
    found = consistent(exact, guess, strength=0.1, steps=5)
    np.testing.assert_array_equal(found, guess)


def test_the_firmer_the_hold_the_nearer_the_guess_and_never_beyond(problem, guess):
    strengths = (0.01, 1.0, 100.0, 1e6, 1e30, np.inf)
    moved = [
        np.linalg.norm(consistent(problem, guess, strength=s, steps=60) - guess) for s in strengths
    ]
    assert (np.diff(moved) <= 0).all()
    assert moved[0] > 1.0
    assert moved[-2] < 1e-20
    assert moved[-1] == 0.0


def test_support_and_sign_are_kept_and_the_guess_is_not_touched(problem, guess):
    support = (np.random.default_rng(7).random(guess.shape) > 0.4).astype(float)
    before = guess - 0.3
    given = before.copy()
    bound = replace(problem, support=support, nonnegative=True)
    found = consistent(bound, given, strength=0.1, steps=8)
    assert found.min() == 0.0
    assert not found[support == 0].any()
    assert found.any()
    np.testing.assert_array_equal(given, before)


def test_within_a_support_only_its_voxels_explain_the_data(problem, guess):
    support = np.zeros(guess.shape)
    support[1] = 1.0
    inside = support.reshape(-1) > 0
    matrix = problem.operator.matrix[:, inside]
    weights = problem.weights.reshape(-1, 1)
    start = guess.reshape(-1)[inside]
    away = weights[:, 0] * (problem.data.reshape(-1) - matrix @ start)
    left = matrix.T @ (weights * matrix) + 0.5 * np.eye(inside.sum())
    expected = start + np.linalg.solve(left, matrix.T @ away)
    found = consistent(replace(problem, support=support), guess, strength=0.5, steps=100)
    np.testing.assert_allclose(found.reshape(-1)[inside], expected, atol=1e-4)


def test_readings_of_weight_zero_are_not_looked_at(problem, guess):
    problem.weights[2] = 0.0
    spoiled = problem.data.copy()
    spoiled[2] = 1e3
    both = [
        consistent(replace(problem, data=data), guess, strength=0.1, steps=5)
        for data in (problem.data, spoiled)
    ]
    np.testing.assert_array_equal(*both)


def test_the_typical_diagonal_is_the_mean_of_those_seen(operator):
    exact = np.diag(operator.matrix.T @ operator.matrix)
    ones = np.ones(operator.range)
    problem = Problem(operator, ones, ones, (1.0, 1.0, 1.0))
    seen = exact > 0
    # One vector of signs is not exact on 60 voxels; the error of the trace is known.
    gram = operator.matrix.T @ operator.matrix
    spread = np.sqrt(2 * (gram**2).sum() - 2 * (exact**2).sum()) / seen.sum()
    assert typical_diagonal(problem) == pytest.approx(exact[seen].mean(), abs=3 * spread)
    assert relative_strength(problem, 0.25) == pytest.approx(0.25 * typical_diagonal(problem))


def test_cancel_is_heard_and_progress_reaches_its_end(problem, guess):
    seen = []
    job = Job(lambda event: seen.append(event.get("fraction")))
    with job.stage("Data consistency", 1.0) as stage:
        consistent(problem, guess, strength=0.1, steps=4, stage=stage)
    assert job.fraction == 1.0
    answers = iter([False] * 3)
    job = Job(is_cancelled=lambda: next(answers, True))
    with pytest.raises(Cancelled), job.stage("Data consistency", 1.0) as stage:
        consistent(problem, guess, strength=0.1, steps=4, stage=stage)


@pytest.mark.parametrize("wrong", [{"strength": -1.0}, {"strength": np.nan}, {"steps": -1}])
def test_nonsense_is_refused(problem, guess, wrong):
    with pytest.raises(UsageError):
        consistent(problem, guess, **{"strength": 1.0, "steps": 1, **wrong})
    with pytest.raises(UsageError, match="No reading"):
        relative_strength(replace(problem, weights=problem.weights * 0.0), 1.0)


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(name, marks=pytest.mark.skipif(not available(name), reason="not installed"))
        for name in ("numpy", "torch", "numba")
    ],
)
def test_on_every_backend_float32_and_the_same_on_every_run(backend):
    scan = ConeBeamGeometry.circular(
        sod_mm=100.0, sdd_mm=150.0, angles_rad=equal_angles(5, 180), detector_shape=(12, 14),
        pixel_mm=(2.5, 2.5),
    )  # fmt: skip
    A = XrayOperator(
        scan, VolumeGeometry.from_spacing((8, 9, 10), (2.0, 2.0, 2.0)), backend=backend
    )
    truth = A.asarray(np.random.default_rng(0).random(A.domain, dtype=np.float32))
    weights = A.asarray(np.ones(A.range, np.float32))
    problem = Problem(A, A(truth), weights, (2.0, 2.0, 2.0))
    start = truth + 0.1 * A.asarray(np.random.default_rng(1).random(A.domain, dtype=np.float32))
    strength = relative_strength(problem, 0.01)
    runs = [consistent(problem, start, strength=strength, steps=8) for _ in range(2)]
    assert type(runs[0]) is type(A.zeros_domain())
    assert runs[0].dtype == start.dtype
    np.testing.assert_array_equal(*map(A.to_numpy, runs))
    before, after = (problem.misfit(A(x) - problem.data) for x in (start, runs[0]))
    assert after < 0.05 * before
