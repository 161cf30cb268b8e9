"""``ctrestore demo``: every method on a knee, or on one's own scan, in one report (layer: apps)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ctrestorelib.apps.cli import options
from ctrestorelib.apps.cli.console import echo_json, progress, say
from ctrestorelib.core.job import Job


@click.command("demo")
@click.argument("out", type=options.path_type, default=Path("ctrestore-demo"))
@click.option(
    "--input", "input_path", type=options.path_type, help="Your own CT volume (file or folder)."
)
@click.option("--quick", is_flag=True, help="Smaller volumes: under a minute.")
@click.option("--views", default=10, show_default=True, help="Views of the sparse scan.")
@click.option("--implant", is_flag=True, help="Give the knee a metal plate.")
@click.option(
    "-m", "--method", "methods", multiple=True, help="Only this method; may be given repeatedly."
)
@click.option("--seed", default=0, show_default=True, help="Fixes the knee and all noise.")
@click.option("--quiet", is_flag=True, help="No progress.")
@options.json_option
def demo(out: Path, *, quiet: bool, as_json: bool, **given: Any) -> None:
    """Scan, denoise and reconstruct a knee with every method; write a report into the folder OUT.

    Works offline and without any download: the knee is made from formulas.
    """
    from ctrestorelib.apps.demo import run_demo

    silent = quiet or as_json
    with progress("Demo", quiet=silent) as show:
        job = Job(emit=show, seed=given["seed"])
        result = run_demo(out, job=job, tell=(lambda _text: None) if silent else say, **given)
    if as_json:
        echo_json(
            {
                "report": str(result.report),
                "summary": str(result.summary),
                "seconds": result.seconds,
                "parts": [part.to_json() for part in result.parts],
            }
        )
    else:
        click.echo(f"Done in {result.seconds:.0f} s. Open {result.report} in a web browser.")
