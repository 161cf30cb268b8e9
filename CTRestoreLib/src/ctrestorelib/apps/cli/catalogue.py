"""``ctrestore list`` and ``ctrestore info``: which methods there are (layer: apps)."""

from __future__ import annotations

from typing import Any

import click

from ctrestorelib.apps.cli.console import echo_json, table
from ctrestorelib.apps.cli.options import json_option
from ctrestorelib.core.params import ParamField, fields_of, to_plain
from ctrestorelib.methods.registry import all_methods, lacks, method
from ctrestorelib.restorer.protocol import Restorer


@click.command("list")
@click.option("--kind", type=click.Choice(["denoiser", "reconstructor"]), help="Only this kind.")
@json_option
def list_methods(kind: str | None, as_json: bool) -> None:
    """List the restoration methods."""
    found = [r for r in all_methods().values() if kind in (None, r.spec.kind.value)]
    if as_json:
        echo_json([r.spec.to_json(r.Params) | {"unmet": _unmet(r)} for r in found])
        return
    rows: list[tuple[str, ...]] = [
        (r.spec.id, r.spec.kind.value, r.spec.title, _unmet(r)) for r in found
    ]
    click.echo(table(rows, ("METHOD", "KIND", "TITLE", "")))
    click.echo("\n'ctrestore info METHOD' tells what a method does and which options it has.")


def _unmet(restorer: Restorer[Any]) -> str:
    """Return what this machine lacks for a method (not which inputs)."""
    return lacks(restorer)


@click.command("info")
@click.argument("method_id", metavar="METHOD")
@json_option
def info(method_id: str, as_json: bool) -> None:
    """Tell what a method does, its options, presets and sources."""
    restorer = method(method_id)
    spec = restorer.spec
    if as_json:
        echo_json(spec.to_json(restorer.Params) | {"unmet": _unmet(restorer)})
        return
    click.secho(f"{spec.title} ({spec.id}), {spec.kind.value}, {spec.maturity.value}", bold=True)
    click.echo(f"\n{spec.summary}\n")
    for field in fields_of(restorer.Params):
        click.echo(_described(field))
    for name, values in spec.presets.items():
        shown = ", ".join(f"{k}={to_plain(v)}" for k, v in values.items())
        click.echo(f"  --preset {name}: {shown or 'the defaults'}")
    for reference in spec.references:
        doi = f" doi:{reference.doi}" if reference.doi else ""
        click.echo(f"\nSource: {reference.text}{doi}")
    if _unmet(restorer):
        click.secho(_unmet(restorer), fg="yellow")


def _described(field: ParamField) -> str:
    limits = f" ({field.limits})" if field.limits else ""
    return (
        f"  {field.option}{limits}: default {field.default_text}\n"
        f"      {field.info.label}. {field.info.doc}"
    )
