"""Conjugate gradients for weighted least squares (layer: recon).

Minimises ``sum w (A x - p)^2`` without non-negativity. Its early iterations hold the coarse
structures, later ones the fine ones and then the noise: stopping is the regularisation.

References
----------
Hestenes and Stiefel 1952, doi:10.6028/jres.049.044; Bjorck 1996, doi:10.1137/1.9781611971484.
"""

from __future__ import annotations

from dataclasses import dataclass

from ctrestorelib.recon.arrays import Array, dot, norm
from ctrestorelib.recon.solver import Problem


@dataclass(eq=False)
class CglsState:
    """Estimate, residual ``p - A x``, search direction and squared gradient norm."""

    problem: Problem
    values: Array
    residual: Array
    direction: Array
    gradient_squared: float
    misfit: float
    change: float = float("inf")


@dataclass(frozen=True)
class Cgls:
    """One step is one conjugate-gradient iteration (one projection, one backprojection)."""

    def init(self, problem: Problem) -> CglsState:
        """Take the first residual and steepest descent direction."""
        x = problem.first_estimate()
        residual = problem.data - problem.operator(x)
        gradient = self._gradient(problem, residual)
        return CglsState(
            problem, x, residual, gradient, dot(gradient, gradient), problem.misfit(residual)
        )

    def step(self, state: CglsState) -> CglsState:
        """Move to the minimum along the search direction."""
        problem = state.problem
        projected = problem.operator(state.direction)
        curvature = float((problem.weights * projected * projected).sum())
        if curvature <= 0.0:  # the gradient is zero: nothing can be improved
            state.change = 0.0
            return state
        length = state.gradient_squared / curvature
        state.values += length * state.direction
        state.residual -= length * projected
        state.misfit = problem.misfit(state.residual)
        state.change = length * norm(state.direction) / max(norm(state.values), 1e-30)
        gradient = self._gradient(problem, state.residual)
        squared = dot(gradient, gradient)
        state.direction *= squared / state.gradient_squared
        state.direction += gradient
        state.gradient_squared = squared
        return state

    @staticmethod
    def _gradient(problem: Problem, residual: Array) -> Array:
        gradient = problem.operator.T(problem.weights * residual)
        if problem.support is not None:
            gradient *= problem.support
        return gradient
