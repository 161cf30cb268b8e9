"""When a view is drawn and sent to the browser as a picture (layer: apps).

A picture is drawn in the server's one thread. So views draw one after the other, the one under the
mouse first, and each picture is on its way before the next is begun. A view never draws more often
than the screen can use, and after each picture it rests half as long as drawing took: a slow 3D
view leaves time to everything else. A rough picture follows every change at once; a fine one
follows when nothing has changed for a moment. A picture that has not changed is not sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from trame_rca.encoders import RcaImageEncoder  # type: ignore[import-untyped, unused-ignore]
from trame_server.utils.asynchronous import create_task

_ENCODER = ThreadPoolExecutor(1, thread_name_prefix="ctrestore-picture")
_REST = 0.5
"""Share of the time for a picture that its view then leaves to others."""
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
        Has ``img_cols_rows``: draws and returns ``(array [row, column, rgb], columns, rows)``, and
        ``moving``: whether it may draw roughly.
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
        self._last: Any = None
        self._last_quality = 0
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

    def forget(self) -> None:
        """Send the next picture even if it is the same as the last: the browser may be new."""
        self._last = None

    def reset(self) -> None:
        """Do what a new browser needs."""
        self.forget()
        self.schedule_render()

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
        # Not wait_for: before Python 3.12 it may lose a cancellation that comes with the event.
        waiting = asyncio.ensure_future(self._wanted.wait())
        try:
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
        finally:
            waiting.cancel()
        return bool(done)

    async def _draw(self, quality: int) -> None:
        async with _turn():
            self._wanted.clear()
            begun = time.monotonic()
            self._window.moving = quality < self.pace.still
            array, columns, rows = self._window.img_cols_rows
            spent = time.monotonic() - begun
            self.frames += 1
            self.drawing_s += spent
            if not self._known(array, quality):
                await self._send(array, columns, rows, quality)
        gone = time.monotonic() - begun
        await asyncio.sleep(max(1.0 / self.target_fps - gone, _REST * spent, 0.001))

    def _known(self, array: NDArray[np.uint8], quality: int) -> bool:
        """Whether the browser has this very picture, at least as fine."""
        same = self._last is not None and np.array_equal(array, self._last)
        if same and quality <= self._last_quality:
            return True
        self._last, self._last_quality = array, quality
        return False

    async def _send(self, array: NDArray[np.uint8], columns: int, rows: int, quality: int) -> None:
        loop = asyncio.get_running_loop()
        encode = RcaImageEncoder.TURBO_JPEG.encode
        found = await loop.run_in_executor(_ENCODER, encode, array, columns, rows, quality)
        if self._push is not None:
            self._push(found[0], found[1])


_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def _turn() -> asyncio.Lock:
    """Return what lets one view at a time draw, in the order in which they ask."""
    return _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Lock())
