"""``ctrestore measure``: noise, sharpness and errors of a volume in numbers (layer: apps)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ctrestorelib.apps.cli import files, options
from ctrestorelib.apps.cli.console import echo_json, say, table
from ctrestorelib.core.errors import UsageError
from ctrestorelib.quality.measure import MeasureReport
from ctrestorelib.quality.measure import measure as measure_volume
from ctrestorelib.quality.result import Measure
from ctrestorelib.quality.window import Window


@click.command("measure")
@click.argument("image", type=options.path_type)
@click.option("--reference", type=options.path_type, help="The truth: adds RMSE, PSNR, SSIM, VIF.")
@click.option(
    "--original",
    type=options.path_type,
    help="The volume IMAGE was restored from: adds drift and the residual-structure test.",
)
@click.option("--mask", type=options.path_type, help="Only where this volume is above 0.5.")
@click.option("--window", help="Range low,high of the scores; default for HU: -1000,1000.")
@click.option("--data-range", type=float, help="Data range of the scores instead of a window.")
@options.read_options
@options.json_option
def measure(image: Path, as_json: bool, **given: Any) -> None:
    """Measure noise, sharpness and (with --reference) the error of IMAGE."""
    reading = options.reading(given)
    volume = files.open_volume(image, quiet=as_json, **reading).volume
    others = {
        name: None if given[name] is None else files.open_volume(given[name], **reading).volume
        for name in ("reference", "original")
    }
    report = measure_volume(
        volume,
        others["reference"],
        files.open_mask(given["mask"], volume.geometry),
        original=others["original"],
        window=parse_window(given["window"]),
        data_range=given["data_range"],
    )
    if as_json:
        echo_json(report.to_json())
    else:
        show(report)


def parse_window(text: str | None) -> Window | None:
    """Parse ``low,high``; :class:`UsageError` if it is something else."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        message = f"--window takes low,high such as -1000,1000; got {text!r}."
        raise UsageError(message) from None
    return Window(low, high)


def show(report: MeasureReport) -> None:
    """Print a report as a table."""
    rows: list[tuple[str, ...]] = [
        (m.title, _number(m), _interval(m), m.verdict.word) for m in report.measures
    ]
    click.echo(table(rows, ("MEASURE", "VALUE", "95 % INTERVAL", "VERDICT")))
    for m in report.measures:
        if m.not_measurable or m.verdict.word:
            click.echo(f"{m.title}: {m.sentence}")
    for note in report.notes:
        say(f"Note: {note}")


def _number(measure: Measure) -> str:
    return "-" if measure.value is None else f"{measure.value:.4g} {measure.unit}".strip()


def _interval(measure: Measure) -> str:
    return "" if measure.interval is None else "{:.4g} to {:.4g}".format(*measure.interval)
