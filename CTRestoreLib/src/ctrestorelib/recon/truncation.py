"""Rows that the object overfills: found, continued, told (layer: recon).

A row that does not end in air has a jump at its end for the ramp filter, which brightens the border
of the field of view. A smooth tail removes the jump; the values near the border stay estimates.
(Ohnesorge et al., Med. Phys. 27 (2000) 39, doi:10.1118/1.598855.)
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.job import Job
from ctrestorelib.recon.filters import EDGE_COLUMNS

TRUNCATED_LEVEL = 0.05
"""A row is cut off where its end exceeds this share of the scan's largest line integral."""

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
    some = values[:: max(1, len(values) // 64)]
    width = min(EDGE_COLUMNS, some.shape[-1])
    level = TRUNCATED_LEVEL * float(some.max(initial=0.0))
    if level <= 0:
        return 0.0, 0.0
    shares = [
        float((end.mean(axis=-1) > level).mean()) for end in (some[..., :width], some[..., -width:])
    ]
    return shares[0], shares[1]


def extension(shares: tuple[float, float], columns: int, truncation: Truncation) -> tuple[int, int]:
    """Return by how many columns the rows are continued on the left and right."""
    truncation = Truncation(truncation)
    if truncation is Truncation.NONE:
        return 0, 0
    always = truncation is Truncation.EXTEND
    left, right = (columns // 2 if always or s > TRUNCATED_ROWS else 0 for s in shares)
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
