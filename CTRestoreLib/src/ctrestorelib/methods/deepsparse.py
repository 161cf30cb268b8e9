"""DeepSparse: a network that reconstructs from a handful of views (layer: methods).

Offered only where weights are released with the package: a method without weights could do nothing
for anyone. People with weights of their own call :data:`DEEPSPARSE` from Python until then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from ctrestorelib.core.job import Job
from ctrestorelib.core.params import Param
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.inference.deepsparse import (
    ExtraViews,
    describe,
    load_deepsparse,
    reconstruct,
    variant_for,
    variants,
)
from ctrestorelib.inference.deepsparse_plan import plan_deepsparse
from ctrestorelib.recon.coverage import estimate_coverage, warn_about_coverage
from ctrestorelib.restorer.plan import Budget, InputShapes, Plan
from ctrestorelib.restorer.protocol import Estimate, Inputs
from ctrestorelib.restorer.spec import Kind, Maturity, Needs, Reference, RestorerSpec, Role
from ctrestorelib.weights.store import released

AUTOMATIC = "auto"


@dataclass(frozen=True, kw_only=True)
class DeepSparseParams:
    """Parameters of DeepSparse."""

    weights: Annotated[
        str,
        Param(
            "Network",
            "auto takes the released network whose number of views is nearest to the scan's; or "
            "the name of one, or the .safetensors file of your own training.",
        ),
    ] = AUTOMATIC
    extra_views: Annotated[
        ExtraViews,
        Param(
            "More views than trained for",
            "all: the network looks at all of them at once. subsets: it looks at interleaved "
            "subsets of the trained size, and the mean of the results is taken.",
        ),
    ] = ExtraViews.ALL
    cube_mm: Annotated[
        float | None,
        Param(
            "Cube",
            "Edge of the cube about the isocentre that the network reconstructs. Automatic: what "
            "the detector shows, as in the training.",
            unit="mm",
            bounds=(1.0, 10000.0),
            advanced=True,
        ),
    ] = None
    mu_water_per_mm: Annotated[
        float,
        Param(
            "Attenuation of water",
            "Of this scan's beam; the network works in units of water.",
            unit="1/mm",
            bounds=(0.01, 0.2),
            advanced=True,
        ),
    ] = MU_WATER_PER_MM


class DeepSparse:
    """Reads each point's shadows in all views and a coarse 3-D picture of the scan."""

    Params: ClassVar[type] = DeepSparseParams
    spec: ClassVar[RestorerSpec] = RestorerSpec(
        id="deepsparse",
        title="Learned reconstruction from 6 to 24 views (DeepSparse)",
        summary=(
            "A network fills in what so few X-ray views do not show, from what it learned of "
            "other bodies. It does not compare its picture with the measurements: details may be "
            "invented. Not for primary diagnosis. Research use only."
        ),
        kind=Kind.RECONSTRUCTOR,
        needs=Needs(required=(Role.PROJECTIONS,), packages=("torch",), min_views=3),
        references=(
            Reference(
                "Lin Y, Chen J, Wang H, Yang J, Guo J, Zhang Y, Li X. DeepSparse: a foundation "
                "model for sparse-view CBCT reconstruction. IEEE Trans Med Imaging, 2026. "
                "arXiv:2505.02628.",
                "10.1109/TMI.2026.3674948",
            ),
        ),
        maturity=Maturity.RESEARCH,
        weights=tuple(variants()),
    )

    def plan(self, shapes: InputShapes, params: DeepSparseParams, budget: Budget) -> Plan:
        """Return memory, time and stages; see the restorer protocol.

        Raises
        ------
        WeightsError
            If there are no such weights.
        """
        scan, _ = shapes.require_scan()
        about = describe(_weights(params, scan.views))
        return plan_deepsparse(shapes, about, budget, params.extra_views)

    def restore(self, inputs: Inputs, params: DeepSparseParams, plan: Plan, job: Job) -> Estimate:
        """Reconstruct; see the restorer protocol.

        Raises
        ------
        WeightsError
            If the weights are missing or altered.
        GeometryError
            If the detector is no flat panel.
        """
        from ctrestorelib.inference.runtimes import torch_threads

        scan, grid = inputs.require_scan()
        scan.require_finite()
        job.check()
        name = _weights(params, scan.views)
        with torch_threads(plan.threads):
            model = load_deepsparse(name, plan.device)
            values, report = reconstruct(
                scan, grid, model, job, mu_water_per_mm=params.mu_water_per_mm,
                edge_mm=params.cube_mm, extra=params.extra_views,
            )  # fmt: skip
        if name in released():
            report["weights_sha256"] = released()[name].sha256
        _warn(report, scan.views, job)
        coverage = estimate_coverage(scan.geometry, grid)
        warn_about_coverage(coverage, job)
        report["coverage"] = coverage.to_json()
        return Estimate(Volume(values, grid, Unit.PER_MM), report=report)


def _weights(params: DeepSparseParams, views: int) -> str:
    return variant_for(views) if params.weights == AUTOMATIC else params.weights


def _warn(report: dict[str, Any], views: int, job: Job) -> None:
    text = (
        "A network has filled in what the views do not show, and nothing has compared its picture "
        "with the measurements: it is not for primary diagnosis."
    )
    job.warn("learned-content", text)
    outside = report["outside_cube"]
    if outside > 0.005:
        text = (
            f"{100 * outside:.0f} % of the grid lies outside the cube of "
            f"{report['cube_edge_mm']:.0f} mm that the network fills; air was put there."
        )
        job.warn("outside-cube", text)
    trained = report["trained_views"]
    if not min(trained) <= views <= max(trained):
        span = " to ".join(str(n) for n in trained)
        job.warn("other-views", f"The network was trained for {span} views; this scan has {views}.")


DEEPSPARSE = DeepSparse()
"""DeepSparse, whether or not weights are released."""
RESTORER = DEEPSPARSE if DEEPSPARSE.spec.weights else None
"""DeepSparse, where weights are released."""
