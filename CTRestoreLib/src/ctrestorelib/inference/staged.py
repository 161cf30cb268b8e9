"""The default reconstruction from few views: total variation, learned corrections, measurements.

Layer: inference. On a grid of up to 128 voxels across: a total-variation volume, a learned
correction of it, back to the measurements, a second correction, back again. Views set aside decide
how much of that is kept, down to nothing. The correction is then added to the total-variation
volume on the full grid, pulled to the measurements, refined, and pulled to them again. Without
networks the result is that of total variation; so it is over short arcs and with more views than
any scan of the training had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.job import Job, Stage
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.inference.left_out import Verdict, judge, object_mask
from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.chosen_tv import plain_tv, spans_too_little, tv_within_reach
from ctrestorelib.recon.coarse_scan import resized
from ctrestorelib.recon.learned_prior import (
    Corrected,
    Corrector,
    Level,
    corrected,
    on_grid,
    towards_data,
)
from ctrestorelib.recon.session import Session, watcher
from ctrestorelib.recon.solver import Step
from ctrestorelib.recon.tv_choice import TvChoice, choose_target
from ctrestorelib.recon.tv_pyramid import TvLevel, part_of, tv_pyramid
from ctrestorelib.recon.tv_stage import NOISE_FACTOR
from ctrestorelib.recon.views_aside import views_to_leave_out, without
from ctrestorelib.restorer.plan import Plan, PlannedStage
from ctrestorelib.restorer.protocol import Inputs

Floats = NDArray[np.float32]

COARSE = 128
"""Most voxels across of the grid on which the first two networks work."""
STAGES = ("prior", "correct", "refine")
"""The networks, in the order of their use."""
LEAST_SHARE, FULL_SHARE = 0.05, 0.3
"""A correction of which views set aside confirm less than the first is dropped, one of which they
confirm the second is kept whole. Views between others see little of what a correction adds where
no view looks, so that good ones are confirmed in part only."""
WORST_MISFIT, WORST_RISE = 1.3, 1.25
"""A result must explain the measurements to the first, as chi-squared per reading, or to the second
times that of total variation: where the grid or the geometry keeps both from explaining them."""
LARGEST_ERROR = 0.3
"""A network that expects larger errors in half of the object does not know what it sees (in units
of water; 300 HU)."""
UNEXPLAINED = 2.0
"""Where total variation misses the measurements by more than this chi-squared (the limit of the
light for the fit of the views), something is wrong with the scan that no network was taught, and
views set aside share it."""
CHOICE_SHARE = 0.6
"""Share of the first stage that the choice of the misfit takes."""
NOT_WANTED = "not wanted"
NO_NETWORK = "not used: there is no trained network"
SHORT_ARC = "not used: the views span too short an arc"
MOST_VIEWS = 64
"""Scans of the training have up to 60 views."""
MANY_VIEWS = "not needed: it was learned for scans of few views"
LAPLACE_SD = 2.0**0.5
"""Standard deviation of a Laplace distribution of scale 1."""


@dataclass(frozen=True, kw_only=True)
class StagedSettings:
    """How to run the stages.

    Parameters
    ----------
    strength
        Largest share of the learned correction, 0 to 1.
    check
        Whether views are set aside to decide how much of it is kept.
    coarse
        Most voxels across of the coarse grid.
    calibration
        Factor of the expected errors, as measured on fresh scans.
    """

    strength: float = 1.0
    check: bool = True
    coarse: int = COARSE
    calibration: float = 1.0


@dataclass(frozen=True, eq=False)
class StagedResult:
    """What came out.

    Parameters
    ----------
    session
        Scan and full grid.
    values
        The volume in 1/mm, an array of the operator's kind.
    error_sd
        Expected standard deviation of its error in 1/mm, ``[k, j, i]``; None where no network
        contributed.
    report
        Plain numbers and sentences.
    """

    session: Session
    values: Array
    error_sd: Floats | None
    report: dict[str, Any] = field(default_factory=dict)


def coarse_grid_shape(shape: tuple[int, int, int], most: int = COARSE) -> tuple[int, int, int]:
    """Return the coarse grid of a full one: a whole number of times coarser."""
    times = -(-max(shape) // most)
    k, j, i = (max(1, round(n / times)) for n in shape)
    return k, j, i


def plain_because(geometry: ConeBeamGeometry) -> str:
    """Return why a scan gets plain total variation, without choice or correction; "" if not."""
    if spans_too_little(geometry):
        return SHORT_ARC
    return MANY_VIEWS if geometry.views > MOST_VIEWS else ""


@dataclass(frozen=True, eq=False)
class StagedReconstruction:
    """Runs the stages with the networks that are there.

    Parameters
    ----------
    networks
        By name of :data:`STAGES`; those that are missing are skipped.
    settings
        See :class:`StagedSettings`.
    """

    networks: Mapping[str, Corrector]
    settings: StagedSettings = field(default_factory=StagedSettings)

    def run(
        self, inputs: Inputs, plan: Plan, job: Job, stages: tuple[PlannedStage, ...]
    ) -> StagedResult:
        """Reconstruct.

        Parameters
        ----------
        inputs, plan, job
            As for :func:`~ctrestorelib.recon.session.open_session`.
        stages
            Titles and shares: first estimate, correction, check, full grid, back to the data.
        """
        scan, grid = inputs.require_scan()
        if why := plain_because(scan.geometry):
            return _total_variation(inputs, plan, job, why)
        titles = iter(stages)
        shape = coarse_grid_shape(grid.shape, self.settings.coarse)
        with _open(job, next(titles)) as stage:
            choice = self.choose(inputs, plan, part_of(stage, 0.0, CHOICE_SHARE))
            last = part_of(stage, CHOICE_SHARE, 1.0 - CHOICE_SHARE)
            base, target = tv_within_reach(inputs, plan, job, last, choice.target, shape=shape,
                                           watch=_watch(job, stage))  # fmt: skip
        with _open(job, next(titles)) as stage:
            found = self.correct_coarse(base, stage)
        with _open(job, next(titles)) as stage:
            share, report = self._trusted(inputs, plan, found, stage, choice)
        gain, sd = self._kept(found, share)
        with _open(job, next(titles)) as stage:
            fine = base
            if shape != grid.shape:
                # Large voxels may keep a target out of reach that small ones do not.
                fine, target = tv_within_reach(inputs, plan, job, stage, choice.target, start=base,
                                               watch=_watch(job, stage))  # fmt: skip
        report |= {"tv_misfit_allowed": target, "tv_misfits_tried": choice.to_json()}
        with _open(job, next(titles)) as stage:
            result = self._finished(fine, gain, sd, stage, refine=shape != grid.shape)
        return _accepted(result, fine, report, job)

    def choose(self, inputs: Inputs, plan: Plan, stage: Stage) -> TvChoice:
        """Return how closely total variation should follow the measurements."""
        if self.settings.check:
            return choose_target(inputs, plan, stage)
        return TvChoice(NOISE_FACTOR, {})

    def correct_coarse(self, base: TvLevel, stage: Stage) -> CoarseResult | None:
        """Return the corrected coarse volume; None without a first network."""
        names = [n for n in STAGES[:2] if n in self.networks]
        if STAGES[0] not in names or self.settings.strength == 0.0:
            return None
        level = Level(base.session, base.values)
        x = Corrected(base.values, np.zeros(base.session.grid.shape, np.float32))
        for number, name in enumerate(names):
            stage.done((number + 0.2) / len(names))
            x = corrected(level, x.values, self.networks[name])
            stage.done((number + 0.5) / len(names))
            x = Corrected(towards_data(level, x.values), x.scale)
        return CoarseResult(level, base, x)

    def _trusted(
        self, inputs: Inputs, plan: Plan, found: CoarseResult | None, stage: Stage, choice: TvChoice
    ) -> tuple[float, dict[str, Any]]:
        """Return the share of the correction to keep, and what was found."""
        if found is None:
            return 0.0, {"learned": NOT_WANTED if self.settings.strength == 0.0 else NO_NETWORK}
        expected = found.expected_error()
        report: dict[str, Any] = {"expected_error_in_water": expected}
        if expected > LARGEST_ERROR:
            return 0.0, report | {"learned": "not used: the network does not know such objects"}
        verdict = None
        if self.settings.check:
            verdict = self.verdict(inputs, plan, found.base, stage, choice=choice)
        if verdict is None:
            return self.settings.strength, report | {"learned": "used, not checked"}
        report |= {"left_out": {"views": list(verdict.views), "share": verdict.share,
                                "chi_squared_tv": verdict.before,
                                "chi_squared_learned": verdict.after}}  # fmt: skip
        if verdict.share < LEAST_SHARE:
            return 0.0, report | {"learned": "not used: it does not foretell views set aside"}
        kept = min(1.0, verdict.share / FULL_SHARE) * self.settings.strength
        return kept, report | {"learned": "used", "share_kept": kept}

    def verdict(
        self, inputs: Inputs, plan: Plan, base: TvLevel, stage: Stage, *, choice: TvChoice
    ) -> Verdict | None:
        """Reconstruct without some views, with and without the networks, and compare.

        None where there are too few views.
        """
        views = views_to_leave_out(inputs)
        if not views:
            return None
        silent = Job()  # what there is to say of fewer views is no news of this scan
        shape, plain = base.session.grid.shape, choice.without
        if plain is None or plain.session.grid.shape != shape:
            rest, most = without(inputs, views), part_of(stage, 0.0, 0.7)
            plain = tv_pyramid(rest, plan, silent, most, shape=shape, target=choice.target)
        found = self.correct_coarse(plain, part_of(stage, 0.7, 0.3))
        assert found is not None
        return judge(base.session, views, plain.values, found.better.values)

    def _kept(
        self, found: CoarseResult | None, share: float
    ) -> tuple[Floats | None, Floats | None]:
        """Return the share of the correction that is kept and the expected error, coarse."""
        if found is None or not share > 0.0:
            return None, None
        moved = found.base.session.operator.to_numpy(found.better.values - found.base.values)
        sd = np.hypot(found.better.scale * LAPLACE_SD, (1.0 - share) * moved)
        return moved * np.float32(share), (self.settings.calibration * sd).astype(np.float32)

    def _finished(
        self, fine: TvLevel, gain: Floats | None, sd: Floats | None, stage: Stage, *, refine: bool
    ) -> StagedResult:
        """Return the volume on the full grid, refined and true to the measurements."""
        session = fine.session
        if gain is None:
            return StagedResult(session, fine.values, None)
        level = Level(session, fine.values)
        x = session.problem.constrain(fine.values + on_grid(session, gain))
        if refine:  # else it is a mean of two volumes that explain the measurements
            x = towards_data(level, x)
        stage.done(0.4)
        sd = None if sd is None else resized(sd, session.grid.shape)
        if refine and STAGES[2] in self.networks:
            last = corrected(level, x, self.networks[STAGES[2]])
            stage.done(0.7)
            x = towards_data(level, last.values)
            sd = last.scale * np.float32(LAPLACE_SD * self.settings.calibration)
        return StagedResult(session, x, sd)


@dataclass(frozen=True, eq=False)
class CoarseResult:
    """The coarse grid without and with the learned correction."""

    level: Level
    base: TvLevel
    better: Corrected

    def expected_error(self) -> float:
        """Return the median of the expected error within the object, in units of water."""
        unit = self.level.fixed.unit_per_mm
        inside = object_mask(self.base.session.operator.to_numpy(self.base.values), unit)
        if not inside.any():
            return 0.0
        return float(np.median(self.better.scale[inside])) / unit * LAPLACE_SD


def _accepted(
    result: StagedResult, fine: TvLevel, report: dict[str, Any], job: Job
) -> StagedResult:
    """Return the result, or TV's where that explains the measurements and the result does not."""
    problem = fine.session.problem
    plain = problem.misfit_of(fine.values)
    report = {**report, "chi_squared": plain, "chi_squared_tv": plain}
    if result.error_sd is not None:
        misfit = problem.misfit_of(result.values)
        if why := _refusal(misfit, plain):
            report["learned"] = f"not used: {why}"
            result = StagedResult(result.session, fine.values, None)
        else:
            report["chi_squared"] = misfit
    _tell_of_fall_back(report, job)
    return StagedResult(result.session, result.values, result.error_sd, report)


def _refusal(misfit: float, plain: float) -> str:
    """Return why a result of this chi-squared is refused, given that of TV; "" if it is not."""
    if plain > UNEXPLAINED:
        return "no volume explains the measurements"
    if misfit > max(WORST_MISFIT, WORST_RISE * plain):
        return "the measurements contradict it"
    return ""


def _total_variation(inputs: Inputs, plan: Plan, job: Job, why: str) -> StagedResult:
    """Return what the method ``tv`` gives."""
    session, answer = plain_tv(inputs, plan, job)
    report = {"learned": why, **answer.report}
    _tell_of_fall_back(report, job)
    return StagedResult(session, answer.solution.values, None, report)


def _tell_of_fall_back(report: dict[str, Any], job: Job) -> None:
    if str(report.get("learned", "")).startswith("not used"):
        text = (
            f"The learned correction was {report['learned']}. The result is that of total "
            "variation."
        )
        job.warn("fell-back-to-tv", text)


def _open(job: Job, planned: PlannedStage) -> Any:
    return job.stage(planned.title, planned.share)


def _watch(job: Job, stage: Stage) -> Callable[[Session], Callable[[Step, Array], None]]:
    return lambda session: watcher(session, job, stage)
