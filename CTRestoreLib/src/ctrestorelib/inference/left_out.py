"""How far a learned correction can be trusted: what it says of views it did not see.

Layer: inference. Some views are set aside and the others reconstructed without and with the
correction. The share of the correction that foretells the views set aside best tells how much of it
is real; a network that makes things up foretells nothing. This needs no truth, so that it works on
any patient and any object. Views are compared as images are:
:func:`~ctrestorelib.recon.views_aside.image_product`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.recon.arrays import Array
from ctrestorelib.recon.session import Session
from ctrestorelib.recon.views_aside import image_product, missed_at


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
    left = missed_at(full, views, plain)
    moved = missed_at(full, views, better) - left
    size = image_product(moved, moved)
    share = -image_product(moved, left) / size if size > 0 else 0.0
    weights = full.operator.to_numpy(full.problem.weights[list(views)])
    readings = max(1, int((weights > 0).sum()))
    before, after = (float((weights * r * r).sum()) / readings for r in (left, left + moved))
    return Verdict(float(np.clip(share, 0.0, 1.0)), before, after, views)


def object_mask(values: NDArray[np.float32], unit_per_mm: float) -> NDArray[np.bool_]:
    """Return where there is an object: more than a seventh of the unit's attenuation."""
    return np.asarray(values > 0.15 * unit_per_mm)
