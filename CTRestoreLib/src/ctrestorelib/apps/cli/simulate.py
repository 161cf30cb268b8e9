"""``ctrestore simulate``: the virtual scan of a volume (layer: apps)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ctrestorelib.apps.cli import files, options
from ctrestorelib.apps.cli.console import Stopwatch, echo_json, progress, say
from ctrestorelib.core.job import Job
from ctrestorelib.core.params import fields_of, params_from, params_to_json
from ctrestorelib.io.projections import write_projections
from ctrestorelib.physics.scan_protocol import ScanProtocol
from ctrestorelib.physics.virtual_scan import plan_scan, virtual_scan

_PROTOCOL_OPTIONS = [options.option_of(field) for field in fields_of(ScanProtocol)]


@click.command("simulate")
@click.argument("volume", type=options.path_type)
@click.argument("output", type=options.path_type)
@click.option("--detector", help="Detector ROWSxCOLS, such as 256x256; same as --rows --cols.")
@options.read_options
@options.run_options
def simulate(volume: Path, output: Path, detector: str | None, **given: Any) -> None:
    """Take X-ray views of VOLUME with a virtual scanner; write the projections to OUTPUT.

    Beside OUTPUT (mha, nrrd, tif or npy) lies NAME.geometry.json, and NAME.xml for RTK where that
    format can say it. The gantry turns about the patient's long axis through the middle of the
    volume; with --orientation world about the y axis of the volume's world, as RTK's does.
    """
    values = options.given_params(given)
    if detector is not None:
        rows, cols = options.numbers(detector, 2, "--detector", int)
        values = {"rows": rows, "cols": cols} | values
    protocol = params_from(ScanProtocol, values)
    options.check_output(output, [volume], overwrite=given["overwrite"])
    quiet = given["quiet"] or given["as_json"]
    reading = options.reading(given)
    source = files.open_volume(volume, quiet=quiet, **reading).volume
    budget = options.budget_from(given["threads"], given["memory_gb"])
    plan = plan_scan(source.geometry, protocol, budget)
    if not quiet:
        say(plan.sentence())
    watch = Stopwatch()
    with progress("Virtual scan", quiet=quiet) as show:
        job = Job(emit=show, seed=given["seed"])
        projections = virtual_scan(source, protocol, job, budget=budget)
    write_projections(projections, output)
    if given["as_json"]:
        record = {
            "output": str(output),
            "protocol": params_to_json(protocol),
            "seed": given["seed"],
            "shape_view_row_col": list(projections.values.shape),
            "warnings": job.warnings,
            "seconds": watch.seconds,
        }
        echo_json(record)
    else:
        views, rows, cols = projections.values.shape
        click.echo(f"Wrote {views} views of {rows} x {cols} pixels to {output}.")


simulate.params += _PROTOCOL_OPTIONS
