"""ASD-POCS: sweeps of OS-SART and steepest descent of total variation in turn (layer: recon).

After every sweep the image's total variation is lowered by steps whose size follows the size of the
sweep's change; the steps shrink when they begin to spoil the data fit. The allowed misfit comes
from the noise model.

Reference: Sidky and Pan 2008, doi:10.1088/0031-9155/53/17/021.
"""

from __future__ import annotations

from dataclasses import dataclass

from ctrestorelib.recon.arrays import Array, dot, norm
from ctrestorelib.recon.gradient import add_gradient_adjoint, empty_gradient, gradient, magnitude
from ctrestorelib.recon.sirt import Sart, SartState
from ctrestorelib.recon.solver import Problem

SMOOTHING = 1e-3
"""Gradients below this share of the typical one count as flat (keeps the descent defined)."""


@dataclass(eq=False)
class AsdPocsState:
    """The sweep's state and the length of the total-variation steps."""

    sweep: SartState
    descent_length: float
    buffer: list[Array]
    scratch: Array
    misfit: float = float("inf")
    change: float = float("inf")

    @property
    def values(self) -> Array:
        """The current estimate."""
        return self.sweep.values


@dataclass(frozen=True)
class AsdPocs:
    """One step is one sweep and ``descent_steps`` steps on the total variation.

    Parameters
    ----------
    sart
        The sweep; its decay lowers the relaxation.
    target
        Allowed weighted squared residual per reading.
    strength
        Length of the first total-variation steps against the first sweep's change.
    contrast_per_mm
        Typical steps of the image in 1/mm.
    reduction, largest_ratio
        The descent shrinks by ``reduction`` when it moved the image by more than ``largest_ratio``
        of what the sweep did while the misfit is above target.
    """

    sart: Sart
    target: float = 1.0
    strength: float = 0.2
    descent_steps: int = 20
    contrast_per_mm: float = 0.005
    reduction: float = 0.95
    largest_ratio: float = 0.95

    def init(self, problem: Problem) -> AsdPocsState:
        """Prepare the sweep; the descent's length is set after the first one."""
        sweep = self.sart.init(problem)
        return AsdPocsState(sweep, 0.0, empty_gradient(sweep.values), sweep.values * 0.0)

    def step(self, state: AsdPocsState) -> AsdPocsState:
        """Sweep, then descend."""
        before = state.values + 0.0
        state.sweep = self.sart.step(state.sweep)
        state.misfit = state.sweep.misfit
        swept = state.sweep.change * norm(state.values)
        if state.descent_length == 0.0:
            state.descent_length = self.strength * self._first_length(state, swept)
        after = state.values + 0.0
        for _ in range(self.descent_steps):
            self._descend(state)
        after -= state.values
        if norm(after) > self.largest_ratio * swept and state.misfit > self.target:
            state.descent_length *= self.reduction
        before -= state.values
        state.change = norm(before) / max(norm(state.values), 1e-30)
        return state

    def _first_length(self, state: AsdPocsState, swept: float) -> float:
        # A first sweep from zero moves the whole image; only its later share belongs to edges.
        if state.sweep.problem.start is not None:
            return swept
        return 0.05 * swept

    def _descend(self, state: AsdPocsState) -> None:
        problem, x = state.sweep.problem, state.values
        spacing = problem.spacing_mm
        slopes = gradient(x, spacing, state.buffer)
        length = magnitude(slopes, floor=SMOOTHING * self.contrast_per_mm / min(spacing))
        for axis in range(3):
            slopes[axis] /= length
        length *= 0.0
        descent = add_gradient_adjoint(slopes, spacing, length, state.scratch)
        size = dot(descent, descent) ** 0.5
        if size > 0.0:
            descent *= state.descent_length / size
            x -= descent
            if problem.support is not None:
                x *= problem.support
