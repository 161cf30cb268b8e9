"""How closely total variation should follow the measurements: as views set aside say.

Layer: recon. The noise level alone does not tell. Without noise a closer fit brings out what little
contrast there is; with noise, or where the object does not fit the model (motion, parts outside the
field of view), it draws streaks. Some views are set aside, the others reconstructed at several
allowed misfits, and the one that foretells the views set aside best is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ctrestorelib.core.job import Job, Stage
from ctrestorelib.recon.coarse_scan import coarse_shape, coarser
from ctrestorelib.recon.session import open_session
from ctrestorelib.recon.tv_pyramid import TvLevel, part_of, tv_pyramid
from ctrestorelib.recon.tv_stage import NOISE_FACTOR
from ctrestorelib.recon.views_aside import misfit_at, views_to_leave_out, without
from ctrestorelib.restorer.plan import Plan
from ctrestorelib.restorer.protocol import Inputs

TARGETS = (1.0, NOISE_FACTOR, 0.55, 0.35, 0.2)
"""Allowed weighted squared residuals per reading that are tried."""
BEGIN = TARGETS.index(NOISE_FACTOR)
GRID = 64
"""Most voxels across of the grid on which they are tried."""
LEAST_GAIN = 0.005
"""Relative fall of the misfit at the views set aside that counts."""


@dataclass(frozen=True, eq=False)
class TvChoice:
    """What was chosen.

    Parameters
    ----------
    target
        Allowed weighted squared residual per reading.
    tried
        Chi-squared per reading at the views set aside, by target.
    without
        The solution at that target without the views set aside; None if there were none.
    """

    target: float
    tried: dict[float, float]
    without: TvLevel | None = None

    def to_json(self) -> dict[str, float]:
        """Return what was tried as plain values."""
        return {
            f"{t:g}": round(found, 4) for t, found in self.tried.items() if math.isfinite(found)
        }


def choose_target(inputs: Inputs, plan: Plan, stage: Stage, most: int = GRID) -> TvChoice:
    """Return the misfit that total variation should be allowed.

    With too few views to spare one it is :data:`~.tv_stage.NOISE_FACTOR`.

    Parameters
    ----------
    inputs, plan
        As for :func:`~ctrestorelib.recon.session.open_session`.
    stage
        Receives progress and is asked for cancel.
    most
        Most voxels across of the grid on which targets are tried.
    """
    views = views_to_leave_out(inputs)
    if not views:
        return TvChoice(NOISE_FACTOR, {})
    _, grid = inputs.require_scan()
    shape = coarse_shape(grid.shape, most)
    silent = Job()  # what there is to say of fewer views is no news of this scan
    full, rest = open_session(coarser(inputs, shape), plan, silent), without(inputs, views)
    levels: dict[int, TvLevel] = {}
    tried: dict[float, float] = {}

    def misfit(index: int, near: int = BEGIN) -> float:
        if index not in levels:
            part = part_of(stage, len(tried) / len(TARGETS), 1 / len(TARGETS))
            # A neighbour's solution is nearly the one that is sought.
            levels[index] = tv_pyramid(rest, plan, silent, part, shape=shape,
                                       target=TARGETS[index], start=levels.get(near))  # fmt: skip
            tried[TARGETS[index]] = (
                math.inf
                if index > near and _own_misfit(levels[index]) > _own_misfit(levels[near])
                else misfit_at(full, views, levels[index].values)
            )
        return tried[TARGETS[index]]

    best = BEGIN
    for step in (1, -1):
        while 0 <= best + step < len(TARGETS) and _falls(misfit(best), misfit(best + step, best)):
            best += step
        if best != BEGIN:
            break
    return TvChoice(TARGETS[best], tried, levels[best])


def _own_misfit(level: TvLevel) -> float:
    """Return chi-squared per reading of the views that a solution was made from.

    A closer target that the steps do not reach (they swing) would end farther away: no choice.
    """
    return level.session.problem.misfit_of(level.values)


def _falls(before: float, after: float) -> bool:
    return after < (1.0 - LEAST_GAIN) * before
