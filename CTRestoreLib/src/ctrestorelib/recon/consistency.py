"""Data consistency: the volume nearest to a guess that explains the measurements (layer: recon).

A learned prior, a fit or a smoothing step proposes a volume without looking at the measurements
again. The step here pulls it back to them: it minimises

    1/2 ||A x - p||^2_W + strength/2 ||x - start||^2

by conjugate gradients, started at the proposal, with the exact adjoint. What the rays see comes
from the measurements, as far as their noise allows; what no ray tells apart stays as proposed.

References
----------
Hestenes and Stiefel 1952, doi:10.6028/jres.049.044; Aggarwal et al. 2019 (the same step inside an
unrolled network), doi:10.1109/TMI.2018.2865356.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.job import Stage
from ctrestorelib.recon.arrays import Array, dot
from ctrestorelib.recon.probes import random_signs
from ctrestorelib.recon.solver import Problem

PROBE_SEED = 20260

SOLVED_SHARE = 1e-14
"""The steps end early once the squared gradient is this share of the first: float32's limit."""


def consistent(
    problem: Problem,
    start: Array,
    *,
    strength: float,
    steps: int,
    stage: Stage | None = None,
) -> Array:
    """Return the volume near ``start`` that explains the data of ``problem``.

    Every step costs one projection and one backprojection; the objective above never rises from
    step to step. Non-negativity is applied once, after the last step.

    Parameters
    ----------
    problem
        Operator, data, weights, support; its own ``start`` is not looked at.
    start
        The proposal, ``operator.domain``, an array of the operator's kind; not changed.
    strength
        How firmly to hold on to ``start``, in the unit of the data's Hessian ``A^T W A``, see
        :func:`relative_strength`. 0 fits the data alone; infinity returns ``start``.
    steps
        Conjugate-gradient steps; 0 returns ``start`` (made to obey support and non-negativity).
    stage
        Receives progress and is asked for cancel before every step.

    Returns
    -------
    Array
        A new float32 array of the operator's kind. The same on every run.

    Raises
    ------
    UsageError
        If ``strength`` is negative or not a number, or ``steps`` negative.
    Cancelled
        When the job of ``stage`` was cancelled.
    """
    if not strength >= 0.0 or steps < 0:
        message = f"strength and steps must be 0 or more; got {strength} and {steps}."
        raise UsageError(message)
    x = start + 0.0
    if problem.support is not None:
        x *= problem.support
    if steps > 0 and math.isfinite(strength):
        x += _correction(problem, x, strength, _tracked(steps, stage))
    return problem.constrain(x)


def relative_strength(problem: Problem, share: float) -> float:
    """Return ``share`` of a typical diagonal element of ``A^T W A``, for :func:`consistent`.

    The diagonal's mean over the voxels that any used reading sees, felt with one fixed vector of
    random signs. One such element says how firmly the readings hold a single voxel when all others
    are known; coarse structures, which many readings share, they hold far more firmly.

    Raises
    ------
    UsageError
        If no reading sees any voxel, or ``share`` is negative.
    """
    if not share >= 0.0:
        message = f"share must be 0 or more; got {share}."
        raise UsageError(message)
    return share * typical_diagonal(problem)


def typical_diagonal(problem: Problem) -> float:
    """Return the mean diagonal element of ``A^T W A`` over the voxels that are seen.

    Raises
    ------
    UsageError
        If no reading sees any voxel.
    """
    seen = problem.operator.T(problem.weights) > 0
    signs = random_signs(problem.operator.zeros_domain(), PROBE_SEED)
    if problem.support is not None:
        signs *= problem.support
        seen = seen & (problem.support > 0)
    voxels = int(seen.sum())
    if voxels == 0:
        message = "No reading with a weight above zero sees a voxel."
        raise UsageError(message, hint="Check the weights, the grid and the mask.")
    projected = problem.operator(signs)
    return float((problem.weights * projected * projected).sum()) / voxels


def _tracked(steps: int, stage: Stage | None) -> Iterable[int]:
    return range(steps) if stage is None else stage.track(range(steps))


def _correction(problem: Problem, x: Array, strength: float, steps: Iterable[int]) -> Array:
    """Return ``d`` with ``(A^T W A + strength) d = A^T W (p - A x)``, as far as the steps lead."""
    residual = problem.data - problem.operator(x)
    d = x * 0.0
    gradient = _seen(problem, residual)
    direction = gradient + 0.0
    first = squared = dot(gradient, gradient)
    for _ in steps:
        if not squared > SOLVED_SHARE * first:
            continue  # nothing is left to do, but progress goes on to its end
        projected = problem.operator(direction)
        curvature = float((problem.weights * projected * projected).sum())
        curvature += strength * dot(direction, direction)
        length = squared / curvature
        d += length * direction
        residual -= length * projected
        gradient = _seen(problem, residual)
        gradient -= strength * d
        before, squared = squared, dot(gradient, gradient)
        direction *= squared / before
        direction += gradient
    return d


def _seen(problem: Problem, residual: Array) -> Array:
    """Return the backprojected weighted residual within the support."""
    gradient = problem.operator.T(problem.weights * residual)
    if problem.support is not None:
        gradient *= problem.support
    return gradient
