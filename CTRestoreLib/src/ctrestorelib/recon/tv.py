"""Total variation under a data constraint, by preconditioned primal-dual steps (layer: recon).

Finds the volume of least total variation among those that explain the measurements as well as
their noise allows::

    min  sum_t a_t TV(x - r_t)   subject to   sum w (A x - p)^2 <= n,   x >= 0, x = 0 off support

so there is no weight to tune: its value (the multiplier of the constraint) comes out. The terms
``(a_t, r_t)`` are ``(1, None)`` for plain TV; PICCS adds one with a prior volume ``r_t``.

References
----------
Chambolle and Pock 2011, doi:10.1007/s10851-010-0251-1; Pock and Chambolle 2011 (diagonal
preconditioning), doi:10.1109/ICCV.2011.6126441; Sidky, Jorgensen and Pan 2012 (CT),
doi:10.1088/0031-9155/57/10/3065.
"""

from __future__ import annotations

from dataclasses import dataclass

from ctrestorelib.recon.arrays import Array, clip_below, norm
from ctrestorelib.recon.gradient import add_gradient_adjoint, empty_gradient, gradient, magnitude
from ctrestorelib.recon.solver import Problem

NEWTON_ROUNDS = 12


@dataclass(frozen=True, eq=False)
class Term:
    """``weight * TV(x - reference)``; no reference means plain TV."""

    weight: float = 1.0
    reference: Array | None = None


@dataclass(eq=False)
class TvState:
    """Primal and dual variables with their step sizes."""

    problem: Problem
    values: Array
    ahead: Array
    data_dual: Array
    gradient_duals: list[list[Array]]
    offsets: list[list[Array] | None]
    buffer: list[Array]
    primal_step: Array
    data_step: Array
    gradient_step: float
    data_weight: float
    misfit: float = float("inf")
    change: float = float("inf")


@dataclass(frozen=True, eq=False)
class TotalVariation:
    """One step is one projection, one backprojection and one gradient pass.

    Parameters
    ----------
    terms
        What is minimised.
    data_weight
        Fixed weight of ``1/2 sum w (A x - p)^2`` against TV; None enforces the noise level.
    target
        Allowed weighted squared residual per reading (1: the noise level).
    contrast_per_mm
        Typical size of the image's steps in 1/mm; scales dual against primal steps. It changes
        the speed, not the result.
    balance
        Share of the data against the gradient in the step sizes; changes the speed only.
    """

    terms: tuple[Term, ...] = (Term(),)
    data_weight: float | None = None
    target: float = 1.0
    contrast_per_mm: float = 0.01
    balance: float = 1.0

    def init(self, problem: Problem) -> TvState:
        """Compute row and column sums of the stacked operators for the step sizes."""
        operator, spacing = problem.operator, problem.spacing_mm
        x = problem.first_estimate()
        row_sums = operator(x * 0.0 + 1.0)
        used = (problem.weights > 0) & (row_sums >= 0.01 * float(row_sums.max()))
        columns = operator.T((row_sums * 0.0 + 1.0) * used)
        speed = 1.0 / self.contrast_per_mm
        per_mm = sum(2.0 / h for h in spacing)  # column sum of the gradient
        data_speed = self.balance * speed * per_mm / max(float(columns.max()), 1e-30)
        gradient_speed = speed / len(self.terms)
        data_step = clip_below(row_sums, 0.01 * float(row_sums.max()))
        data_step = data_speed / data_step * used
        # Row sums of the gradient are 2/h; one step for all three keeps the projection exact.
        gradient_step = gradient_speed / max(2.0 / h for h in spacing)
        columns *= data_speed
        columns += gradient_speed * per_mm * len(self.terms)
        offsets = [
            None if t.reference is None else gradient(t.reference, spacing, empty_gradient(x))
            for t in self.terms
        ]
        return TvState(
            problem, x, x + 0.0, row_sums * 0.0, [empty_gradient(x) for _ in self.terms], offsets,
            empty_gradient(x), 1.0 / columns, data_step, gradient_step,
            data_weight=self.data_weight or 0.0,
        )  # fmt: skip

    def step(self, state: TvState) -> TvState:
        """Update the duals, then the volume, then look ahead."""
        problem = state.problem
        self._update_data_dual(state)
        descent = problem.operator.T(state.data_dual)
        for term, dual, offset in zip(self.terms, state.gradient_duals, state.offsets, strict=True):
            _update_gradient_dual(state, term.weight, dual, offset)
            add_gradient_adjoint(dual, problem.spacing_mm, descent, state.buffer[0])
        descent *= state.primal_step
        state.ahead -= state.ahead
        state.ahead -= state.values
        state.values -= descent
        problem.constrain(state.values)
        state.ahead += state.values
        state.change = norm(state.ahead) / max(norm(state.values), 1e-30)
        state.ahead += state.values
        return state

    def _update_data_dual(self, state: TvState) -> None:
        problem = state.problem
        residual = problem.operator(state.ahead)
        residual -= problem.data
        state.misfit = problem.misfit(residual)
        residual *= state.data_step
        state.data_dual += residual
        if self.data_weight is None:
            allowed = self.target * problem.readings
            state.data_weight = _multiplier(
                state.data_dual, state.data_step, problem.weights, allowed, state.data_weight
            )
        scaled = state.data_weight * problem.weights
        state.data_dual *= scaled
        state.data_dual /= clip_below(scaled + state.data_step, 1e-30)


def _update_gradient_dual(
    state: TvState, weight: float, dual: list[Array], offset: list[Array] | None
) -> None:
    ahead = gradient(state.ahead, state.problem.spacing_mm, state.buffer)
    for axis in range(3):
        if offset is not None:
            ahead[axis] -= offset[axis]
        ahead[axis] *= state.gradient_step
        dual[axis] += ahead[axis]
    length = magnitude(dual)
    length *= 1.0 / weight
    clip_below(length, 1.0)
    for axis in range(3):
        dual[axis] /= length


def _multiplier(dual: Array, step: Array, weights: Array, allowed: float, first: float) -> float:
    """Return ``m >= 0`` with ``sum w (dual / (step + m w))^2 = allowed``; 0 if already below.

    Newton's method on ``1/sqrt(sum)``, which is nearly linear in ``m`` (as for the trust-region
    secular equation, More and Sorensen 1983, doi:10.1137/0904038).
    """
    weight = max(first, 0.0)
    for _ in range(NEWTON_ROUNDS):
        denominator = clip_below(step + weight * weights, 1e-30)
        z = dual / denominator
        z *= z
        z *= weights
        total = float(z.sum())
        if weight == 0.0 and total <= allowed:
            return 0.0
        if abs(total - allowed) <= 1e-3 * allowed:
            return weight
        z *= weights
        z /= denominator
        slope = float(z.sum())
        if slope <= 0.0:
            return weight
        weight = max(0.0, weight + total / slope * ((total / allowed) ** 0.5 - 1.0))
    return weight
