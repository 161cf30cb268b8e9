"""``ctrestore noise``: what noise a scan has, and what that allows (layer: apps)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ctrestorelib.apps.cli import files, options
from ctrestorelib.apps.cli.console import echo_json, say, table
from ctrestorelib.apps.noise_plot import noise_picture
from ctrestorelib.core.files import atomic_path
from ctrestorelib.io.volumes import write_volume
from ctrestorelib.quality.noise_table import noise_rows
from ctrestorelib.quality.scan_noise import describe_noise


@click.command("noise")
@click.argument("scan", type=options.path_type)
@click.option("--mask", type=options.path_type, help="Only where this volume is above 0.5.")
@click.option("--save", type=options.path_type, help="Write the description to this JSON file.")
@click.option("--plot", type=options.path_type, help="Draw map, spectrum and correlation as PNG.")
@click.option("--map", "map_file", type=options.path_type, help="Write the noise map as a volume.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@options.read_options
@options.json_option
def noise(scan: Path, as_json: bool, overwrite: bool, **given: Any) -> None:
    """Tell what noise SCAN has: level, texture, and what its slices share."""
    for name in ("save", "plot", "map_file"):
        if given[name] is not None:
            options.check_output(given[name], [scan, given["mask"]], overwrite=overwrite)
    volume = files.open_volume(scan, quiet=as_json, **options.reading(given)).volume
    found = describe_noise(volume, files.open_mask(given["mask"], volume.geometry))
    record = found.to_json() | {"advice": list(found.advice())}
    if as_json:
        echo_json(record)
    else:
        click.echo(table(list(noise_rows(found)), ("NOISE", "VALUE", "")))
        for sentence in found.advice():
            click.echo(sentence)
    if given["save"] is not None:
        _write(given["save"], json.dumps(record, indent=2).encode() + b"\n")
    if given["plot"] is not None:
        _write(given["plot"], noise_picture(volume, found))
    if given["map_file"] is not None and found.sigma is not None:
        write_volume(found.sigma.whole(volume), given["map_file"])
        say(f"Wrote {given['map_file']}.")


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    say(f"Wrote {path}.")
