"""``ctrestore plan``: what a run would cost, before it starts (layer: apps)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ctrestorelib.apps.cli import options
from ctrestorelib.apps.cli.console import echo_json
from ctrestorelib.apps.cli.reconstruct import choose_views, output_grid
from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.params import params_from
from ctrestorelib.io.projections import read_projections
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.methods.registry import method
from ctrestorelib.restorer.plan import InputShapes
from ctrestorelib.restorer.spec import Kind


@click.command("plan", cls=options.MethodCommand)
@click.argument("method_id", metavar="METHOD")
@click.argument("input_path", metavar="[INPUT]", required=False, type=options.path_type)
@click.option(
    "--shape", help="Voxels i,j,k: of the volume instead of INPUT, or of the output grid."
)
@click.option("--spacing", help="Output voxel size i,j,k in mm (reconstruction).")
@click.option("--like", type=options.path_type, help="Output grid (reconstruction).")
@click.option("--geometry", type=options.path_type, help="Geometry file of the projections.")
@click.option("--views", type=int, help="Use this many views.")
@click.option("--threads", type=int, help="Processor cores to use; default: all.")
@click.option("--memory-gb", type=float, help="Memory the run may use; default: what is free.")
@options.json_option
def plan(method_id: str, input_path: Path | None, **given: Any) -> None:
    """Tell time and memory of METHOD on INPUT (or on a volume of --shape) without running it."""
    params = options.given_params(given)
    restorer = method(method_id)
    if restorer.spec.kind is Kind.DENOISER:
        shapes = _volume_shapes(input_path, given["shape"])
    else:
        shapes = _scan_shapes(input_path, given)
    budget = options.budget_from(given["threads"], given["memory_gb"])
    made = restorer.plan(shapes, params_from(restorer.Params, params), budget)
    if given["as_json"]:
        echo_json(made.to_json() | {"sentence": made.sentence()})
        return
    click.echo(made.sentence())
    for stage in made.stages:
        click.echo(f"  {stage.share:4.0%}  {stage.title}")


def _volume_shapes(input_path: Path | None, shape: str | None) -> InputShapes:
    if shape is not None:
        i, j, k = options.numbers(shape, 3, "--shape", int)
        return InputShapes(volume=(k, j, i))
    if input_path is None:
        message = "Name the volume to plan for, or give --shape i,j,k."
        raise UsageError(message)
    return InputShapes(volume=read_volume(input_path).volume.shape)


def _scan_shapes(input_path: Path | None, given: dict[str, Any]) -> InputShapes:
    if input_path is None:
        message = "Name the projections to plan for."
        raise UsageError(message)
    projections = read_projections(input_path, geometry=given["geometry"]).projections
    projections = choose_views(projections, given["views"], None)
    grid = output_grid(projections, given["like"], given["shape"], given["spacing"])
    return InputShapes(scan=projections.geometry, grid=grid)
