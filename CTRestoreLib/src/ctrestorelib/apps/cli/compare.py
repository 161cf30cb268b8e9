"""``ctrestore compare``: several volumes side by side in one HTML file (layer: apps)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ctrestorelib.apps.cli import files, options
from ctrestorelib.apps.cli.console import echo_json, progress
from ctrestorelib.apps.cli.measure import parse_window
from ctrestorelib.apps.report import ReportEntry, write_compare_report
from ctrestorelib.core.job import Job
from ctrestorelib.core.provenance import Provenance


@click.command("compare")
@click.argument("volumes", nargs=-1, required=True, type=options.path_type)
@click.option(
    "--out",
    type=options.path_type,
    default=Path("report.html"),
    show_default=True,
    help="The HTML file to write.",
)
@click.option("--reference", type=options.path_type, help="The truth: adds RMSE, PSNR, SSIM, VIF.")
@click.option("--mask", type=options.path_type, help="Measure only where this volume is above 0.5.")
@click.option("--window", help="Range low,high of the scores; default for HU: -1000,1000.")
@click.option("--title", default="Comparison of CT volumes", show_default=True)
@click.option(
    "--no-original",
    is_flag=True,
    help="The first volume is not the original of the others (reconstructions).",
)
@options.read_options
@options.json_option
def compare(volumes: tuple[Path, ...], out: Path, as_json: bool, **given: Any) -> None:
    """Compare VOLUMES in one HTML file: slices, wipe, difference, profiles, noise, measures.

    The first volume is the original from which the others were restored, unless --no-original.
    All must lie on one grid. A provenance file beside a volume is shown with it.
    """
    reading = options.reading(given)
    labels = _labels(volumes)
    entries = [
        ReportEntry(
            label,
            files.open_volume(path, quiet=as_json, **reading).volume,
            _sidecar(path),
            original="" if given["no_original"] else None,
        )
        for label, path in zip(labels, volumes, strict=True)
    ]
    reference = given["reference"] and files.open_volume(given["reference"], **reading).volume
    with progress("Compare", quiet=as_json) as show:
        reports = write_compare_report(
            entries,
            out,
            title=given["title"],
            reference=reference,
            mask=files.open_mask(given["mask"], entries[0].volume.geometry),
            window=parse_window(given["window"]),
            job=Job(emit=show),
        )
    if as_json:
        found = [{"label": e.label, **r.to_json()} for e, r in zip(entries, reports, strict=True)]
        echo_json({"output": str(out), "volumes": found})
    else:
        click.echo(f"Wrote {out}: open it in a browser.")


def _labels(volumes: tuple[Path, ...]) -> list[str]:
    """Return the file names without suffixes, numbered where they repeat."""
    names = [path.name.removesuffix(".gz").rsplit(".", 1)[0] or path.name for path in volumes]
    return [name if names.count(name) == 1 else f"{name} ({n + 1})" for n, name in enumerate(names)]


def _sidecar(path: Path) -> dict[str, Any] | None:
    """Return the provenance beside a volume, if there is one that can be read."""
    sidecar = files.sidecar_of(path)
    if path.is_dir() or not sidecar.is_file():
        return None
    try:
        record: Any = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # some other program's file of that name
    is_ours = isinstance(record, dict) and record.get("format") == "ctrestore-provenance"
    return Provenance.from_json(record).to_json() if is_ours else None
