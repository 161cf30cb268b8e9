"""Total variation as close to the measurements as views set aside ask for (layer: recon)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ctrestorelib.core.job import Job, Stage
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.recon.arc import scan_arc
from ctrestorelib.recon.iterative import Answer, Runner
from ctrestorelib.recon.presets import preset_name
from ctrestorelib.recon.session import Session, open_session, watcher
from ctrestorelib.recon.tv_choice import GRID, TARGETS, choose_target
from ctrestorelib.recon.tv_pyramid import TvLevel, Watch, level_steps, part_of, tv_pyramid
from ctrestorelib.recon.tv_stage import TV_PRESETS, run_tv, tv_stages
from ctrestorelib.restorer.plan import Plan
from ctrestorelib.restorer.protocol import Inputs

SHORTEST_ARC_RAD = np.deg2rad(100.0)
"""Over a shorter arc views set aside tell nothing of the directions that no view looks along."""
REACHED, EXPLAINED = 1.5, 2.0
"""A target is reached if the misfit is at most so many times as large, or explains the measurements
to this chi-squared. Where no volume explains them (scatter, a geometry that is not quite right),
steps towards a target out of reach swing farther and farther from it: a looser one is taken as long
as it ends nearer to the measurements, no further, for it also smooths."""
FIRST_TRY = 0.6
"""Share of the last stage that its first target takes."""
TITLES = "Choose the smoothing", "Remove streaks within the noise"


def spans_too_little(geometry: ConeBeamGeometry) -> bool:
    """Return whether the views span too short an arc for some of them to judge the others."""
    return bool(scan_arc(geometry).arc_rad < SHORTEST_ARC_RAD)


def plain_tv(inputs: Inputs, plan: Plan, job: Job) -> tuple[Session, Answer]:
    """Return what the method ``tv`` gives, in stages of its own."""
    session = open_session(inputs, plan, job)
    return session, run_tv(session, Runner(session, job, plain_stages(session.scan.views)))


def plain_stages(views: int) -> tuple[tuple[str, int], ...]:
    """Return titles and steps of the stages of :func:`plain_tv`."""
    return tv_stages(int(TV_PRESETS[preset_name(views)]["iterations"]))


def chosen_stages(shape: tuple[int, int, int]) -> tuple[tuple[str, int], ...]:
    """Return titles of the two stages and their work, in steps on the grid of ``shape``."""
    voxels = float(np.prod(shape))
    tried = min(1.0, (GRID / max(shape)) ** 3) * voxels
    last = sum(float(np.prod(size)) * steps for size, steps in level_steps(shape))
    most = len(TARGETS) / 2 * level_steps((GRID,) * 3)[-1][1]
    return (TITLES[0], max(1, round(most * tried / voxels))), (TITLES[1], round(last / voxels))


def chosen_tv(
    inputs: Inputs, plan: Plan, job: Job, least: float = TARGETS[-1]
) -> tuple[Session, Answer]:
    """Return the session and total variation at the misfit that views set aside choose.

    Over a short arc it is that of the method ``tv``. The report tells what was tried.

    Parameters
    ----------
    inputs, plan, job
        As for :func:`~ctrestorelib.recon.session.open_session`; the plan's stages are those of
        :func:`chosen_stages`.
    least
        See :func:`~ctrestorelib.recon.tv_choice.choose_target`.
    """
    scan, _ = inputs.require_scan()
    if spans_too_little(scan.geometry):
        session, answer = plain_tv(inputs, plan, job)
        return session, Answer(answer.solution, {**answer.report, "tv_misfits_tried": {}})
    first, last = plan.stages
    with job.stage(first.title, first.share) as stage:
        choice = choose_target(inputs, plan, stage, least=least)
    with job.stage(last.title, last.share) as stage:
        found, reached = tv_within_reach(
            inputs, plan, job, stage, choice.target, watch=_watched(job, stage)
        )
    report = {
        "tv_misfit_allowed": reached,
        "tv_misfit_chosen": choice.target,
        "tv_misfits_tried": choice.to_json(),
    }
    return found.session, Answer(found.solution, report)


def tv_within_reach(
    inputs: Inputs,
    plan: Plan,
    job: Job,
    stage: Stage,
    target: float,
    *,
    shape: tuple[int, int, int] | None = None,
    start: TvLevel | None = None,
    watch: Callable[[Session], Watch] | None = None,
) -> tuple[TvLevel, float]:
    """Return the solution at the closest target within reach from ``target`` on, and that.

    Arguments as of :func:`~ctrestorelib.recon.tv_pyramid.tv_pyramid`.
    """
    best: tuple[TvLevel, float] | None = None
    least, done, share = np.inf, 0.0, FIRST_TRY
    for wanted in (t for t in reversed(TARGETS) if t >= target):
        part = part_of(stage, done, share)
        found = tv_pyramid(
            inputs, plan, job, part, shape=shape, start=start, target=wanted, watch=watch
        )
        misfit = found.session.problem.misfit_of(found.values)
        if best is not None and misfit >= least:
            break
        best, least = (found, wanted), misfit
        if misfit <= max(REACHED * wanted, EXPLAINED):
            break
        done, share = done + share, (1.0 - done - share) / 2
    assert best is not None
    return best


def _watched(job: Job, stage: Stage) -> Callable[[Session], Watch]:
    return lambda session: watcher(session, job, stage)
