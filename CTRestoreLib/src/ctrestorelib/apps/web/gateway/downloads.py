"""``GET /download/NAME``: one file of a person's ``downloads/`` (layer: apps)."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import web

from ctrestorelib.apps.web.gateway.paths import find_download
from ctrestorelib.core.errors import InputError

_BLOCK = 1 << 20
_STALL_S = 120.0  # a connection that fell asleep must not keep a session from being wiped


async def send_download(request: web.Request, folder: Path, name: str) -> web.StreamResponse:
    """Send a file to be saved, never to be shown: it cannot run as a page of ours.

    Raises
    ------
    InputError
        If there is no plain file of that name.
    """
    path = find_download(folder, name)
    # Not FileResponse: that would send a neighbour 'name.gz' to browsers that accept gzip.
    handle = await asyncio.to_thread(_opened, path)
    with os.fdopen(handle, "rb") as file:
        size = os.fstat(handle).st_size
        response = web.StreamResponse(headers=_headers(name, size))
        await response.prepare(request)
        try:
            await _copy(file, response, size if request.method == "GET" else 0)
        except (ConnectionError, asyncio.TimeoutError):
            if request.transport is not None:
                request.transport.abort()
    return response


async def _copy(file: BinaryIO, response: web.StreamResponse, size: int) -> None:
    left = size
    while left and (block := await asyncio.to_thread(file.read, min(_BLOCK, left))):
        left -= len(block)
        await asyncio.wait_for(response.write(block), _STALL_S)
    await response.write_eof()


def _opened(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        message = "The file cannot be read any more."
        raise InputError(message, hint="Make it again in the page.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        message = "There is no such file to download."
        raise InputError(message, hint="Make it again in the page.")
    return handle


def _headers(name: str, size: int) -> dict[str, str]:
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in name)
    return {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}",
        "Cache-Control": "no-store",
    }
