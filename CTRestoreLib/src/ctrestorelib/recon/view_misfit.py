"""How well a volume explains each single view, and which views stand out (layer: recon).

Chi-squared per reading is 1 where a view is explained to within its noise. A view far above the
others was taken of something else than the others: a patient who moved, a wrong angle, a detector
that saturated, a tube that drifted. To first order such a view differs from its prediction by a
shift (its slope along columns and rows) and by a constant: both are fitted to its residual, and if
they explain much of it they name the cause.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.quality.result import Measure, Verdict

GOOD, BAD = 1.3, 2.0
"""Chi-squared per reading up to which a fit is good, and above which it is not safe."""

FITTED_NOISE = 0.2
"""Below this share of the expected misfit the volume holds the noise of the views."""

STANDS_OUT = 2.0
"""A view stands out above this multiple of the typical view,"""

DEVIATIONS = 6.0
"""and this many robust standard deviations above it."""

TELLING_SHARE = 0.25
"""A cause is named if it explains this share of a view's misfit."""

CLIPPED_SHARE = 0.002
CLIPPED_READINGS = 8
"""Readings of one and the same extreme value that make a view clipped: both must be exceeded."""

FLAT_LEVEL = 0.02
"""A clipped floor below this share of the largest line integral is air, set to zero on purpose."""

Array = NDArray[np.float32]


@enum.unique
class Cause(str, enum.Enum):
    """What a standing-out view looks like; the value is the sentence a person reads."""

    CLIPPED = "readings are cut off: the detector was saturated or saw no photons"
    SHIFTED = (
        "it looks shifted: the object moved, or detector or angle are not where they should be"
    )
    BRIGHTNESS = "it is brighter or darker as a whole: the tube's output differed"
    UNKNOWN = "it shows something that the other views do not: motion, a wrong angle, or metal"


@dataclass(frozen=True)
class OddView:
    """A view that stands out: number (from 0), chi-squared per reading, and what it looks like."""

    view: int
    chi_squared: float
    cause: Cause


@dataclass(frozen=True)
class ViewMisfit:
    """The fit of every view.

    Parameters
    ----------
    chi_squared
        Per reading of every view; 1 is expected, NaN for views without a used reading.
    overall
        Per reading of the whole scan.
    readings
        How many readings of every view were used.
    shift_px
        By how many pixels ``(along rows v, along columns u)`` each view appears to be shifted
        against its prediction. The reconstruction follows a wrong view in part, so the true shift
        is larger.
    odd
        Views that stand out, worst first.
    """

    chi_squared: tuple[float, ...]
    overall: float
    readings: tuple[int, ...]
    shift_px: tuple[tuple[float, float], ...]
    odd: tuple[OddView, ...]

    @property
    def verdict(self) -> Verdict:
        """Green where noise explains what is left, red where more than twice as much is left."""
        if self.overall > BAD:
            return Verdict.RED
        if self.overall > GOOD or self.overall < FITTED_NOISE or self.odd:
            return Verdict.AMBER
        return Verdict.GREEN

    @property
    def sentence(self) -> str:
        """What the numbers say."""
        return f"{self._fit()} {self._odd()}".strip()

    def to_json(self) -> dict[str, Any]:
        """Return verdict, sentence and odd views as plain values."""
        return {
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "shift_px_per_view": [[round(v, 3), round(u, 3)] for v, u in self.shift_px],
            "standing_out": [
                {"view": o.view, "chi_squared": round(o.chi_squared, 4), "cause": o.cause.value}
                for o in self.odd
            ],
        }

    def to_measure(self) -> Measure:
        """Return the fit as one line of a table."""
        return Measure(
            "view_fit", "Do the views agree with the volume?", self.overall, "",
            verdict=self.verdict, sentence=self.sentence,
            protocol="weighted squared residual per reading; weights are one over the variance",
            details={**self.to_json(), "chi_squared_per_view": list(self.chi_squared)},
        )  # fmt: skip

    def _fit(self) -> str:
        number = f"misfit {self.overall:.2f} per reading, 1 expected"
        if self.overall > BAD:
            return (
                f"The volume does not explain the measurements ({number}): motion, a wrong "
                "geometry, voxels too large for these views, an object larger than the grid, or a "
                "method that never compares its result with the views."
            )
        if self.overall > GOOD:
            return f"The volume explains the measurements only roughly ({number})."
        if self.overall < FITTED_NOISE:
            return (
                f"The volume follows the noise of the views ({number}): grainier than it need be."
            )
        return f"The volume explains the measurements as well as their noise allows ({number})."

    def _odd(self) -> str:
        if not self.odd:
            return ""
        first = self.odd[0]
        if len(self.odd) == 1:
            return f"View {first.view + 1} stands out: {first.cause.value}."
        numbers = ", ".join(str(o.view + 1) for o in self.odd[:6])
        more = f" and {len(self.odd) - 6} more" if len(self.odd) > 6 else ""
        worst = f"the worst, view {first.view + 1}: {first.cause.value}"
        return f"Views {numbers}{more} stand out; {worst}."


