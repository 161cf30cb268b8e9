"""Total variation: the gradient and its adjoint, and what the constrained minimum looks like."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.recon.gradient import (
    add_gradient_adjoint,
    empty_gradient,
    gradient,
    total_variation,
)
from ctrestorelib.recon.tv import Term, TotalVariation


def test_gradient_and_adjoint_belong_together():
    rng = np.random.default_rng(0)
    x, q = rng.normal(size=(4, 5, 6)), [rng.normal(size=(4, 5, 6)) for _ in range(3)]
    spacing = (3.0, 1.0, 0.5)
    forward = gradient(x, spacing, empty_gradient(x))
    back = add_gradient_adjoint(q, spacing, np.zeros_like(x), np.zeros_like(x))
    left = sum(float((a * b).sum()) for a, b in zip(forward, q, strict=True))
    assert left == pytest.approx(float((x * back).sum()), rel=1e-12)


def test_gradient_is_per_mm_along_each_axis():
    k, j, i = np.mgrid[:4, :5, :6].astype(float)
    x = 2.0 * (3.0 * k) + 5.0 * (1.0 * j) - 1.0 * (0.5 * i)  # slopes per mm: 2, 5, -1
    slopes = gradient(x, (3.0, 1.0, 0.5), empty_gradient(x))
    inner = (slice(0, 3), slice(0, 4), slice(0, 5))
    for component, slope in zip(slopes, (2.0, 5.0, -1.0), strict=True):
        np.testing.assert_allclose(component[inner], slope)
    assert not slopes[0][-1].any()


def test_total_variation_of_a_step_is_its_height_times_its_area():
    x = np.zeros((6, 6, 6))
    x[3:] = 2.0
    spacing = (0.5, 2.0, 1.0)
    area = 36 * 2.0 * 1.0
    voxel = 0.5 * 2.0 * 1.0
    assert total_variation(x, spacing) * voxel == pytest.approx(2.0 * area)


def noisy_box(sd=0.2):
    truth = np.zeros((8, 16, 16))
    truth[2:6, 4:12, 4:12] = 1.0
    return truth, truth + np.random.default_rng(3).normal(0, sd, truth.shape)


def test_a_piecewise_constant_image_is_denoised(identity, pose, run):
    truth, noisy = noisy_box()
    solution = run(
        TotalVariation(contrast_per_mm=1.0), pose(identity(truth.shape), noisy, sd=0.2), 200
    )
    assert np.sqrt(np.mean((solution.values - truth) ** 2)) < 0.4 * 0.2
    assert solution.values[3:5, 6:10, 6:10].std() < 0.05


def test_the_allowed_misfit_is_reached_and_its_weight_gives_the_same_image(identity, pose, run):
    truth, noisy = noisy_box()
    problem = pose(identity(truth.shape), noisy, sd=0.2)
    found = run(TotalVariation(contrast_per_mm=1.0, target=0.9), problem, 400)
    misfit = problem.misfit(problem.operator(found.values) - noisy)
    assert misfit == pytest.approx(0.9, rel=0.01)
    fixed = TotalVariation(contrast_per_mm=1.0, data_weight=found.state.data_weight)
    again = run(fixed, problem, 400)
    np.testing.assert_allclose(again.values, found.values, atol=0.01)


def test_the_minimum_of_one_edge_is_known(identity, pose, run):
    # For a step of height 1 between n and n voxels along k, TV denoising with weight lam moves
    # both sides towards each other by lam / n per column (each column of voxels by itself).
    data = np.zeros((20, 3, 3))
    data[10:] = 1.0
    solution = run(
        TotalVariation(contrast_per_mm=1.0, data_weight=1.0 / 0.5),
        pose(identity(data.shape), data),
        2000,
    )
    np.testing.assert_allclose(solution.values[:10], 0.05, atol=2e-3)
    np.testing.assert_allclose(solution.values[10:], 0.95, atol=2e-3)


def test_the_answer_does_not_depend_on_the_step_sizes(operator, pose, run):
    rng = np.random.default_rng(9)
    data = operator(rng.random(operator.domain)) + rng.normal(0, 0.2, operator.range)
    problem = pose(operator, data, sd=0.2)
    first = run(TotalVariation(contrast_per_mm=0.3), problem, 3000).values
    other = run(TotalVariation(contrast_per_mm=1.0, balance=4.0), problem, 3000).values
    np.testing.assert_allclose(first, other, atol=5e-3)


def test_anisotropic_voxels_smooth_by_distance_not_by_index(identity, pose, run):
    _, noisy = noisy_box(0.3)
    problem = pose(identity(noisy.shape), noisy, sd=0.3)
    object.__setattr__(problem, "spacing_mm", (5.0, 1.0, 1.0))
    values = run(TotalVariation(contrast_per_mm=1.0), problem, 200).values
    across = np.abs(np.diff(values, axis=0)).mean()
    within = np.abs(np.diff(values, axis=2)).mean()
    assert across > 2 * within


def test_a_perfect_prior_is_kept_where_the_data_agree(operator, pose, run):
    truth = np.random.default_rng(10).random(operator.domain)
    problem = pose(operator, operator(truth), sd=0.05)
    plain = run(TotalVariation(contrast_per_mm=1.0), problem, 300).values
    terms = (Term(0.3), Term(0.7, truth))
    guided = run(TotalVariation(terms, contrast_per_mm=1.0), problem, 300).values
    assert np.abs(guided - truth).max() < 0.3 * np.abs(plain - truth).max()
