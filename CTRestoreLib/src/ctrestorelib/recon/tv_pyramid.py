"""Total variation from coarse to fine: the same minimum, in a fraction of the time (layer: recon).

Primal-dual steps move structures by about a voxel a step, so that coarse structures need hundreds.
On a coarse grid these steps cost little. Its solution starts the next finer grid: the volume, and
the dual variables as well, which tell where edges are and how hard each reading pulls. Their
meaning changes with the sizes of voxels and pixels; see :func:`_start`.

Reference: Chambolle and Pock 2011, doi:10.1007/s10851-010-0251-1 (the steps).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctrestorelib.core.job import Job, Stage
from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.coarse_scan import coarse_shape, coarser, resized
from ctrestorelib.recon.iterative import subsets_of
from ctrestorelib.recon.session import Session, open_session
from ctrestorelib.recon.sirt import Sart
from ctrestorelib.recon.solver import Discrepancy, Problem, Solution, Stagnation, Step, solve
from ctrestorelib.recon.tv import TotalVariation, TvState
from ctrestorelib.recon.tv_stage import NOISE_FACTOR, pace_of
from ctrestorelib.recon.warm_start import START_SUBSETS, START_SWEEPS
from ctrestorelib.restorer.plan import Plan
from ctrestorelib.restorer.protocol import Inputs

COARSEST = 24
"""No level has fewer voxels than this along its longest axis, unless the grid itself has."""
COARSE_STEPS, MIDDLE_STEPS, FINE_STEPS = 200, 80, 60
"""Steps on the coarsest level, on those between, and on the finest."""
LAST_STEPS, LARGE = 150, 128
"""Steps on a finest level of up to so many voxels across: chests need them, and they are cheap."""
CALM = 2e-4

Watch = Callable[[Step, Array], None]


@dataclass(frozen=True, eq=False)
class TvLevel:
    """The solution on one grid."""

    session: Session
    solution: Solution

    @property
    def values(self) -> Array:
        """The volume in 1/mm, an array of the operator's kind."""
        return self.solution.values


