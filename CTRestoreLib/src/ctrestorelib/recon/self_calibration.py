"""Finding small errors of the scan geometry in the projections themselves (layer: recon).

A wrong geometry makes views contradict each other: no volume explains all of them. For a correction
``g`` of the geometry let ``x(g)`` be a quick, coarse reconstruction from some of the views, and
``r(g)`` what it leaves unexplained in them. Gauss-Newton steps with numerical derivatives make
``r`` small; a few views that the fit never saw decide. The correction is kept only if they are
predicted clearly better, and every single part of it only if they miss it when it is taken away.

References
----------
Golub and Pereyra 1973 (a fit with the linear unknowns eliminated), doi:10.1137/0710036; Marquardt
1963 (damped steps), doi:10.1137/0111030.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.job import Job, Stage
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.quality.result import Measure, Verdict
from ctrestorelib.recon.arc import scan_arc
from ctrestorelib.recon.calibration_limits import require_enough_views
from ctrestorelib.recon.coarse_scan import coarse_shape, coarser
from ctrestorelib.recon.consistency import consistent, typical_diagonal
from ctrestorelib.recon.geometry_correction import GeometryCorrection
from ctrestorelib.recon.model_error import cautious_weights
from ctrestorelib.recon.session import Session, open_session
from ctrestorelib.recon.solver import Problem
from ctrestorelib.restorer.plan import Plan
from ctrestorelib.restorer.protocol import Inputs

LEAST_DROP = 0.05
"""The misfit of the views kept aside must drop by more than this share."""

MISSED = 0.02
"""A part of the correction is kept if that misfit rises by this share without it."""

LEVELS = ((24, 4), (40, 2))
"""Voxels along the longest axis, and Gauss-Newton steps, from coarse to fine."""

FIT_VIEWS, GUARD_VIEWS = 20, 8
QUICK_STEPS, QUICK_SHARE = 8, 0.02
"""Conjugate-gradient steps of the quick reconstruction, and its damping."""

MOST_PIXELS = 6.0
"""No part of the correction may move a shadow by more than this many coarse pixels,"""

MOST = {"tilt_deg": 5.0, "arc_scale": 0.05, "sdd_scale": 0.03}
"""and none of these may be larger: scanners are not that far out of calibration."""

LEAST_MISFIT = 0.1
"""Views kept aside that are predicted this well confirm the geometry, whatever would fit better.

In units of the cautious weights: 0.1 is an error of 0.6 % of the thickest rays."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SelfCalibration:
    """What was found, and whether it may be used.

    Parameters
    ----------
    geometry
        The geometry to use: corrected if ``accepted``, otherwise the given one.
    found
        The correction; all 0 where nothing was worth it.
    accepted
        Whether views that were kept aside are predicted better by more than 5 %.
    before, after
        Misfit of those views with the given and the corrected geometry.
    """

    geometry: ConeBeamGeometry
    found: GeometryCorrection
    accepted: bool
    before: float
    after: float

    @property
    def drop(self) -> float:
        """By which share the misfit of the views kept aside drops."""
        return 1.0 - self.after / self.before if self.before > 0 else 0.0

    @property
    def verdict(self) -> Verdict:
        """Green where the geometry is confirmed, amber where a better one was found."""
        return Verdict.AMBER if self.accepted else Verdict.GREEN

    @property
    def sentence(self) -> str:
        """What was found."""
        if not self.accepted:
            return "No better geometry was found: views that were kept aside confirm the given one."
        parts = ", ".join(_told(self.found))
        return (
            f"The views agree better with another geometry ({parts}): the misfit of views that "
            f"were kept aside drops by {100 * self.drop:.0f} %."
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"accepted": self.accepted, "drop": self.drop, **self.found.to_json()}

    def to_measure(self) -> Measure:
        """Return the finding as one line of a table."""
        return Measure(
            "geometry", "Is the scan geometry right?", 100 * self.drop, "%",
            verdict=self.verdict, sentence=self.sentence,
            protocol="drop of the misfit of views kept aside, from a coarse reconstruction",
            details=self.to_json(),
        )  # fmt: skip


