"""Passing requests and WebSocket messages on to a person's page process (layer: apps)."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import WSMsgType, web
from yarl import URL

from ctrestorelib.apps.web.gateway.children import Page
from ctrestorelib.apps.web.gateway.sessions import Session

MAX_BODY_BYTES = 8 << 20
"""Largest request body that is passed on; uploads have a way of their own."""

MAX_MESSAGE_BYTES = 32 << 20
"""Largest WebSocket message; trame cuts larger ones into parts of 4 MB."""

_HEARTBEAT_S = 30.0
_TO_PAGE = ("Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "If-None-Match",
            "If-Modified-Since", "Range")  # fmt: skip
_TO_BROWSER = ("Content-Type", "Content-Encoding", "Content-Length", "Content-Range",
               "Accept-Ranges", "ETag", "Last-Modified", "Location", "Allow")  # fmt: skip


async def pass_request(
    request: web.Request, page: Page, client: aiohttp.ClientSession
) -> web.StreamResponse:
    """Return what the page process answers to a request. Cookies are not passed on."""
    body = await _body_of(request)
    headers = {n: request.headers[n] for n in _TO_PAGE if n in request.headers} | page.headers
    async with client.request(
        request.method, _url(page, request), headers=headers, data=body, allow_redirects=False
    ) as answer:
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for name in _TO_BROWSER:
            if name in answer.headers and _is_local(name, answer.headers[name]):
                response.headers[name] = answer.headers[name]
        stored = "ETag" in answer.headers or "Last-Modified" in answer.headers
        response.headers["Cache-Control"] = "private, no-cache" if stored else "no-store"
        await response.prepare(request)
        if request.method != "HEAD":
            await _copy_body(request, answer, response)
    return response


async def _copy_body(
    request: web.Request, answer: aiohttp.ClientResponse, response: web.StreamResponse
) -> None:
    try:
        async for block in answer.content.iter_chunked(1 << 16):
            await response.write(block)
        await response.write_eof()
    except (aiohttp.ClientError, asyncio.TimeoutError):
        if request.transport is not None:  # half an answer must not look like a whole one
            request.transport.abort()


def _is_local(name: str, value: str) -> bool:
    start = value.split("/", maxsplit=1)[0]
    return name != "Location" or not (value.startswith("//") or ":" in start)


async def _body_of(request: web.Request) -> bytes | None:
    if not request.can_read_body:
        return None
    body = b""
    async for block in request.content.iter_chunked(1 << 16):
        body += block
        if len(body) > MAX_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, len(body))
    return body


def _url(page: Page, request: web.Request, scheme: str = "http") -> URL:
    # Built from parts: whatever the path looks like, the address stays our own.
    path = request.raw_path if request.raw_path.startswith("/") else "/"
    return URL(f"{scheme}://127.0.0.1:{page.port}{path}", encoded=True)


async def pass_socket(
    request: web.Request, session: Session, page: Page, client: aiohttp.ClientSession
) -> web.StreamResponse:
    """Connect the browser's WebSocket with the page process until one of them closes.

    What the browser sends counts as a sign of life; what the page sends does not.
    """
    browser = web.WebSocketResponse(
        max_msg_size=MAX_MESSAGE_BYTES, heartbeat=_HEARTBEAT_S, timeout=2.0, compress=False
    )
    async with client.ws_connect(
        _url(page, request), headers=page.headers, max_msg_size=MAX_MESSAGE_BYTES, autoclose=True
    ) as inner:
        await browser.prepare(request)
        session.sockets.add(browser)
        ways = [
            asyncio.create_task(_from_browser(browser, inner, session)),
            asyncio.create_task(_from_page(inner, browser)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            session.sockets.discard(browser)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await browser.close(code=aiohttp.WSCloseCode.GOING_AWAY)
    return browser


async def _from_browser(
    browser: web.WebSocketResponse, inner: aiohttp.ClientWebSocketResponse, session: Session
) -> None:
    async for message in browser:
        session.touch()
        if message.type is WSMsgType.BINARY:
            await inner.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await inner.send_str(message.data)


async def _from_page(
    inner: aiohttp.ClientWebSocketResponse, browser: web.WebSocketResponse
) -> None:
    async for message in inner:
        if message.type is WSMsgType.BINARY:
            await browser.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await browser.send_str(message.data)