def level_shapes(shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """Return the grids from coarse to fine, each about twice as fine as the one before."""
    shapes, most = [shape], max(shape) // 2
    while most >= COARSEST:
        shapes.insert(0, coarse_shape(shape, most))
        most //= 2
    return shapes


def tv_pyramid(
    inputs: Inputs,
    plan: Plan,
    job: Job,
    stage: Stage,
    *,
    shape: tuple[int, int, int] | None = None,
    start: TvLevel | None = None,
    target: float = NOISE_FACTOR,
    watch: Callable[[Session], Watch] | None = None,
) -> TvLevel:
    """Return the TV solution on the grid of ``shape`` (that of the inputs if None).

    Parameters
    ----------
    inputs, plan, job
        As for :func:`~ctrestorelib.recon.session.open_session`.
    stage
        Receives progress and is asked for cancel before every step.
    start
        A coarser solution to begin at; by default the coarsest level begins at OS-SART.
    target
        Allowed weighted squared residual per reading.
    watch
        Given the session of the finest level, returns what is called with each of its steps.
    """
    _, grid = inputs.require_scan()
    wanted = shape or grid.shape
    shapes = [wanted] if start is not None else level_shapes(wanted)
    work = _work(shapes, COARSE_STEPS if start is None else _last_steps(wanted))
    total = sum(np.prod(s) * n for s, n in work)
    done, level = 0.0, start
    for size, steps in work:
        session = open_session(coarser(inputs, size), plan, job)
        share = float(np.prod(size) * steps / total)
        part = part_of(stage, done, share)
        level = _solve(
            session,
            level,
            part,
            steps=steps,
            target=target,
            watch=watch(session) if watch is not None and size == shapes[-1] else None,
        )
        done += share
    assert level is not None
    return level


def part_of(stage: Stage, start: float, share: float) -> Stage:
    """Return the part of a stage that begins at ``start`` and takes ``share`` of it (0 to 1)."""
    return Stage(stage.job, stage.title, stage.start + start * stage.share, share * stage.share)


def level_steps(shape: tuple[int, int, int]) -> list[tuple[tuple[int, int, int], int]]:
    """Return the grids from coarse to fine with the most steps on each."""
    return _work(level_shapes(shape), COARSE_STEPS)


def _work(
    shapes: list[tuple[int, int, int]], single: int
) -> list[tuple[tuple[int, int, int], int]]:
    if len(shapes) == 1:
        return [(shapes[0], single)]
    steps = [COARSE_STEPS, *[MIDDLE_STEPS] * (len(shapes) - 2), _last_steps(shapes[-1])]
    return list(zip(shapes, steps, strict=True))


def _last_steps(shape: tuple[int, int, int]) -> int:
    return FINE_STEPS if max(shape) > LARGE else LAST_STEPS


def _solve(
    session: Session,
    before: TvLevel | None,
    stage: Stage,
    *,
    steps: int,
    target: float,
    watch: Watch | None,
) -> TvLevel:
    if before is None:
        sweeps = part_of(stage, 0.0, 0.0)
        solver = Sart(subsets_of(session, START_SUBSETS))
        first = solve(
            solver, session.problem, sweeps, iterations=START_SWEEPS, rules=(Discrepancy(),)
        ).values
    else:
        first = session.operator.asarray(
            resized(before.session.operator.to_numpy(before.values), session.grid.shape)
        )
    solver_ = _Started(target=target, before=before, session=session, **pace_of(session, first))
    rules = (Stagnation(CALM, 3, 1.1 * target),)
    problem = session.starting_at(first).problem
    found = solve(solver_, problem, stage, iterations=steps, rules=rules, watch=watch)
    return TvLevel(session, found)


@dataclass(frozen=True, eq=False)
class _Started(TotalVariation):
    """Total variation whose dual variables begin at those of a coarser solution."""

    before: TvLevel | None = None
    session: Session | None = None

    def init(self, problem: Problem) -> TvState:
        state = super().init(problem)
        if self.before is not None and self.session is not None:
            _start(state, self.before, self.session)
        return state


def _start(state: TvState, before: TvLevel, session: Session) -> None:
    """Set the duals of ``state`` to those of a coarser level.

    At the minimum ``A^T y + D^T q = 0``. The gradient's dual ``q`` is a direction of length up to 1
    whatever the grid. ``D`` grows as voxels shrink, and ``A^T y`` at a voxel shrinks with its path
    length and grows with the number of rays through it; ``y`` makes up for that.
    Where some rays miss the volume, ``y`` begins at nothing: carried over, it ended farther from
    the object (knee with an implant, 10 views: 28.7 instead of 31.4 dB).
    """
    coarse: Any = before.solution.state
    now, was = session.operator, before.session.operator
    for axis in range(3):
        q = resized(was.to_numpy(coarse.gradient_duals[0][axis]), now.domain)
        state.gradient_duals[0][axis][:] = now.asarray(q)
    if bool((state.data_step <= 0).any()):
        return  # left-out readings: see above
    y = was.to_numpy(coarse.data_dual)
    fine = np.stack([resized(view[None], (1, *now.range[1:]))[0] for view in y])
    shrink = (np.prod(now.domain) / np.prod(was.domain)) ** (1 / 3)  # voxel edges, coarse by fine
    rays = (
        np.prod(now.range) / np.prod(was.range) / shrink**2
    )  # rays through a voxel, fine / coarse
    factor = np.float32(shrink**2 / rays)
    state.data_dual[:] = now.asarray(fine * factor)
    # y = weight * w * residual: the weight against TV follows from the duals' and variances' sizes.
    w_now, w_was = (float((s.problem.weights).mean()) for s in (session, before.session))
    state.data_weight = coarse.data_weight * float(factor) * w_was / max(w_now, 1e-30)