def self_calibrated(
    inputs: Inputs,
    plan: Plan,
    job: Job,
    *,
    levels: Sequence[tuple[int, int]] = LEVELS,
    stage: Stage | None = None,
) -> SelfCalibration:
    """Look for a geometry with which the views agree better.

    Parameters
    ----------
    inputs
        Projections (six views or more), grid and mask as for a reconstruction.
    plan, job
        As for :func:`~ctrestorelib.recon.session.open_session`.
    levels
        Voxels along the longest axis and Gauss-Newton steps, from coarse to fine.
    stage
        Receives progress and is asked for cancel at every step.

    Raises
    ------
    UsageError
        If there are fewer than six views, or they cover less than 120 degrees.
    Cancelled
        When the job was cancelled.
    """
    scan, _ = inputs.require_scan()
    require_enough_views(scan.geometry)
    fit_views, guard_views = split_views(scan)
    total = sum(steps * cells**4 for cells, steps in levels)
    found, done = GeometryCorrection(), 0.0
    for cells, steps in levels:
        session = _coarse_session(inputs, cells, plan, job)
        fit = _Fit.of(session, fit_views, guard_views)
        at = fit.units_of(found)
        for n in range(steps):
            job.check()
            at = fit.improved(at)
            if stage is not None:
                stage.done((done + (n + 1) * cells**4) / total)
        done += steps * cells**4
        found = fit.correction(at)
    return _judged(fit, at, scan.geometry)


