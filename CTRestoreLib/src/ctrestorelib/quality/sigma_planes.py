"""What differences leave of single slices, and the noise level they tell (layer: quality).

Second differences in the slice and, where slices are thin, differences of two slices remove
anatomy; what they do to the noise itself is measured in calm windows and taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.flatness import MATERIAL, FlatSlice, flat_slice
from ctrestorelib.quality.noise import most_frequent, second_difference, typical_deviation

Floats = NDArray[np.float32]

BEST = ("soft_tissue", "fat")
"""Classes that tell the noise level best."""
VETO = 3.0
"""The level may well vary threefold over a slice."""
_ALIKE = 0.85
_CALM = 0.4  # windows this near the most frequent deviation hold noise and little else


@dataclass(frozen=True)
class Plane:
    """One measured slice: its windows, and what the differences left of it, all ``[j, i]``.

    ``rest`` tells levels from place to place, ``sd`` (the local deviation of the slice, or of the
    difference of two) what a level is, and ``pair`` how much noise the two slices share.
    """

    windows: FlatSlice
    rest: Floats
    sd: Floats
    pair: tuple[Floats, Floats] | None


def measured_plane(volume: Volume, k: int, step: int, mask: NDArray[np.bool_] | None) -> Plane:
    """Measure slice ``k``, and its difference to the one ``step`` further on unless that is 0."""
    windows = flat_slice(volume, k, mask, veto=VETO)
    here = np.nan_to_num(volume.values[k])
    fine = second_difference(here)
    if not step:
        return Plane(windows, np.abs(fine), windows.sd, None)
    there = np.nan_to_num(volume.values[k + step])
    other = second_difference(there)
    sd = _local_sd(here - there, windows.window)
    return Plane(windows, np.abs(fine - other), sd, (fine, other))


def are_repeating(measured: Sequence[Plane]) -> bool:
    """Whether slices were made of others, so that their difference holds too little noise."""
    alike = [_shared([p], [p.windows.any_flat()]) > _ALIKE for p in measured if p.windows.flat]
    return bool(alike) and float(np.mean(alike)) > 0.25


def alone(plane: Plane) -> Plane:
    """Return the plane as if its slice had been measured by itself."""
    fine = plane.pair[0] if plane.pair else plane.rest
    return replace(plane, rest=np.abs(fine), sd=plane.windows.sd, pair=None)


def divided(plane: Plane, level: Floats, every: int = 1) -> Plane:
    """Return the plane as if its noise had been divided by ``level``, at every so many pixels.

    Parameters
    ----------
    plane
        What was measured.
    level
        At those pixels only ``[j, i]``.
    every
        Pixels between two that are kept; windows overlap, so hardly anything is lost.
    """
    here = (slice(None, None, every),) * 2
    whole = plane.windows
    windows = replace(
        whole,
        residual=whole.residual[here],
        mean=whole.mean[here],
        sd=whole.sd[here] / level,
        flat={name: flat[here] for name, flat in whole.flat.items()},
    )
    pair = (plane.pair[0][here], plane.pair[1][here]) if plane.pair else None
    return Plane(windows, plane.rest[here], plane.sd[here] / level, pair)


def _local_sd(values: Floats, window: int) -> Floats:
    from scipy.ndimage import uniform_filter

    mean = uniform_filter(values, window)
    variance = uniform_filter(values * values, window) - mean * mean
    return np.asarray(np.sqrt(np.maximum(variance, 0.0) * (window**2 / (window**2 - 1.0))))


def reference_class(windows: Sequence[FlatSlice]) -> tuple[str, float]:
    """Return the class whose windows tell the level best, and their most frequent deviation.

    That is the quieter one of soft tissue and fat: where a scan has none of a tissue, the rims of
    other things pass for it.
    """
    for names in (BEST, (MATERIAL,), ("lung",), ("bone",)):
        found = []
        for name in names:
            own = [w.sd[w.flat[name]] for w in windows if name in w.flat]
            if own and (common := most_frequent(np.concatenate(own))) > 0:
                found.append((common, name))
        if found:
            common, name = min(found)
            return name, common
    return "", 0.0


def without_edges(plane: Plane, limit: float) -> Plane:
    """Return the plane without windows whose deviation is too large for noise."""
    flat = {n: f & (plane.windows.sd <= limit) for n, f in plane.windows.flat.items()}
    windows = replace(plane.windows, flat={n: f for n, f in flat.items() if f.any()})
    return replace(plane, windows=windows)


def pooled_level(measured: Sequence[Plane], reference: str, hidden: float) -> float:
    """Return the level of the calmest class, from the windows of all planes together.

    Parameters
    ----------
    measured
        Planes with noise of one level everywhere (see :func:`divided`).
    reference
        Class that tells it where there is neither soft tissue nor fat.
    hidden
        Share of the variance that windows hide (:func:`~ctrestorelib.quality.noise.hidden_share`).
    """
    found = []
    for name in {*BEST, reference}:
        inside = [p for p in measured if name in p.windows.flat]
        if inside:
            own = np.concatenate([p.sd[p.windows.flat[name]] for p in inside])
            found.append((typical_deviation(own), name, inside))
    found = [f for f in found if f[0] > 0] or found  # constant regions are no tissue
    level, name, inside = min(found, key=lambda f: f[:2])
    times = times_counted(inside, calm_windows(inside, name))
    return level / float(np.sqrt((1.0 - hidden) * times))


def calm_windows(inside: Sequence[Plane], name: str) -> list[NDArray[np.bool_]]:
    """Return the windows of a class whose deviation is near the most frequent one."""
    common = most_frequent(np.concatenate([p.sd[p.windows.flat[name]] for p in inside]))
    if common == 0:
        return [np.zeros_like(p.windows.flat[name]) for p in inside]
    return [p.windows.flat[name] & (np.abs(p.sd / common - 1.0) <= _CALM) for p in inside]


def times_counted(inside: Sequence[Plane], calm: Sequence[NDArray[np.bool_]]) -> float:
    """Return how often ``sd`` holds the noise's variance: 2 (1 - correlation) for two slices."""
    if any(p.pair is None for p in inside):
        return 1.0
    return 2.0 * (1.0 - min(_shared(inside, calm), _ALIKE))


def _shared(planes: Sequence[Plane], where: Sequence[NDArray[np.bool_]]) -> float:
    """Return the correlation of the fine part of the two slices of each plane."""
    pairs = [(p.pair, w) for p, w in zip(planes, where, strict=True) if p.pair is not None]
    a, b = (np.concatenate([pair[n][w] for pair, w in pairs]).astype(float) for n in (0, 1))
    power = float(a @ a + b @ b)
    return 2.0 * float(a @ b) / power if power > 0 else 0.0
