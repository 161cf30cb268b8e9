"""What a learned prior sees of a scan, in units of water and of order one (layer: recon).

Every channel is a scalar volume on the estimate's grid, so that geometry enters through the
projector alone: any arc, offset or tilt makes the same kind of picture, and turning or mirroring
all channels together is allowed.

1. the estimate;
2. a filtered backprojection (FDK with a Hann window), which shows fine edges and their streaks;
3. what the measurements still contradict: the backprojected residual;
4. the share of the views that see the voxel;
5. the largest angle between neighbouring view directions at the voxel: 0 for half a turn (one
   view), 1 for a sixteenth of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.units import MU_WATER_PER_MM
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.recon.arc import scan_arc
from ctrestorelib.recon.arrays import Array, guarded_inverse
from ctrestorelib.recon.coarse_scan import coarse_shape, grid_of_shape, resized
from ctrestorelib.recon.fdk import fdk
from ctrestorelib.recon.filters import Window
from ctrestorelib.recon.session import Session

Floats = NDArray[np.float32]

CHANNELS = ("estimate", "filtered backprojection", "residual", "coverage", "angular gap")
CONDITION = ("views", "arc", "dose", "voxel size", "voxels across", "misfit")
"""Names of what a network sees: volumes, and the entries of the describing vector."""

RESIDUAL_GAIN = 300.0
"""What total variation leaves unexplained is some thousandths of what it shows."""
LOWEST, HIGHEST = -2.0, 6.0
"""Streaks of a filtered backprojection and metal are cut off beyond, in units of water."""
LATTICE = 24
"""Points along the longest axis on which coverage and angular gap are computed."""
USUAL_SHARE = 3.0
"""Objects up to so many times denser or thinner than water keep water as their unit."""


@dataclass(frozen=True, eq=False)
class FixedChannels:
    """What does not change while the estimate of a scan does.

    Parameters
    ----------
    volumes
        Channels 2, 4 and 5: ``[3, k, j, i]``.
    condition
        The describing vector, float32.
    unit_per_mm
        Attenuation that counts as 1: water's, or that of the object where it is of another kind
        (bone under a microscope, rock).
    """

    volumes: Floats
    condition: Floats
    unit_per_mm: float


def fixed_channels(session: Session, estimate: Array) -> FixedChannels:
    """Return the channels of a scan on the session's grid that no later estimate changes.

    Parameters
    ----------
    session
        Scan and grid.
    estimate
        A first estimate in 1/mm; it decides the unit, and how closely it follows the measurements
        enters the describing vector.
    """
    unit = attenuation_unit(session.operator.to_numpy(estimate))
    filtered = fdk(
        session.scan, session.grid, window=Window.HANN, threads=session.operator.threads,
        device=session.operator.device,
    )  # fmt: skip
    filtered *= np.float32(1.0 / unit)
    np.clip(filtered, LOWEST, HIGHEST, out=filtered)
    volumes = np.stack([filtered, *_geometric(session.scan.geometry, session.grid)])
    condition = condition_of(session, session.problem.misfit_of(estimate))
    return FixedChannels(volumes, condition, unit)


def network_channels(session: Session, fixed: FixedChannels, estimate: Array) -> Floats:
    """Return all channels ``[5, k, j, i]`` of an estimate in 1/mm (array of the operator's kind).

    The residual costs two projections and two backprojections.
    """
    to_numpy, unit = session.operator.to_numpy, np.float32(1.0 / fixed.unit_per_mm)
    x = to_numpy(estimate) * unit
    r = to_numpy(residual_volume(session, estimate)) * (unit * np.float32(RESIDUAL_GAIN))
    filtered, coverage, gap = fixed.volumes
    return np.stack([x, filtered, np.tanh(r), coverage, gap])


def residual_volume(session: Session, estimate: Array) -> Array:
    """Return the residual as a volume in 1/mm: what one weighted simultaneous step would add.

    ``C A^T W R (p - A x)`` with ``R`` one over the rays' path lengths and ``C`` one over
    ``A^T W 1``: each voxel shows the mean contradiction of its rays, spread along their paths.
    """
    problem, operator = session.problem, session.operator
    paths = operator(operator.zeros_domain() + 1.0)
    residual = problem.data - operator(estimate)
    residual *= guarded_inverse(paths)
    weights = problem.weights * (1.0 / max(float(problem.weights.max()), 1e-30))
    out = operator.T(weights * residual)
    out *= guarded_inverse(operator.T(weights), 1e-4)
    return out


def condition_of(session: Session, misfit: float) -> Floats:
    """Return the describing vector of a scan: see :data:`CONDITION`; every entry is of order one.

    Base-2 logarithms around 16 views, voxels of 2 mm and 96 voxels, base-10 ones around 1e5 counts
    (of one pixel) and, for how closely the first estimate follows the measurements, a chi-squared
    per reading of 1; the arc in half turns, less one.
    """
    arc = scan_arc(session.scan.geometry)
    voxel = float(np.prod(session.grid.spacing_mm) ** (1 / 3))
    dose = float(np.clip(np.log10(session.noise.i0 / 1e5), -2.0, 3.0))
    return np.array(
        [
            np.log2(session.scan.views / 16.0) / 2.0,
            min(arc.arc_rad, arc.period_rad) / np.pi - 1.0,
            dose / 2.0,
            float(np.clip(np.log2(voxel / 2.0), -4.0, 4.0)) / 2.0,
            np.log2(max(session.grid.shape) / 96.0),
            float(np.clip(np.log10(max(misfit, 1e-9)), -2.0, 2.0)),
        ],
        dtype=np.float32,
    )


def attenuation_unit(estimate_per_mm: Floats) -> float:
    """Return the attenuation that counts as 1: water's, or the object's if it is far from that."""
    matter = estimate_per_mm[estimate_per_mm > 0.02 * float(estimate_per_mm.max(initial=0.0))]
    # A little metal must not decide what counts as the object: it is in the highest tenth.
    inside = matter[matter > 0.2 * float(np.quantile(matter, 0.9))] if matter.size else matter
    if inside.size == 0:
        return MU_WATER_PER_MM
    middle = float(np.median(inside))
    ratio = middle / MU_WATER_PER_MM
    return MU_WATER_PER_MM if 1.0 / USUAL_SHARE < ratio < USUAL_SHARE else middle


def coverage_and_gap(
    geometry: ConeBeamGeometry, points_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of the views that see each point, and the largest angular gap in radians.

    Opposite directions are one line, so that gaps are counted modulo half a turn; a point that one
    view sees, or none, has a gap of half a turn.

    Parameters
    ----------
    points_mm
        World points, shape (n, 3).
    """
    to_gantry = geometry.world_to_gantry
    points = points_mm @ to_gantry[:3, :3].T + to_gantry[:3, 3]
    source = geometry.source_gantry[:, None, :]
    towards = source - (points[None] if geometry.beam is Beam.CONE else 0.0)
    angle = np.mod(np.arctan2(towards[..., 0], towards[..., 2]), np.pi)
    angle = np.broadcast_to(angle, (geometry.views, len(points)))
    seen = _seen(geometry, points_mm)
    ordered = np.sort(np.where(seen, angle, np.inf), axis=0)
    count = seen.sum(axis=0)
    several = count >= 2
    last = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None], axis=0)[0]
    gap = np.full(len(points), np.pi)
    gap[several] = ordered[0, several] + np.pi - last[several]
    if geometry.views > 1:
        with np.errstate(invalid="ignore"):
            between = np.diff(ordered, axis=0)
        between[~np.isfinite(between)] = 0.0
        gap[several] = np.maximum(gap[several], between.max(axis=0)[several])
    return count / geometry.views, gap


