"""How well a reconstruction predicts a view that it never saw (layer: recon).

A quality index that needs no ground truth, on any real scan: leave a view out, reconstruct from the
others by the same method, project the result where the view was taken, and compare. A method that
invents structures, or a geometry that is wrong, predicts badly. With few views the gap left behind
is wide, so the score is a little worse than what the full scan deserves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.job import Stage
from ctrestorelib.core.volume import Volume
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.quality.result import Measure, Verdict
from ctrestorelib.recon.arc import scan_arc
from ctrestorelib.recon.noise_level import data_noise
from ctrestorelib.recon.session import PATH_FLOOR

Reconstruction = Callable[[ProjectionSet], Volume]
"""From line integrals of some views to a volume in 1/mm; the grid may be any that holds all."""

FEWEST = 4
GOOD_PERCENT, BAD_PERCENT = 2.0, 5.0
"""Prediction errors beyond noise, in percent of the view, up to which good and above which bad."""

NO_BETTER = 0.9
"""A prediction with more than this share of the neighbours' error has learnt nothing."""


@dataclass(frozen=True)
class LeftOutView:
    """One view that was left out and predicted.

    Parameters
    ----------
    view
        Its number, from 0.
    chi_squared
        Of the prediction per reading; 1 would be perfect.
    percent
        Root of the squared error relative to the view, in percent.
    noise_percent
        What noise alone would make of it.
    neighbours_percent
        The error of a blend of the two nearest views, without any reconstruction.
    """

    view: int
    chi_squared: float
    percent: float
    noise_percent: float
    neighbours_percent: float

    @property
    def beyond_noise(self) -> float:
        """The error that noise does not explain, in percent."""
        return float(max(self.percent**2 - self.noise_percent**2, 0.0) ** 0.5)


@dataclass(frozen=True)
class LeftOutScore:
    """All left-out views together."""

    views: tuple[LeftOutView, ...]

    @property
    def percent(self) -> float:
        """Mean prediction error beyond noise, in percent."""
        return float(np.mean([v.beyond_noise for v in self.views]))

    @property
    def chi_squared(self) -> float:
        """Mean chi-squared per reading."""
        return float(np.mean([v.chi_squared for v in self.views]))

    @property
    def neighbours_percent(self) -> float:
        """Mean error of blending the neighbouring views."""
        return float(np.mean([v.neighbours_percent for v in self.views]))

    @property
    def is_no_better(self) -> bool:
        """Whether blending the neighbouring views predicts as well."""
        whole = float(np.mean([v.percent for v in self.views]))
        return whole > NO_BETTER * self.neighbours_percent and self.percent > GOOD_PERCENT

    @property
    def verdict(self) -> Verdict:
        """Green where predictions hold, red where they are far off or no better than a blend."""
        if self.percent > BAD_PERCENT or self.is_no_better:
            return Verdict.RED
        return Verdict.GREEN if self.percent <= GOOD_PERCENT else Verdict.AMBER

    @property
    def sentence(self) -> str:
        """What the numbers say."""
        told = (
            f"A view that was left out is predicted to within {self.percent:.1f} % "
            f"(blending its neighbours: {self.neighbours_percent:.1f} %)"
        )
        if self.is_no_better:
            return f"{told}: from other directions the volume is no better than a blend of views."
        ending = {
            Verdict.GREEN: ": the volume holds from directions that were not measured",
            Verdict.AMBER: ": details differ from directions that were not measured",
            Verdict.RED: ": from other directions the volume does not hold",
        }
        return f"{told}{ending[self.verdict]}."

    def to_json(self) -> dict[str, Any]:
        """Return the scores as plain values."""
        return {
            "percent": self.percent,
            "chi_squared": self.chi_squared,
            "neighbours_percent": self.neighbours_percent,
            "views": [dict(v.__dict__) for v in self.views],
        }

    def to_measure(self) -> Measure:
        """Return the score as one line of a table."""
        numbers = ", ".join(str(v.view + 1) for v in self.views)
        return Measure(
            "left_out_view", "Does it predict a view it never saw?", self.percent, "%",
            verdict=self.verdict, sentence=self.sentence,
            protocol=f"reconstructed without view {numbers} in turn; error beyond noise",
            details=self.to_json(),
        )  # fmt: skip


