"""Iterative solvers: the problem they solve and the loop around them, written once (layer: recon).

A solver turns a :class:`Problem` into a state (``init``) and improves it (``step``). The loop
:func:`solve` knows nothing of any algorithm; rules that stop it and the job that reports progress
know nothing of each other. Arrays are NumPy arrays or torch tensors, whichever the operator uses.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

from ctrestorelib.core.job import Stage
from ctrestorelib.recon.arrays import clip_below

Array = Any
"""A NumPy array or a torch tensor of float32."""


class LinearOperator(Protocol):
    """What solvers need of the X-ray operator (``physics.operators.XrayOperator`` has it)."""

    @property
    def domain(self) -> tuple[int, int, int]:
        """Shape of a volume, ``(k, j, i)``."""
        ...

    @property
    def range(self) -> tuple[int, int, int]:
        """Shape of the projections, ``(view, row, col)``."""
        ...

    @property
    def T(self) -> Callable[[Array], Array]:  # noqa: N802 - as in A.T
        """The exact adjoint."""
        ...

    def __call__(self, volume: Array, /) -> Array:
        """Project a volume."""
        ...

    def subset(self, view_indices: Sequence[int], /) -> LinearOperator:
        """Return the operator of some of the views."""
        ...

    def zeros_domain(self) -> Array:
        """Return an empty volume."""
        ...

    def zeros_range(self) -> Array:
        """Return empty projections."""
        ...


@dataclass(frozen=True, eq=False)
class Problem:
    """Find the volume ``x`` whose projections ``A x`` explain the data.

    Parameters
    ----------
    operator
        ``A``: volume ``[k, j, i]`` in 1/mm to line integrals ``[view, row, col]``.
    data
        Measured line integrals, shape ``operator.range``.
    weights
        One over the variance of each reading; 0 excludes a reading. With true variances the
        weighted squared residual is about 1 per reading (chi-squared) at the true volume.
    spacing_mm
        Voxel size along ``(k, j, i)``.
    support
        1 where the object can be, 0 elsewhere, shape ``operator.domain``; None for everywhere.
    start
        First estimate; None for zeros.
    nonnegative
        Whether attenuation below zero is excluded.
    """

    operator: LinearOperator
    data: Array
    weights: Array
    spacing_mm: tuple[float, float, float]
    support: Array | None = None
    start: Array | None = None
    nonnegative: bool = True

    @cached_property
    def readings(self) -> int:
        """Number of readings with a weight above zero."""
        return max(1, int((self.weights > 0).sum()))

    def first_estimate(self) -> Array:
        """Return a fresh array that a solver may write to."""
        # The adjoint returns arrays in the memory order that the operator works fastest with.
        x = self.operator.T(self.operator.zeros_range())
        if self.start is not None:
            x += self.start
        return self.constrain(x)

    def constrain(self, x: Array) -> Array:
        """Apply non-negativity and support to ``x`` in place, and return it."""
        if self.nonnegative:
            clip_below(x, 0.0)
        if self.support is not None:
            x *= self.support
        return x

    def misfit(self, residual: Array) -> float:
        """Return chi-squared per reading of a residual of shape ``operator.range``."""
        return float((self.weights * residual * residual).sum()) / self.readings

    def misfit_of(self, values: Array) -> float:
        """Return chi-squared per reading of a volume; it costs one projection."""
        return self.misfit(self.operator(values) - self.data)


@enum.unique
class StopReason(str, enum.Enum):
    """Why a solver stopped; the value is the sentence shown to the person."""

    ITERATIONS = "The set number of iterations was done."
    DISCREPANCY = (
        "The image explains the measurements as well as their noise allows; "
        "going on would fit the noise."
    )
    STAGNATION = "The image hardly changed any more."
    SOLVED = "The measurements are explained exactly."


@dataclass(frozen=True)
class Step:
    """What one iteration did.

    Parameters
    ----------
    misfit
        Weighted squared residual per reading (1 means: as large as the noise).
    change
        Norm of the image's change divided by the norm of the image.
    """

    iteration: int
    misfit: float
    change: float


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of :func:`solve`; ``state`` is the solver's last state."""

    values: Array
    iterations: int
    stop_reason: StopReason
    history: tuple[Step, ...]
    state: Any


class State(Protocol):
    """What the loop may read of a solver's state."""

    values: Array
    misfit: float
    change: float


S = TypeVar("S", bound=State)
StopRule = Callable[[Sequence[Step]], StopReason | None]


class Solver(Protocol[S]):
    """An iterative algorithm; instances hold settings, states hold arrays."""

    def init(self, problem: Problem) -> S:
        """Return the state before the first iteration."""
        ...

    def step(self, state: S) -> S:
        """Do one iteration; the given state may be used up."""
        ...


@dataclass(frozen=True)
class Discrepancy:
    """Stop when the residual is as small as the noise: misfit <= ``tau`` squared."""

    tau: float = 1.02

    def __call__(self, history: Sequence[Step]) -> StopReason | None:
        """Judge the last step."""
        return StopReason.DISCREPANCY if history[-1].misfit <= self.tau**2 else None


@dataclass(frozen=True)
class Stagnation:
    """Stop when ``patience`` steps in a row changed the image by less than ``tolerance``.

    ``misfit_below`` holds the rule back while the residual is still larger than that.
    """

    tolerance: float
    patience: int = 3
    misfit_below: float = float("inf")

    def __call__(self, history: Sequence[Step]) -> StopReason | None:
        """Judge the last steps."""
        recent = history[-self.patience :]
        calm = len(recent) == self.patience and all(s.change < self.tolerance for s in recent)
        return StopReason.STAGNATION if calm and recent[-1].misfit <= self.misfit_below else None


def solved(history: Sequence[Step]) -> StopReason | None:
    """Stop when nothing is left to explain (or the data are all zero)."""
    done = history[-1].misfit == 0.0 and history[-1].change == 0.0
    return StopReason.SOLVED if done else None


def solve(
    solver: Solver[S],
    problem: Problem,
    stage: Stage,
    *,
    iterations: int,
    rules: Sequence[StopRule] = (),
    watch: Callable[[Step, Array], None] | None = None,
) -> Solution:
    """Iterate ``solver`` until a rule answers or ``iterations`` are done.

    Parameters
    ----------
    stage
        Receives progress and is asked for cancel before every step.
    rules
        Each is asked after every step; the first that answers gives the reason.
    watch
        Called with every step and the current values; it cannot stop the loop.

    Raises
    ------
    Cancelled
        When the job was cancelled.
    """
    state = solver.init(problem)
    history: list[Step] = []
    reason = StopReason.ITERATIONS
    for index in stage.track(range(iterations)):
        state = solver.step(state)
        history.append(Step(index + 1, state.misfit, state.change))
        if watch is not None:
            watch(history[-1], state.values)
        answers = [answer for rule in (solved, *rules) if (answer := rule(history)) is not None]
        if answers:
            reason = answers[0]
            break
    return Solution(state.values, len(history), reason, tuple(history), state)
