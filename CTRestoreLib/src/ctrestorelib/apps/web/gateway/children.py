"""The page process of one person: start it, ask it, end it (layer: apps)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

import ctrestorelib
from ctrestorelib.apps.web.gateway.attach import KEY_HEADER, KEY_VARIABLE
from ctrestorelib.apps.web.gateway.guards import TOKEN_VARIABLE
from ctrestorelib.core.errors import ResourceError
from ctrestorelib.core.system import kill_group

PAGE_COMMAND = (sys.executable, "-m", "ctrestorelib.apps.web.session")
"""Starts the page; ``--folder``, ``--port``, ``--open`` and ``--root`` are added."""

START_S = 120.0
"""Longest time a page process may take until it listens."""

_GRACE_S = 4.0
_ASK_S = 5.0


@dataclass(frozen=True)
class PageSettings:
    """How page processes are started.

    Parameters
    ----------
    command
        Program and first arguments.
    files
        Files that every page loads first.
    roots
        Folders that may be browsed, read only.
    show_output
        Let the page's own messages through to the terminal. They may name files.
    """

    command: Sequence[str] = PAGE_COMMAND
    files: Sequence[Path] = ()
    roots: Sequence[Path] = ()
    show_output: bool = False

    def arguments(self, folder: Path) -> list[str]:
        """Return the whole command line for a person's folder."""
        opened = [text for path in self.files for text in ("--open", str(path))]
        browsed = [text for path in self.roots for text in ("--root", str(path))]
        return [*self.command, "--folder", str(folder), "--port", "0", *opened, *browsed]


@dataclass
class Page:
    """A running page process; made by :func:`start_page`."""

    process: asyncio.subprocess.Process
    port: int
    key: str
    _drain: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What a request must carry for the page to answer."""
        return {KEY_HEADER: self.key}

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.returncode is None

    async def is_busy(self, client: aiohttp.ClientSession) -> bool:
        """Return whether a restoration runs or waits; a page that does not answer is not busy."""
        url = f"http://127.0.0.1:{self.port}/status"
        timeout = aiohttp.ClientTimeout(total=_ASK_S)
        try:
            async with client.get(url, headers=self.headers, timeout=timeout) as answer:
                record = await answer.json(content_type=None) if answer.status == 200 else {}
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError):
            return False
        return isinstance(record, dict) and record.get("busy") is True

    async def stop(self) -> None:
        """End the process and all it started: ask first, then kill."""
        family = _descendants(self.process.pid)
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._end(), _GRACE_S)
        self._kill(family)
        await self._end()
        if self._drain:
            self._drain.cancel()

    async def _end(self) -> None:
        # Not process.wait(): that also waits for workers that hold the page's output open.
        while self.alive:
            await asyncio.sleep(0.02)

    def _kill(self, family: list[psutil.Process]) -> None:
        kill_group(self.process.pid)
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        for process in family:  # workers lead groups of their own
            with contextlib.suppress(psutil.Error):
                process.kill()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    return found


async def start_page(settings: PageSettings, folder: Path, client: aiohttp.ClientSession) -> Page:
    """Start a page process for a person's folder and wait until it listens.

    Raises
    ------
    ResourceError
        If it does not come up, or answers without being shown its key.
    """
    key = secrets.token_urlsafe(32)
    try:
        process = await asyncio.create_subprocess_exec(
            *settings.arguments(folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=None if settings.show_output else asyncio.subprocess.DEVNULL,
            env=_environment(folder, key),
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise _not_up() from error
    page = Page(process, 0, key)
    try:
        page.port = await asyncio.wait_for(_port_of(process), START_S)
        page._drain = asyncio.create_task(_discard(process, show=settings.show_output))
        await _check_key(page, client)
    except BaseException as error:
        await page.stop()
        if isinstance(error, asyncio.TimeoutError | aiohttp.ClientError | OSError | ValueError):
            raise _not_up() from error
        raise
    return page


def _environment(folder: Path, key: str) -> dict[str, str]:
    package_folder = str(Path(ctrestorelib.__file__).resolve().parents[1])
    paths = [package_folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    return {
        **kept,
        KEY_VARIABLE: key,
        "CTRESTORE_JOBS": str(folder / "jobs"),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONSAFEPATH": "1",
        "TMPDIR": str(folder / "tmp"),  # what libraries put aside is wiped with the rest
        "WSLINK_READY_MSG": "",  # it would stand before our line, without a line end
    }


async def _port_of(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            port = record.get("port") if isinstance(record, dict) else None
            if isinstance(port, int) and 0 < port < 65536:
                return port
    raise _not_up()


async def _discard(process: asyncio.subprocess.Process, *, show: bool) -> None:
    # A full pipe would stop the page; what it prints may name files.
    assert process.stdout is not None
    while block := await process.stdout.read(65536):
        if show:
            sys.stderr.write(block.decode(errors="replace"))


async def _check_key(page: Page, client: aiohttp.ClientSession) -> None:
    """Make sure that other users of this machine cannot talk to the page directly."""
    timeout = aiohttp.ClientTimeout(total=_ASK_S)
    url = f"http://127.0.0.1:{page.port}/status"
    async with client.get(url, timeout=timeout) as answer:
        if answer.status != 403:
            message = "The page process answers to everybody on this machine, not only to us."
            raise ResourceError(message, hint="It has to call gateway.attach.attach(app).")


def _not_up() -> ResourceError:
    message = "The page process did not start."
    return ResourceError(message, hint="Start with --debug to see what it says.")
