"""From detector readings to line integrals with flat and dark fields (layer: io; numpy only)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import InputError
from ctrestorelib.io.notes import Note

DEAD_BELOW = 0.02
"""A pixel that brightens by less than this share of the median flat field is dead."""

LOWEST_TRANSMISSION = 1e-6
"""Readings at or below the dark field become this transmission, a line integral of 13.8."""

FLATS_FOR_DOSE = 5
"""So many flat fields tell how noisy a reading is."""


def line_integrals(
    data: NDArray[Any], flats: NDArray[Any], darks: NDArray[Any]
) -> tuple[NDArray[np.float32], float, list[Note]]:
    """Return ``-ln((data - dark) / (flat - dark))``, the dose, and notes.

    Parameters
    ----------
    data
        Readings ``[view, row, col]``.
    flats, darks
        Readings without an object and without X-rays, ``[image, row, col]``; averaged.

    Returns
    -------
    tuple
        Line integrals (float32); the number of quanta in an unattenuated reading, which is the
        squared signal-to-noise ratio of the flat fields where there are enough of them, else their
        mean reading; notes.
    """
    dark = darks.mean(axis=0, dtype=np.float64) if len(darks) else np.zeros(data.shape[1:])
    open_beam = flats.mean(axis=0, dtype=np.float64) - dark
    typical = float(np.median(open_beam))
    if not typical > 0:
        message = "The flat fields are not brighter than the dark fields."
        raise InputError(message, hint="Check which images are flat and which are dark.")
    dead = ~(open_beam > DEAD_BELOW * typical)
    scale = np.where(dead, 1.0, open_beam).astype(np.float32)
    values: NDArray[np.float32] = np.subtract(data, dark.astype(np.float32), dtype=np.float32)
    values /= scale
    live = ~dead
    low = int(np.count_nonzero((values <= LOWEST_TRANSMISSION) & live))
    np.maximum(values, LOWEST_TRANSMISSION, out=values)
    np.negative(np.log(values, out=values), out=values)
    notes = []
    if low:
        text = f"{low} readings were no brighter than the dark field; they were set to 1e-6."
        notes.append(Note("starved", text))
    notes += replace_dead(values, dead)
    i0, note = _dose(flats, dark, open_beam, live)
    return values, i0, [*notes, note]


def replace_dead(values: NDArray[np.float32], dead: NDArray[np.bool_]) -> list[Note]:
    """Replace dead pixels ``[row, col]`` in all views, in place, along their rows.

    Rows without any live pixel take the mean of the nearest rows that have some.
    """
    count = int(dead.sum())
    if not count:
        return []
    if dead.all():
        message = "No detector pixel responds to the beam: all would be replaced."
        raise InputError(message, hint="Check which images are flat and which are dark.")
    cols = np.arange(dead.shape[1])
    for row in np.flatnonzero(dead.any(axis=1) & ~dead.all(axis=1)):
        live = np.flatnonzero(~dead[row])
        gaps = np.flatnonzero(dead[row])
        right = np.clip(np.searchsorted(live, gaps), 0, len(live) - 1)
        left = np.clip(right - (cols[live[right]] > gaps), 0, None)
        a, b = live[left], live[right]
        share = np.where(b > a, (gaps - a) / np.maximum(b - a, 1), 0.0).clip(0, 1)
        share = share.astype(np.float32)
        values[:, row, gaps] = values[:, row, a] * (1 - share) + values[:, row, b] * share
    rows_alive = np.flatnonzero(~dead.all(axis=1))
    for row in np.flatnonzero(dead.all(axis=1)):
        below = rows_alive[rows_alive < row][-1:]
        above = rows_alive[rows_alive > row][:1]
        values[:, row] = values[:, np.concatenate([below, above])].mean(axis=1)
    text = f"{count} dead detector pixels were replaced from their neighbours."
    return [Note("dead-pixels", text)]


def _dose(
    flats: NDArray[Any], dark: NDArray[Any], open_beam: NDArray[Any], live: NDArray[np.bool_]
) -> tuple[float, Note]:
    mean = float(np.median(open_beam[live]))
    if len(flats) >= FLATS_FOR_DOSE:
        # Flicker of the whole beam is not quantum noise: level the images first.
        signal = (flats - dark).astype(np.float64)
        signal *= signal.mean() / signal.mean(axis=(1, 2), keepdims=True)
        variance = signal.var(axis=0, ddof=1)[live]
        noise = float(np.mean(variance))
        if noise > 0:
            quanta = float(np.mean(signal.mean(axis=0)[live]) ** 2 / noise)
            text = f"The noise of the flat fields is that of {quanta:.4g} X-ray quanta per reading."
            return quanta, Note("dose-measured", text)
    text = f"One count was taken for one X-ray quantum: {mean:.4g} per unattenuated reading."
    return mean, Note("dose-assumed", text)
