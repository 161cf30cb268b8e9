"""What a page process does to belong to its gateway: call :func:`attach` (layer: apps).

A page process listens on loopback, where every user of the machine could reach it. So it answers
only requests that carry the key which the gateway gave it in its environment, and it ends when
the gateway ends. Without that key in the environment (started by hand) nothing changes.
"""

from __future__ import annotations

import hmac
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

KEY_VARIABLE = "CTRESTORE_PAGE_KEY"
KEY_HEADER = "X-CTRestore-Page-Key"

_GRACE_S = 5.0
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def attach(app: web.Application) -> None:
    """Let only the gateway talk to this page process, and end with the gateway.

    Call it before the server starts; with trame in ``on_server_bind``::

        server.controller.on_server_bind.add(lambda wslink: attach(wslink.app))
    """
    key = os.environ.pop(KEY_VARIABLE, "")  # popped: job workers need not know it
    if not key:
        return

    @web.middleware
    async def only_the_gateway(request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get(KEY_HEADER, "")
        if not hmac.compare_digest(given.encode(), key.encode()):
            return web.Response(status=403, text="This page is reached through its gateway.\n")
        return await handler(request)

    app.middlewares.insert(0, only_the_gateway)
    threading.Thread(target=_end_with_the_gateway, name="gateway-watch", daemon=True).start()


def _end_with_the_gateway() -> None:
    # Standard input is a pipe that the gateway holds open; its end is the gateway's end.
    try:
        while os.read(0, 1024):
            pass
    except OSError:
        return  # no standard input: nothing to watch
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)
