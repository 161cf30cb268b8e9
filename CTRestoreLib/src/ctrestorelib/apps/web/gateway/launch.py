"""From the words of the command line to a running gateway, and to an open browser (layer: apps)."""

from __future__ import annotations

import asyncio
import contextlib
import html
import importlib.util
import logging
import os
import warnings
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ctrestorelib.core.errors import InputError, UsageError

if TYPE_CHECKING:
    from ctrestorelib.apps.web.gateway.server import Gateway


def launch(
    *,
    files: Sequence[Path],
    host: str,
    port: int,
    no_browser: bool,
    roots: Sequence[Path],
    max_upload_gb: float,
    idle_minutes: float,
    max_users: int,
    allow_hosts: Sequence[str],
    verbose: bool,
    debug: bool,
) -> None:
    """Run the gateway until the program is asked to end.

    Raises
    ------
    UsageError
        If the packages of the page are not installed, or the operator's key is too short.
    InputError
        If a file or folder does not exist.
    ResourceError
        If the address cannot be used.
    """
    _check_installed()
    from ctrestorelib.apps.web.gateway import guards, server
    from ctrestorelib.apps.web.gateway.children import PageSettings

    _log_to_terminal(verbose=verbose or debug)
    if not debug:
        _silence_others()
    token, made_here = guards.token_from_environment()
    page = PageSettings(
        files=[_existing(path, "file or folder") for path in files],
        roots=[_existing(path, "folder", folder=True) for path in roots],
        show_output=debug,
    )
    settings = server.GatewaySettings(
        token=token,
        host=host,
        port=port,
        page=page,
        max_upload_bytes=int(max_upload_gb * 1e9),
        idle_s=idle_minutes * 60,
        max_users=max_users,
        allow_hosts=allow_hosts,
    )
    if not guards.is_loopback(host):
        click.secho(
            "Others on the network can reach this page, and what they see is not encrypted. "
            "Better: keep to loopback and use a tunnel (ssh -L) or a proxy with TLS.",
            fg="yellow",
            err=True,
        )

    def started(gateway: Gateway) -> None:
        shown = (
            gateway.access_link if made_here else f"{gateway.url}?token=<{guards.TOKEN_VARIABLE}>"
        )
        click.echo(f"Open {shown}")
        click.echo("Ctrl-C ends it and wipes all data of the page.", err=True)
        if not no_browser:
            _open_browser(gateway)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.run_until_signal(server.Gateway(settings), started))


def _check_installed() -> None:
    missing = [name for name in ("aiohttp", "trame_slicer") if not importlib.util.find_spec(name)]
    if missing:
        message = f"The browser page needs packages that are not installed ({', '.join(missing)})."
        raise UsageError(message, hint="Install them: pip install 'ctrestorelib[app]'")


def _existing(path: Path, what: str, *, folder: bool = False) -> Path:
    if not path.exists() or (folder and not path.is_dir()):
        message = f"There is no {what} {path}."
        raise InputError(message, hint="Check the path.")
    return path.resolve()


def _log_to_terminal(*, verbose: bool) -> None:
    from ctrestorelib.apps.web.gateway.log import LOGGER

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    LOGGER.handlers, LOGGER.propagate = [handler], False
    LOGGER.setLevel(logging.INFO if verbose else logging.WARNING)


def _silence_others() -> None:
    # What libraries say about an odd request or a failed task may quote names.
    import aiohttp

    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    for category in (aiohttp.BadContentDispositionHeader, aiohttp.BadContentDispositionParam):
        warnings.simplefilter("ignore", category)


def _open_browser(gateway: Gateway) -> None:
    """Open the page in the person's browser.

    Other users of the machine can read the arguments of programs, so the browser is not given the
    link but a file that only this user can read, which leads on to it.
    """
    page = gateway.root.path / "open.html"
    target = html.escape(gateway.access_link, quote=True)
    text = f'<!doctype html><meta http-equiv="refresh" content="0;url={target}"><p>CTRestore</p>'
    handle = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    with contextlib.suppress(webbrowser.Error):
        webbrowser.open(page.as_uri())
