"""Ordered subsets of views (layer: recon; numpy only)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ctrestorelib.core.errors import UsageError

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def golden_order(count: int) -> list[int]:
    """Return 0 .. count-1 so that neighbours in the list are far apart on a circle.

    Position n is the free index nearest to the golden fraction of n (Koehler 2004,
    doi:10.1109/NSSMIC.2004.1466745, orders projections this way).
    """
    free = list(range(count))
    order = []
    for n in range(count):
        wanted = math.fmod(n * GOLDEN, 1.0) * count
        nearest = min(free, key=lambda i: min(abs(i - wanted), count - abs(i - wanted)))
        free.remove(nearest)
        order.append(nearest)
    return order


def ordered_subsets(angles_rad: ArrayLike, subsets: int) -> tuple[tuple[int, ...], ...]:
    """Split views into ``subsets`` groups of evenly spread angles, in golden-angle order.

    Opposite views see almost the same lines, so angles are compared modulo 180 degrees.

    Raises
    ------
    UsageError
        If there are fewer views than subsets.
    """
    angles = np.mod(np.asarray(angles_rad, dtype=np.float64), np.pi)
    if not 1 <= subsets <= len(angles):
        message = f"Expected 1 to {len(angles)} subsets (the number of views); got {subsets}."
        raise UsageError(message)
    by_angle = np.argsort(angles, kind="stable")
    groups = [by_angle[start::subsets] for start in range(subsets)]
    return tuple(tuple(int(v) for v in groups[n]) for n in golden_order(subsets))
