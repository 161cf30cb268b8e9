"""A small page process for tests of the gateway: same command line as the real one.

It answers what it is asked over HTTP and WebSocket, and tells what it has seen.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from aiohttp import WSMsgType, web

from ctrestorelib.apps.web.gateway.attach import attach


def make_app(folder: Path, opened: list[str], roots: list[str]) -> web.Application:
    busy = False

    async def echo(request: web.Request) -> web.Response:
        seen = {
            "pid": os.getpid(),
            "folder": str(folder),
            "open": opened,
            "roots": roots,
            "jobs": os.environ["CTRESTORE_JOBS"],
            "key_in_environment": "CTRESTORE_PAGE_KEY" in os.environ,
            "token_in_environment": "CTRESTORE_TOKEN" in os.environ,
            "path": request.path_qs,
            "headers": sorted(request.headers),
        }
        return web.json_response(seen)

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>page</title>", content_type="text/html")

    async def root(request: web.Request) -> web.Response:
        raise web.HTTPFound("index.html")

    async def status(request: web.Request) -> web.Response:
        return web.json_response({"busy": busy})

    async def set_busy(request: web.Request) -> web.Response:
        nonlocal busy
        busy = request.match_info["value"] == "yes"
        return web.json_response({"busy": busy})

    async def crash(request: web.Request) -> web.Response:
        os._exit(3)

    async def work(request: web.Request) -> web.Response:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        worker = subprocess.Popen(command, start_new_session=True)
        return web.json_response({"pid": worker.pid})

    async def foreign(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://example.org/")

    async def stored(request: web.Request) -> web.Response:
        headers = {"ETag": '"1"', "Set-Cookie": "page=1", "X-Secret": "inside"}
        return web.Response(body=b"stored", headers=headers)

    async def packed(request: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=gzip.compress(b"script" * 100), headers=headers)

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(bytes(500))
        os._exit(4)

    async def length(request: web.Request) -> web.Response:
        return web.json_response({"length": len(await request.read())})

    async def socket(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await ws.send_str(f"{os.getpid()} {message.data}")
            elif message.type is WSMsgType.BINARY:
                await ws.send_bytes(message.data[::-1])
        return ws

    app = web.Application(client_max_size=64 << 20)
    app.router.add_get("/", root)
    app.router.add_get("/index.html", page)
    app.router.add_get("/status", status)
    app.router.add_get("/busy/{value}", set_busy)
    app.router.add_get("/crash", crash)
    app.router.add_get("/work", work)
    app.router.add_get("/foreign", foreign)
    app.router.add_get("/ws", socket)
    app.router.add_get("/stored", stored)
    app.router.add_get("/packed", packed)
    app.router.add_get("/half", half)
    app.router.add_post("/length", length)
    app.router.add_route("*", "/echo", echo)
    return app


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--open", action="append", default=[])
    parser.add_argument("--root", action="append", default=[])
    parser.add_argument("--mode", default="good")
    given = parser.parse_args()
    if given.mode == "broken":
        sys.exit(2)
    if given.mode == "slow":
        await asyncio.sleep(2)
    app = make_app(given.folder, given.open, given.root)
    if given.mode != "open":
        attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", given.port)
    await site.start()
    print("noise before", json.dumps({"noise": 1}))
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    if given.mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
