"""Total variation whose smoothing is chosen by views set aside, as a method (layer: methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ctrestorelib.core.job import Job
from ctrestorelib.core.params import Param
from ctrestorelib.physics.backend import choose_arrays
from ctrestorelib.recon.arrays import array_threads
from ctrestorelib.recon.chosen_tv import chosen_stages, chosen_tv
from ctrestorelib.recon.footprint import Footprint, plan_iterations
from ctrestorelib.recon.iterative import SMALL_VOXELS
from ctrestorelib.recon.tv_choice import TARGETS
from ctrestorelib.recon.tv_stage import NOISE_FACTOR
from ctrestorelib.restorer.plan import Budget, InputShapes, Plan
from ctrestorelib.restorer.protocol import Estimate, Inputs
from ctrestorelib.restorer.spec import Kind, Needs, Reference, RestorerSpec, Role

_FOOTPRINT = Footprint(volumes=29.0, projections=16.0, volume_passes=40.0)


@dataclass(frozen=True, kw_only=True)
class TvViewsParams:
    """How far the scan itself may decide."""

    least_misfit: Annotated[
        float,
        Param(
            "Closest fit tried",
            "Squared residual, in units of the noise, below which no fit is tried. Raise it where "
            "motion or scatter is likely: all views share those, and cannot warn of them.",
            bounds=(TARGETS[-1], NOISE_FACTOR),
            advanced=True,
        ),
    ] = TARGETS[-1]


class TvViews:
    """Least total variation, as close to the measurements as foretells further views best."""

    Params: ClassVar[type] = TvViewsParams
    spec: ClassVar[RestorerSpec] = RestorerSpec(
        id="tv-views",
        title="Total variation, smoothing chosen by views set aside (TV by views)",
        summary=(
            "Tries several strengths of smoothing on the scan itself: some views are set aside, "
            "and the strength that foretells them best is taken. Usually closer to the object "
            "than TV with its automatic smoothing; slower on small grids only."
        ),
        kind=Kind.RECONSTRUCTOR,
        needs=Needs(required=(Role.PROJECTIONS,), optional=(Role.MASK,)),
        references=(
            Reference(
                "M. Stone, Cross-validatory choice and assessment of statistical predictions, "
                "J. R. Stat. Soc. B 36 (1974) 111.",
                "10.1111/j.2517-6161.1974.tb00994.x",
            ),
            Reference(
                "A. Chambolle, T. Pock, A first-order primal-dual algorithm for convex problems "
                "with applications to imaging, J. Math. Imaging Vis. 40 (2011) 120.",
                "10.1007/s10851-010-0251-1",
            ),
        ),
    )

    def plan(self, shapes: InputShapes, params: TvViewsParams, budget: Budget) -> Plan:  # noqa: ARG002
        """Return memory, time and stages; see the restorer protocol."""
        _, grid = shapes.require_scan()
        return plan_iterations(shapes, budget, _FOOTPRINT, chosen_stages(grid.shape))

    def restore(self, inputs: Inputs, params: TvViewsParams, plan: Plan, job: Job) -> Estimate:
        """Reconstruct; see the restorer protocol."""
        job.check()
        _, grid = inputs.require_scan()
        threads = plan.threads if grid.voxels > SMALL_VOXELS else 1
        with array_threads(threads, choose_arrays("auto", plan.backend, grid.voxels)):
            session, answer = chosen_tv(inputs, plan, job, params.least_misfit)
        return session.estimate(answer.solution, answer.report)


RESTORER = TvViews()
