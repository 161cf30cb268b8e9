"""TV at its best: the weight that is nearest to the reference, chosen with the answer in hand.

Nobody can choose so well on a real scan. The oracle favours TV on purpose: whoever does better
here, does better than TV at any weight of the grid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from common.choice import walk

from ctrestorelib.core.volume import Volume
from sparse_view.cases import Case
from sparse_view.running import hu, run_method

FACTORS = tuple(3.0**n for n in range(-4, 5))
"""Weights that are tried, times the automatic one."""
START = FACTORS.index(1.0)
FALLBACK_MM2 = 1e3
"""Weight to start from where the automatic method found none."""


def tuned(case: Case, automatic_mm2: float | None) -> tuple[Volume, float]:
    """Return the best volume in HU, and its weight in mm2.

    The grid is walked from the automatic weight for as long as the error falls.
    """
    middle = automatic_mm2 or FALLBACK_MM2
    tried: dict[int, Volume] = {}

    def volume_at(index: int) -> Volume:
        if index not in tried:
            weight = middle * FACTORS[index]
            estimate = run_method("tv", case.scan, case.reference.geometry, {"weight": weight})
            tried[index] = hu(estimate.volume)
        return tried[index]

    best = walk(_error(case, volume_at), START)
    return volume_at(best), middle * FACTORS[best]


def _error(case: Case, volume_at: Callable[[int], Volume]) -> Callable[[int], float]:
    low, high = case.window
    truth = np.clip(case.reference.values, low, high)

    def error(index: int) -> float:
        if not 0 <= index < len(FACTORS):
            return np.inf
        found = np.clip(volume_at(index).values, low, high)
        return float(((found - truth) ** 2).mean(dtype=np.float64))

    return error
