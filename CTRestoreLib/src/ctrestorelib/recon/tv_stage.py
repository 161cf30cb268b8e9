"""The stages that TV and PICCS share: a warm start, then primal-dual steps (layer: recon)."""

from __future__ import annotations

from typing import Annotated, Any

from ctrestorelib.core.params import Param
from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.iterative import Answer, Runner
from ctrestorelib.recon.presets import by_views
from ctrestorelib.recon.session import Session, typical_contrast
from ctrestorelib.recon.solver import Stagnation
from ctrestorelib.recon.tv import Term, TotalVariation
from ctrestorelib.recon.warm_start import START_SWEEPS, START_TITLE, first_sweeps

CALM = 3e-4
"""Relative change per iteration below which nothing visible happens any more."""

NOISE_FACTOR = 0.8
"""Allowed misfit. At exactly 1 TV smooths too much: any solution fits a part of the noise."""

TvIterations = Annotated[
    int | None,
    Param(
        "Iterations",
        "Primal-dual steps, at most; it stops earlier when the volume no longer changes.",
        bounds=(1, 5000),
    ),
]

AllowedMisfit = Annotated[
    float,
    Param(
        "Allowed misfit",
        "Squared residual that may remain, in units of the noise. Higher is smoother.",
        bounds=(0.01, 100.0),
    ),
]
"""Parameter of all methods that stop where the measurements are explained."""

TV_PRESETS = by_views({"iterations": 150}, {"iterations": 120}, {"iterations": 100})


def tv_stages(iterations: int) -> tuple[tuple[str, int], ...]:
    """Return titles and iterations of the two stages."""
    return ((START_TITLE, START_SWEEPS), ("Remove streaks within the noise", iterations))


def pace_of(session: Session, first: Array) -> dict[str, Any]:
    """Return step sizes of :class:`TotalVariation` that suit a scan; no result depends on them.

    With more views the first estimate is nearer, and the data decide more: smaller steps of the
    volume, larger ones of the data's dual.
    """
    views = max(session.scan.views, 10)
    contrast = typical_contrast(first, session.operator.to_numpy)
    return {"contrast_per_mm": contrast * (10 / views) ** 0.5, "balance": views / 5}


def run_tv(
    session: Session,
    runner: Runner,
    *,
    terms: tuple[Term, ...] = (Term(),),
    target: float = NOISE_FACTOR,
    weight: float | None = None,
    start: Array | None = None,
) -> Answer:
    """Run both stages and report the weight that the noise level stood for.

    ``weight`` multiplies the total variation; None enforces the misfit ``target``. ``start``
    replaces the first estimate from which the warm start begins.
    """
    first = first_sweeps(session, runner, start)
    solver = TotalVariation(
        terms,
        data_weight=None if weight is None else 1.0 / weight,
        target=target,
        **pace_of(session, first.values),
    )
    solution = runner(solver, start=first.values, rules=(Stagnation(CALM, 3, 1.1 * target),))
    found = solution.state.data_weight
    return Answer(solution, {"smoothing_weight_mm2": 1.0 / found if found > 0 else None})
