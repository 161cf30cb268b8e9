"""The gateway itself: puts folders, sessions and the front together, and takes them down again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from ctrestorelib.apps.web.gateway import guards
from ctrestorelib.apps.web.gateway.children import PageSettings
from ctrestorelib.apps.web.gateway.folders import DataRoot
from ctrestorelib.apps.web.gateway.front import Front
from ctrestorelib.apps.web.gateway.sessions import Sessions
from ctrestorelib.core.errors import ResourceError

# aiohttp's own messages quote requests; nothing of them is wanted anywhere.
_SILENT = logging.getLogger("ctrestorelib.gateway.silent")
_SILENT.disabled = True

_ANY_ADDRESS = ("0.0.0.0", "::", "")


@dataclass(frozen=True)
class GatewaySettings:
    """What the operator decides.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    token
        Key of the access link.
    page
        How page processes are started.
    max_upload_bytes
        Most bytes that one person may keep as uploads.
    idle_s
        Seconds without a sign of life after which a person's data are wiped.
    max_users
        Most people at once.
    allow_hosts
        Further names under which the gateway may be called.
    folder
        Where the private folders go; the system's temporary folder by default.

    Raises
    ------
    UsageError
        If the key is short enough to be guessed: without a key nobody listens.
    """

    token: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 0
    page: PageSettings = field(default_factory=PageSettings)
    max_upload_bytes: int = 2_000_000_000
    idle_s: float = 3600.0
    max_users: int = 4
    allow_hosts: Sequence[str] = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        guards.check_token(self.token)


class Gateway:
    """A running gateway, between :meth:`start` and :meth:`stop`.

    Parameters
    ----------
    settings
        What the operator decides.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.port = settings.port
        self._stack = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        """The address without the key."""
        host = self.settings.host
        if host in _ANY_ADDRESS:
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def access_link(self) -> str:
        """The address with the key."""
        return f"{self.url}?{urlencode({'token': self.settings.token})}"

    async def start(self) -> None:
        """Listen, and prepare one page process for the first visitor.

        Raises
        ------
        ResourceError
            If there is no room for private folders, or the address cannot be used.
        """
        settings = self.settings
        async with contextlib.AsyncExitStack() as stack:
            self.root = DataRoot(settings.folder)
            stack.callback(self.root.close)
            client = await stack.enter_async_context(_client())
            self.sessions = Sessions(
                self.root,
                settings.page,
                client,
                max_users=settings.max_users,
                idle_s=settings.idle_s,
            )
            front = Front(
                self.sessions,
                client,
                guards.Hosts(settings.host, settings.allow_hosts),
                token=settings.token,
                max_upload_bytes=settings.max_upload_bytes,
            )
            self.port = front.port = await _listen(front.application(), settings, stack)
            stack.push_async_callback(self.sessions.close)
            stack.callback(asyncio.create_task(self.sessions.watch()).cancel)
            self.sessions.prepare()
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """End all sessions, stop listening and wipe all data."""
        await self._stack.aclose()


async def _listen(
    app: web.Application, settings: GatewaySettings, stack: contextlib.AsyncExitStack
) -> int:
    runner = web.AppRunner(app, access_log=None, logger=_SILENT, shutdown_timeout=2.0)
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    host = "127.0.0.1" if settings.host == "localhost" else settings.host  # one port, not two
    try:
        await web.TCPSite(runner, host, settings.port).start()
    except OSError as error:
        message = f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}."
        raise ResourceError(message, hint="Choose another --port or --host.") from error
    return int(runner.addresses[0][1])


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5.0),
        skip_auto_headers=("Accept-Encoding", "User-Agent"),
        auto_decompress=False,
        trust_env=False,  # a proxy in the environment must never see these requests
    )


async def run_until_signal(gateway: Gateway, started: Callable[[Gateway], None]) -> None:
    """Run a gateway until the program is asked to end; then wipe everything.

    Parameters
    ----------
    gateway
        The gateway, not yet started.
    started
        Called once it listens.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C raises instead
                loop.add_signal_handler(getattr(signal, name), asked.set)
    await gateway.start()
    try:
        started(gateway)
        await asked.wait()
    finally:
        await gateway.stop()
