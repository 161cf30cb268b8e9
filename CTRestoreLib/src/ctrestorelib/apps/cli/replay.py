"""``ctrestore replay``: make a result again and check that it is the same (layer: apps)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from ctrestorelib.apps.cli import files, options
from ctrestorelib.apps.cli.console import echo_json, progress, say
from ctrestorelib.core.errors import CTRestoreError, InputError
from ctrestorelib.core.provenance import InputIdentity, Provenance, array_sha256
from ctrestorelib.geometry.projections import ProjectionSet
from ctrestorelib.io.projections import read_projections
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.jobs.replay import replay as run_again
from ctrestorelib.restorer.protocol import Inputs

_ROLES = ("volume", "projections", "prior", "mask")


@click.command("replay")
@click.argument("sidecar", type=options.path_type)
@click.option(
    "--input", "given", multiple=True, type=options.path_type,
    help="Original input, recognised by its content; default: look beside SIDECAR.",
)  # fmt: skip
@click.option("--geometry", type=options.path_type, help="Geometry file of the projections.")
@click.option("--output", type=options.path_type, help="Also write the repeated result here.")
@click.option("--overwrite", is_flag=True, help="Replace an existing output file.")
@click.option("--quiet", is_flag=True, help="No progress.")
@options.json_option
def replay(sidecar: Path, given: tuple[Path, ...], output: Path | None, **rest: Any) -> None:
    """Run the restoration that SIDECAR records again; tell whether every voxel is the same.

    A record names no files. The inputs are found by their content among --input, or among the files
    beside the record.
    """
    record = Provenance.read(sidecar)
    if output is not None:
        options.check_output(output, [sidecar, *given], overwrite=rest["overwrite"])
    candidates = list(given) or sorted(p for p in sidecar.parent.iterdir() if p != sidecar)
    found = {i.role: _find(i, candidates, rest["geometry"], record) for i in record.inputs}
    inputs = _inputs(found)
    with progress("Replay", quiet=rest["quiet"] or rest["as_json"]) as show:
        repeated = run_again(record, inputs, show)
    if output is not None:
        files.save_result(repeated.result.volume, repeated.result.provenance, output, "float32")
    if rest["as_json"]:
        echo_json({"identical": repeated.identical, "differences": list(repeated.differences)})
    elif repeated.identical:
        click.echo("The repeated result is identical, voxel by voxel.")
    else:
        click.echo("The repeated result differs from the recorded one.")
        for difference in repeated.differences:
            say(f"  {difference}")
    if not repeated.identical:
        raise click.exceptions.Exit(1)


def _inputs(found: dict[str, Any]) -> Inputs:
    return Inputs(
        volume=found.get("volume"),
        projections=found.get("projections"),
        prior=found.get("prior"),
        mask=found.get("mask"),
    )


def _find(
    wanted: InputIdentity, candidates: list[Path], geometry: Path | None, record: Provenance
) -> Any:
    """Return the input whose content has the recorded hash."""
    for value in _readable(wanted, candidates, geometry, record):
        values = value.values if hasattr(value, "values") else value
        if values.shape == wanted.shape and array_sha256(values) == wanted.sha256:
            return value
    message = f"The {wanted.role} that this result was made from was not found."
    raise InputError(message, hint="Name the original file with --input.")


def _readable(
    wanted: InputIdentity, candidates: list[Path], geometry: Path | None, record: Provenance
) -> Iterator[Any]:
    for path in candidates:
        try:
            if wanted.role == "projections":
                read = read_projections(path, geometry=geometry).projections
                yield from _view_choices(read, wanted.shape[0])
                continue
            volume = read_volume(path).volume
        except CTRestoreError:
            continue  # some other file beside the record
        if wanted.role == "mask":
            yield volume.values > np.float32(0.5)
        elif wanted.role == "prior":
            yield volume.to_unit(type(volume.unit)("per_mm"), record.options["mu_water_per_mm"])
        else:
            yield volume


def _view_choices(read: ProjectionSet, views: int) -> Iterator[ProjectionSet]:
    """Yield the selections that ``--views`` and ``--every`` could have made."""
    if views == read.views:
        yield read
    elif views < read.views:
        yield read[np.arange(views) * read.views // views]
        for every in range(2, read.views // views + 2):
            if len(range(0, read.views, every)) == views:
                yield read[::every]
