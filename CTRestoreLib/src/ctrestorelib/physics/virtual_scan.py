"""The virtual scan: any CT volume seen by a scanner of one's choice (layer: physics).

The volume's HU become attenuation, mu = mu_water (1 + HU / 1000), nothing below 0 (so padding is
air). It is interpolated to finer voxels (cubic convolution), several rays cross every detector
pixel and are averaged as *intensities*, the way a detector does; then come blur and noise. So the
projections are made by another model than the one a reconstruction on the volume's grid uses.

References
----------
J. Kaipio, E. Somersalo, on inverse crimes, doi:10.1016/j.cam.2005.09.027.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import PADDING_BELOW_HU, Volume, VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.resampling import refined, refined_grid
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry
from ctrestorelib.physics.noise import transmission_noise
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.physics.scan_protocol import (
    BeamShape,
    Isocentre,
    Orientation,
    ScanProtocol,
    bounding_cylinder,
    source_inside,
)
from ctrestorelib.restorer.plan import BASE_BYTES, Budget, Plan, PlannedStage, require_fit

__all__ = ["BeamShape", "Isocentre", "Orientation", "ScanProtocol", "bounding_cylinder",
           "plan_scan", "virtual_scan"]  # fmt: skip

Array = NDArray[np.float32]

_SLAB_VOXELS = 2**26  # of the finer volume, at once: 256 MiB
_CHUNK_RAYS = 2**25  # at once: 128 MiB
_RAY_STEPS_PER_SECOND = 1.3e8  # per core, with numba: measured
_FINE_VOXELS_PER_SECOND = 2.5e7
_EDGE_SHARE = 0.05  # an edge pixel behind more than this share of the maximum sees the object


def virtual_scan(
    volume: Volume,
    protocol: ScanProtocol,
    job: Job | None = None,
    *,
    geometry: ConeBeamGeometry | None = None,
    budget: Budget | None = None,
) -> ProjectionSet:
    """Return the projections that a scanner set to ``protocol`` would measure of ``volume``.

    Parameters
    ----------
    volume
        In HU or 1/mm, any orientation.
    protocol
        The scanner's settings.
    job
        Progress, cancel, warnings and the random numbers (noise of view n depends on the seed and n
        only). A fresh job with seed 0 if None.
    geometry
        A scan geometry to follow instead of the protocol's (which then gives dose and sampling
        only).
    budget
        Memory to stay within; what is free now if None.

    Returns
    -------
    ProjectionSet
        Line integrals (or counts) with the geometry the scanner believes in, ``i0`` and electronic
        noise.

    Raises
    ------
    GeometryError
        If the source or the detector would pass through the object.
    UnitError, InputError
        If the volume has grey values, or NaN.
    DoesNotFit
        If the projections and the volume need more memory than the budget has.
    UsageError
        If counts are asked for without ``i0``.
    """
    job = job or Job()
    if protocol.as_counts and protocol.i0 is None:
        message = "Counts need i0, the photons per pixel without an object."
        raise UsageError(message, hint="Give i0, for instance 1e5, or ask for line integrals.")
    volume.require_finite()
    mu = _attenuation(volume, protocol, job)
    believed = geometry or protocol.geometry_for(volume.geometry)
    plan_scan(volume.geometry, protocol, budget or Budget.detect(), geometry=believed)
    _check_clearance(mu, volume.geometry, believed)
    true = believed
    if protocol.is_misaligned and geometry is None:
        true = protocol.true_geometry_for(volume.geometry, job.rng("misalignment"))
        job.warn("misaligned-scan", "The scanner was moved in ways its geometry does not tell.")
    values = _measure(mu, volume.geometry, true, protocol, job)
    _warn_truncation(values, believed, protocol, job)
    if protocol.as_counts and protocol.i0 is not None:
        values = np.float32(protocol.i0) * np.exp(-values)
    kind = ProjectionKind.COUNTS if protocol.as_counts else ProjectionKind.LINE_INTEGRAL
    sd = protocol.electronic_sd if protocol.i0 is not None else 0.0
    return ProjectionSet(values, believed, kind, protocol.i0, sd)


def plan_scan(
    volume: VolumeGeometry,
    protocol: ScanProtocol,
    budget: Budget,
    *,
    geometry: ConeBeamGeometry | None = None,
) -> Plan:
    """Return memory and time of a virtual scan, before it starts.

    Raises
    ------
    DoesNotFit
        If it needs more memory than the budget has.
    """
    scan = geometry or protocol.geometry_for(volume)
    readings = scan.views * scan.detector_shape[0] * scan.detector_shape[1]
    rays = readings * protocol.oversample**2
    fine_voxels = volume.voxels * protocol.refine**3
    slab = min(fine_voxels, max(_SLAB_VOXELS, 5 * fine_voxels // volume.shape[0]))
    chunk = min(rays, max(_CHUNK_RAYS, rays // scan.views))
    peak = BASE_BYTES + 4 * (2 * volume.voxels + 3 * slab + 3 * chunk + 2 * readings)
    require_fit(
        peak, budget, "Simulate fewer views, larger pixels (--pixel-mm) or a part of the volume."
    )
    steps = rays * max(volume.shape) * protocol.refine
    passes = -(-rays // chunk)
    seconds = 0.5 + passes * fine_voxels / _FINE_VOXELS_PER_SECOND
    seconds += steps / (_RAY_STEPS_PER_SECOND * budget.threads)
    stages = (PlannedStage("Take X-ray views", 1.0),)
    return Plan("numba", budget.device, budget.threads, int(peak), seconds, stages)


def _attenuation(volume: Volume, protocol: ScanProtocol, job: Job) -> Array:
    if volume.unit is Unit.HU and volume.values.min() < PADDING_BELOW_HU:
        text = "Voxels that the original scanner never measured (padding) were taken as air."
        job.warn("padding-as-air", text)
    mu = volume.to_unit(Unit.PER_MM, protocol.mu_water_per_mm).values
    return np.maximum(mu, np.float32(0))


def _measure(
    mu: Array, grid: VolumeGeometry, true: ConeBeamGeometry, protocol: ScanProtocol, job: Job
) -> Array:
    out = np.empty((true.views, *true.detector_shape), np.float32)
    bowtie = _bowtie(true, grid, protocol)
    slabs = list(_slabs(grid, protocol.refine))
    chunks = list(_chunks(true, protocol.oversample))
    with job.stage("Take X-ray views", 1.0) as stage:
        for n, views in enumerate(chunks):
            share = len(slabs) * len(chunks)
            line = None
            for m, slab in enumerate(slabs):
                part = _project(mu, grid, slab, true[views], protocol)
                line = part if line is None else line + part
                stage.done((n * len(slabs) + m + 1) / share)
            if line is not None:
                out[views] = _detect(line, views, bowtie, protocol, job)
    return out


def _project(
    mu: Array,
    grid: VolumeGeometry,
    slab: slice,
    true: ConeBeamGeometry,
    protocol: ScanProtocol,
) -> Array:
    """Line integrals of one slab of the finer volume along every ray of every pixel."""
    times, rays = protocol.refine, protocol.oversample
    low, high = max(0, slab.start - 2), min(grid.shape[0], slab.stop + 2)
    values = refined(mu[low:high], times, halo=(slab.start - low, high - slab.stop))
    np.maximum(values, 0, out=values)
    whole = slice(None)
    fine_grid = refined_grid(grid.crop((slab, whole, whole)), times)
    # One projection: tensors would bring nothing, and torch takes seconds to be loaded.
    operator = XrayOperator(finer_detector(true, rays), fine_grid, arrays="numpy")
    return operator.to_numpy(operator(operator.asarray(values)))


def finer_detector(scan: ConeBeamGeometry, times: int) -> ConeBeamGeometry:
    """Return the same detector with ``times`` as many pixels along each edge."""
    rows, cols = scan.detector_shape
    return scan.replace(
        u_mm=scan.u_mm / times, v_mm=scan.v_mm / times, detector_shape=(rows * times, cols * times)
    )


def _detect(line: Array, views: slice, bowtie: Array, protocol: ScanProtocol, job: Job) -> Array:
    """Turn line integrals of single rays into the readings of pixels."""
    n, rows, cols = line.shape
    times = protocol.oversample
    blocks = np.exp(-line).reshape(n, rows // times, times, cols // times, times)
    intensity = blocks.mean(axis=(2, 4), dtype=np.float64)
    if protocol.detector_blur_px > 0:
        from scipy.ndimage import gaussian_filter

        sigma = (0, protocol.detector_blur_px, protocol.detector_blur_px)
        intensity = gaussian_filter(intensity, sigma, mode="nearest")
    readings: Array = (-np.log(np.maximum(intensity, 1e-30))).astype(np.float32)
    if protocol.i0 is None:
        return readings
    for view, reading in zip(range(views.start, views.stop), readings, strict=True):
        rng = job.rng(f"noise of view {view}")
        reading[...] = transmission_noise(
            reading, protocol.i0, protocol.electronic_sd, rng, bowtie=bowtie[view]
        )
    return readings


def _bowtie(true: ConeBeamGeometry, grid: VolumeGeometry, protocol: ScanProtocol) -> Array:
    """Transmission of the bowtie, shape (view, 1, col); it evens out a water cylinder by half."""
    cols = true.detector_shape[1]
    if not protocol.bowtie:
        return np.ones((true.views, 1, cols), np.float32)
    to_gantry = true.world_to_gantry
    radius = bounding_cylinder(grid, to_gantry)[0] / np.sqrt(2)
    away = _distance_from_axis(true)
    chord = 2 * np.sqrt(np.maximum(radius**2 - away**2, 0))
    flattening = np.exp(-protocol.mu_water_per_mm * (2 * radius - chord))
    profile: Array = (0.5 + 0.5 * flattening).astype(np.float32)
    return profile[:, None, :]


def _distance_from_axis(true: ConeBeamGeometry) -> NDArray[np.float64]:
    """How far the rays of the middle row pass by the rotation axis, in mm; (view, col)."""
    turn, shift = true.world_to_gantry[:3, :3], true.world_to_gantry[:3, 3]
    cols = true.detector_shape[1]
    steps = np.arange(cols, dtype=np.float64) - (cols - 1) / 2
    pixels = true.detector_centre_mm[:, None] + steps[:, None] * true.u_mm[:, None]
    pixels = pixels @ turn.T + shift
    source = true.source_gantry[:, None]
    ray = source - (pixels if true.beam is Beam.CONE else 0)
    flat = np.hypot(ray[..., 0], ray[..., 2])
    cross = pixels[..., 0] * ray[..., 2] - pixels[..., 2] * ray[..., 0]
    return np.asarray(np.abs(cross) / flat)


def _slabs(grid: VolumeGeometry, times: int) -> Iterator[slice]:
    per_slice = grid.shape[1] * grid.shape[2] * times**3
    step = max(1, _SLAB_VOXELS // per_slice)
    for start in range(0, grid.shape[0], step):
        yield slice(start, min(start + step, grid.shape[0]))


def _chunks(scan: ConeBeamGeometry, times: int) -> Iterator[slice]:
    rows, cols = scan.detector_shape
    step = max(1, _CHUNK_RAYS // (rows * cols * times**2))
    for start in range(0, scan.views, step):
        yield slice(start, min(start + step, scan.views))


def _check_clearance(mu: Array, grid: VolumeGeometry, scan: ConeBeamGeometry) -> None:
    """Raise if source or detector would pass through what absorbs (air may be passed)."""
    if scan.beam is Beam.PARALLEL:
        return
    radius = _object_radius(mu, grid, scan.world_to_gantry)
    sod = float(scan.sod_mm.min())
    if radius >= sod:
        raise source_inside(radius, sod)
    detector = (
        scan.detector_centre_mm @ scan.world_to_gantry[:3, :3].T + scan.world_to_gantry[:3, 3]
    )
    gap = float(
        np.abs(np.einsum("ij,ij->i", detector, scan.normals @ scan.world_to_gantry[:3, :3].T)).min()
    )
    if radius >= gap:
        message = (
            f"The object reaches {radius:.0f} mm from the rotation axis, but the detector is only "
            f"{gap:.0f} mm away (sdd_mm - sod_mm): it would pass through the object."
        )
        raise GeometryError(message, hint="Increase sdd_mm, or crop the volume.")


def _object_radius(mu: Array, grid: VolumeGeometry, to_gantry: NDArray[np.float64]) -> float:
    steps = [max(1, n // 64) for n in grid.shape]
    k, j, i = np.nonzero(mu[:: steps[0], :: steps[1], :: steps[2]] > 0.002)
    if k.size == 0:
        return 0.0
    ijk = np.stack([i * steps[2], j * steps[1], k * steps[0]], axis=-1)
    x, _, z = (grid.to_world(ijk) @ to_gantry[:3, :3].T + to_gantry[:3, 3]).T
    return float(np.hypot(x, z).max())


def _warn_truncation(
    values: Array, scan: ConeBeamGeometry, protocol: ScanProtocol, job: Job
) -> None:
    limit = _EDGE_SHARE * float(values.max(initial=0))
    if limit <= 0:
        return
    sides = [np.median(values[:, :, column], axis=0).max() for column in (0, -1)]
    cut = min(sides) if protocol.offset_mm else max(sides)
    if cut > limit:
        job.warn(
            "lateral-truncation",
            "The detector is narrower than the object's shadow: the reconstruction is exact only "
            "inside the field of view, and bright at its rim.",
        )
    if scan.detector_shape[0] > 1 and max(np.median(values[:, r]) for r in (0, -1)) > limit:
        job.warn(
            "axial-truncation",
            "The detector is shorter than the object: slices near both ends are seen in part only.",
        )
