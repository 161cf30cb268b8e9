"""``ctrestore denoise``: less noise in a reconstructed volume (layer: apps)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ctrestorelib.apps.cli import files, guards, options
from ctrestorelib.apps.cli.console import progress
from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.io.dicom_facts import reconstruction_facts
from ctrestorelib.io.volumes import VolumeRead
from ctrestorelib.jobs.request import JobRequest, Region
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.restorer.spec import Kind


@click.command("denoise", cls=options.MethodCommand)
@click.argument("input_path", metavar="INPUT", type=options.path_type)
@click.argument("output", metavar="OUTPUT", type=options.path_type)
@options.method_option(Kind.DENOISER, "ctd, or nlm where ctd cannot run")
@options.preset_option
@click.option("--strength", default=1.0, show_default=True, help="0 original (bit-exact) to 1.")
@click.option("--roi", help="Only this box of voxels: i0:i1,j0:j1,k0:k1.")
@click.option("--mask", type=options.path_type, help="Only where this volume is above 0.5.")
@click.option("--dtype", default="float32", show_default=True, help="Stored type, such as int16.")
@click.option(
    "--report",
    type=options.path_type,
    help="Check the result and write the guard rails to this .json or .html file.",
)
@options.read_options
@options.run_options
def denoise(input_path: Path, output: Path, method: str, **given: Any) -> None:
    """Denoise INPUT (DICOM, NIfTI, NRRD, MHA, TIFF, NumPy) into the new file OUTPUT."""
    params = options.preset_params(method, given["preset"]) | options.given_params(given)
    options.require_kind(method, Kind.DENOISER, "reconstruct")
    files.check_outputs(output, [input_path, given["mask"]], params, overwrite=given["overwrite"])
    guards.check_report(given["report"], output, overwrite=given["overwrite"])
    quiet = given["quiet"] or given["as_json"]
    read = files.open_volume(input_path, quiet=quiet, **options.reading(given))
    request = JobRequest(
        method_id=method,
        inputs=Inputs(
            volume=read.volume, mask=files.open_mask(given["mask"], read.volume.geometry)
        ),
        params=params,
        strength=given["strength"],
        region_kji=parse_region(given["roi"]),
        seed=given["seed"],
        budget=options.budget_from(given["threads"], given["memory_gb"]),
        sop_instance_uids=read.sop_instance_uids,
        notes=files.as_records(read.notes),
        facts=facts_of(input_path, read),
    )
    result = files.run_and_save(
        request, output, dtype=given["dtype"], quiet=quiet, as_json=given["as_json"]
    )
    if given["report"] is not None:
        with progress("Check the result", quiet=quiet) as show:
            told = guards.write_report(
                read.volume, result, given["report"], request.budget, Job(show)
            )
        if not quiet:
            click.echo(f"{told} See {given['report']}.")


def facts_of(path: Path, read: VolumeRead) -> dict[str, str]:
    """Return what a DICOM input says about its reconstruction; empty for other formats."""
    return reconstruction_facts(path, read.sop_instance_uids) if read.format == "dicom" else {}


def parse_region(text: str | None) -> Region | None:
    """Parse ``i0:i1,j0:j1,k0:k1`` into ranges in the order k, j, i.

    Raises
    ------
    UsageError
        If the text has another form.
    """
    if text is None:
        return None
    try:
        i, j, k = (tuple(int(n) for n in part.split(":")) for part in text.split(","))
        (i0, i1), (j0, j1), (k0, k1) = i, j, k
    except ValueError:
        message = (
            f"--roi takes i0:i1,j0:j1,k0:k1 in voxels, such as 10:90,20:80,0:30; got {text!r}."
        )
        raise UsageError(message) from None
    return ((k0, k1), (j0, j1), (i0, i1))
