"""Projections that were loaded as slices betray themselves (layer: mrml; imports numpy only).

A parallel projection keeps the mass of every detector row whatever the angle, and its centre of
mass swings as a sine: the Helgason-Ludwig conditions of order 0 and 1 (S. Helgason,
doi:10.1007/BF02391776). Cone beams keep both nearly. The slices of an object keep neither. On real
scans the measure called ``cancels`` below was 0.01 to 0.06 for projections and 0.18 to 0.96 for
slices along any axis; the limit lies between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST_IMAGES, FEWEST_COLUMNS = 16, 16
IMAGES, ROWS, COLUMNS = 96, 24, 48
"""The stack is looked at so coarsely: that removes noise and costs milliseconds."""

BACKGROUND_SHARE = 0.9
"""Part of the left and right borders that must be empty: nothing can be said if the object is cut
off."""

CANCELS_AT_MOST = 0.1
MASS_VARIES_AT_MOST = 0.06
CENTRE_MISSES_AT_MOST = 0.01
CHANGES_AT_LEAST = 2.5
MOVES_AT_LEAST = 0.005
CURVED_AT_LEAST = 1.5


def signs_of_projections(values: NDArray[Any]) -> str:
    """Return what speaks for projections, as part of a sentence; "" if anything speaks against.

    Parameters
    ----------
    values
        Images ``[k, j, i]`` of any real type: counts or line integrals with k the view and i across
        the rotation axis, or the slices of a volume.
    """
    if values.shape[0] < FEWEST_IMAGES or values.shape[2] < FEWEST_COLUMNS:
        return ""
    lines = _line_integrals(_coarse(values))
    if lines is None or not _changes_gradually(lines):
        return ""
    rows = _rows_with_mass(lines)
    if rows.size == 0:
        return ""
    mass = rows.sum(axis=2)
    varies = float(np.median(mass.std(axis=0) / mass.mean(axis=0)))
    cancels = float(np.median(mass.std(axis=0) / rows.std(axis=0).sum(axis=1)))
    if varies > MASS_VARIES_AT_MOST or cancels > CANCELS_AT_MOST or not _swings(rows, mass):
        return ""
    return (
        "while the picture changes from image to image, the sum of every row stays the same within "
        f"{max(varies, 0.001):.1%}, as it does when one object turns in front of a detector"
    )


def _coarse(values: NDArray[Any]) -> Array:
    """Return some of the images as means over blocks of pixels."""
    count = values.shape[0]
    chosen = np.unique(np.linspace(0, count - 1, min(count, IMAGES)).round().astype(int))
    return np.stack([_blocks(_blocks(values[n], ROWS, 0), COLUMNS, 1) for n in chosen])


def _blocks(image: NDArray[Any], count: int, axis: int) -> Array:
    size = image.shape[axis]
    edges = np.unique(np.linspace(0, size, min(count, size) + 1).astype(int))
    sums = np.add.reduceat(image, edges[:-1], axis=axis, dtype=np.float64)
    widths = np.diff(edges)
    return np.asarray(sums / (widths[:, None] if axis == 0 else widths), dtype=np.float64)


def _line_integrals(images: Array) -> Array | None:
    """Return images with an empty background of 0 and the object above; None without background."""
    if not np.isfinite(images).all():
        return None
    low, high = np.quantile(images, (0.01, 0.99))
    borders = images[:, :, [0, -1]]
    empty = float(np.median(borders))
    near = np.abs(borders - empty) < 0.05 * (high - low)
    if high <= low or near.mean() < BACKGROUND_SHARE:
        return None
    lines: Array = images - empty
    if empty - low > high - empty:  # counts: dark where much is absorbed
        lines = -lines if low <= 0 else np.log(empty / np.maximum(images, 0.5 * low))
    return lines


def _changes_gradually(lines: Array) -> bool:
    """Return whether images far apart differ by much more than neighbours: not by noise alone."""
    flat = lines.reshape(len(lines), -1)
    steps = np.linalg.norm(np.diff(flat, axis=0), axis=1)
    farthest = np.linalg.norm(flat - flat[0], axis=1).max()
    return bool(farthest > CHANGES_AT_LEAST * np.median(steps))


def _rows_with_mass(lines: Array) -> Array:
    """Return the detector rows that see enough of the object to judge by: ``[k, row, i]``."""
    mass, moves = lines.sum(axis=2).mean(axis=0), lines.std(axis=0).sum(axis=1)
    return lines[:, (mass > 0.1 * mass.max()) & (mass > 0) & (moves > 0)]


def _swings(rows: Array, mass: Array) -> bool:
    """Return whether the rows' centres of mass follow one sine.

    A straight drift is refused: that is what the slices of an oblique rod do.
    """
    across = np.linspace(-0.5, 0.5, rows.shape[2])
    centre = (rows * across).sum(axis=2) / mass.mean(axis=0)
    t = np.linspace(0.0, 1.0, len(centre))
    straight = _misfit(centre, np.stack([np.ones_like(t), t], axis=1))
    sine = min(
        _misfit(centre, np.stack([np.ones_like(t), np.cos(a * t), np.sin(a * t)], axis=1))
        for a in np.deg2rad(np.arange(20, 731, 10))
    )
    if sine > CENTRE_MISSES_AT_MOST:
        return False
    moves = float(np.median(centre.std(axis=0)))
    return moves < MOVES_AT_LEAST or straight > CURVED_AT_LEAST * sine


def _misfit(centre: Array, basis: Array) -> float:
    fitted = basis @ np.linalg.lstsq(basis, centre, rcond=None)[0]
    return float(np.median((centre - fitted).std(axis=0)))
