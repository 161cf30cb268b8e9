"""Ask the data in which direction the detector columns run (layer: io).

In a full turn each line is measured twice, from both ends: the ray at fan angle g of the view at
angle b is the ray at -g of the view at b + pi + 2 g. With the columns the wrong way round, the
second view would be b + pi - 2 g, and the two readings differ.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Only clear evidence counts: noise, helical travel and FFS leave the two close to each other.
_CLEARLY = 0.5
SENSE_VIEWS = 400
"""How many views of one turn are enough."""

_MAX_COLUMNS = 200


def columns_run_backwards(rows: NDArray[np.float32], angles: Floats, fan: Floats) -> bool:
    """Whether the readings of the central row contradict the stated direction of columns.

    Parameters
    ----------
    rows
        Line integrals, shape (view, col).
    angles
        Unwrapped view angles in radians; they may run either way.
    fan
        Fan angle of each column, rising, in radians.
    """
    if np.ptp(angles) < 2 * np.pi * 0.98 or len(fan) < 8:
        return False
    order = np.argsort(angles, kind="stable")
    angles, rows = angles[order], rows[order]
    first = angles < angles[0] + 2 * np.pi
    stated = _disagreement(rows[first], angles[first], fan)
    mirrored = _disagreement(rows[first][:, ::-1], angles[first], -fan[::-1])
    return mirrored < _CLEARLY * stated


def _disagreement(rows: NDArray[np.float32], angles: Floats, fan: Floats) -> float:
    """Return the rms difference of opposite rays."""
    from scipy.ndimage import map_coordinates

    reach = min(-fan[0], fan[-1])
    kept = np.flatnonzero(np.abs(fan) <= reach)[:: max(1, len(fan) // _MAX_COLUMNS)]
    opposite = angles[:, None] + np.pi + 2 * fan[kept]
    turn = (opposite - angles[0]) % (2 * np.pi) + angles[0]
    around = np.concatenate([angles, [angles[0] + 2 * np.pi]])
    where = [
        np.interp(turn, around, np.arange(len(around))),
        np.broadcast_to(np.interp(-fan[kept], fan, np.arange(len(fan))), turn.shape),
    ]
    closed = np.concatenate([rows, rows[:1]])
    twin = map_coordinates(closed, where, order=1, mode="nearest")
    return float(np.sqrt(np.mean((rows[:, kept] - twin) ** 2)))