def view_misfit(residual: Array, data: Array, weights: Array) -> ViewMisfit:
    """Judge the residual of a reconstruction view by view; costs no projection.

    Parameters
    ----------
    residual
        Reprojection minus data, [view, row, col].
    data
        Line integrals, same shape.
    weights
        One over the variance; readings of weight 0 are left out.
    """
    totals, counts, shifts, causes = [], [], [], []
    top = float(data.max(initial=0.0))
    for r, p, w in zip(residual, data, weights, strict=True):
        used = w > 0
        total = float(np.where(used, w * np.square(r), 0.0).sum(dtype=np.float64))
        totals.append(total)
        counts.append(int(used.sum()))
        shift, cause = _diagnosis(r, p, w, total)
        shifts.append(shift)
        causes.append(Cause.CLIPPED if _is_clipped(p, w, top) else cause)
    chi = tuple(t / n if n else np.nan for t, n in zip(totals, counts, strict=True))
    values = np.array(chi)
    overall = float(np.sum(totals) / max(sum(counts), 1))
    odd = tuple(OddView(int(n), float(values[n]), causes[n]) for n in _standing_out(values))
    return ViewMisfit(chi, overall, tuple(counts), tuple(shifts), odd)


def _standing_out(chi: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the views far above the typical one, worst first; never from fewer than four."""
    known = chi[np.isfinite(chi)]
    if known.size < 4:
        return np.array([], dtype=np.intp)
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    limit = max(STANDS_OUT * middle, middle + DEVIATIONS * spread, GOOD)
    above = np.flatnonzero(np.nan_to_num(chi, nan=0.0) > limit)
    return above[np.argsort(-chi[above], kind="stable")]


def _diagnosis(r: Array, p: Array, w: Array, total: float) -> tuple[tuple[float, float], Cause]:
    """Return the apparent shift ``(v, u)`` in pixels and the cause it stands for."""
    # What the volume predicts is smoother than the data, so its slopes tell shifts with less bias.
    predicted = (r + p).astype(np.float64)
    slopes = [np.gradient(predicted, axis=a) if p.shape[a] > 1 else 0.0 * predicted for a in (0, 1)]
    fields = np.stack([*slopes, np.ones_like(predicted)]).reshape(3, -1)
    weighted = fields * w.reshape(-1)
    normal, right = weighted @ fields.T, weighted @ r.reshape(-1).astype(np.float64)
    scale = np.maximum(np.sqrt(np.diag(normal)), 1e-30)
    found = np.linalg.lstsq(normal / np.outer(scale, scale), right / scale, rcond=1e-8)[0]
    # A reading at u that shows what was predicted at u - s has residual s times the slope.
    shift = (float(found[0] / scale[0]), float(found[1] / scale[1]))
    if total <= 0.0:
        return shift, Cause.UNKNOWN
    moved, constant = float(found[:2] @ (right / scale)[:2]), float(found[2] * (right / scale)[2])
    if max(moved, constant) < TELLING_SHARE * total:
        return shift, Cause.UNKNOWN
    return shift, Cause.SHIFTED if moved >= constant else Cause.BRIGHTNESS


def _is_clipped(p: Array, w: Array, top: float) -> bool:
    """Whether many readings share the view's largest value, or a smallest one that is not air."""
    values = p[w > 0]
    if values.size == 0 or values.min() == values.max():
        return False
    least = max(CLIPPED_READINGS, CLIPPED_SHARE * values.size)
    dark = int((values == values.max()).sum()) > least
    bright = values.min() > FLAT_LEVEL * top and int((values == values.min()).sum()) > least
    return dark or bool(bright)
