"""How far a learned correction can be trusted: what it says of views it did not see.

Layer: inference. Some views are set aside and the others reconstructed without and with the
correction. The share of the correction that foretells the views set aside best tells how much of it
is real; a network that makes things up foretells nothing. This needs no truth, so that it works on
any patient and any object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.recon.arc import scan_arc
from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.session import Session
from ctrestorelib.restorer.protocol import Inputs

FEWEST_VIEWS = 5
"""With fewer views nothing can be spared."""
SHARE = 8
"""One view in so many is set aside, two at least where there are ten."""


@dataclass(frozen=True)
class Verdict:
    """What the views set aside say.

    Parameters
    ----------
    share
        Share of the correction that foretells them best, 0 to 1.
    before, after
        Chi-squared per reading of those views without correction, and with all of it.
    views
        Numbers of the views set aside.
    """

    share: float
    before: float
    after: float
    views: tuple[int, ...]


def views_to_leave_out(inputs: Inputs) -> tuple[int, ...]:
    """Return which views to set aside: spread evenly over the arc, never its ends; may be none."""
    scan, _ = inputs.require_scan()
    if scan.views < FEWEST_VIEWS:
        return ()
    order = np.argsort(scan_arc(scan.geometry).position_rad, kind="stable")
    count = max(1 if scan.views < 10 else 2, scan.views // SHARE)
    at = np.unique(np.round((np.arange(count) + 0.5) * (scan.views - 1) / count).astype(int))
    return tuple(sorted(int(order[n]) for n in np.clip(at, 1, scan.views - 2)))


def without(inputs: Inputs, views: tuple[int, ...]) -> Inputs:
    """Return the inputs with all other views."""
    from dataclasses import replace

    scan, _ = inputs.require_scan()
    rest = [n for n in range(scan.views) if n not in views]
    return replace(inputs, projections=scan[rest])


def judge(full: Session, views: tuple[int, ...], plain: Array, better: Array) -> Verdict:
    """Return which share of ``better - plain`` foretells some views best.

    Parameters
    ----------
    full
        The session of all views, on the grid of the volumes.
    views
        Those that neither volume was made from.
    plain, better
        Volumes in 1/mm without and with the correction.
    """
    operator = full.operator.subset(list(views))
    data, weights = (full.problem.data[list(views)], full.problem.weights[list(views)])
    left = data - operator(plain)
    moved = operator(better - plain)
    size = float((weights * moved * moved).sum())
    share = float((weights * moved * left).sum()) / size if size > 0 else 0.0
    readings = max(1, int((weights > 0).sum()))
    before = float((weights * left * left).sum()) / readings
    after = float((weights * (left - moved) ** 2).sum()) / readings
    return Verdict(float(np.clip(share, 0.0, 1.0)), before, after, views)


def object_mask(values: NDArray[np.float32], unit_per_mm: float) -> NDArray[np.bool_]:
    """Return where there is an object: more than a seventh of the unit's attenuation."""
    return np.asarray(values > 0.15 * unit_per_mm)
