"""The skeleton of an iterative reconstruction method (layer: recon).

A method declares its parameters, presets and footprint and says which solver runs in each stage;
everything else is here, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from ctrestorelib.core.job import Job
from ctrestorelib.core.params import params_to_json
from ctrestorelib.recon.arrays import Array, array_threads
from ctrestorelib.recon.footprint import Footprint, plan_iterations
from ctrestorelib.recon.presets import resolved
from ctrestorelib.recon.session import Session, open_session, watcher
from ctrestorelib.recon.solver import Solution, Solver, StopRule, solve
from ctrestorelib.recon.subsets import ordered_subsets
from ctrestorelib.restorer.plan import Budget, InputShapes, Plan
from ctrestorelib.restorer.protocol import Estimate, Inputs
from ctrestorelib.restorer.spec import RestorerSpec

P = TypeVar("P")

SMALL_VOXELS = 2**18
"""Up to this size sharing an array operation among threads costs more than it saves."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What a method's stages found, and what it wants to report besides the residual."""

    solution: Solution
    report: Mapping[str, Any] = field(default_factory=dict)


class IterativeReconstructor(ABC, Generic[P]):
    """Base of the methods that improve a volume step by step."""

    spec: ClassVar[RestorerSpec]
    Params: ClassVar[type]
    footprint: ClassVar[Footprint]
    nonnegative: ClassVar[bool] = True

    @abstractmethod
    def stages(self, params: P) -> tuple[tuple[str, int], ...]:
        """Return titles and iterations of the stages, from resolved parameters."""

    @abstractmethod
    def run(self, session: Session, params: P, runner: Runner) -> Answer:
        """Run the stages with resolved parameters."""

    def is_weighted(self, params: P) -> bool:  # noqa: ARG002 - methods may look at params
        """Whether readings count by their own noise."""
        return True

    def plan(self, shapes: InputShapes, params: P, budget: Budget) -> Plan:
        """Return memory, time and stages; see the restorer protocol."""
        views = shapes.scan.views if shapes.scan is not None else 1
        settings = resolved(params, self.spec.presets, views)
        return plan_iterations(shapes, budget, self.footprint, self.stages(settings))

    def restore(self, inputs: Inputs, params: P, plan: Plan, job: Job) -> Estimate:
        """Reconstruct; see the restorer protocol."""
        job.check()
        session = open_session(
            inputs, plan, job, nonnegative=self.nonnegative, weighted=self.is_weighted(params)
        )
        settings = resolved(params, self.spec.presets, session.scan.views, session.noise.i0)
        stages = self.stages(settings)
        threads = plan.threads if session.grid.voxels > SMALL_VOXELS else 1
        with array_threads(threads):
            answer = self.run(session, settings, Runner(session, job, stages))
        report = {"settings": params_to_json(settings), **answer.report}
        return session.estimate(answer.solution, report)


class Runner:
    """Runs one solver after another, each in the next planned stage of the job."""

    def __init__(self, session: Session, job: Job, stages: Sequence[tuple[str, int]]) -> None:
        self.session = session
        self.job = job
        self._stages = iter(stages)
        self._total = max(sum(n for _, n in stages), 1)

    def __call__(
        self,
        solver: Solver[Any],
        *,
        start: Array | None = None,
        rules: Sequence[StopRule] = (),
    ) -> Solution:
        """Run ``solver`` for the next stage's iterations, from ``start`` if given."""
        title, iterations = next(self._stages)
        session = self.session if start is None else self.session.starting_at(start)
        with self.job.stage(title, iterations / self._total) as stage:
            watch = watcher(session, self.job, stage)
            return solve(
                solver, session.problem, stage, iterations=iterations, rules=rules, watch=watch
            )


def subsets_of(session: Session, wanted: int) -> tuple[tuple[int, ...], ...]:
    """Return ordered subsets of the session's views: ``wanted``, or one view each if fewer."""
    return ordered_subsets(session.angles_rad, min(wanted, session.scan.views))
