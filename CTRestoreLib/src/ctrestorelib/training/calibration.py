"""Making a network's uncertainty honest: conformal risk control (layer: training).

The network's own idea of its error is multiplied by one factor a class of tissue: the smallest for
which, over simulated pairs of noisy and clean volumes, the expected share of voxels outside the
stated interval stays within a tenth, with the finite number of pairs paid for.

References
----------
.. [1] Angelopoulos AN et al. Conformal risk control. ICLR 2024. doi:10.48550/arXiv.2208.02814
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import UsageError

RISK = 0.10
"""Share of voxels that may lie outside the interval of 1.645 standard deviations."""
QUANTILE = 1.645
FEWEST_PAIRS = 10
_FEWEST_VOXELS = 200
_KEPT = 20_000


@dataclass(frozen=True)
class PairErrors:
    """How far one restored volume is off, in units of its stated error, by class of tissue.

    Parameters
    ----------
    ratios
        By class: ``|restored - clean| / stated error`` of many voxels.
    """

    ratios: Mapping[str, NDArray[np.float32]]


def pair_errors(
    error: NDArray[np.float32],
    stated: NDArray[np.float32],
    clean: NDArray[np.float32],
    limits: Mapping[str, float],
    rng: np.random.Generator,
) -> PairErrors:
    """Compare a restored volume with the truth.

    Parameters
    ----------
    error
        Restored minus clean ``[k, j, i]``.
    stated
        Its stated standard deviation, positive.
    clean
        The truth, by which voxels are sorted into classes.
    limits
        By class, rising: its upper limit in the unit of ``clean``.
    rng
        Chooses voxels where there are more than are needed.
    """
    ratio = np.abs(error) / stated
    which = np.searchsorted(list(limits.values())[:-1], clean, side="right")
    ratios = {}
    for number, name in enumerate(limits):
        found = ratio[which == number]
        if found.size >= _FEWEST_VOXELS:
            chosen = rng.choice(found, _KEPT, replace=False) if found.size > _KEPT else found
            ratios[name] = np.sort(chosen).astype(np.float32)
    return PairErrors(ratios)


def smallest_factor(ratios: Sequence[NDArray[np.float32]], risk: float = RISK) -> float:
    """Return the smallest factor q with ``n / (n + 1) R(q) + 1 / (n + 1) <= risk``.

    ``R(q)`` is the mean over the n pairs of the share of voxels with a ratio above 1.645 q.

    Raises
    ------
    UsageError
        If there are too few pairs for the risk.
    """
    pairs = len(ratios)
    allowed = ((pairs + 1) * risk - 1.0) / pairs if pairs else -1.0
    if pairs < FEWEST_PAIRS or allowed < 0:
        message = f"A risk of {risk:g} takes at least {FEWEST_PAIRS} pairs; got {pairs}."
        raise UsageError(message)
    low, high = 0.0, max(float(r[-1]) for r in map(np.sort, ratios)) / QUANTILE
    for _ in range(60):
        middle = 0.5 * (low + high)
        if outside(ratios, middle) <= allowed:
            high = middle
        else:
            low = middle
    return high


def outside(ratios: Sequence[NDArray[np.float32]], factor: float) -> float:
    """Return the share of voxels outside the interval, averaged over the pairs."""
    return float(np.mean([(r > QUANTILE * factor).mean() for r in ratios]))


def calibrate(pairs: Sequence[PairErrors], classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return per class the factor, the pairs behind it, and the share outside on pairs left out.

    Factors come from all pairs. The share is that of the second half of the pairs with factors of
    the first half, so it was not fitted.
    """
    out: dict[str, dict[str, float]] = {"factors": {}, "pairs": {}, "outside": {}}
    for name in classes:
        ratios = [p.ratios[name] for p in pairs if name in p.ratios]
        if len(ratios) < FEWEST_PAIRS:
            continue
        out["factors"][name] = smallest_factor(ratios)
        out["pairs"][name] = len(ratios)
        if len(ratios) >= 2 * FEWEST_PAIRS:
            first, second = ratios[::2], ratios[1::2]
            out["outside"][name] = outside(second, smallest_factor(first))
    return out
