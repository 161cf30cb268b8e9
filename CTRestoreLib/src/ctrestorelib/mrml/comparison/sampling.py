"""Values of volumes along a line, and how steep an edge on it is (layer: mrml)."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from ctrestorelib.mrml.arrays import view_of
from ctrestorelib.mrml.scene import Node
from ctrestorelib.mrml.transforms import RAS_FROM_LPS
from ctrestorelib.mrml.volumes import geometry_of

_EDGE = 1e-6  # voxels; rounding must not push the last sample off the grid


def linear_samples(values: NDArray[Any], ijk: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate linearly between voxels.

    Parameters
    ----------
    values
        Array ``[k, j, i]`` of any number type; only the voxels needed are read.
    ijk
        Fractional voxel indices (i, j, k), shape (n, 3).

    Returns
    -------
    ndarray
        float64, shape (n,); NaN outside the outermost voxel centres.
    """
    kji = ijk[:, ::-1]
    last = np.array(values.shape) - 1
    inside = np.all((kji >= -_EDGE) & (kji <= last + _EDGE), axis=1)
    place = np.clip(np.where(inside[:, None], kji, 0.0), 0, last)
    low = np.minimum(np.floor(place).astype(np.int64), np.maximum(last - 1, 0))
    high = np.minimum(low + 1, last)
    share = place - low
    total = np.zeros(len(ijk))
    for corner in range(8):
        up = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1], bool)
        k, j, i = np.where(up, high, low).T
        weight = np.where(up, share, 1.0 - share).prod(axis=1)
        # A voxel without a number must not spoil a sample that it has no part in.
        total += np.where(weight > 0, values[k, j, i], 0.0) * weight
    return np.where(inside, total, np.nan)


def samples_of(volume: Node, ras_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a volume's values at points of the world; parent transforms are followed.

    Parameters
    ----------
    ras_mm
        World points in RAS, shape (n, 3).
    """
    own = _from_world(volume, ras_mm)
    lps = own @ RAS_FROM_LPS[:3, :3]
    return linear_samples(view_of(volume), geometry_of(volume).to_ijk(lps))


def finest_spacing_mm(volume: Node) -> float:
    """Return the smallest voxel edge of a volume."""
    return float(min(volume.GetSpacing()))


def edge_width_mm(
    distance_mm: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[float | None, str]:
    """Return the 10-90 % width of the one edge on a profile, or why there is none.

    The plateaus are the medians of the first and the last fifth. The edge must be five times as
    high as the values scatter there. It ends where the values come nearest to the middle of the
    profile's steepest place: the last 10 % before and the first 90 % after the 50 % crossing.

    Parameters
    ----------
    distance_mm, values
        The profile; NaN outside the volume.
    """
    good = np.isfinite(values)
    x, y = distance_mm[good], values[good]
    fifth = len(x) // 5
    if fifth < 2:
        return None, "the line is too short."
    first, last = y[:fifth], y[-fifth:]
    low, high = float(np.median(first)), float(np.median(last))
    scatter = max(float(np.ptp(np.percentile(p, (16, 84)))) / 2 for p in (first, last))
    if abs(high - low) <= max(5.0 * scatter, 1e-9 * (abs(low) + abs(high))):
        return None, "the ends of the line do not differ enough."
    rise = (y - low) / (high - low)
    middle = _crossing_near_steepest(rise)
    before = np.flatnonzero(rise[: middle + 1] <= 0.1)
    after = middle + 1 + np.flatnonzero(rise[middle + 1 :] >= 0.9)
    if not len(before) or not len(after):
        return None, "the edge does not reach its ends."
    start = _crossing(x, rise, int(before[-1]), 0.1)
    end = _crossing(x, rise, int(after[0]) - 1, 0.9)
    return end - start, ""


def _from_world(volume: Node, ras_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    parent = volume.GetParentTransformNode()
    if parent is None:
        return ras_mm
    towards = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, parent, towards)
    return np.array([towards.TransformPoint(point) for point in ras_mm])


def _crossing_near_steepest(rise: NDArray[np.float64]) -> int:
    """Return n of the 50 % crossing between samples n and n + 1 nearest to the steepest step."""
    crossings = np.flatnonzero((rise[:-1] < 0.5) & (rise[1:] >= 0.5))
    steepest = int(np.argmax(np.diff(rise)))
    return int(crossings[np.argmin(np.abs(crossings - steepest))])


def _crossing(x: NDArray[np.float64], rise: NDArray[np.float64], at: int, level: float) -> float:
    """Return where the profile passes ``level`` between samples ``at`` and ``at + 1``."""
    a, b = rise[at], rise[at + 1]
    share = 0.0 if a == b else (level - a) / (b - a)
    return float(x[at] + share * (x[at + 1] - x[at]))
