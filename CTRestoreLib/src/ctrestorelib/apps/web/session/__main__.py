"""Start the page process of one person: ``python -m ctrestorelib.apps.web.session`` (layer: apps).

It prints ``{"port": N}`` in one line when it listens on 127.0.0.1, and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve one page until the process is told to end."""
    options = _parser().parse_args(arguments)
    out = _own_stdout()
    _prepare_environment(options.folder)
    asyncio.run(serve(options, out))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ctrestorelib.apps.web.session", allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True, help="the person's own folder")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--open", type=Path, action="append", default=[], help="opened at the start"
    )
    parser.add_argument("--root", type=Path, action="append", default=[],
                        help="files in it may be opened by path")  # fmt: skip
    return parser


def _own_stdout() -> int:
    """Keep standard output for the one line; whatever libraries print goes to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)
    return out


def _prepare_environment(folder: Path) -> None:
    for name in ("uploads", "downloads", "presets", "jobs"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ.setdefault("CTRESTORE_JOBS", str(folder / "jobs"))
    os.environ["CTRESTORE_PRESETS"] = str(folder / "presets")
    # Drawing in memory works on every machine; wslink would print a line of its own.
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")
    os.environ["WSLINK_READY_MSG"] = ""
    sys.argv[1:] = []  # trame reads the command line too


async def serve(options: argparse.Namespace, out: int) -> None:
    """Build the page and serve it until SIGTERM, SIGINT or the end of the gateway."""
    from ctrestorelib.apps.web.gateway.attach import attach
    from ctrestorelib.apps.web.session.page import Page
    from ctrestorelib.apps.web.session.routes import add_routes

    folder = options.folder.resolve()
    page = Page(folder, [root.resolve() for root in options.root])

    def bound(wslink: Any) -> None:
        attach(wslink.app)
        add_routes(wslink.app, folder, busy=lambda: page.desk.busy, opened=page.open)

    def ready(**_state: Any) -> None:
        os.write(out, (json.dumps({"port": page.server.port}) + "\n").encode())
        if options.open:
            page.open([path.resolve() for path in options.open])

    page.server.controller.on_server_bind.add(bound)
    page.server.controller.on_server_ready.add(ready)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: the process is ended by force
            loop.add_signal_handler(number, stopping.set)
    server = asyncio.ensure_future(
        page.server.start(
            port=options.port, host=HOST, exec_mode="coroutine", open_browser=False,
            show_connection_info=False, timeout=0, disable_logging=True,
            thread=True,  # leaves the signals to us
        )
    )  # fmt: skip
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({server, stopped}, return_when=asyncio.FIRST_COMPLETED)
    await page.close()
    with contextlib.suppress(Exception):
        await asyncio.wait_for(page.server.stop(), 3)
    stopped.cancel()


if __name__ == "__main__":
    main()
