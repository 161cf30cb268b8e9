"""Taking a multipart answer apart while it arrives, in bounded memory (layer: pacs; RFC 2046)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ctrestorelib.core.errors import PacsError

_PIECE = 1 << 18
_MAX_HEADER = 16 << 10
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)


def boundary_of(media_type: str) -> bytes | None:
    """Return the boundary that a Content-Type names; None if it is not multipart."""
    found = _BOUNDARY.search(media_type)
    if not media_type.lower().startswith("multipart/") or not found:
        return None
    return (found[1] or found[2]).encode("latin-1", "replace")


def parts(read: Callable[[int], bytes], boundary: bytes) -> Iterator[Iterator[bytes]]:
    """Yield the body of each part as pieces; finish one part before asking for the next.

    Parameters
    ----------
    read
        Returns up to so many bytes; none at the end.
    boundary
        From :func:`boundary_of`.

    Raises
    ------
    PacsError
        If the answer ends early or is not multipart.
    """
    cutter = _Cutter(read, b"\r\n--" + boundary)
    for _ in cutter.until_mark():  # what comes before the first part is to be ignored
        pass
    while not cutter.at_end():
        cutter.skip_header()
        yield cutter.until_mark()


class _Cutter:
    def __init__(self, read: Callable[[int], bytes], mark: bytes) -> None:
        self._read, self._mark = read, mark
        # The first boundary may come without the line break that belongs to all others.
        self._held = bytearray(b"\r\n")

    def until_mark(self) -> Iterator[bytes]:
        while (at := self._held.find(self._mark)) < 0:
            # The end of what is held may be the begin of a mark.
            ready = max(0, len(self._held) - len(self._mark) + 1)
            if ready:
                yield self._take(ready)
            self._fill()
        if at:
            yield self._take(at)
        self._take(len(self._mark))

    def at_end(self) -> bool:
        while len(self._held) < 2:
            self._fill()
        return self._held[:2] == b"--"

    def skip_header(self) -> None:
        while (at := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > _MAX_HEADER:
                message = "The archive's answer is not built as multipart demands."
                raise PacsError(message, hint="See the archive's log.")
            self._fill()
        self._take(at + 4)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._held[:count])
        del self._held[:count]
        return taken

    def _fill(self) -> None:
        piece = self._read(_PIECE)
        if not piece:
            message = "The archive's answer ended in the middle."
            raise PacsError(message, hint="Try again; see the archive's log.", transient=True)
        self._held += piece