def left_out_score(
    scan: ProjectionSet,
    reconstruct: Reconstruction,
    *,
    views: Sequence[int] | None = None,
    count: int = 2,
    stage: Stage | None = None,
) -> LeftOutScore:
    """Reconstruct without each of some views in turn, predict them, and score the predictions.

    Parameters
    ----------
    scan
        Line integrals or counts, at least four views.
    reconstruct
        Any method, as a function of a scan.
    views
        Which views to leave out, one at a time; by default ``count`` of them, see
        :func:`inner_views`.
    stage
        Receives progress and is asked for cancel before every reconstruction.

    Raises
    ------
    UsageError
        If the scan has fewer than four views, or a number in ``views`` is none of its views.
    """
    scan = scan.to_line_integrals()
    if scan.views < FEWEST:
        message = f"Leaving a view out needs at least {FEWEST} views; this scan has {scan.views}."
        raise UsageError(message)
    chosen = inner_views(scan, count) if views is None else tuple(views)
    if not chosen or not all(0 <= v < scan.views for v in chosen):
        message = f"Views to leave out must be numbers from 0 to {scan.views - 1}; got {chosen}."
        raise UsageError(message)
    noise = data_noise(scan).variance
    found = []
    for view in chosen if stage is None else stage.track(chosen):
        others = [n for n in range(scan.views) if n != view]
        volume = reconstruct(scan[others])
        found.append(_scored(scan, view, volume, noise[view]))
    return LeftOutScore(tuple(found))


def inner_views(scan: ProjectionSet, count: int) -> tuple[int, ...]:
    """Return ``count`` views spread over the scan, none at the end of an open arc."""
    arc = scan_arc(scan.geometry)
    order = np.argsort(arc.position_rad, kind="stable")
    if not arc.closed:
        order = order[1:-1]
    count = min(count, len(order))
    return tuple(int(order[(2 * n + 1) * len(order) // (2 * count)]) for n in range(count))


def _scored(
    scan: ProjectionSet, view: int, volume: Volume, variance: NDArray[np.float32]
) -> LeftOutView:
    operator = XrayOperator(scan.geometry[[view]], volume.geometry, threads=1, arrays="numpy")
    paths = operator.to_numpy(operator(operator.zeros_domain() + 1.0))[0]
    predicted = operator.to_numpy(operator(operator.asarray(volume.values)))[0]
    used = paths >= PATH_FLOOR * float(paths.max(initial=0.0))
    data = scan.values[view]
    squares = np.where(used, np.square(predicted - data), 0.0).astype(np.float64)
    blended = np.where(used, np.square(_blend(scan, view) - data), 0.0)
    size = max(float(np.where(used, np.square(data), 0.0).sum(dtype=np.float64)), 1e-30)
    return LeftOutView(
        view,
        float((squares / variance).sum() / max(int(used.sum()), 1)),
        100.0 * float(squares.sum() / size) ** 0.5,
        100.0 * float(np.where(used, variance, 0.0).sum(dtype=np.float64) / size) ** 0.5,
        100.0 * float(blended.sum(dtype=np.float64) / size) ** 0.5,
    )


def _blend(scan: ProjectionSet, view: int) -> NDArray[np.float32]:
    """Return the mean of the nearest views on both sides, weighted by nearness in angle."""
    away = scan.geometry.angles_rad - scan.geometry.angles_rad[view]
    away = (away + np.pi) % (2 * np.pi) - np.pi
    away[view] = np.nan
    sides = [np.where(away > 0, away, np.nan), np.where(away <= 0, -away, np.nan)]
    nearest = [(int(np.nanargmin(s)), float(np.nanmin(s))) for s in sides if np.isfinite(s).any()]
    weights = np.array([1.0 / max(gap, 1e-9) for _, gap in nearest])
    weights /= weights.sum()
    parts = (w * scan.values[n] for w, (n, _) in zip(weights, nearest, strict=True))
    return np.asarray(sum(parts), dtype=np.float32)
