"""What the page process answers besides the page itself (layer: apps).

``GET /status`` tells whether it may be ended. ``POST /ctrestore/uploaded`` names files in the
person's ``uploads/`` that are to be opened: ``{"id": "..."}`` as the gateway called the upload, or
``{"paths": [...]}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from ctrestorelib.apps.web.gateway.paths import confine, entries_of, find_upload
from ctrestorelib.core.errors import CTRestoreError, InputError, UsageError


def add_routes(
    app: web.Application, folder: Path, *, busy: Callable[[], bool], opened: Callable[[Any], None]
) -> None:
    """Add the routes; call it before the server listens.

    Parameters
    ----------
    app
        Trame's aiohttp application.
    folder
        The person's own folder.
    busy
        Whether something runs or is being read.
    opened
        Receives the list of checked paths to open.
    """

    async def status(_request: web.Request) -> web.Response:
        return web.json_response({"busy": busy()})

    async def uploaded(request: web.Request) -> web.Response:
        try:
            paths = uploaded_paths(await request.text(), folder)
        except CTRestoreError as error:
            return web.json_response({"error": error.to_json()}, status=422)
        opened(paths)
        return web.json_response({"opening": len(paths)})

    async def socket(_request: web.Request) -> web.Response:
        # trame's script asks for this first; without an answer the browser notes an error.
        return web.json_response({"sessionURL": "ws://USE_HOST/ws"})

    app.router.add_post("/paraview/", socket)
    app.router.add_get("/status", status)
    app.router.add_get("/ctrestore/status", status)
    app.router.add_post("/ctrestore/uploaded", uploaded)


def uploaded_paths(body: str, folder: Path) -> list[Path]:
    """Return the files and folders that a request names, all inside the person's uploads.

    Raises
    ------
    UsageError
        If the request is no such request.
    InputError
        If a path is outside, or nothing is there.
    """
    try:
        record = json.loads(body)
    except ValueError:
        record = None
    if not isinstance(record, dict) or not (set(record) & {"id", "paths"}):
        message = "The request names no upload."
        raise UsageError(message, hint="Use the upload of the page.")
    if "id" in record:
        found = find_upload(folder, str(record["id"]))
        return entries_of(found) if found.is_dir() and "/" not in str(record["id"]) else [found]
    named = record["paths"]
    if not isinstance(named, list) or not all(isinstance(p, str) for p in named) or not named:
        message = "The paths of an upload are a list of texts."
        raise InputError(message, hint="Use the upload of the page.")
    uploads = (folder / "uploads").resolve()
    return [confine(uploads / path, [uploads]) for path in named]