def _seen(geometry: ConeBeamGeometry, points_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    homogeneous = np.concatenate([points_mm, np.ones((len(points_mm), 1))], axis=1)
    u, v, w = np.moveaxis(geometry.matrices @ homogeneous.T, 1, 0)
    rows, cols = geometry.detector_shape
    inside = (w > 0) & (np.abs(u - (cols - 1) / 2 * w) <= cols / 2 * w)
    return np.asarray(inside & (np.abs(v - (rows - 1) / 2 * w) <= rows / 2 * w))


def _geometric(geometry: ConeBeamGeometry, grid: VolumeGeometry) -> tuple[Floats, Floats]:
    """Return coverage and angular gap as channels ``[k, j, i]``."""
    lattice = grid_of_shape(grid, coarse_shape(grid.shape, LATTICE))
    k, j, i = np.indices(lattice.shape).reshape(3, -1)
    points = lattice.to_world(np.stack([i, j, k], axis=-1).astype(np.float64))
    coverage, gap = coverage_and_gap(geometry, points)
    scaled = np.log2(np.pi / np.maximum(gap, 1e-3)) / 4.0
    shape = lattice.shape
    return (
        resized(coverage.reshape(shape).astype(np.float32), grid.shape),
        resized(scaled.reshape(shape).astype(np.float32), grid.shape),
    )
