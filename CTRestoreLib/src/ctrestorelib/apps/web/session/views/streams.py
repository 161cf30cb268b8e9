"""When a view is drawn and sent to the browser as a picture (layer: apps).

A picture is drawn in the server's one thread. So a view never draws more often than the screen can
use, rests after each picture as long as drawing it took (a slow 3D view leaves the other half of
the time to everything else), and waits while the pictures before have not left yet. A rough picture
follows every change at once; a fine one follows when nothing has changed for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from trame_rca.encoders import RcaImageEncoder  # type: ignore[import-untyped, unused-ignore]
from trame_server.utils.asynchronous import create_task

_ENCODERS = ThreadPoolExecutor(2, thread_name_prefix="ctrestore-picture")
_MOST_WAITING = 2
Push = Callable[[bytes, dict[str, Any]], None]


@dataclass(frozen=True)
class Pace:
    """How often and how finely a view is drawn.

    Parameters
    ----------
    frames_per_s
        Most pictures in a second while something changes.
    moving, still
        JPEG quality (1 to 100) while something changes, and afterwards.
    still_after_s
        How long nothing may have changed before the fine picture is drawn.
    """

    frames_per_s: float = 25.0
    moving: int = 70
    still: int = 95
    still_after_s: float = 0.25


SLICE_PACE = Pace()
THREE_D_PACE = Pace(frames_per_s=15.0, moving=60, still=92, still_after_s=0.35)


class Stream:
    """Draws a window on request and hands the pictures on; made and used inside the event loop.

    Parameters
    ----------
    window
        Has ``img_cols_rows``: draws and returns ``(array [row, column, rgb], columns, rows)``.
    pace
        How often and how finely.
    """

    def __init__(self, window: Any, pace: Pace) -> None:
        self.pace = pace
        self.target_fps = pace.frames_per_s
        self.frames = 0
        self.drawing_s = 0.0
        self._window = window
        self._push: Push | None = None
        self._wanted = asyncio.Event()
        self._waiting = 0
        self._ready = asyncio.Event()
        self._newest = 0
        self._task = create_task(self._run())

    @property
    def rca(self) -> Any:
        """The window that is drawn."""
        return self._window

    def set_push_callback(self, callback: Push) -> None:
        """Send pictures to ``callback(bytes, description)`` from now on."""
        self._push = callback

    def schedule_render(self) -> None:
        """Ask for a picture soon; many requests make one picture."""
        self._wanted.set()

    def reset(self) -> None:
        """Nothing to do: every picture stands alone."""

    async def close(self) -> None:
        """Stop drawing."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            await self._draw(self.pace.moving)
            while await self._changed_within(self.pace.still_after_s):
                await self._draw(self.pace.moving)
            await self._draw(self.pace.still)

    async def _changed_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._wanted.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    async def _draw(self, quality: int) -> None:
        while self._waiting >= _MOST_WAITING:
            self._ready.clear()
            await self._ready.wait()
        self._wanted.clear()
        begun = time.monotonic()
        array, columns, rows = self._window.img_cols_rows
        spent = time.monotonic() - begun
        self.frames += 1
        self.drawing_s += spent
        create_task(self._send(array, columns, rows, quality))
        await asyncio.sleep(max(1.0 / self.target_fps - spent, spent, 0.001))

    async def _send(self, array: Any, columns: int, rows: int, quality: int) -> None:
        number = self.frames
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            encode = RcaImageEncoder.TURBO_JPEG.encode
            found = await loop.run_in_executor(_ENCODERS, encode, array, columns, rows, quality)
        finally:
            self._waiting -= 1
            self._ready.set()
        if self._push is not None and number > self._newest:
            self._newest = number
            self._push(found[0], found[1])
