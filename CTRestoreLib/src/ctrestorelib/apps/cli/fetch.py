"""``ctrestore fetch``: a series of an archive into a folder (layer: apps)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ctrestorelib.apps.cli.archive import archive_options, peer_of
from ctrestorelib.apps.cli.console import echo_json
from ctrestorelib.apps.cli.files import tell
from ctrestorelib.apps.cli.options import json_option, path_type
from ctrestorelib.pacs.fetching import fetch_series
from ctrestorelib.pacs.sending import Retry


@click.command("fetch")
@click.argument("folder", metavar="OUTDIR", type=path_type)
@click.option("--study", required=True, metavar="UID", help="Study instance UID.")
@click.option("--series", required=True, metavar="UID", help="Series instance UID.")
@archive_options
@json_option
def fetch(folder: Path, study: str, series: str, as_json: bool, **given: Any) -> None:
    """Fetch a series into the new folder OUTDIR, by C-GET or WADO-RS: all of it, or nothing.

    The files are called IM00001.dcm and so on, in the order of their instance numbers.
    """
    found = fetch_series(peer_of(given), study, series, folder, retry=Retry(given["retries"]))
    if as_json:
        echo_json({"output": str(folder), "instances": found.count,
                   "notes": [note.text for note in found.notes]})  # fmt: skip
        return
    tell(found.notes)
    click.echo(f"Wrote {found.count} instances to {folder}.")
