"""How many views see each voxel, and what to say about those that few see (layer: recon)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry

PROBES = 20
"""Points along each axis on which coverage is estimated: shares are good to about one percent."""

MAX_VIEWS = 120
"""Views looked at for an estimate; more are skipped evenly."""

SLAB_VOXELS = 2**18
"""Voxels counted at once for a full mask."""

TELL_SHARE = 0.005


@dataclass(frozen=True)
class Coverage:
    """How much of a grid a scan sees; shares of the grid's volume from 0 to 1.

    Parameters
    ----------
    by_all, by_some, by_none
        Seen by every view, by at least one but not all, by no view. They sum to 1.
    """

    by_all: float
    by_some: float
    by_none: float

    def to_json(self) -> dict[str, Any]:
        """Return the shares as plain values."""
        return {
            "seen_by_all_views": round(self.by_all, 4),
            "seen_by_some_views": round(self.by_some, 4),
            "seen_by_no_view": round(self.by_none, 4),
        }


def estimate_coverage(geometry: ConeBeamGeometry, grid: VolumeGeometry) -> Coverage:
    """Estimate the coverage of a grid from points spread evenly over it, in milliseconds."""
    views = geometry[:: -(-geometry.views // MAX_VIEWS)]
    count = views.seen_by(_probes(grid))
    every, none = float((count == views.views).mean()), float((count == 0).mean())
    return Coverage(every, max(0.0, 1.0 - every - none), none)


def in_view(
    geometry: ConeBeamGeometry, grid: VolumeGeometry, *, share: float = 1.0
) -> NDArray[np.bool_]:
    """Return the mask ``[k, j, i]`` of the voxels that at least ``share`` of the views see.

    Slab by slab, so that it takes little memory beyond the mask.
    """
    needed = max(1, int(np.ceil(share * geometry.views - 1e-9)))
    mask = np.empty(grid.shape, dtype=bool)
    step = max(1, SLAB_VOXELS // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], step):
        slab = slice(start, min(start + step, grid.shape[0]))
        part = grid.crop((slab, slice(None), slice(None)))
        mask[slab] = geometry.seen_by(part) >= needed
    return mask


def warn_about_coverage(coverage: Coverage, job: Job) -> None:
    """Warn about voxels that no view or only some views see."""
    if coverage.by_none > TELL_SHARE:
        text = (
            f"{100 * coverage.by_none:.0f} % of the grid lies outside the field of view: no view "
            "sees it, and its values mean nothing."
        )
        job.warn("outside-field-of-view", text)
    if coverage.by_some > TELL_SHARE:
        text = (
            f"{100 * coverage.by_some:.0f} % of the grid is seen by some views only; values there "
            "are less reliable."
        )
        job.warn("partly-seen", text)


def _probes(grid: VolumeGeometry) -> VolumeGeometry:
    """Return a coarse grid whose voxels tile the same box."""
    k, j, i = (min(PROBES, n) for n in grid.shape)
    scale = [n / m for n, m in zip(reversed(grid.shape), (i, j, k), strict=True)]
    matrix = np.array(grid.ijk_to_lps)
    matrix[:3, :3] = matrix[:3, :3] * scale
    matrix[:3, 3] = grid.to_world([(s - 1.0) / 2.0 for s in scale])
    return VolumeGeometry((k, j, i), matrix)
