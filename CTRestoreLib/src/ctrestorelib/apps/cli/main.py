"""Entry point: finds sub-commands, and turns errors into sentences and exit codes (layer: apps)."""

from __future__ import annotations

import importlib
import sys

import click

from ctrestorelib import __version__
from ctrestorelib.apps.cli.console import report_error
from ctrestorelib.core.errors import Cancelled, CTRestoreError

_COMMANDS = {
    "list": "catalogue:list_methods",
    "info": "catalogue:info",
    "presets": "presets:list_presets",
    "plan": "plan:plan",
    "denoise": "denoise:denoise",
    "simulate": "simulate:simulate",
    "reconstruct": "reconstruct:reconstruct",
    "noise": "noise:noise",
    "measure": "measure:measure",
    "compare": "compare:compare",
    "replay": "replay:replay",
    "export-dicom": "export_dicom:export_dicom",
    "send": "send:send",
    "fetch": "fetch:fetch",
    "train": "train:train",
    "demo": "demo:demo",
    "app": "app:app",
}
"""Command -> module:function, in the order of the help page; a module is imported when used."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are needed, so that ``list`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        target = _COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, function = target.split(":")
        found = getattr(importlib.import_module(f"ctrestorelib.apps.cli.{module}"), function)
        return found if isinstance(found, click.Command) else None


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="ctrestorelib")
def cli() -> None:
    """Restore CT volumes: less noise, or a volume from few X-ray views.

    Research use only: not for primary diagnosis. Originals are never changed.
    """


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 bug, 2 usage, 3 input, 4 resources, 5 weights."""
    as_json = "--json" in sys.argv[1:]
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        sys.exit(report_error(Cancelled(), as_json=as_json))
    except click.ClickException as error:
        if as_json:
            record = {"type": "UsageError", "message": error.format_message(), "exit_code": 2}
            click.echo(_json_error(record))
        else:
            error.show()
        sys.exit(2)
    except CTRestoreError as error:
        sys.exit(report_error(error, as_json=as_json))
    except KeyboardInterrupt:
        sys.exit(report_error(Cancelled(), as_json=as_json))
    except BrokenPipeError:
        sys.exit(0)  # the reader of our output, such as 'head', has seen enough
    except Exception as error:  # noqa: BLE001 - the process boundary: a bug is said as one
        import traceback

        traceback.print_exc()
        message = (
            f"CTRestore failed unexpectedly ({type(error).__name__}); originals are unchanged."
        )
        sys.exit(report_error(CTRestoreError(message, hint="Please report it."), as_json=as_json))


def _json_error(record: dict[str, object]) -> str:
    import json

    return json.dumps({"error": record})
