"""Which views of a scan a training step looks at (HyViP; layer: training).

A step has a sparse set of views, which the network reads at the points themselves, and a dense set,
which makes its volume. The sparse views take the place of their neighbours in the dense set: so the
volume is that of an evenly spread dense scan, and holds every sparse view.

References
----------
DeepSparse, arXiv:2505.02628, equation 8.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ctrestorelib.core.errors import UsageError

Indices = NDArray[np.intp]


def spread_views(candidates: int, views: int) -> Indices:
    """Return ``views`` indices spread evenly over ``candidates`` views, beginning with 0.

    Raises
    ------
    UsageError
        If there are fewer candidates than views.
    """
    if not 1 <= views <= candidates:
        message = f"{views} views cannot be drawn from {candidates} stored views."
        raise UsageError(message, hint="Store more views, or train with fewer.")
    return np.arange(views) * candidates // views


def drawn_views(rng: np.random.Generator, candidates: int, views: int) -> Indices:
    """Return evenly spread views, all shifted by one random number of views."""
    even = spread_views(candidates, views)
    return even + int(rng.integers(candidates - int(even[-1])))


def hybrid_views(rng: np.random.Generator, candidates: int, sparse: int, dense: int) -> Indices:
    """Return ``dense`` different views of which the first ``sparse`` are an evenly spread set.

    Every sparse view replaces one view of an independent dense set, such that the sum of the gaps
    between them is the least possible; the others follow in random order.

    Raises
    ------
    UsageError
        If there are more sparse than dense views, or too few candidates.
    """
    if sparse > dense:
        message = f"Of {dense} views, {sparse} cannot be the sparse ones."
        raise UsageError(message)
    if sparse == dense:
        return drawn_views(rng, candidates, dense)
    few = drawn_views(rng, candidates, sparse)
    many = drawn_views(rng, candidates, dense)
    _, replaced = linear_sum_assignment(np.abs(few[:, None] - many[None, :]))
    return np.concatenate([few, rng.permutation(np.delete(many, replaced))])
