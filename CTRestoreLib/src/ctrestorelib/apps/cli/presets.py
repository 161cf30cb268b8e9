"""``ctrestore presets``: settings by task (layer: apps)."""

from __future__ import annotations

import click

from ctrestorelib.apps.cli.console import echo_json, say
from ctrestorelib.apps.cli.options import json_option
from ctrestorelib.jobs.presets import Preset, all_presets, unusable_presets, user_preset_folder


@click.command("presets")
@click.option("--kind", type=click.Choice(["denoiser", "reconstructor"]), help="Only this kind.")
@json_option
def list_presets(kind: str | None, as_json: bool) -> None:
    """List settings made for an anatomy or a task, with the reasons.

    Use one with 'ctrestore denoise --preset NAME' or 'ctrestore reconstruct --preset NAME'; an
    option given beside it counts more.
    """
    found = all_presets(kind)
    if as_json:
        echo_json([_record(preset) for preset in found])
        return
    for preset in found:
        click.secho(f"{preset.name}: {preset.title}", bold=True)
        click.echo(f"  {_settings(preset)}")
        click.echo(click.wrap_text(preset.summary, 92, "  ", "  ") + "\n")
    click.echo(f"Your own: .json files in {user_preset_folder()}")
    for problem in unusable_presets():
        say(problem)


def _record(preset: Preset) -> dict[str, object]:
    return {**preset.to_json(), "kind": preset.kind.value, "builtin": preset.builtin}


def _settings(preset: Preset) -> str:
    """Return the settings as the options that say the same."""
    words = [f"--method {preset.method}"]
    words += [_option(name.replace("_", "-"), value) for name, value in preset.params.items()]
    if preset.strength != 1.0:
        words.append(f"--strength {preset.strength:g}")
    return " ".join(words)


def _option(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {value}"
