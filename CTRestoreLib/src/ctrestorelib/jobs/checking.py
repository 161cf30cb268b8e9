"""The checks of a reconstruction: fit, left-out views, measured share, geometry (layer: jobs).

They cost two further reconstructions (one for each view that is left out) and some work on coarse
grids. Nothing is changed: the checks tell, a person decides.

:mod:`~ctrestorelib.jobs.running_checks` does it in a child process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ctrestorelib.core.errors import Cancelled, CTRestoreError
from ctrestorelib.core.job import Job, Stage
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.jobs.execute import execute
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.quality.lights import Light, overall, summary
from ctrestorelib.quality.result import Measure, Verdict
from ctrestorelib.quality.scan_lights import SCAN_LIGHTS, scan_lights
from ctrestorelib.recon.left_out_view import Reconstruction, left_out_score
from ctrestorelib.recon.measured_share import share_map
from ctrestorelib.recon.self_calibration import SelfCalibration, self_calibrated
from ctrestorelib.recon.session import open_session
from ctrestorelib.recon.view_misfit import view_misfit
from ctrestorelib.restorer.plan import Budget, Plan


@dataclass(frozen=True, eq=False)
class ReconstructionCheck:
    """What the checks found.

    Parameters
    ----------
    measures
        One per check; those that could not be made say why.
    measured_percent
        How much of every voxel was measured, 0 to 100, on the output grid; None where that could
        not be told.
    """

    measures: tuple[Measure, ...]
    measured_percent: Volume | None = None

    @property
    def lights(self) -> tuple[Light, ...]:
        """One light per check."""
        return scan_lights(self.measures)

    @property
    def summary(self) -> str:
        """All lights in one sentence."""
        return summary(self.lights)

    def to_json(self) -> dict[str, Any]:
        """Return lights and measures as plain values."""
        return {
            "verdict": overall(self.lights).value,
            "summary": self.summary,
            "lights": [light.to_json() for light in self.lights],
            "measures": [m.to_json() for m in self.measures],
        }


def check_reconstruction(
    request: JobRequest,
    volume: Volume,
    *,
    report: Mapping[str, Any] | None = None,
    job: Job | None = None,
) -> ReconstructionCheck:
    """Check a finished reconstruction.

    Parameters
    ----------
    request
        What was asked for; the method runs again for the left-out views.
    volume
        The result, in HU or 1/mm.
    report
        The method's own report: its residual spares a projection.
    job
        Progress and cancelling.

    Raises
    ------
    Cancelled
        If the job was cancelled.
    """
    job = job or Job()
    budget = request.budget or Budget.detect()
    values = volume.to_unit(Unit.PER_MM, request.mu_water_per_mm)
    plan = request.plan(budget)
    # The checks work on problems that were opened, and warned about, before.
    quiet = _silent(job)
    found: dict[str, Volume] = {}

    def fit(_: Stage) -> Measure:
        return _fit(request, values, report or {}, plan, quiet)

    def left_out(stage: Stage) -> Measure:
        again = reconstruction_of(request, budget, quiet)
        return left_out_score(_scan(request), again, stage=stage).to_measure()

    def measured(stage: Stage) -> Measure:
        share = share_map(request.inputs, values, plan, quiet, stage=stage)
        found["share"] = share.percent
        return share.to_measure()

    def geometry(stage: Stage) -> Measure:
        return self_calibrated(request.inputs, plan, quiet, stage=stage).to_measure()

    steps = (
        ("Compare with the views", 0.05, fit),
        ("Leave views out", 0.55, left_out),
        ("Tell measured from inferred", 0.2, measured),
        ("Check the geometry", 0.2, geometry),
    )
    measures = []
    for (title, share, check), (_, light, name) in zip(steps, SCAN_LIGHTS, strict=True):
        with job.stage(title, share) as stage:
            measures.append(_or_why_not(check, stage, name, light))
    return ReconstructionCheck(tuple(measures), found.get("share"))


def reconstruction_of(request: JobRequest, budget: Budget, job: Job) -> Reconstruction:
    """Return the request's method as a function from a scan to a volume in 1/mm."""

    def reconstruct(scan: ProjectionSet) -> Volume:
        job.check()
        inputs = replace(request.inputs, projections=scan)
        again = replace(request, inputs=inputs, output_unit=Unit.PER_MM)
        return execute(again, budget, _silent(job, request.seed)).volume

    return reconstruct


def calibrated_request(
    request: JobRequest, job: Job | None = None
) -> tuple[JobRequest, SelfCalibration]:
    """Return the request with the geometry that self-calibration found, and what it found.

    The request comes back as it was where no clearly better geometry was found; otherwise a note
    in the provenance says what was changed.
    """
    job = job or Job()
    plan = request.plan()
    with job.stage("Look for geometry errors", 1.0) as stage:
        found = self_calibrated(request.inputs, plan, job, stage=stage)
    if not found.accepted:
        return request, found
    return with_geometry(request, found.geometry, found.sentence), found


def with_geometry(request: JobRequest, geometry: ConeBeamGeometry, sentence: str) -> JobRequest:
    """Return the request with another geometry, and a note in the provenance that says so."""
    scan = _scan(request).replace(geometry=geometry)
    note = {"code": "self-calibrated-geometry", "text": sentence}
    inputs = replace(request.inputs, projections=scan)
    return replace(request, inputs=inputs, notes=(*request.notes, note))


def _silent(job: Job, seed: int = 0) -> Job:
    """Return a job that reports nothing and is cancelled when ``job`` is."""

    def is_cancelled() -> bool:
        try:
            job.check()
        except Cancelled:
            return True
        return False

    return Job(is_cancelled=is_cancelled, seed=seed)


def _scan(request: JobRequest) -> ProjectionSet:
    return request.inputs.require_scan()[0]


def _or_why_not(check: Callable[[Stage], Measure], stage: Stage, name: str, title: str) -> Measure:
    try:
        return check(stage)
    except Cancelled:
        raise
    except CTRestoreError as error:
        return Measure.missing(name, title, error.message)


def _fit(
    request: JobRequest, values: Volume, report: Mapping[str, Any], plan: Plan, job: Job
) -> Measure:
    known = report.get("residual", {})
    if {"verdict", "sentence", "chi_squared_per_reading"} <= set(known):
        return _fit_told(known)
    session = open_session(request.inputs, plan, job)
    operator, problem = session.operator, session.problem
    residual = operator.to_numpy(operator(operator.asarray(values.values)) - problem.data)
    weights = operator.to_numpy(problem.weights)
    return view_misfit(residual, session.scan.values, weights).to_measure()


def _fit_told(known: Mapping[str, Any]) -> Measure:
    names = ("chi_squared_per_view", "shift_px_per_view", "standing_out")
    return Measure(
        "view_fit", "Do the views agree with the volume?", known["chi_squared_per_reading"], "",
        verdict=Verdict(known["verdict"]), sentence=known["sentence"],
        protocol="weighted squared residual per reading, as the method reports it",
        details={n: known[n] for n in names if n in known},
    )  # fmt: skip
