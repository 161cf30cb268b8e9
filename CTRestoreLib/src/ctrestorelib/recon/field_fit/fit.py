"""Fits a field to the measurements of one scan, step by step (layer: recon).

The volume is a first estimate plus the field, and nothing below zero. Minimised is::

    m / 2 * mean(w (A x - p)^2)  +  TV(x)

least squares weighted by the noise, whole views at a time, and a little total variation. ``m`` is
not set by hand: it starts where smoothing still counts and grows until the measurements are
explained as well as their noise allows. There the fit ends, before it learns the noise.

Reference: Zha, Zhang and Li 2022, doi:10.1007/978-3-031-16446-0_42 (a field fitted to single rays,
without weights and without TV).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ctrestorelib.recon.arrays import Array, clip_below, norm
from ctrestorelib.recon.field_fit.adam import Adam
from ctrestorelib.recon.field_fit.field import AsArray, Field, Reader
from ctrestorelib.recon.gradient import add_gradient_adjoint, empty_gradient, gradient, magnitude
from ctrestorelib.recon.solver import LinearOperator, Problem, Step, StopReason

GRID_RATE, NETWORK_RATE = 3e-2, 3e-3
"""Steps of Adam for features and for the network; both fall along half a cosine."""

EDGE_SHARE = 0.005
"""Differences of neighbours below this share of the object's attenuation count squared in TV."""

FIRST_PULL = 1.0
"""Slope of the data over that of TV in the first step."""

SLACK = 0.25
"""Exponent with which ``m`` follows the ratio of misfit and target."""

FASTEST = 0.02
"""Largest relative change of ``m`` in a step."""


@dataclass(frozen=True)
class Explained:
    """Stop when the misfit has fallen to ``target``, after ``at_least`` steps.

    The first steps are left out: the first estimate may have fitted noise already, and smoothing
    has to take that away first.
    """

    target: float
    at_least: int

    def __call__(self, history: Sequence[Step]) -> StopReason | None:
        """Judge the last step."""
        done = len(history) >= self.at_least and history[-1].misfit <= self.target
        return StopReason.DISCREPANCY if done else None


@dataclass(frozen=True, eq=False)
class _Block:
    """One subset of the views."""

    operator: LinearOperator
    data: Array
    weights: Array
    readings: int


@dataclass(eq=False)
class FitState:
    """What the next step needs; ``data_weight`` is ``m``."""

    problem: Problem
    reader: Reader
    adam: Adam
    blocks: list[_Block]
    gradients: list[Array]
    base: Array
    values: Array
    misfits: list[float]
    data_weight: float = 0.0
    steps: int = 0
    misfit: float = float("inf")
    change: float = float("inf")


@dataclass(frozen=True, eq=False)
class FieldFit:
    """One step projects one subset of the views and moves the whole field once.

    Parameters
    ----------
    field
        Changed in place; its finest level is the problem's grid.
    asarray
        Makes arrays of the operator's kind.
    subsets
        Views of each subset, in the order of use.
    scale_per_mm
        Attenuation that a field value of 1 stands for.
    steps
        Steps in all, which the rates fall along.
    target
        Misfit per reading at which ``m`` no longer grows.
    """

    field: Field
    asarray: AsArray
    subsets: tuple[tuple[int, ...], ...]
    scale_per_mm: float
    steps: int
    target: float

    def init(self, problem: Problem) -> FitState:
        """Read the field for the first time."""
        blocks = []
        for views in self.subsets:
            chosen = list(views)
            weights = problem.weights[chosen]
            blocks.append(_Block(problem.operator.subset(chosen), problem.data[chosen], weights,
                                 max(1, int((weights > 0).sum()))))  # fmt: skip
        parameters = self.field.parameters
        base = problem.first_estimate()
        state = FitState(
            problem, Reader(self.field, problem.operator.domain, self.asarray),
            Adam(parameters), blocks, [p * 0.0 for p in parameters], base, base,
            [float("nan")] * len(blocks),
        )  # fmt: skip
        state.values = self._volume(state)
        return state

    def step(self, state: FitState) -> FitState:
        """Compare one subset with its reprojection and move the field against the slope."""
        index = state.steps % len(state.blocks)
        slope = self._slope(state, index)
        for array in state.gradients:
            array[:] = 0.0
        for first, end in state.reader.slabs():
            state.reader.send_back(first, end, slope[first:end], state.gradients)
        state.adam.step(state.gradients, self._rates(state.steps))
        before, state.values = state.values, self._volume(state)
        before -= state.values
        state.change = norm(before) / max(norm(state.values), 1e-30)
        state.steps += 1
        return state

    def _volume(self, state: FitState) -> Array:
        x = state.base * 0.0
        for first, end in state.reader.slabs():
            x[first:end] = state.reader.read(first, end)
        x *= self.scale_per_mm
        x += state.base
        return state.problem.constrain(x)

    def _slope(self, state: FitState, index: int) -> Array:
        """Return the derivative of the loss by the volume, scaled to a mean square of 1."""
        problem, x, block = state.problem, state.values, state.blocks[index]
        residual = block.operator(x)
        residual -= block.data
        weighted = block.weights * residual
        state.misfits[index] = float((weighted * residual).sum()) / block.readings
        known = [m for m in state.misfits if not math.isnan(m)]
        state.misfit = sum(known) / len(known)
        slope = block.operator.T(weighted)
        slope *= 1.0 / block.readings
        smooth = self._tv_slope(problem, x)
        if not state.data_weight:
            state.data_weight = FIRST_PULL * norm(smooth) / max(norm(slope), 1e-30)
        slope *= state.data_weight
        slope += smooth
        state.data_weight *= math.exp(_growth(state.misfits[index] / self.target))
        # Where the volume is held at zero, only what lifts it counts.
        slope *= (x > 0) | (slope < 0)
        if problem.support is not None:
            slope *= problem.support
        slope *= math.prod(x.shape) ** 0.5 / max(norm(slope), 1e-30)
        return slope

    def _tv_slope(self, problem: Problem, x: Array) -> Array:
        differences = gradient(x, problem.spacing_mm, empty_gradient(x))
        edge = EDGE_SHARE * self.scale_per_mm / min(problem.spacing_mm)
        length = clip_below(magnitude(differences, edge), 1e-30)
        for axis in range(3):
            differences[axis] /= length
        return add_gradient_adjoint(differences, problem.spacing_mm, x * 0.0, length)

    def _rates(self, step: int) -> list[float]:
        fall = 0.5 + 0.5 * math.cos(math.pi * min(step / self.steps, 1.0))
        network = [NETWORK_RATE * fall] * len(self.field.network)
        return [GRID_RATE * fall] * len(self.field.grids) + network


def _growth(ratio: float) -> float:
    """Return by how much the logarithm of ``m`` grows at this ratio of misfit and target."""
    return max(-FASTEST, min(FASTEST, SLACK * math.log(max(ratio, 1e-9))))
