"""Filtered backprojection for cone, fan and parallel beams (FDK) (layer: recon).

Views are weighted, filtered and backprojected block by block, so that memory is one volume and one
block beyond the projections.

What is exact: in the plane of rotation the result is that of fan-beam filtered backprojection, also
for shifted detectors, detectors turned about their u or v axis, source distances that differ from
view to view, and uneven angles (up to their discretisation). Away from that plane it is Feldkamp's
approximation. A detector rotated about its normal is filtered along its rows, and a source that
leaves the plane is treated as if it did not: both are reported.

References
----------
Feldkamp, Davis, Kress, J. Opt. Soc. Am. A 1 (1984) 612, doi:10.1364/JOSAA.1.000612.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.physics.backend import choose_backend, choose_threads
from ctrestorelib.physics.backproject import backproject
from ctrestorelib.physics.sharing import share as share_work
from ctrestorelib.recon.detector import block_views, detector_part, missing_columns, rows_needed
from ctrestorelib.recon.filters import RowFilter, Window
from ctrestorelib.recon.obliquity import ray_weights, sample_spacing_mm
from ctrestorelib.recon.truncation import (
    Truncation,
    extension,
    fit_columns,
    tail,
    truncated_sides,
    typical_bend,
    warn_truncated,
)
from ctrestorelib.recon.weights import Redundancy, Weighting, redundancy

ROLL_TOLERANCE = 0.02
HEIGHT_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class FdkSetup:
    """Everything decided before the first view is filtered.

    Parameters
    ----------
    geometry
        The scan, cropped to the detector rows that the grid needs, and widened on the narrow side
        of an offset detector: filtered rows do not end where the readings do.
    rows, columns
        Where the readings' rows are taken from, and which of the geometry's columns they fill.
    redundancy
        Weights of rays measured twice, and the arc.
    row_filter
        The ramp filter.
    rays
        Ray weights (1, row, col) if they are the same for all views, else None.
    factors
        Shape (view, col) or (view, 1): redundancy, angle, sample spacing and distance scale.
    truncated_share
        Share of rows cut off at the first and at the last column.
    bend
        Curvature of the squared line integrals by which cut-off rows are continued.
    """

    geometry: ConeBeamGeometry
    rows: slice
    columns: slice
    redundancy: Redundancy
    row_filter: RowFilter
    rays: NDArray[np.float32] | None
    factors: NDArray[np.float32]
    truncated_share: tuple[float, float]
    bend: float


def fdk(
    projections: ProjectionSet,
    grid: VolumeGeometry,
    *,
    window: Window = Window.HANN,
    cutoff: float = 1.0,
    weighting: Weighting = Weighting.AUTO,
    truncation: Truncation = Truncation.AUTO,
    backend: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    job: Job | None = None,
    share: float = 1.0,
) -> NDArray[np.float32]:
    """Reconstruct a volume by filtered backprojection.

    Parameters
    ----------
    projections
        Line integrals (counts are converted).
    grid
        Voxels to fill, in the world of the geometry.
    window, cutoff
        Apodisation of the ramp filter, and where it ends as a fraction of Nyquist.
    weighting
        How rays measured twice share their weight; see :func:`~.weights.redundancy`.
    truncation
        Whether rows that the object overfills are continued smoothly; AUTO looks at the rows' ends
        and warns.
    backend, device, threads
        As for :func:`~ctrestorelib.physics.backproject.backproject`.
    job, share
        Receives warnings and progress of one stage that stands for ``share`` of the job.

    Returns
    -------
    ndarray
        ``[k, j, i]``, float32, in 1/mm. Voxels that no view sees are 0.

    Raises
    ------
    GeometryError
        If no view sees the grid, or the weighting does not fit the scan.
    InputError
        If a reading is not finite.
    """
    projections = projections.to_line_integrals()
    projections.require_finite()
    setup = prepare(
        projections,
        grid,
        window=window,
        cutoff=cutoff,
        weighting=weighting,
        truncation=truncation,
        threads=threads,
    )
    job = job or Job()
    warn_about(setup, job)
    return run(projections, grid, setup, job=job, share=share, backend=backend, device=device)


def prepare(
    projections: ProjectionSet,
    grid: VolumeGeometry,
    *,
    window: Window = Window.HANN,
    cutoff: float = 1.0,
    weighting: Weighting = Weighting.AUTO,
    truncation: Truncation = Truncation.AUTO,
    threads: int | None = None,
) -> FdkSetup:
    """Decide weights, filter and the detector rows that matter; see :func:`fdk`."""
    chosen = redundancy(projections.geometry, weighting)
    rows = rows_needed(projections.geometry, grid)
    left, right = 0, 0
    if chosen.weighting is Weighting.WANG:
        left, right = missing_columns(projections.geometry)
    geometry = detector_part(projections.geometry, rows, left, right)
    cols = projections.geometry.detector_shape[1]
    # The narrow side of an offset detector does not count: its weights end at zero.
    found = truncated_sides(projections.values[:, rows])
    shares = (0.0 if left else found[0], 0.0 if right else found[1])
    row_filter = RowFilter(
        columns=geometry.detector_shape[1],
        window=window,
        cutoff=cutoff,
        extension=extension(shares, cols, truncation),
        threads=choose_threads(threads),
    )
    scale = 1.0 / (sample_spacing_mm(geometry) * _isocentre_depth(geometry) ** 2)
    return FdkSetup(
        geometry=geometry,
        rows=rows,
        columns=slice(left, left + cols),
        redundancy=chosen,
        row_filter=row_filter,
        rays=_common_rays(geometry),
        factors=(chosen.weights * scale[:, None]).astype(np.float32),
        truncated_share=shares,
        bend=typical_bend(projections.values[:, rows]),
    )


def run(
    projections: ProjectionSet,
    grid: VolumeGeometry,
    setup: FdkSetup,
    *,
    job: Job,
    share: float = 1.0,
    backend: str = "auto",
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Weight, filter and backproject all views; line integrals in, 1/mm out."""
    values = projections.values[:, setup.rows]
    step = block_views(setup.geometry)
    block = np.zeros((step, *setup.geometry.detector_shape), dtype=np.float32)
    out, give = _volume(grid, device)
    add = partial(backproject, grid=grid, out=out, backend=choose_backend(backend, device),
                  device=device, threads=setup.row_filter.threads)  # fmt: skip
    with job.stage("Filter and backproject the views", share) as stage:
        for start in stage.track(range(0, len(values), step)):
            views = slice(start, min(start + step, len(values)))
            part = setup.geometry[views]
            _filter(values[views], setup, views, block[: part.views])
            add(give(block[: part.views]), part)
    return np.asarray(out if device == "cpu" else out.cpu().numpy())


