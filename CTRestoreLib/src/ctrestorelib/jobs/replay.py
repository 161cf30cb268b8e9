"""Making a result again from its provenance, and checking that it is the same (layer: jobs)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.job import Event
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.jobs.identity import identities
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import JobResult, run_job
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs


@dataclass(frozen=True)
class Replay:
    """A repeated run. ``identical`` says whether every voxel equals the recorded result's."""

    result: JobResult
    identical: bool
    differences: tuple[str, ...]


def request_from(record: Provenance, inputs: Inputs) -> JobRequest:
    """Return the request that a record describes, on these inputs.

    Raises
    ------
    InputError
        If an input's content differs from the recorded one.
    """
    options = record.options
    grid = options.get("grid")
    if grid is not None:
        inputs = Inputs(
            projections=inputs.projections,
            grid=VolumeGeometry.from_json(grid),
            prior=inputs.prior,
            mask=inputs.mask,
        )
    region = options.get("region_kji")
    request = JobRequest(
        method_id=record.method,
        inputs=inputs,
        params=record.params,
        strength=record.strength,
        region_kji=None if region is None else tuple((int(a), int(b)) for a, b in region),  # type: ignore[arg-type]
        output_unit=Unit(options.get("output_unit", Unit.HU.value)),
        mu_water_per_mm=float(options["mu_water_per_mm"]),
        seed=record.seed,
        budget=Budget(**options["budget"]),
    )
    _check_identity(record, request)
    return request


def replay(
    record: Provenance, inputs: Inputs, on_event: Callable[[Event], None] | None = None
) -> Replay:
    """Run a recorded restoration again on the same inputs and compare the outcome."""
    result = run_job(request_from(record, inputs), on_event)
    made = result.provenance
    differences = tuple(
        f"{name}: {record.environment.get(name, 'absent')} then, {now} now"
        for name, now in made.environment.items()
        if record.environment.get(name, "absent") != now
    )
    if record.method_version != made.method_version:
        differences += (f"method version: {record.method_version} then, {made.method_version} now",)
    return Replay(result, made.output_sha256 == record.output_sha256, differences)


def _check_identity(record: Provenance, request: JobRequest) -> None:
    now = {i.role: i.sha256 for i in identities(request)}
    for recorded in record.inputs:
        if now.get(recorded.role) != recorded.sha256:
            message = f"The {recorded.role} given is not the one this result was made from."
            hint = "Its content has another SHA-256; name the original input."
            raise InputError(message, hint=hint)
