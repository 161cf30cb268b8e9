"""SIRT, SART and OS-SART: simultaneous corrections, all views or one subset at a time.

Layer: recon. For each subset b: ``x += relaxation * C A_b^T R_b (p_b - A_b x)`` with ``R_b`` one
over the row sums and ``C`` one over the largest column sums of any subset.

References
----------
Andersen and Kak 1984, doi:10.1177/016173468400600107 (SART); Gregor and Benson 2008,
doi:10.1109/TMI.2008.923696 (SIRT's weights); Wang and Jiang 2004 (ordered subsets).
"""

from __future__ import annotations

from dataclasses import dataclass

from ctrestorelib.recon.arrays import Array, guarded_inverse, namespace, norm
from ctrestorelib.recon.solver import LinearOperator, Problem


@dataclass(eq=False)
class _Block:
    """One subset of the views."""

    operator: LinearOperator
    data: Array
    weights: Array
    row_scale: Array


@dataclass(eq=False)
class SartState:
    """Current estimate and what the next sweep needs."""

    problem: Problem
    blocks: list[_Block]
    column_scale: Array
    values: Array
    relaxation: float
    misfit: float = float("inf")
    change: float = float("inf")


@dataclass(frozen=True)
class Sart:
    """One step is one sweep over all subsets.

    Parameters
    ----------
    subsets
        Views of each subset, in the order of use; one subset of all views is SIRT.
    relaxation
        Factor of each correction, between 0 and 2.
    decay
        The relaxation is multiplied by it after each sweep.
    """

    subsets: tuple[tuple[int, ...], ...]
    relaxation: float = 1.0
    decay: float = 1.0

    def init(self, problem: Problem) -> SartState:
        """Measure the row and column sums (guarded below 1 % of their maximum)."""
        blocks = []
        largest: Array | None = None
        x = problem.first_estimate()
        ones = x * 0.0 + 1.0
        if problem.support is not None:
            ones *= problem.support
        for views in self.subsets:
            operator = problem.operator.subset(list(views))
            weights = problem.weights[list(views)]
            row_sums = operator(ones)
            used = (weights > 0) & (row_sums >= 0.01 * float(row_sums.max()))
            columns = operator.T((weights * 0.0 + 1.0) * used)
            largest = columns if largest is None else namespace(columns).maximum(largest, columns)
            scale = guarded_inverse(row_sums) * used
            blocks.append(_Block(operator, problem.data[list(views)], weights, scale))
        return SartState(
            problem,
            blocks,
            guarded_inverse(largest),
            x,
            self.relaxation,
        )

    def step(self, state: SartState) -> SartState:
        """Sweep once over all subsets.

        The misfit is that of each subset just before its own correction.
        """
        before = state.values + 0.0
        total = 0.0
        for block in state.blocks:
            residual = block.data - block.operator(state.values)
            total += float((block.weights * residual * residual).sum())
            residual *= block.row_scale
            correction = block.operator.T(residual)
            correction *= state.column_scale
            correction *= state.relaxation
            state.values += correction
            state.problem.constrain(state.values)
        state.misfit = total / state.problem.readings
        before -= state.values
        state.change = norm(before) / max(norm(state.values), 1e-30)
        state.relaxation *= self.decay
        return state
