"""The options that say which archive is meant, shared by ``send`` and ``fetch`` (layer: apps)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ctrestorelib.apps.cli.options import path_type
from ctrestorelib.core.errors import UsageError
from ctrestorelib.pacs.credentials import Credentials, find_credentials
from ctrestorelib.pacs.peers import (
    OWN_AE_TITLE,
    DicomNode,
    DicomWebServer,
    Peer,
    Timeouts,
    split_url,
)
from ctrestorelib.pacs.tls import Tls

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--aet", help="AE title of the archive (DIMSE)."),
    click.option("--host", help="Name or address of the archive's machine."),
    click.option("--port", type=click.IntRange(1, 65535), help="Its DICOM port, often 104."),
    click.option(
        "--calling-aet", default=OWN_AE_TITLE, show_default=True, help="Our own AE title."
    ),
    click.option(
        "--dicomweb", metavar="URL", help="Or: address of its DICOMweb, as https://HOST/dicom-web."
    ),
    click.option("--tls", is_flag=True, help="Encrypt (https addresses always are)."),
    click.option("--ca", type=path_type, help="PEM file of the certificates to trust."),
    click.option("--cert", type=path_type, help="PEM file of our own certificate."),
    click.option("--key", type=path_type, help="PEM file of its private key."),
    click.option(
        "--credentials",
        type=path_type,
        help="File with 'machine HOST login NAME password WORD', readable by you alone. Or set "
        "CTRESTORE_PACS_USER and CTRESTORE_PACS_PASSWORD, or CTRESTORE_PACS_TOKEN.",
    ),
    click.option("--login", is_flag=True, help="Ask for user name and password."),
    click.option("--allow-plain", is_flag=True, help="Permit a password without encryption."),
    click.option(
        "--retries",
        type=click.IntRange(0, 100),
        default=3,
        show_default=True,
        help="How often to try again after a fault that may pass.",
    ),
    click.option(
        "--timeout", type=float, default=60.0, show_default=True, help="Seconds for each answer."
    ),
)


def archive_options(function: F) -> F:
    """Add the options of the archive to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def peer_of(given: dict[str, Any]) -> Peer:
    """Return the archive that the options name.

    Raises
    ------
    UsageError
        If they name none, or both kinds.
    """
    node = [given[name] for name in ("aet", "host", "port")]
    timeouts = Timeouts(min(10.0, given["timeout"]), given["timeout"])
    if given["dicomweb"] and not any(node):
        return _server(given, timeouts)
    if given["dicomweb"] or not all(node):
        message = "Name one archive: --aet, --host and --port together, or --dicomweb alone."
        raise UsageError(message, hint="Example: --aet PACS --host pacs.example.org --port 104")
    if given["credentials"] or given["login"]:
        message = "User names and passwords belong to --dicomweb; an AE title knows none."
        raise UsageError(message, hint="Identify yourself with --tls --cert FILE --key FILE.")
    return DicomNode(
        given["host"], given["port"], given["aet"], given["calling_aet"], _tls(given), timeouts
    )


def _server(given: dict[str, Any], timeouts: Timeouts) -> DicomWebServer:
    host = split_url(given["dicomweb"]).hostname or ""
    known = _asked(host) if given["login"] else find_credentials(host, given["credentials"])
    return DicomWebServer(given["dicomweb"], known, _tls(given), timeouts, given["allow_plain"])


def _tls(given: dict[str, Any]) -> Tls | None:
    files: list[Path | None] = [given[name] for name in ("ca", "cert", "key")]
    return Tls(*files) if given["tls"] or any(files) else None


def _asked(host: str) -> Credentials:
    user = click.prompt(f"User name at {host}", err=True)
    return Credentials(user, click.prompt("Password", hide_input=True, err=True))
