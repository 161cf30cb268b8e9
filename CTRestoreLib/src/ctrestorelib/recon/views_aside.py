"""Which views to set aside as a check on a reconstruction from the others (layer: recon)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.recon.arc import scan_arc
from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.session import Session
from ctrestorelib.restorer.protocol import Inputs

Floats = NDArray[np.float32]

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


def missed_at(full: Session, views: tuple[int, ...], values: Array) -> Floats:
    """Return the line integrals of a volume in some views, less what was measured.

    Zero where nothing was measured.

    Parameters
    ----------
    full
        The session of all views, on the grid of ``values``.
    views
        Numbers of the views.
    values
        A volume in 1/mm.

    Returns
    -------
    NDArray
        ``[view, row, column]``, float32.
    """
    chosen = list(views)
    operator, problem = full.operator.subset(chosen), full.problem
    missed = (operator(values) - problem.data[chosen]) * (problem.weights[chosen] > 0)
    return full.operator.to_numpy(missed)


def image_product(a: Floats, b: Floats) -> float:
    """Return what two sets of line integrals ``[view, row, column]`` share as images.

    A ramp filter along the columns turns the scalar product of line integrals into that of the
    slices they come from (projection-slice theorem: in polar coordinates of frequency the area is
    ``|k| dk dtheta``). Without it slow errors of the whole body count for more than streaks, which
    a line integral averages out.
    """
    return float(row_products(a, b).sum())


def row_products(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Return the parts of :func:`image_product`: one for each row of each view, in one axis."""
    length = 2 * a.shape[-1]
    spectrum = np.fft.rfft(a, length) * np.conj(np.fft.rfft(b, length))
    return np.asarray((spectrum.real * np.fft.rfftfreq(length)).sum(-1).ravel(), dtype=np.float64)
