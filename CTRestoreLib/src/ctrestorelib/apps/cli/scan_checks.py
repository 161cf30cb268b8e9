"""``ctrestore reconstruct --check`` and ``--calibrate`` (layer: apps)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import click

from ctrestorelib.apps.cli.console import progress, say
from ctrestorelib.apps.cli.files import parts_of
from ctrestorelib.apps.cli.options import check_output
from ctrestorelib.core.files import atomic_path
from ctrestorelib.core.job import Job
from ctrestorelib.io.volumes import write_volume
from ctrestorelib.jobs.checking import (
    ReconstructionCheck,
    calibrated_request,
    check_reconstruction,
)
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.jobs.runner import JobResult


def map_of(output: Path) -> Path:
    """Return the map beside a result: ``knee.nii.gz`` -> ``knee-measured-percent.nii.gz``."""
    stem, suffix = parts_of(output)
    return output.with_name(f"{stem}-measured-percent{suffix}")


def report_of(output: Path) -> Path:
    """Return the report beside a result: ``knee.nii.gz`` -> ``knee-check.json``."""
    return output.with_name(f"{parts_of(output)[0]}-check.json")


def check_outputs(output: Path, inputs: Iterable[Path | None], *, overwrite: bool) -> None:
    """Refuse, before anything runs, to write map or report over an input or an existing file.

    Raises
    ------
    UsageError
        In both cases.
    """
    known = list(inputs)
    for path in (map_of(output), report_of(output)):
        check_output(path, known, overwrite=overwrite)


def calibrated(request: JobRequest, *, quiet: bool) -> JobRequest:
    """Return the request with a better geometry if one was found, and say so."""
    with progress("Look for geometry errors", quiet=quiet) as show:
        better, found = calibrated_request(request, Job(show))
    if not quiet:
        say(found.sentence)
    return better


def check_and_save(
    request: JobRequest, result: JobResult, output: Path, *, quiet: bool
) -> ReconstructionCheck:
    """Check a result, write map and report beside it, and print the lights."""
    with progress("Check the result", quiet=quiet) as show:
        check = check_reconstruction(
            request, result.volume, report=result.report, job=Job(show, seed=request.seed)
        )
    if check.measured_percent is not None:
        write_volume(check.measured_percent, map_of(output))
    with atomic_path(report_of(output)) as temporary:
        text = json.dumps(check.to_json(), indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    if not quiet:
        _tell(check, output)
    return check


def _tell(check: ReconstructionCheck, output: Path) -> None:
    for light in check.lights:
        click.echo(f"{light.title}: {light.word}. {light.sentence}")
    if check.measured_percent is not None:
        click.echo(f"Measured share of every voxel in percent: {map_of(output)}.")
    click.echo(f"All figures: {report_of(output)}.")
