"""How closely total variation should follow the measurements: as views set aside say.

Layer: recon. The noise level alone does not tell. Without noise a closer fit brings out what little
contrast there is; with noise, or where no object explains the measurements (scatter, motion, a
geometry that is not quite right), it draws streaks. Some views are set aside, the others
reconstructed at several allowed misfits, and the one that foretells the views set aside best is
taken. They are compared as images are: see :func:`~ctrestorelib.recon.views_aside.image_product`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.job import Job, Stage
from ctrestorelib.recon.coarse_scan import coarse_shape, coarser
from ctrestorelib.recon.session import open_session
from ctrestorelib.recon.tv_pyramid import TvLevel, part_of, tv_pyramid
from ctrestorelib.recon.tv_stage import NOISE_FACTOR
from ctrestorelib.recon.views_aside import missed_at, row_products, views_to_leave_out, without
from ctrestorelib.restorer.plan import Plan
from ctrestorelib.restorer.protocol import Inputs

Rows = NDArray[np.float64]
"""What was missed in each row of the views set aside."""

TARGETS = (16.0, 8.0, 4.0, 2.0, 1.0, NOISE_FACTOR, 0.55, 0.35, 0.2)
"""Allowed weighted squared residuals per reading that are tried, as far as they help."""
BEGIN = TARGETS.index(NOISE_FACTOR)
MANY_VIEWS = 16
"""With as many views or more, what the model gets wrong of every view (partial volume, scatter)
weighs more than streaks, and views set aside share it: they prefer too close a fit."""
LEAST_TARGET = 0.55
"""A closer fit is taken then only for a clear gain, if the dose is known (an unknown one is guessed
too low)."""
CLEAR_GAIN = 0.125
"""Relative fall of the squared error at the views set aside that such a step must bring: behind the
thick bone of a skull it does. Soft tissue gains a tenth and gets worse all the same. So must a step
to a looser fit than the noise asks for: a tooth on a detector of two rows, whose model is wrong,
gains a third and more. Of six views, one set aside leaves a gap that a smooth volume fills best,
though all six show bones."""
GRID = 64
"""Most voxels across of the grid on which they are tried."""
LEAST_GAIN, PLAIN_GAIN = 0.005, 0.02
"""Relative falls of the squared error at the views set aside: the least that may count, and what
counts where the detector has too few rows to tell chance from gain."""
LEAST_ROWS, LEAST_T = 8, 2.0
"""Rows of views set aside that tell it, and standard errors that the mean gain of a row must reach.
Noise of the views set aside is the same for every target, but what it says of their differences
is not."""


@dataclass(frozen=True, eq=False)
class TvChoice:
    """What was chosen.

    Parameters
    ----------
    target
        Allowed weighted squared residual per reading.
    tried
        Squared error at the views set aside as a share of what they measured, by target.
    without
        The solution at that target without the views set aside; None if there were none.
    """

    target: float
    tried: dict[float, float]
    without: TvLevel | None = None

    def to_json(self) -> dict[str, float]:
        """Return what was tried as plain values."""
        return {
            f"{t:g}": round(found, 6) for t, found in self.tried.items() if math.isfinite(found)
        }


def choose_target(
    inputs: Inputs, plan: Plan, stage: Stage, most: int = GRID, *, least: float = TARGETS[-1]
) -> TvChoice:
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
    least
        The closest target that may be tried, at most :data:`~.tv_stage.NOISE_FACTOR`.
    """
    views = views_to_leave_out(inputs)
    if not views:
        return TvChoice(NOISE_FACTOR, {})
    _, grid = inputs.require_scan()
    shape = coarse_shape(grid.shape, most)
    silent = Job()  # what there is to say of fewer views is no news of this scan
    full, rest = open_session(coarser(inputs, shape), plan, silent), without(inputs, views)
    nothing = missed_at(full, views, full.operator.zeros_domain())
    measured = max(float(row_products(nothing, nothing).sum()), 1e-30)
    levels: dict[int, TvLevel] = {}
    rows: dict[int, Rows] = {}

    def missed(index: int, near: int = BEGIN) -> Rows:
        if index not in levels:
            part = part_of(stage, len(rows) / len(TARGETS), 1 / len(TARGETS))
            # A neighbour's solution is nearly the one that is sought.
            levels[index] = tv_pyramid(rest, plan, silent, part, shape=shape,
                                       target=TARGETS[index], start=levels.get(near))  # fmt: skip
            swings = index > near and _own_misfit(levels[index]) > _own_misfit(levels[near])
            left = missed_at(full, views, levels[index].values)
            rows[index] = np.full(1, np.inf) if swings else row_products(left, left) / measured
        return rows[index]

    def better(index: int, near: int) -> bool:
        closest = shared and TARGETS[index] < LEAST_TARGET
        share = CLEAR_GAIN if closest or index < BEGIN else LEAST_GAIN
        return _falls(missed(near), missed(index, near), share)

    best, last = BEGIN, _last_target(least)
    shared = _many_views(inputs)
    for step in (-1, 1):
        while 0 <= best + step <= last and better(best + step, best):
            best += step
        if best != BEGIN:
            break
    tried = {TARGETS[index]: float(found.sum()) for index, found in rows.items()}
    return TvChoice(TARGETS[best], tried, levels[best])


def _many_views(inputs: Inputs) -> bool:
    """Return whether views set aside share what the model gets wrong, and the dose is known."""
    scan, _ = inputs.require_scan()
    return scan.views >= MANY_VIEWS and scan.i0 is not None


def _last_target(least: float) -> int:
    return max(BEGIN, sum(target >= least for target in TARGETS) - 1)


def _own_misfit(level: TvLevel) -> float:
    """Return chi-squared per reading of the views that a solution was made from.

    A closer target that the steps do not reach (they swing) would end farther away: no choice.
    """
    return level.session.problem.misfit_of(level.values)


def _falls(before: Rows, after: Rows, least_share: float = LEAST_GAIN) -> bool:
    """Return whether the error of the rows falls by a share at least, and by more than chance."""
    if not np.isfinite(after).all() or not before.sum() > 0.0:
        return False
    gains = before - after
    share = gains.sum() / before.sum()
    if len(gains) < LEAST_ROWS:
        return bool(share > max(least_share, PLAIN_GAIN))
    error = gains.std(ddof=1) / math.sqrt(len(gains))
    return bool(share > least_share and gains.mean() > LEAST_T * error)
