"""What only a real browser decides: strict cookies after a foreign start, and the Origin of a form.

Chromium is steered over its debugging protocol, which is plain JSON over a WebSocket.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
import webbrowser
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gateway_bench import running, scenario

from ctrestorelib.apps.web.gateway.launch import _open_browser

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (Debian package 'chromium')"
)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--remote-debugging-port=0")  # fmt: skip


class Tab:
    """One page of a running Chromium."""

    def __init__(self, socket) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    async def call(self, method: str, **params):
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == number:
                return message.get("result", {})

    async def evaluate(self, code: str):
        result = await self.call("Runtime.evaluate", expression=code)
        return result.get("result", {}).get("value")

    async def shows(self, title: str) -> None:
        """Wait until the page has this title."""
        found = None
        for _ in range(300):
            if (found := await self.evaluate("document.title")) == title:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"expected {title!r}, the page shows {found!r}")


@asynccontextmanager
async def chromium(profile: Path, address: str):
    """Yield the tab of a new Chromium that was started with an address, as a desktop does it."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", address]
    silent = asyncio.subprocess.DEVNULL
    program = await asyncio.create_subprocess_exec(*command, stdout=silent, stderr=silent)
    try:
        async with aiohttp.ClientSession() as client:
            url = await _debugging_address(client, profile)
            async with client.ws_connect(url, max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        program.terminate()
        await program.wait()


async def _debugging_address(client: aiohttp.ClientSession, profile: Path) -> str:
    told = profile / "DevToolsActivePort"
    for _ in range(300):
        await asyncio.sleep(0.05)
        if not told.exists() or not told.read_text():
            continue
        port = told.read_text().split()[0]
        async with client.get(f"http://127.0.0.1:{port}/json") as answer:
            for page in await answer.json(content_type=None):
                if page["type"] == "page":
                    return page["webSocketDebuggerUrl"]
    raise AssertionError("Chromium did not start")


@scenario
async def test_from_the_private_file_to_the_page_through_a_crash_to_a_new_session(
    tmp_path, monkeypatch
):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    data = tmp_path / "data"
    data.mkdir()
    async with running(data) as gateway:
        _open_browser(gateway)
        assert opened[0].startswith("file://")
        async with chromium(tmp_path / "profile", opened[0]) as tab:
            await tab.shows("page")
            assert "token" not in await tab.evaluate("location.href")
            assert await tab.evaluate("document.cookie") == ""  # HttpOnly
            assert await tab.evaluate("history.length") <= 2
            (first,) = gateway.sessions.living

            await tab.call("Page.navigate", url=f"{gateway.url}crash")
            await tab.shows("The viewer stopped unexpectedly")
            await tab.evaluate("document.querySelector('button').click()")
            await tab.shows("page")
            (second,) = gateway.sessions.living
            assert second is not first
            assert second.page.alive

            ended = "fetch('/session/end', {method: 'POST'}).then(() => location.reload())"
            await tab.evaluate(ended)
            await tab.shows("The session has ended")
            assert gateway.sessions.living == []
            await tab.evaluate("document.querySelector('button').click()")
            await tab.shows("page")


@scenario
async def test_the_page_cannot_reach_another_address(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    async with running(data) as gateway, chromium(tmp_path / "profile", gateway.access_link) as tab:
        await tab.shows("page")
        code = "new Promise(r => fetch('http://127.0.0.1:9/').then(() => r('went'), () => 0));"
        await tab.evaluate(
            "window.blocked = []; document.addEventListener('securitypolicyviolation', "
            "e => window.blocked.push(e.effectiveDirective));"
            f"{code} try {{ new WebSocket('ws://127.0.0.1:9/') }} catch (e) {{}}"
            "new Image().src = 'http://127.0.0.1:9/x.png';"
        )
        for _ in range(100):
            blocked = await tab.evaluate("window.blocked.join()")
            if blocked.count(",") >= 2:
                break
            await asyncio.sleep(0.05)
        assert sorted(blocked.split(",")) == ["connect-src", "connect-src", "img-src"]
        own = await tab.evaluate(
            "window.state = ''; const s = new WebSocket(`ws://${location.host}/ws`);"
            "s.onopen = () => { window.state = 'open' }; 1"
        )
        assert own == 1
        for _ in range(100):
            if await tab.evaluate("window.state") == "open":
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the page could not open its own WebSocket")
