"""Which part of the turn a scan covers, and how much of it each view stands for (layer: recon)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry

CLOSED_RATIO = 2.05
"""A circle counts as closed if its largest gap is at most this many times the second largest.

Two allows one missing view; a short scan of evenly spaced views exceeds it.
"""

SAME_ANGLE_RAD = 1e-9


@dataclass(frozen=True, eq=False)
class ScanArc:
    """The views of a scan on the circle of angles.

    Parameters
    ----------
    position_rad
        Shape (view,), in the order of the views. Distance of each view from the start of the arc;
        the start lies half a gap before the first view.
    share_rad
        Shape (view,). The part of the arc each view stands for: half the gap to both neighbours.
    arc_rad
        Length of the arc: the sum of the shares.
    closed
        Whether the views go all the way round.
    largest_gap_rad
        Largest gap between neighbouring views within the arc.
    period_rad
        Length of the whole circle: 2 pi, or pi for parallel rays, which look alike from both ends.
    """

    position_rad: NDArray[np.float64]
    share_rad: NDArray[np.float64]
    arc_rad: float
    closed: bool
    largest_gap_rad: float
    period_rad: float


def scan_arc(geometry: ConeBeamGeometry, *, half_turn: bool | None = None) -> ScanArc:
    """Return the arc of a scan; ``half_turn`` counts opposite views as equal (parallel beams)."""
    fold = geometry.beam is Beam.PARALLEL if half_turn is None else half_turn
    return arc_of(geometry.angles_rad, period_rad=np.pi if fold else 2 * np.pi)


def arc_of(angles_rad: ArrayLike, *, period_rad: float = 2 * np.pi) -> ScanArc:
    """Return the arc that a list of view angles covers, in any order and spacing."""
    angle = np.mod(np.atleast_1d(np.asarray(angles_rad, dtype=np.float64)), period_rad)
    angle[period_rad - angle < SAME_ANGLE_RAD] = 0.0
    order = np.argsort(angle, kind="stable")
    gaps = np.diff(angle[order], append=angle[order[0]] + period_rad)  # after each view
    if len(angle) == 1:
        share = np.array([SAME_ANGLE_RAD])  # one view covers no arc to speak of
        return ScanArc(share / 2, share, SAME_ANGLE_RAD, False, period_rad, period_rad)
    last = int(np.argmax(gaps))  # the view before the largest gap ends an open arc
    others = np.delete(gaps, last)
    closed = bool(gaps[last] <= CLOSED_RATIO * others.max() + SAME_ANGLE_RAD)
    order, gaps = np.roll(order, -last - 1), np.roll(gaps, -last - 1)
    before = np.roll(gaps, 1)
    if not closed:
        before[0], gaps[-1] = gaps[0], gaps[-2]
    share = np.empty_like(angle)
    share[order] = (before + gaps) / 2.0
    position = np.empty_like(angle)
    position[order] = before[0] / 2.0 + np.concatenate([[0.0], np.cumsum(gaps[:-1])])
    largest = float(gaps.max() if closed else others.max())
    return ScanArc(position, share, float(share.sum()), closed, largest, period_rad)
