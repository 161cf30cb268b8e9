"""Rows that the object overfills: found, continued, told (layer: recon).

A row that does not end in air has a jump at its end for the ramp filter, which brightens the border
of the field of view. A tail removes the jump: the squared line integrals of an ellipse are a
parabola, so each row is continued by the parabola that has its value and slope at the end, and the
bend that is typical of the scan (after Hsieh et al., Med. Phys. 31 (2004) 2385,
doi:10.1118/1.1776673, with the bend measured instead of water assumed). The values near the border
stay estimates.
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.job import Job

TRUNCATED_LEVEL = 0.05
"""A row is cut off where its end exceeds this share of the scan's largest line integral."""

EDGE_COLUMNS = 3
"""Columns averaged for the value at a row's end."""

FIT_SHARE = 1 / 16
"""Share of the columns from which a row's slope at its end is measured."""

TRUNCATED_ROWS = 0.01
"""Share of cut-off rows from which a side counts as truncated."""


@enum.unique
class Truncation(str, enum.Enum):
    """What happens to rows that the object overfills."""

    AUTO = "auto"
    NONE = "none"
    EXTEND = "extend"


def truncated_sides(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the share of rows that are cut off at the first and at the last column."""
    left, right = _cut_off(_sample(values))
    return float(left.mean()), float(right.mean())


def typical_bend(values: NDArray[np.float32]) -> float:
    """Return the curvature ``-d^2(p^2)/dx^2 / 2`` per column squared, typical of cut-off rows.

    For an ellipse of uniform attenuation it is the same everywhere in a view. 0 if no row is cut
    off.
    """
    some = _sample(values)
    left, right = _cut_off(some)
    rows = some[left | right].astype(np.float64)
    cols = some.shape[-1]
    if not len(rows) or cols < 3:
        return 0.0
    x = np.linspace(-1.0, 1.0, cols)
    second = -np.polynomial.polynomial.polyfit(x, (rows * np.abs(rows)).T, 2)[2]
    least = 0.1 * float(np.median((rows**2).max(axis=1)))  # no tail longer than about the row
    return float(max(np.median(second), least) / ((cols - 1) / 2.0) ** 2)


def tail(end: NDArray[np.float32], bend: float, columns: int) -> NDArray[np.float32]:
    """Return the continuation ``(row, columns)`` of rows beyond their ends.

    Parameters
    ----------
    end
        ``(row, col)``: the last columns of the rows, outermost last.
    bend
        Curvature of the squared values per column squared; see :func:`typical_bend`.
    columns
        Length of the tail; its outer half is faded out.
    """
    squared = end * np.abs(end)
    x = np.arange(end.shape[1], dtype=np.float32) - np.float32(end.shape[1] - 1)
    centred = x - x.mean()
    # The parabola's own bend must not tilt the line fitted to it.
    straight = squared + np.float32(bend) * x * x
    slope = (straight @ centred) / max(float(centred @ centred), 1e-9)
    value = straight.mean(axis=1) - slope * x.mean()
    d = np.arange(1, columns + 1, dtype=np.float32)
    parabola = value[:, None] + slope[:, None] * d - np.float32(bend) * d * d
    fade = np.cos(np.pi / 2 * np.clip(2.0 * d / columns - 1.0, 0.0, 1.0)).astype(np.float32)
    return np.asarray(np.sqrt(np.maximum(parabola, 0.0)) * fade, dtype=np.float32)


def fit_columns(columns: int) -> int:
    """Return how many columns at a row's end its value and slope are measured from."""
    return min(columns, max(EDGE_COLUMNS, int(columns * FIT_SHARE)))


def _sample(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values[:: max(1, len(values) // 64)]


def _cut_off(some: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return for each (view, row) whether it is cut off at the first and at the last column."""
    level = max(TRUNCATED_LEVEL * float(some.max(initial=0.0)), 1e-30)
    width = min(EDGE_COLUMNS, some.shape[-1])
    return some[..., :width].mean(axis=-1) > level, some[..., -width:].mean(axis=-1) > level


def extension(shares: tuple[float, float], columns: int, truncation: Truncation) -> tuple[int, int]:
    """Return by how many columns the rows are continued on the left and right."""
    truncation = Truncation(truncation)
    if truncation is Truncation.NONE:
        return 0, 0
    always = truncation is Truncation.EXTEND
    left, right = (columns if always or s > TRUNCATED_ROWS else 0 for s in shares)
    return left, right


def warn_truncated(shares: tuple[float, float], continued: tuple[int, int], job: Job) -> None:
    """Warn if rows are cut off, and say what was done about it."""
    share = max(shares)
    if share <= TRUNCATED_ROWS:
        return
    done = (
        "they were continued smoothly, so values near the border of the field of view are estimates"
        if any(continued)
        else "nothing was done about it, so values rise towards the border of the field of view"
    )
    job.warn(
        "lateral-truncation",
        f"The object overfills {100 * share:.0f} % of the detector rows; {done}.",
    )