def warn_about(setup: FdkSetup, job: Job) -> None:
    """Tell the job what the person should know about this scan."""
    for code, text in setup.redundancy.doubts:
        job.warn(code, text)
    warn_truncated(setup.truncated_share, setup.row_filter.extension, job)
    geometry = setup.geometry
    turn = geometry.world_to_gantry[:3, :3]
    roll = np.abs(geometry.u_mm @ turn[1]) / np.linalg.norm(geometry.u_mm, axis=1)
    if roll.max() > ROLL_TOLERANCE:
        text = (
            f"The detector rows are inclined by {np.rad2deg(np.arcsin(roll.max())):.1f} degrees to "
            "the plane of rotation; filtering along them is approximate."
        )
        job.warn("detector-roll", text)
    if geometry.beam is Beam.CONE:
        height = np.ptp(geometry.source_gantry[:, 1])
        if height > HEIGHT_TOLERANCE * float(geometry.sod_mm.mean()):
            text = (
                f"The source moves by {height:.1f} mm along the rotation axis; "
                "FDK assumes a circle."
            )
            job.warn("not-circular", text)


def _isocentre_depth(geometry: ConeBeamGeometry) -> NDArray[np.float64]:
    """Return the matrices' w at the isocentre: SOD / SDD for a detector that faces the axis."""
    isocentre = np.linalg.inv(geometry.world_to_gantry)[:, 3]
    return np.asarray(geometry.matrices[:, 2] @ isocentre)


def _common_rays(geometry: ConeBeamGeometry) -> NDArray[np.float32] | None:
    """Return the ray weights if all views share them, judged by the middle row."""
    rows = geometry.detector_shape[0]
    middle = detector_part(geometry, slice(rows // 2, rows // 2 + 1))
    return ray_weights(geometry[:1]) if len(ray_weights(middle)) == 1 else None


def _filter(
    values: NDArray[np.float32], setup: FdkSetup, views: slice, block: NDArray[np.float32]
) -> None:
    """Write the weighted and filtered readings of some views to ``block``."""
    rays = ray_weights(setup.geometry[views]) if setup.rays is None else setup.rays
    rays = np.broadcast_to(rays, block.shape)[..., setup.columns]
    padded = setup.columns.stop - setup.columns.start < block.shape[-1]

    def work(first: int, last: int) -> None:
        for view in range(first, last):
            if padded:
                block[view] = 0.0
            target = block[view][:, setup.columns]
            np.multiply(values[view], rays[view], out=target)
            np.multiply(target, setup.factors[views.start + view], out=target)
            tails = _tails(target, rays[view], setup, views.start + view)
            setup.row_filter.apply(block[view], *tails)

    share_work(work, len(values), setup.row_filter.threads)


def _tails(
    target: NDArray[np.float32], rays: NDArray[np.float32], setup: FdkSetup, view: int
) -> list[NDArray[np.float32] | None]:
    """Return what continues the weighted rows of one view on the left and right."""
    count = fit_columns(target.shape[1])
    ends = (target[:, :count][:, ::-1], target[:, -count:])
    middle = len(target) // 2
    return [
        tail(
            end, setup.bend * float(rays[middle, column] * setup.factors[view, column]) ** 2, length
        )
        if length
        else None
        for end, column, length in zip(ends, (0, -1), setup.row_filter.extension, strict=True)
    ]


def _volume(grid: VolumeGeometry, device: str) -> tuple[Any, Callable[[NDArray[np.float32]], Any]]:
    """Return an empty volume on the device, and how to bring projections there."""
    if device == "cpu":
        return np.zeros(grid.shape, dtype=np.float32), lambda block: block
    import torch

    volume = torch.zeros(grid.shape, dtype=torch.float32, device=device)
    return volume, lambda block: torch.from_numpy(block).to(device)
