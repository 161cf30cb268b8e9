"""The z-coherence gate: noise differs from slice to slice, anatomy goes on (layer: inference).

Where the removed noise of neighbouring slices is more alike than noise of this scan can be, anatomy
was removed: there it is given back. How alike noise is, and how much that scatters, is read from
the removed noise itself: the median and the spread of its local correlation over the slice. So the
gate works for thin, thick and overlapping slices, and for any grain.

The idea that noise differs between slices while anatomy goes on is that of HorusEye's prior
(Advanced Science 2024); here it audits the result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

WINDOW = 9
"""Pixels a side of the windows in which slices are compared."""
_START, _FULL = 3.0, 5.0  # standard errors above noise: where giving back begins, where all is back
_EVERY = 3  # pixels between two looks at the statistics, to save time
_FEWEST = 50


def excess(here: Floats, there: Floats, measured: NDArray[np.bool_] | None = None) -> Floats:
    """Return by how many standard errors two slices of removed noise are too much alike ``[j, i]``.

    Parameters
    ----------
    here, there
        Removed noise of two neighbouring slices ``[j, i]``, in noise units.
    measured
        Where the statistics are read ``[j, i]``; everywhere if None.
    """
    from scipy.ndimage import uniform_filter

    power = uniform_filter(here * here, WINDOW) * uniform_filter(there * there, WINDOW)
    alike = uniform_filter(here * there, WINDOW)
    alike /= np.sqrt(np.maximum(power, 0.0)) + np.float32(1e-6)
    alike = np.arctanh(np.clip(alike, -0.999, 0.999))
    seen = alike[::_EVERY, ::_EVERY]
    if measured is not None:
        seen = seen[measured[::_EVERY, ::_EVERY]]
    if seen.size < _FEWEST:
        return np.zeros_like(here)
    middle = float(np.median(seen))
    spread = 1.4826 * float(np.median(np.abs(seen - middle)))
    if spread == 0:
        return np.zeros_like(here)
    out: Floats = (alike - np.float32(middle)) / np.float32(spread)
    return out


def kept_share(excesses: list[Floats]) -> Floats | None:
    """Return which share of the removal stands ``[j, i]``: 1 for noise, 0 for anatomy.

    Parameters
    ----------
    excesses
        Of the slice and its one or two neighbours; none for a single slice, which returns None.
    """
    if not excesses:
        return None
    worst = np.maximum.reduce(excesses)
    out: Floats = np.clip((_FULL - worst) / np.float32(_FULL - _START), 0.0, 1.0)
    return out
