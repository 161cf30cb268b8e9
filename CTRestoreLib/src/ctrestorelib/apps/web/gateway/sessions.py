"""Who is here: cookie, private folder and page process of each person (layer: apps).

A session lives from the access link until it is ended by a click, by idleness or with the gateway.
A page that reloads or loses its connection keeps its session. After the end the cookie is still
known for a while, so that the person is told what happened instead of meeting a closed door.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from ctrestorelib.apps.web.gateway.children import Page, PageSettings, start_page
from ctrestorelib.apps.web.gateway.folders import DataRoot, wipe
from ctrestorelib.apps.web.gateway.log import LOGGER
from ctrestorelib.core.errors import CTRestoreError, ResourceError


@enum.unique
class State(enum.Enum):
    """What became of a session."""

    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    CRASHED = "crashed"
    ENDED = "ended"
    IDLE = "ended as idle"


@dataclass(eq=False)
class Session:
    """One person's place. ``folder`` and ``page`` are gone once it has ended."""

    number: int
    folder: Path
    page: Page | None = None
    ready: asyncio.Task[None] | None = None
    end_state: State | None = None
    last_seen: float = field(default_factory=time.monotonic)
    working: int = 0
    sockets: set[web.WebSocketResponse] = field(default_factory=set)
    uploading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def state(self) -> State:
        """Where the session stands now."""
        if self.end_state is not None:
            return self.end_state
        if self.ready is None or not self.ready.done():
            return State.STARTING
        if self.page is None:
            return State.FAILED
        return State.RUNNING if self.page.alive else State.CRASHED

    @property
    def takes_a_place(self) -> bool:
        """Whether it counts against the number of people."""
        return self.end_state is None

    def touch(self) -> None:
        """Note that the person did something."""
        self.last_seen = time.monotonic()

    async def wait_ready(self, seconds: float) -> State:
        """Wait until the page process is up, at most so long; return the state then."""
        if self.ready is not None:
            await asyncio.wait([self.ready], timeout=seconds)
        return self.state


class Sessions:
    """All sessions of a gateway.

    Parameters
    ----------
    root
        The folder over all private folders.
    settings
        How page processes are started.
    client
        Asks the page processes.
    max_users
        Most sessions at once.
    idle_s
        Seconds without a sign of life after which a session is wiped.
    """

    _MAX_REMEMBERED = 1000

    def __init__(
        self,
        root: DataRoot,
        settings: PageSettings,
        client: aiohttp.ClientSession,
        *,
        max_users: int,
        idle_s: float,
    ) -> None:
        self.max_users, self.idle_s = max_users, idle_s
        self._root, self._settings, self._client = root, settings, client
        self._by_cookie: OrderedDict[str, Session] = OrderedDict()
        self._spare: Session | None = None
        self._ending: asyncio.Task[None] | None = None
        self._count = 0

    def find(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, also one that has ended."""
        # Looked up by a digest, so that timing says nothing about the cookies that exist.
        return self._by_cookie.get(_digest(cookie)) if cookie else None

    @property
    def living(self) -> list[Session]:
        """Sessions that take a place."""
        return [s for s in self._by_cookie.values() if s.takes_a_place]

    def prepare(self) -> None:
        """Start one page process before anybody came: the first visitor need not wait for it."""
        if self._spare is None:
            self._spare = self._start()

    def open(self) -> tuple[str, Session]:
        """Return the cookie of a new session, and the session, which begins to start.

        Raises
        ------
        ResourceError
            If all places are taken.
        """
        if len(self.living) >= self.max_users:
            message = f"All {self.max_users} places are taken."
            raise ResourceError(message, hint="Try again later.")
        session = self._take_spare() or self._start()
        session.touch()
        cookie = secrets.token_urlsafe(32)
        self._by_cookie[_digest(cookie)] = session
        self._forget_old()
        return cookie, session

    def _take_spare(self) -> Session | None:
        spare, self._spare = self._spare, None
        if spare is None or spare.state in (State.STARTING, State.RUNNING):
            return spare
        self._ending = asyncio.create_task(self.end(spare))  # kept: tasks nobody holds may vanish
        return None

    async def end(self, session: Session, why: State = State.ENDED) -> None:
        """Stop a session's page process, close its connections and wipe its folder."""
        if session.end_state is not None:
            return
        session.end_state = why
        LOGGER.info("session %d %s", session.number, why.value)
        if session.ready is not None and not session.ready.done():
            session.ready.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await session.ready
        try:
            for socket in list(session.sockets):
                with contextlib.suppress(ConnectionError, RuntimeError):
                    await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
            if session.page is not None:
                await session.page.stop()
        finally:
            await asyncio.to_thread(wipe, session.folder)

    async def close(self) -> None:
        """End all sessions; nobody can open one any more."""
        self.max_users = 0
        everyone = self.living + ([self._spare] if self._spare else [])
        await asyncio.gather(*(self.end(s) for s in everyone))
        if self._ending is not None:
            await self._ending

    async def watch(self) -> None:
        """End sessions that nobody uses; runs as long as the gateway."""
        while True:
            await asyncio.sleep(min(20.0, self.idle_s / 4))
            for session in self.living:
                if time.monotonic() - session.last_seen > self.idle_s:
                    try:
                        await self._end_unless_busy(session)
                    except Exception as error:  # noqa: BLE001 - the others must be wiped too
                        LOGGER.error("watch: unexpected %s", type(error).__name__)

    async def _end_unless_busy(self, session: Session) -> None:
        page = session.page if session.state is State.RUNNING else None
        if session.working or (page is not None and await page.is_busy(self._client)):
            session.touch()
        elif time.monotonic() - session.last_seen > self.idle_s:  # nobody came while we asked
            await self.end(session, State.IDLE)

    def _start(self) -> Session:
        self._count += 1
        session = Session(self._count, self._root.new_folder())
        session.ready = asyncio.create_task(self._bring_up(session))
        return session

    async def _bring_up(self, session: Session) -> None:
        try:
            session.page = await start_page(self._settings, session.folder, self._client)
        except CTRestoreError as error:
            LOGGER.error("session %d: %s", session.number, error)
            return
        LOGGER.info("session %d is up", session.number)

    def _forget_old(self) -> None:
        past = [key for key, s in self._by_cookie.items() if not s.takes_a_place]
        for key in past[: max(0, len(past) - self._MAX_REMEMBERED)]:
            del self._by_cookie[key]


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()