def split_views(scan: ProjectionSet) -> tuple[list[int], list[int]]:
    """Return the views to fit and those kept aside, both spread over the arc."""
    order = np.argsort(scan_arc(scan.geometry).position_rad, kind="stable")
    aside = max(2, min(GUARD_VIEWS, scan.views // 4))
    guard = {int((2 * n + 1) * len(order) // (2 * aside)) for n in range(aside)}
    rest = [int(v) for n, v in enumerate(order) if n not in guard]
    keep = min(FIT_VIEWS, len(rest))
    chosen = [rest[n * (len(rest) - 1) // max(keep - 1, 1)] for n in range(keep)]
    return sorted(chosen), sorted(int(order[n]) for n in guard)


@dataclass(frozen=True, eq=False)
class _Fit:
    """One level: a coarse scan, and parameters in units of about one coarse pixel."""

    session: Session
    weights: Any
    fit_views: list[int]
    guard_views: list[int]
    strength: float
    unit: dict[str, float]

    @classmethod
    def of(cls, session: Session, fit_views: list[int], guard_views: list[int]) -> _Fit:
        weights = cautious_weights(session)
        whole = replace(session.problem, weights=weights)
        share = len(fit_views) / session.scan.views
        strength = QUICK_SHARE * share * typical_diagonal(whole)
        return cls(session, weights, fit_views, guard_views, strength, _units(session))

    def correction(self, at: Floats) -> GeometryCorrection:
        """Return parameters as a correction."""
        pairs = zip(self.unit.items(), at, strict=False)
        return GeometryCorrection(**{name: float(unit * t) for (name, unit), t in pairs})

    def units_of(self, correction: GeometryCorrection) -> Floats:
        """Return a correction as parameters."""
        return np.array([getattr(correction, name) / unit for name, unit in self.unit.items()])

    def improved(self, at: Floats) -> Floats:
        """Return the parameters after one damped Gauss-Newton step, or as they were."""
        here = self._left(at)
        moves = [0.5 * np.eye(len(at))[n] for n in range(len(at))]
        slopes = np.stack([(self._left(at + m) - here) / 0.5 for m in moves])
        normal, right = slopes @ slopes.T, slopes @ here
        level = float(here @ here) / here.size
        # As if each part were known to about two pixels beforehand: what is not seen stays put.
        damped = normal + np.eye(len(at)) * max(level / 4.0, 1e-30)
        step = -np.linalg.solve(damped, right + level / 4.0 * at)
        for shrink in (1.0, 0.4, 0.15):
            new = np.clip(at + shrink * step, -self._most, self._most)
            left = self._left(new)
            if left @ left < here @ here:
                return np.asarray(new)
        return at

    @property
    def _most(self) -> Floats:
        """The largest parameters allowed."""
        most = [MOST.get(name, np.inf) / unit for name, unit in self.unit.items()]
        return np.minimum(most, MOST_PIXELS)

    def guarded(self, at: Floats) -> float:
        """Return the misfit per reading of the views kept aside."""
        residual, weights = self._residual(at, self.guard_views)
        return float((weights * residual**2).sum() / max(int((weights > 0).sum()), 1))

    def _left(self, at: Floats) -> Floats:
        residual, weights = self._residual(at, self.fit_views)
        return (np.sqrt(weights) * residual).ravel()

    def _residual(self, at: Floats, views: list[int]) -> tuple[Floats, Floats]:
        """Return residual and weights of some views, reconstructed from the views to fit."""
        session, geometry = self.session, self.correction(at).applied(self.session.scan.geometry)
        operator = session.operator
        known = operator.with_geometry(geometry[self.fit_views])
        data, weights = session.problem.data, self.weights
        problem = Problem(
            known, data[self.fit_views], weights[self.fit_views], session.problem.spacing_mm,
            support=session.problem.support,
        )  # fmt: skip
        x = consistent(problem, operator.zeros_domain(), strength=self.strength, steps=QUICK_STEPS)
        asked = known if views is self.fit_views else operator.with_geometry(geometry[views])
        residual = operator.to_numpy(asked(x) - data[views]).astype(np.float64)
        return residual, operator.to_numpy(weights[views]).astype(np.float64)


def _coarse_session(inputs: Inputs, cells: int, plan: Plan, job: Job) -> Session:
    _, grid = inputs.require_scan()
    return open_session(coarser(inputs, coarse_shape(grid.shape, cells)), plan, job)


def _units(session: Session) -> dict[str, float]:
    """Return what moves a shadow at the rim of the detector by about one coarse pixel."""
    geometry = session.scan.geometry
    rows, cols = geometry.detector_shape
    pixel_v, pixel_u = geometry.pixel_mm
    arc = max(scan_arc(geometry, half_turn=False).arc_rad, 0.1)
    units = {"shift_u_mm": pixel_u, "arc_scale": 4.0 / cols / arc}
    if rows > 1:
        units["tilt_deg"] = float(np.rad2deg(2.0 / max(rows, cols)))
    if geometry.beam is Beam.CONE:
        units["sdd_scale"] = 2.0 / cols
        if rows > 1:
            units["shift_v_mm"] = pixel_v
    return units


def _judged(fit: _Fit, at: Floats, given: ConeBeamGeometry) -> SelfCalibration:
    """Take away what the views kept aside do not miss, and accept the rest if it helps them."""
    nothing = np.zeros_like(at)
    before, after = fit.guarded(nothing), fit.guarded(at)
    for n in np.argsort(np.abs(at)):
        without = at.copy()
        without[n] = 0.0
        misfit = fit.guarded(without)
        if misfit < (1.0 + MISSED) * after:
            at, after = without, misfit
    found = fit.correction(at)
    accepted = bool(at.any()) and after < (1.0 - LEAST_DROP) * before and before > LEAST_MISFIT
    geometry = found.applied(given) if accepted else given
    return SelfCalibration(geometry, found, accepted, before, after)


def _told(found: GeometryCorrection) -> list[str]:
    parts = []
    if found.shift_u_mm:
        parts.append(f"detector {found.shift_u_mm:+.2f} mm sideways")
    if found.shift_v_mm:
        parts.append(f"{found.shift_v_mm:+.2f} mm along the axis")
    if found.tilt_deg:
        parts.append(f"tilted by {found.tilt_deg:+.2f} degrees")
    if found.arc_scale:
        parts.append(f"views {100 * found.arc_scale:+.2f} % farther apart")
    if found.sdd_scale:
        parts.append(f"detector {100 * found.sdd_scale:+.2f} % farther from the source")
    return parts
