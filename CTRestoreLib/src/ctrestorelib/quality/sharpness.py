"""Edge sharpness: how wide the boundaries of tissues are (layer: quality; scipy, skimage inside).

Boundaries are found by themselves (skin against air, fat against muscle; the object against its
surroundings in grey volumes), values are sampled along their normals, and an error function is
fitted to the mean edge. Two contrasts are needed because a non-linear denoiser may keep strong
edges and blur weak ones (the idea of the task transfer function, doi:10.1002/mp.13763).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.optional import optional_module
from ctrestorelib.core.volume import Volume
from ctrestorelib.quality.pairs import check_pair
from ctrestorelib.quality.result import Measure, Verdict, plain
from ctrestorelib.quality.tissue import hu_like, smooth_slices, spread

_REACH_PX, _STEP_PX = 6.0, 0.25
_SLICES, _PER_SLICE, _FEWEST, _GROUPS = 16, 250, 60, 12


@dataclass(frozen=True)
class EdgeKind:
    """Which boundary is meant.

    Parameters
    ----------
    name, title
        Short identifier, and what a person reads.
    level
        Value of the contour.
    low, high
        Ranges of the two plateaus, darker first.
    keep_mtf
        Share of the sharpness that a restoration must keep.
    """

    name: str
    title: str
    level: float
    low: tuple[float, float]
    high: tuple[float, float]
    keep_mtf: float


SKIN_AIR = EdgeKind("skin_air", "skin against air", -500.0, (-1100, -850), (-250, 250), 0.97)
FAT_MUSCLE = EdgeKind("fat_muscle", "fat against muscle", -25.0, (-150, -60), (10, 100), 0.90)


@dataclass(frozen=True)
class EdgeSharpness:
    """The width of one kind of boundary.

    Parameters
    ----------
    sigma_mm
        Width of the Gaussian that blurs the edge.
    interval_mm
        95 % confidence interval of ``sigma_mm``, by bootstrap over groups of profiles.
    contrast
        Step across the edge, in the unit of the values.
    position_mm, values
        The mean edge, sampled along the normal.
    profiles
        Number of profiles averaged.
    """

    kind: str
    sigma_mm: float
    interval_mm: tuple[float, float]
    contrast: float
    position_mm: NDArray[np.float64]
    values: NDArray[np.float64]
    profiles: int

    @property
    def mtf50_per_mm(self) -> float:
        """Frequency at which the modulation transfer function has fallen to one half."""
        return math.sqrt(math.log(2) / 2) / (math.pi * self.sigma_mm)

    @property
    def width_10_90_mm(self) -> float:
        """Distance over which the edge rises from 10 % to 90 %."""
        return 2.5631 * self.sigma_mm

    def to_json(self) -> dict[str, Any]:
        """Return the figures and the curve as plain values."""
        record = {**self.__dict__, "mtf50_per_mm": self.mtf50_per_mm,
                  "width_10_90_mm": self.width_10_90_mm}  # fmt: skip
        result: dict[str, Any] = plain(record)
        return result


@dataclass(frozen=True)
class EdgePoints:
    """Where a boundary was found: slice, row, column and the normal (row, column), per point."""

    k: NDArray[np.int64]
    at: NDArray[np.float64]
    normal: NDArray[np.float64]


def find_edges(
    volume: Volume, kind: EdgeKind, *, mask: NDArray[np.bool_] | None = None
) -> EdgePoints:
    """Return points on the contour ``kind.level`` of smoothed slices, with their normals.

    Only points count whose neighbourhood 4 to 6 pixels away is on the right plateau on each side.
    """
    find_contours = optional_module("skimage.measure", "Measuring edges").find_contours

    planes = spread(volume.shape[0], _SLICES)
    smoothed = smooth_slices(volume.values[planes], 1.5)
    good = measured_everywhere(volume, mask)[planes]
    found: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []
    for k, plane, valid in zip(planes, smoothed, good, strict=True):
        if min(plane.shape) < 2 * _REACH_PX + 2:
            continue
        lines = [c for c in find_contours(plane, kind.level) if len(c) >= 20]
        if not lines:
            continue
        at = np.concatenate(lines)
        normal, keep = _normals(plane, at, kind, valid)
        at, normal = at[keep], normal[keep]
        some = spread(len(at), _PER_SLICE)
        found.append((np.full(len(some), k), at[some], normal[some]))
    if not found:
        return EdgePoints(np.empty(0, np.int64), np.empty((0, 2)), np.empty((0, 2)))
    k_all, at_all, normal_all = (np.concatenate(c) for c in zip(*found, strict=True))
    return EdgePoints(k_all, at_all, normal_all)


def edge_sharpness(volume: Volume, kind: EdgeKind, points: EdgePoints) -> EdgeSharpness | None:
    """Measure the width of the boundary at ``points``; ``None`` where there are too few."""
    if len(points.k) < _FEWEST:
        return None
    offsets = np.arange(-_REACH_PX, _REACH_PX + _STEP_PX / 2, _STEP_PX)
    profiles = _profiles(volume.values, points, offsets)
    dx, dy, _ = volume.geometry.spacing_mm
    # Along an oblique normal a pixel step is between dx and dy long.
    pixel = float(np.hypot(points.normal[:, 0] * dy, points.normal[:, 1] * dx).mean())
    groups = [g.mean(axis=0) for g in np.array_split(profiles, min(_GROUPS, len(profiles) // 10))]
    mean = profiles.mean(axis=0)
    fit = _fit_erf(offsets, mean)
    if fit is None:
        return None
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(groups), (40, len(groups)))
    means = np.stack(groups)
    fits = [_fit_erf(offsets, means[p].mean(axis=0)) for p in picks]
    sigmas = [f[0] for f in fits if f is not None] or [fit[0]]
    low, high = np.quantile(sigmas, (0.025, 0.975)) * pixel
    return EdgeSharpness(kind.name, fit[0] * pixel, (float(low), float(high)), fit[1],
                         offsets * pixel, mean, len(profiles))  # fmt: skip


def edge_kinds(volume: Volume) -> tuple[EdgeKind, ...]:
    """Return the boundaries to look for: two in HU, one between the two main greys otherwise."""
    if hu_like(volume):
        return (SKIN_AIR, FAT_MUSCLE)
    threshold_otsu = optional_module("skimage.filters", "Finding edges").threshold_otsu

    some = volume.values[spread(volume.shape[0], 8)]
    if np.ptp(some) == 0:
        return ()
    level = float(threshold_otsu(some.ravel()))
    dark, bright = float(np.median(some[some <= level])), float(np.median(some[some > level]))
    third = (bright - dark) / 3
    low, high = (-np.inf, dark + third), (bright - third, np.inf)
    return (EdgeKind("object_edge", "object against its surroundings", (dark + bright) / 2,
                     low, high, 0.95),)  # fmt: skip


def sharpness_measures(
    image: Volume, *, original: Volume | None = None, mask: NDArray[np.bool_] | None = None
) -> list[Measure]:
    """Return the edge widths of a volume, judged against the original if given."""
    guide = image
    if original is not None:
        check_pair(image, original, what="the original")
        # Contours of the mean of both: neither is favoured by its own noise.
        guide = image.with_values((image.values + original.values) / 2)
    kinds = edge_kinds(guide)
    if not kinds:
        why = "the volume is constant."
        return [Measure.missing("edge_mtf50", "Edge sharpness (MTF50)", why)]
    return [_measure_one(image, original, kind, find_edges(guide, kind, mask=mask))
            for kind in kinds]  # fmt: skip


def _measure_one(
    image: Volume, original: Volume | None, kind: EdgeKind, points: EdgePoints
) -> Measure:
    name, title = f"edge_mtf50_{kind.name}", f"Edge sharpness (MTF50), {kind.title}"
    after = edge_sharpness(image, kind, points)
    if after is None:
        return Measure.missing(name, title, f"no clean boundary of {kind.title} was found.")
    low, high = (math.sqrt(math.log(2) / 2) / (math.pi * s) for s in after.interval_mm[::-1])
    told = f"The edge rises from 10 % to 90 % within {after.width_10_90_mm:.2f} mm."
    measure = Measure(name, title, after.mtf50_per_mm, "1/mm", (low, high), Verdict.NONE, told,
                      f"{after.profiles} profiles across {kind.title}, error function fitted, "
                      f"contrast {after.contrast:.4g}", details=after.to_json())  # fmt: skip
    before = None if original is None else edge_sharpness(original, kind, points)
    return measure if before is None else _judge(measure, kind, before, after)


def _judge(
    measure: Measure, kind: EdgeKind, before: EdgeSharpness, after: EdgeSharpness
) -> Measure:
    kept = before.sigma_mm / after.sigma_mm
    measure.details["mtf50_ratio"] = kept
    measure.details["before"] = before.to_json()
    # Both share points and anatomy, so the wider interval of the two bounds that of the ratio.
    error = max((e.interval_mm[1] - e.interval_mm[0]) / 2 / e.sigma_mm for e in (before, after))
    told = (f"{100 * kept:.0f} % of the sharpness of {kind.title} is kept "
            f"(10-90 % width {before.width_10_90_mm:.2f} mm before, "
            f"{after.width_10_90_mm:.2f} mm now).")  # fmt: skip
    if kept >= kind.keep_mtf:
        return measure.judged(Verdict.GREEN, told)
    doubtful = kept + min(error, 0.1) >= kind.keep_mtf or kept >= kind.keep_mtf - 0.05
    return measure.judged(Verdict.AMBER if doubtful else Verdict.RED, told)


def measured_everywhere(volume: Volume, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return where values may be sampled: no padding (clipped air is harmless for an edge)."""
    from ctrestorelib.core.volume import padding_mask

    good = ~padding_mask(volume)
    return good if mask is None else good & mask


