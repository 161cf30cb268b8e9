"""What is passed on between browser and page, what is kept back, and the pages in between."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parent))
from gateway_bench import TOKEN, running, scenario, visitor

from ctrestorelib.apps.web.gateway import pages
from ctrestorelib.apps.web.gateway.attach import attach
from ctrestorelib.apps.web.gateway.children import Page
from ctrestorelib.apps.web.gateway.server import Gateway, GatewaySettings


@scenario
async def test_assets_may_be_kept_by_the_browser_but_are_asked_for_again(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        answer = await browser.ask("/stored")
        assert answer.body == b"stored"
        assert answer.headers["ETag"] == '"1"'
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert (await browser.ask("/echo")).headers["Cache-Control"] == "no-store"


@scenario
async def test_headers_of_the_page_come_through_only_when_they_are_wanted(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        headers = (await browser.ask("/stored")).headers
        assert "Set-Cookie" not in headers
        assert "X-Secret" not in headers
        assert headers["Server"] == "CTRestore"  # no versions of libraries


@scenario
async def test_packed_answers_stay_packed(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        answer = await browser.ask("/packed", headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.body == b"script" * 100  # the client of this test unpacks


@scenario
async def test_bodies_are_passed_on_up_to_a_limit(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        small = await browser.ask("/length", "POST", data=bytes(5_000_000))
        assert small.json == {"length": 5_000_000}
        large = await browser.ask("/length", "POST", data=bytes(9 << 20))
        assert large.status == 413


@scenario
async def test_half_an_answer_never_looks_like_a_whole_one(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        with pytest.raises(aiohttp.ClientError):
            await browser.ask("/half")
        assert "stopped unexpectedly" in (await browser.ask("/")).text


@scenario
async def test_queries_and_methods_reach_the_page_as_they_are(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        assert (await browser.echo("/echo?a=%2F&b=%C3%A4"))["path"] == "/echo?a=%2F&b=%C3%A4"
        assert (await browser.ask("/echo", "HEAD")).body == b""
        assert (await browser.ask("/echo", "PUT")).status == 200
        assert (await browser.ask("/nothing")).status == 404


@pytest.mark.parametrize(("status", "text", "busy"), [
    (200, '{"busy": true}', True), (200, '{"busy": false}', False), (200, '{"busy": "yes"}', False),
    (200, "[]", False), (200, "not json", False), (500, '{"busy": true}', False),
])  # fmt: skip
@scenario
async def test_only_a_clear_yes_counts_as_busy(status, text, busy):
    async def answer(request):
        assert request.headers["X-CTRestore-Page-Key"] == "key"
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/status", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    page = Page(process=None, port=runner.addresses[0][1], key="key")
    async with aiohttp.ClientSession() as client:
        assert await page.is_busy(client) is busy
        await runner.cleanup()
        assert await page.is_busy(client) is False  # nobody there


def test_a_page_that_is_started_by_hand_needs_no_key(monkeypatch):
    monkeypatch.delenv("CTRESTORE_PAGE_KEY", raising=False)
    app = web.Application()
    attach(app)
    assert list(app.middlewares) == []


class Parts(HTMLParser):
    """Collects tags and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [v for n, v in attrs if n in ("href", "src", "action")]


@pytest.mark.parametrize("text", [
    pages.starting(), pages.again(), pages.sign_in(), pages.wrong_token(), pages.wait(60),
    pages.full(4), pages.crashed(), pages.failed(), pages.ended(60.0), pages.ended(None),
])  # fmt: skip
def test_own_pages_are_plain_and_load_nothing(text):
    parts = Parts(text)
    assert parts.tags.count("h1") == 1
    assert "p" in parts.tags
    assert "script" not in parts.tags
    assert set(parts.addresses) <= {"data:,", "/session/new"}
    assert ("button" in parts.tags) == ("/session/new" in parts.addresses)


def test_a_sentence_on_a_page_cannot_be_markup():
    assert "<script>" not in pages.refused("<script>alert(1)</script>")


@pytest.mark.parametrize(("host", "start"), [
    ("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:"), ("localhost", "http://localhost:"),
])  # fmt: skip
def test_the_link_is_written_as_browsers_want_it(host, start):
    gateway = Gateway(GatewaySettings(token=TOKEN + "&x=1", host=host, port=8000))
    assert gateway.access_link == f"{start}8000/?token={TOKEN}%26x%3D1"


@scenario
async def test_localhost_listens_on_one_port(tmp_path):
    async with running(tmp_path, host="localhost") as gateway, visitor(gateway) as browser:
        assert (await browser.echo())["folder"].startswith(str(tmp_path))
