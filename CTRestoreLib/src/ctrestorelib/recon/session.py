"""From inputs to a solver's problem, and from its solution to an estimate (layer: recon).

What all iterative reconstructors share: checks, noise weights, truncation, the residual report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.job import Job, Stage
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.recon.arc import scan_arc
from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.noise_level import DataNoise, data_noise
from ctrestorelib.recon.residual import residual_report
from ctrestorelib.recon.solver import Problem, Solution, Step
from ctrestorelib.recon.truncation import TRUNCATED_ROWS, truncated_sides
from ctrestorelib.restorer.plan import Plan
from ctrestorelib.restorer.protocol import Estimate, Inputs

PATH_FLOOR = 0.01
"""Rays whose path through the grid is shorter than this share of the longest are not used."""

OUTSIDE_LEVEL = 0.05
"""A ray that misses the grid sees something there if its line integral exceeds this share."""


@dataclass(frozen=True, eq=False)
class Session:
    """One reconstruction: its scan, its operator, and the problem to solve."""

    scan: ProjectionSet
    operator: XrayOperator
    noise: DataNoise
    problem: Problem
    prior: Volume | None = None

    @property
    def grid(self) -> VolumeGeometry:
        """The output grid."""
        return self.operator.grid

    @property
    def angles_rad(self) -> NDArray[np.float64]:
        """Gantry angle of every view."""
        return self.scan.geometry.angles_rad

    def starting_at(self, values: Array) -> Session:
        """Return the same session with another first estimate."""
        return replace(self, problem=replace(self.problem, start=values))

    def volume(self, values: Array) -> Volume:
        """Return an array of the solver as a volume in 1/mm."""
        return Volume(self.operator.to_numpy(values), self.grid, Unit.PER_MM)

    def estimate(self, solution: Solution, report: Mapping[str, Any] | None = None) -> Estimate:
        """Return the solution with its residual report."""
        residual = self.operator(solution.values) - self.problem.data
        to_numpy = self.operator.to_numpy
        weights = to_numpy(self.problem.weights)
        figures = residual_report(to_numpy(residual), self.scan.values, weights)
        return Estimate(
            self.volume(solution.values),
            report={
                "iterations": solution.iterations,
                "stop_reason": solution.stop_reason.name.lower(),
                "stop_sentence": solution.stop_reason.value,
                "noise_from": self.noise.source.value,
                "assumed_i0": self.noise.i0,
                "typical_noise_sd": self.noise.typical_sd,
                "residual": figures,
                **(report or {}),
            },
        )


def open_session(
    inputs: Inputs, plan: Plan, job: Job, *, nonnegative: bool = True, weighted: bool = True
) -> Session:
    """Check the inputs and pose the problem.

    Parameters
    ----------
    nonnegative
        Whether attenuation below zero is excluded.
    weighted
        Whether readings count by their own variance; otherwise all by the mean variance.

    Raises
    ------
    InputError
        If projections or grid are missing, or a reading is not finite.
    GeometryError
        If no ray meets the grid, or the mask does not fit it.
    """
    scan, grid = inputs.require_scan()
    scan.require_finite()
    operator = XrayOperator(
        scan.geometry, grid, backend=plan.backend, device=plan.device, threads=plan.threads
    )
    support = _support(inputs.mask, grid)
    noise = data_noise(scan)
    paths = operator.to_numpy(operator(operator.zeros_domain() + 1.0))
    used = paths >= PATH_FLOOR * float(paths.max(initial=0.0))
    if not paths.max(initial=0.0) > 0.0:
        message = "No ray of the scan passes through the output grid."
        raise GeometryError(message, hint="Check the grid's origin and the scan's isocentre.")
    _warn_about(scan, used, job)
    weights = noise.weights if weighted else np.full_like(noise.variance, 1 / noise.variance.mean())
    spacing = grid.spacing_mm
    problem = Problem(
        operator,
        operator.asarray(scan.values),
        operator.asarray(np.where(used, weights, np.float32(0.0))),
        (spacing[2], spacing[1], spacing[0]),
        support=None if support is None else operator.asarray(support),
        nonnegative=nonnegative,
    )
    return Session(scan, operator, noise, problem, inputs.prior)


def watcher(
    session: Session, job: Job, stage: Stage, every: int = 5
) -> Callable[[Step, Array], None]:
    """Return a ``watch`` for the loop: the misfit as a note, now and then the middle slice."""

    def watch(step: Step, values: Array) -> None:
        job.note("misfit", stage=stage.title, iteration=step.iteration, value=step.misfit)
        if step.iteration % every == 0:
            job.preview(session.operator.to_numpy(values[values.shape[0] // 2]))

    return watch


def typical_contrast(values: Array, to_numpy: Callable[[Array], NDArray[np.float32]]) -> float:
    """Return a quarter of the mean attenuation within the object, in 1/mm (1 if there is none)."""
    x = to_numpy(values)
    inside = x[x > 0.1 * float(x.max(initial=0.0))]
    return 0.25 * float(inside.mean()) if inside.size else 1.0


def _support(mask: NDArray[np.bool_] | None, grid: VolumeGeometry) -> NDArray[np.float32] | None:
    if mask is None:
        return None
    if mask.shape != grid.shape or not mask.any():
        message = (
            f"The object mask must have the grid's shape {grid.shape} and mark at least one voxel; "
            f"got shape {mask.shape} with {int(mask.sum())} voxels."
        )
        raise GeometryError(message)
    return np.asarray(mask, dtype=np.float32)


def _warn_about(scan: ProjectionSet, used: NDArray[np.bool_], job: Job) -> None:
    values = scan.values
    seen = values > OUTSIDE_LEVEL * float(values.max(initial=0.0))
    outside = float((seen & ~used).sum()) / max(int(seen.sum()), 1)
    if outside > 0.005:
        text = (
            f"{100 * outside:.0f} % of the readings behind the object miss the output grid: the "
            "object is larger than the grid, and what lies outside is smeared into its border. "
            "Choose a larger grid."
        )
        job.warn("object-outside-grid", text)
    cut = max(truncated_sides(values))
    if cut > TRUNCATED_ROWS:
        text = (
            f"The object overfills {100 * cut:.0f} % of the detector rows. Values outside the "
            "field of view are rough estimates; let the grid cover the whole object."
        )
        job.warn("lateral-truncation", text)
    arc = scan_arc(scan.geometry)
    if not arc.closed and arc.arc_rad < 0.95 * np.pi and scan.views > 1:
        text = (
            f"The views cover {np.rad2deg(arc.arc_rad):.0f} degrees; edges that no view looks "
            "along stay blurred."
        )
        job.warn("limited-angle", text)
