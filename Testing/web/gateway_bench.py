"""A gateway over real sockets, with a small page process, and browsers that talk to it."""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from yarl import URL

from ctrestorelib.apps.web.gateway.children import PageSettings
from ctrestorelib.apps.web.gateway.server import Gateway, GatewaySettings

TOKEN = "a-key-that-nobody-can-guess"
ECHO = Path(__file__).with_name("echo_page.py")


def scenario(test):
    """Let pytest run a coroutine function, one minute at most."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


def echo_command(mode: str = "good") -> list[str]:
    return [sys.executable, str(ECHO), "--mode", mode]


@asynccontextmanager
async def running(folder: Path, *, mode: str = "good", files=(), roots=(), **settings):
    """Yield a started gateway whose data lie in ``folder``."""
    page = PageSettings(command=echo_command(mode), files=files, roots=roots)
    settings.setdefault("token", TOKEN)
    gateway = Gateway(GatewaySettings(page=page, folder=folder, **settings))
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


class Browser:
    """A browser: keeps cookies and says where its requests come from."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def __aenter__(self) -> Browser:
        self.client = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            headers={"Origin": self.gateway.url.rstrip("/")},
            skip_auto_headers=("User-Agent",),
        )
        return self

    async def __aexit__(self, *_exc) -> None:
        await self.client.close()

    @property
    def cookies(self) -> list[str]:
        return [f"{cookie.key}={cookie.value}" for cookie in self.client.cookie_jar]

    def socket(self, **options):
        """Open a WebSocket to the page."""
        return self.client.ws_connect(f"{self.gateway.url}ws", **options)

    async def ask(self, path: str = "/", method: str = "GET", **options):
        """Return status, headers and text of an answer; redirects are not followed."""
        options.setdefault("allow_redirects", False)
        url = URL(self.gateway.url.rstrip("/") + path, encoded=True)
        async with self.client.request(method, url, **options) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def echo(self, path: str = "/echo", **options) -> dict:
        answer = await self.ask(path, **options)
        assert answer.status == 200, answer.text
        return answer.json

    async def send(self, files, path: str = "/upload", **options):
        """Upload pairs of path and content."""
        form = aiohttp.FormData()
        for name, content in files:
            form.add_field("path", name)
            form.add_field("file", content, filename="file")
        return await self.ask(path, "POST", data=form, **options)


class Answer:
    def __init__(self, status, headers, body) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)


@asynccontextmanager
async def visitor(gateway: Gateway):
    """Yield a browser that came with the access link."""
    async with Browser(gateway) as browser:
        answer = await browser.ask(f"/?token={gateway.settings.token}")
        assert answer.status == 303, answer.text
        yield browser


async def until(condition, seconds: float = 15.0) -> None:
    """Wait until a condition holds."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen in time")
