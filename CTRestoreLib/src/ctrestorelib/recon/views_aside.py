"""Which views to set aside as a check on a reconstruction from the others (layer: recon)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ctrestorelib.recon.arc import scan_arc
from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.session import Session
from ctrestorelib.restorer.protocol import Inputs

FEWEST_VIEWS = 5
"""With fewer views nothing can be spared."""
SHARE = 8
"""One view in so many is set aside, two at least where there are ten."""


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
    scan, _ = inputs.require_scan()
    rest = [n for n in range(scan.views) if n not in views]
    return replace(inputs, projections=scan[rest])


def misfit_at(full: Session, views: tuple[int, ...], values: Array) -> float:
    """Return chi-squared per reading of some views of the session of all.

    Parameters
    ----------
    full
        The session of all views, on the grid of ``values``.
    views
        Numbers of the views.
    values
        A volume in 1/mm, as a rule made without them.
    """
    operator = full.operator.subset(list(views))
    data, weights = full.problem.data[list(views)], full.problem.weights[list(views)]
    residual = data - operator(values)
    readings = max(1, int((weights > 0).sum()))
    return float((weights * residual * residual).sum()) / readings