def _normals(
    plane: NDArray[np.float32], at: NDArray[np.float64], kind: EdgeKind, valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    from scipy.ndimage import map_coordinates

    slopes = np.gradient(plane)
    normal = np.stack([map_coordinates(g, at.T, order=1) for g in slopes], axis=1)
    length = np.linalg.norm(normal, axis=1)
    keep = length > 0
    normal = normal / np.maximum(length, 1e-9)[:, None]
    shape = np.array(plane.shape) - 1
    for side, (low, high) in ((-1, kind.low), (1, kind.high)):
        for reach in (4.0, 5.0, 6.0):
            there = at + side * reach * normal
            keep &= ((there >= 0) & (there <= shape)).all(axis=1)
            value = map_coordinates(plane, there.T, order=1, mode="nearest")
            keep &= (value > low) & (value < high)
            near = np.rint(np.clip(there, 0, shape)).astype(np.int64)
            keep &= valid[near[:, 0], near[:, 1]]
    return normal, keep


def _profiles(
    values: NDArray[np.float32], points: EdgePoints, offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    from scipy.ndimage import map_coordinates

    where = points.at[:, None, :] + offsets[:, None] * points.normal[:, None, :]
    out = np.empty(where.shape[:2])
    for k in np.unique(points.k):
        chosen = points.k == k
        rows, columns = where[chosen, :, 0], where[chosen, :, 1]
        out[chosen] = map_coordinates(values[k].astype(np.float64), [rows, columns], order=3,
                                      mode="nearest")  # fmt: skip
    return out


def _fit_erf(offsets: NDArray[np.float64], edge: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return sigma (pixels) and contrast of the error function through a mean edge."""
    from scipy.optimize import curve_fit
    from scipy.special import erf

    def model(x: Any, low: float, step: float, centre: float, sigma: float) -> Any:
        return low + step / 2 * (1 + erf((x - centre) / (math.sqrt(2) * sigma)))

    low, high = float(edge[:6].mean()), float(edge[-6:].mean())
    # Beyond 4 pixels the tissue behind (fat under skin) would bend the curve.
    near = np.abs(offsets) <= 4.0
    bounds = ([-np.inf, 0, -3, 0.05], [np.inf, np.inf, 3, 5.0])
    try:
        found, _ = curve_fit(model, offsets[near], edge[near], bounds=bounds,
                             p0=(low, max(high - low, 1e-6), 0.0, 1.0))  # fmt: skip
    except (RuntimeError, ValueError):  # no fit is an answer: the edge is not an edge
        return None
    return float(found[3]), float(found[1])
