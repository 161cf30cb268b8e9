"""Running one request in this very process (layer: jobs); the worker calls it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import Volume
from ctrestorelib.jobs.folder import read_request, write_result
from ctrestorelib.jobs.identity import arrays_of, origin
from ctrestorelib.jobs.request import JobRequest, Region
from ctrestorelib.quality.cautions import cautions
from ctrestorelib.quality.result import plain
from ctrestorelib.restorer.blend import blend
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Estimate

REGION_MARGIN = 16
"""Voxels worked on around a region, so that filters see its surroundings."""


def execute(request: JobRequest, budget: Budget, job: Job) -> Estimate:
    """Plan and run a request; return the estimate in the wished unit, blended and restricted.

    Raises
    ------
    CTRestoreError
        Whatever the plan or the method refuses.
    """
    if request.is_reconstruction:
        estimate = _run(request, budget, job)
        return _to_unit(estimate, request)
    return _denoise(request, budget, job)


def perform_restoration(request_path: Path, job: Job) -> None:
    """Run the restoration that a request file describes and write its result; the worker's part."""
    request, budget = read_request(request_path)
    _caution(request, job)
    estimate = execute(request, budget, job)
    volume = estimate.volume
    made = origin(arrays_of(request.inputs), volume.values)
    report = plain(dict(estimate.report))
    write_result(request_path.parent, volume, estimate.uncertainty, report, made)


def _caution(request: JobRequest, job: Job) -> None:
    """Stamp what a person should know about the volume, once for every denoiser."""
    volume = request.inputs.volume
    if request.is_reconstruction or volume is None or request.strength == 0.0:
        return
    for caution in cautions(volume, request.facts):
        job.warn(caution.code, caution.text)


def _run(request: JobRequest, budget: Budget, job: Job) -> Estimate:
    plan = request.plan(budget)
    estimate = request.restorer.restore(request.inputs, request.resolved_params(), plan, job)
    job.advance(1.0, force=True)
    return estimate


def _to_unit(estimate: Estimate, request: JobRequest) -> Estimate:
    volume = estimate.volume.to_unit(request.output_unit, request.mu_water_per_mm)
    sigma = estimate.uncertainty
    if sigma is not None and request.output_unit is not sigma.unit:
        scale = np.float32(1000.0 / request.mu_water_per_mm)
        sigma = sigma.with_values(sigma.values * scale, request.output_unit)
    return Estimate(volume, sigma, estimate.report)


def _denoise(request: JobRequest, budget: Budget, job: Job) -> Estimate:
    original = request.inputs.require_volume()
    original.require_finite()
    if request.strength == 0.0:
        job.advance(1.0, force=True)
        return Estimate(original, report={"strength": 0.0})
    if request.region_kji is None:
        estimate = _run(request, budget, job)
        mixed = blend(original, estimate.volume, request.strength, request.inputs.mask)
        return Estimate(mixed, estimate.uncertainty, estimate.report)
    return _denoise_region(request, request.region_kji, budget, job)


def _denoise_region(request: JobRequest, region: Region, budget: Budget, job: Job) -> Estimate:
    original = request.inputs.require_volume()
    outer = tuple(
        slice(max(0, a - REGION_MARGIN), min(n, b + REGION_MARGIN))
        for (a, b), n in zip(region, original.shape, strict=True)
    )
    box = (outer[0], outer[1], outer[2])
    mask = request.inputs.mask
    inside = replace(
        request.inputs, volume=original.crop(box), mask=None if mask is None else mask[box]
    )
    estimate = _run(replace(request, inputs=inside, region_kji=None), budget, job)
    return Estimate(_paste(original, estimate.volume, box, request, region), None, estimate.report)


def _paste(
    original: Volume,
    restored: Volume,
    box: tuple[slice, slice, slice],
    request: JobRequest,
    region: Region,
) -> Volume:
    allowed = np.zeros(restored.shape, dtype=bool)
    inner = tuple(slice(a - s.start, b - s.start) for (a, b), s in zip(region, box, strict=True))
    allowed[inner] = True
    if request.inputs.mask is not None:
        allowed &= request.inputs.mask[box]
    values = original.values.copy()
    values[box] = blend(original.crop(box), restored, request.strength, allowed).values
    return original.with_values(values)


def options_of(request: JobRequest, budget: Budget) -> dict[str, Any]:
    """Return what besides parameters and seed shaped the run, as plain values for the record."""
    grid = request.inputs.grid
    return {
        "region_kji": request.region_kji,
        "output_unit": request.output_unit.value,
        "mu_water_per_mm": request.mu_water_per_mm,
        "grid": None if grid is None else grid.to_json(),
        "budget": vars(budget),
    }
