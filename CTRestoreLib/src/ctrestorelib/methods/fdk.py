"""Filtered backprojection (FDK) as a method (layer: methods)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from ctrestorelib.core.job import Job
from ctrestorelib.core.params import Param, params_to_json
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.recon.coverage import estimate_coverage, warn_about_coverage
from ctrestorelib.recon.fdk import FdkSetup, prepare, run, warn_about
from ctrestorelib.recon.fdk_plan import plan_fdk
from ctrestorelib.recon.filters import Window
from ctrestorelib.recon.presets import resolved
from ctrestorelib.recon.truncation import Truncation
from ctrestorelib.recon.weights import Weighting
from ctrestorelib.restorer.plan import Budget, InputShapes, Plan
from ctrestorelib.restorer.protocol import Estimate, Inputs
from ctrestorelib.restorer.spec import Kind, Needs, Reference, RestorerSpec, Role

if TYPE_CHECKING:
    from ctrestorelib.geometry.projections import ProjectionSet

_PRESETS = {
    "few-views": {"window": "hann", "cutoff": 0.5},
    "few-views-low-dose": {"window": "hann", "cutoff": 0.4},
    "sparse-views": {"window": "hann", "cutoff": 0.8},
    "sparse-views-low-dose": {"window": "hann", "cutoff": 0.6},
    "many-views": {"window": "shepp-logan", "cutoff": 1.0},
    "many-views-low-dose": {"window": "hann", "cutoff": 1.0},
}


@dataclass(frozen=True, kw_only=True)
class FdkParams:
    """Settings of filtered backprojection; None chooses by views and dose."""

    window: Annotated[
        Window | None,
        Param(
            "Filter window",
            "Ram-Lak is the sharpest and noisiest, Hann the smoothest; the others lie between.",
        ),
    ] = None
    cutoff: Annotated[
        float | None,
        Param(
            "Filter cutoff",
            "Highest frequency kept, as a share of what the detector can resolve. "
            "Lower values are smoother.",
            bounds=(0.05, 1.0),
        ),
    ] = None
    weighting: Annotated[
        Weighting,
        Param(
            "Repeated rays",
            "How rays that were measured twice share their weight: Parker for short scans, Wang "
            "for shifted detectors, equal otherwise. Automatic looks at the scan.",
            advanced=True,
        ),
    ] = Weighting.AUTO
    truncation: Annotated[
        Truncation,
        Param(
            "Cut-off rows",
            "Whether detector rows that the object overfills are continued smoothly. "
            "Automatic looks at the ends of the rows.",
            advanced=True,
        ),
    ] = Truncation.AUTO
    report_residual: Annotated[
        bool,
        Param(
            "Check against the projections",
            "Projects the result forward and reports how well it explains the measurements; "
            "takes several times as long.",
            advanced=True,
        ),
    ] = False


class FilteredBackprojection:
    """Feldkamp's reconstruction for cone beams, filtered backprojection for fan and parallel."""

    Params: ClassVar[type] = FdkParams
    spec: ClassVar = RestorerSpec(
        id="fdk",
        title="FDK (filtered backprojection)",
        summary=(
            "The standard, fastest reconstruction: filters every projection and spreads it back. "
            "Right for many views; few X-ray views leave streaks."
        ),
        kind=Kind.RECONSTRUCTOR,
        needs=Needs(required=(Role.PROJECTIONS,)),
        references=(
            Reference(
                "L. A. Feldkamp, L. C. Davis, J. W. Kress, Practical cone-beam algorithm, "
                "J. Opt. Soc. Am. A 1 (1984) 612.",
                "10.1364/JOSAA.1.000612",
            ),
            Reference(
                "D. L. Parker, Optimal short scan convolution reconstruction for fan beam CT, "
                "Med. Phys. 9 (1982) 254.",
                "10.1118/1.595078",
            ),
            Reference(
                "G. Wang, X-ray micro-CT with a displaced detector array, "
                "Med. Phys. 29 (2002) 1634.",
                "10.1118/1.1489043",
            ),
        ),
        presets=_PRESETS,
    )

    def plan(self, shapes: InputShapes, params: FdkParams, budget: Budget) -> Plan:
        """Return memory, time and stages; see the restorer protocol."""
        return plan_fdk(shapes, budget, residual=params.report_residual)

    def restore(self, inputs: Inputs, params: FdkParams, plan: Plan, job: Job) -> Estimate:
        """Reconstruct; see the restorer protocol."""
        scan, grid = inputs.require_scan()
        scan.require_finite()
        settings = resolved(params, _PRESETS, scan.views, scan.i0)
        coverage = estimate_coverage(scan.geometry, grid)
        setup = prepare(
            scan,
            grid,
            window=settings.window or Window.SHEPP_LOGAN,
            cutoff=settings.cutoff or 1.0,
            weighting=settings.weighting,
            truncation=settings.truncation,
            threads=plan.threads,
        )
        warn_about(setup, job)
        warn_about_coverage(coverage, job)
        values = run(
            scan,
            grid,
            setup,
            job=job,
            share=plan.stages[0].share,
            backend=plan.backend,
            device=plan.device,
        )
        volume = Volume(values, grid, Unit.PER_MM)
        report = {"settings": params_to_json(settings), "scan": scan_report(setup)}
        report["coverage"] = coverage.to_json()
        if settings.report_residual:
            with job.stage(plan.stages[1].title, plan.stages[1].share):
                report["residual"] = _residual(scan, volume, plan)
        return Estimate(volume, report=report)


def scan_report(setup: FdkSetup) -> dict[str, Any]:
    """Return what was found out about the scan, as plain numbers."""
    chosen = setup.redundancy
    return {
        "weighting": chosen.weighting.value,
        "arc_degrees": round(float(np.rad2deg(chosen.arc.arc_rad)), 3),
        "full_circle": chosen.arc.closed,
        "largest_gap_degrees": round(float(np.rad2deg(chosen.arc.largest_gap_rad)), 3),
        "fan_angle_degrees": round(float(np.rad2deg(2 * chosen.half_fan_rad)), 3),
        "limited_angle": chosen.limited_angle,
        "cut_off_rows_left_right": [round(share, 4) for share in setup.truncated_share],
        "continued_columns_left_right": list(setup.row_filter.extension),
    }


def _residual(scan: ProjectionSet, volume: Volume, plan: Plan) -> dict[str, Any]:
    from ctrestorelib.physics.operators import XrayOperator
    from ctrestorelib.recon.noise_level import data_noise
    from ctrestorelib.recon.residual import residual_report

    operator = XrayOperator(
        scan.geometry, volume.geometry, backend=plan.backend, device=plan.device,
        threads=plan.threads, arrays="numpy",
    )  # fmt: skip
    residual = operator.to_numpy(operator(operator.asarray(volume.values))) - scan.values
    return residual_report(residual, scan.values, data_noise(scan).weights)


RESTORER = FilteredBackprojection()
