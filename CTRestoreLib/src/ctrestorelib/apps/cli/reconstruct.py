"""``ctrestore reconstruct``: a volume from projections, also from few views (layer: apps)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from ctrestorelib.apps.cli import files, options, scan_checks
from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.field_of_view import default_grid
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.io.projections import read_projections
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.restorer.protocol import Inputs
from ctrestorelib.restorer.spec import Kind


@click.command("reconstruct", cls=options.MethodCommand)
@click.argument("projections", type=options.path_type)
@click.argument("output", type=options.path_type)
@options.method_option(Kind.RECONSTRUCTOR, "cts, or tv-views where cts cannot run")
@options.preset_option
@click.option("--geometry", type=options.path_type, help="Geometry file: our JSON or RTK XML.")
@click.option("--i0", type=float, help="Reading without an object; makes the projections counts.")
@click.option("--pixel-mm", type=float, help="Detector pixel size, where the file has none.")
@click.option(
    "--centre", type=float, help="Column of the rotation axis; default: found in the data."
)
@click.option("--views", type=int, help="Use this many views, spread evenly.")
@click.option("--every", type=int, help="Use every nth view.")
@click.option("--like", type=options.path_type, help="Take the output grid from this volume.")
@click.option(
    "--shape", help="Output voxels i,j,k; axes along the world's, centred on the isocentre."
)
@click.option("--spacing", help="Output voxel size i,j,k in mm.")
@click.option("--unit", type=click.Choice(["hu", "per-mm"]), default="hu", show_default=True)
@click.option(
    "--mu-water", default=MU_WATER_PER_MM, show_default=True, help="Attenuation of water, 1/mm."
)
@click.option("--prior", type=options.path_type, help="Prior volume on the output grid (PICCS).")
@click.option("--mask", type=options.path_type, help="Where the object can be, on the output grid.")
@click.option("--dtype", default="float32", show_default=True, help="Stored type, such as int16.")
@click.option(
    "--check",
    is_flag=True,
    help="Check the result: fit of the views, left-out views, measured share (a map), geometry.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Look for small errors of the geometry first; used only if other views confirm them.",
)
@options.run_options
def reconstruct(projections: Path, output: Path, method: str, **given: Any) -> None:
    """Reconstruct OUTPUT from PROJECTIONS.

    The world of the geometry is the world of the volume (LPS mm). By RTK's convention the gantry
    turns about y, unless the geometry carries a patient orientation of its own, as those made by
    'ctrestore simulate' do (the gantry then turns about the patient's long axis).
    """
    params = options.preset_params(method, given["preset"]) | options.given_params(given)
    options.require_kind(method, Kind.RECONSTRUCTOR, "denoise")
    sources = [projections, given["like"], given["prior"], given["mask"]]
    files.check_outputs(output, sources, params, overwrite=given["overwrite"])
    if given["check"]:
        scan_checks.check_outputs(output, sources, overwrite=given["overwrite"])
    quiet = given["quiet"] or given["as_json"]
    about = {n: given[n] for n in ("geometry", "i0", "pixel_mm", "centre")}
    read = read_projections(projections, **about)
    if not quiet:
        files.tell(read.notes)
    chosen = choose_views(read.projections, given["views"], given["every"])
    grid = output_grid(chosen, given["like"], given["shape"], given["spacing"])
    request = JobRequest(
        method_id=method,
        inputs=Inputs(
            projections=chosen,
            grid=grid,
            prior=files.open_prior(given["prior"], grid, given["mu_water"]),
            mask=files.open_mask(given["mask"], grid),
        ),
        params=params,
        output_unit=Unit.HU if given["unit"] == "hu" else Unit.PER_MM,
        mu_water_per_mm=given["mu_water"],
        seed=given["seed"],
        budget=options.budget_from(given["threads"], given["memory_gb"]),
        notes=files.as_records(read.notes),
    )
    if given["calibrate"]:
        request = scan_checks.calibrated(request, quiet=quiet)
    result = files.run_and_save(
        request, output, dtype=given["dtype"], quiet=quiet, as_json=given["as_json"]
    )
    if given["check"]:
        scan_checks.check_and_save(request, result, output, quiet=quiet)


def choose_views(projections: ProjectionSet, views: int | None, every: int | None) -> ProjectionSet:
    """Return all views, ``views`` evenly spread ones, or every nth.

    Raises
    ------
    UsageError
        If both are given, or a number is out of range.
    """
    if views is None and every is None:
        return projections
    if views is not None and every is not None:
        message = "Give either --views or --every, not both."
        raise UsageError(message)
    if every is not None:
        if every < 1:
            message = f"--every takes a whole number from 1; got {every}."
            raise UsageError(message)
        return projections[::every]
    if views is None or not 1 <= views <= projections.views:
        message = f"--views takes 1 to {projections.views}, the views of this scan; got {views}."
        raise UsageError(message)
    return projections[np.arange(views) * projections.views // views]


def output_grid(
    projections: ProjectionSet, like: Path | None, shape: str | None, spacing: str | None
) -> VolumeGeometry:
    """Return the grid of another volume, a grid about the isocentre, or the whole field of view."""
    if like is not None:
        if shape or spacing:
            message = "Give either --like or --shape and --spacing."
            raise UsageError(message)
        return read_volume(like).volume.geometry
    sizes = None if spacing is None else options.numbers(spacing, 3, "--spacing")
    if shape is None:
        if sizes is not None and len(set(sizes)) > 1:
            message = "Without --shape, --spacing takes one number: the voxels are cubes."
            raise UsageError(message)
        return default_grid(projections.geometry, None if sizes is None else sizes[0])
    if sizes is None:
        message = "--shape needs --spacing."
        raise UsageError(message)
    i, j, k = options.numbers(shape, 3, "--shape", int)
    to_world = np.linalg.inv(projections.geometry.world_to_gantry)
    first = to_world[:3, 3] - (np.array([i, j, k]) - 1) / 2.0 * np.asarray(sizes)
    return VolumeGeometry.from_spacing((k, j, i), sizes, origin_lps_mm=first)
