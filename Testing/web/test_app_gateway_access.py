"""Who gets in: access link, cookie, Host, Origin, and what a browser is told to keep to itself."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gateway_bench import TOKEN, Browser, running, scenario, visitor

from ctrestorelib.apps.web.gateway import guards
from ctrestorelib.apps.web.gateway.log import path_class
from ctrestorelib.apps.web.gateway.server import GatewaySettings
from ctrestorelib.core.errors import UsageError


@scenario
async def test_the_access_link_becomes_a_cookie_and_leaves_the_address(tmp_path):
    async with running(tmp_path) as gateway, Browser(gateway) as browser:
        answer = await browser.ask(f"/?token={TOKEN}")
        assert answer.status == 303
        assert answer.headers["Location"] == "/"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        cookie = answer.headers["Set-Cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        page = await browser.ask("/", allow_redirects=True)
        assert page.status == 200
        assert "<title>page</title>" in page.text


@scenario
async def test_without_a_cookie_there_is_nothing(tmp_path):
    async with running(tmp_path) as gateway, Browser(gateway) as stranger:
        for path in ("/", "/index.html", "/echo", "/status", "/ws", "/download/a.nii"):
            assert (await stranger.ask(path)).status == 401, path
        assert (await stranger.ask("/limits")).status == 401
        assert (await stranger.send([("a.nii", b"1")])).status == 401
        assert (await stranger.ask("/session/new", "POST")).status == 401
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await stranger.socket()
        assert refused.value.status == 401
        forged = {"Cookie": f"ctrestore-{gateway.port}=forged"}
        assert (await stranger.ask("/echo", headers=forged)).status == 401


@scenario
async def test_wrong_keys_are_refused_and_then_have_to_wait(tmp_path):
    async with running(tmp_path) as gateway, Browser(gateway) as browser:
        for guess in ("wrong", "", TOKEN[:-1], TOKEN + "x", "%C3%A4"):
            answer = await browser.ask(f"/?token={guess}")
            assert answer.status == 403, guess
            assert "Set-Cookie" not in answer.headers
        late = await browser.ask(f"/?token={TOKEN}")
        assert late.status == 429
        assert 0 < int(late.headers["Retry-After"]) <= 61
        assert not gateway.sessions.living


@scenario
async def test_a_pause_does_not_lock_out_who_is_already_in(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as inside:
        async with Browser(gateway) as browser:
            for _ in range(6):
                await browser.ask("/?token=wrong")
        await inside.echo()


def test_the_pause_ends_and_counts_each_address_alone():
    throttle = guards.Throttle(allowed=2, window_s=0.2)
    throttle.wrong("a")
    assert throttle.wait_s("a") == 0
    throttle.wrong("a")
    assert 0 < throttle.wait_s("a") <= 0.2
    assert throttle.wait_s("b") == 0
    import time

    time.sleep(0.25)
    assert throttle.wait_s("a") == 0


@scenario
async def test_the_same_browser_keeps_its_session_when_it_uses_the_link_again(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        before = await browser.echo()
        answer = await browser.ask(f"/?token={TOKEN}")
        assert answer.status == 303
        assert "Set-Cookie" not in answer.headers
        assert (await browser.echo())["pid"] == before["pid"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example",
                                  "user@127.0.0.1", "10.0.0.1", "localhost:port", ""])  # fmt: skip
def test_names_that_are_not_ours_are_refused(host):
    assert not guards.Hosts("127.0.0.1").allow(host)


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost", "LOCALHOST:9", "[::1]:80"])
def test_loopback_has_several_names_and_any_port(host):
    assert guards.Hosts("127.0.0.1").allow(host)


def test_on_a_network_addresses_and_own_names_count_but_no_others():
    hosts = guards.Hosts("0.0.0.0", ["ct.hospital.org"])
    assert hosts.allow("192.168.1.20:8000")
    assert hosts.allow("ct.hospital.org")
    assert not hosts.allow("rebound.attacker.example:8000")


@scenario
async def test_a_foreign_host_header_gets_nothing_even_with_the_cookie(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        answer = await browser.ask("/echo", headers={"Host": "evil.example"})
        assert answer.status == 421
        assert (
            await browser.ask(f"/?token={TOKEN}", headers={"Host": "evil.example"})
        ).status == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", ""])
@scenario
async def test_what_changes_something_must_come_from_our_own_page(tmp_path, origin):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        headers = {"Origin": origin}
        for path in ("/upload", "/session/new", "/session/end", "/paraview/", "/echo"):
            assert (await browser.ask(path, "POST", headers=headers)).status == 403, path
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await browser.socket(headers=headers)
        assert refused.value.status == 403
        assert gateway.sessions.living  # nobody ended the session


@scenario
async def test_a_foreign_page_cannot_include_parts_of_ours(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
        assert (await browser.ask("/echo", headers=image)).status == 403
        neighbour = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}
        assert (await browser.ask("/echo", headers=neighbour)).status == 403
        own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
        assert (await browser.ask("/echo", headers=own)).status == 200


@scenario
async def test_a_visit_from_another_site_is_made_our_own_first(tmp_path):
    # Browsers hold a strict cookie back on such a visit.
    async with running(tmp_path) as gateway, Browser(gateway) as browser:
        visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        answer = await browser.ask("/", headers=visit)
        assert answer.status == 200
        assert 'content="0;url=/"' in answer.text
        assert (await browser.ask("/", headers={"Sec-Fetch-Site": "same-origin"})).status == 401


@scenario
async def test_every_answer_carries_the_security_headers(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        paths = ("/index.html", "/echo", "/limits", "/download/none", "/?token=wrong")
        for path in paths:
            headers = (await browser.ask(path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] in ("same-origin", "no-referrer")
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert "http" not in headers["Content-Security-Policy"].replace("https", "")


def test_the_policy_of_the_page_names_no_other_machine():
    for part in guards.page_policy("127.0.0.1:80").split("; "):
        for source in part.split()[1:]:
            assert source.startswith("'") or source in (
                "data:", "blob:", "ws://127.0.0.1:80", "wss://127.0.0.1:80"
            )  # fmt: skip


@scenario
async def test_two_browsers_have_nothing_in_common(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as a, visitor(gateway) as b:
        seen_a, seen_b = await a.echo(), await b.echo()
        assert seen_a["pid"] != seen_b["pid"]
        assert seen_a["folder"] != seen_b["folder"]
        result = Path(seen_b["folder"]) / "downloads" / "result.nii"
        result.write_bytes(b"volume of b")
        assert (await b.ask("/download/result.nii")).body == b"volume of b"
        assert (await a.ask("/download/result.nii")).status == 404
        name = Path(seen_b["folder"]).name
        for trick in (f"..%2F..%2F{name}%2Fdownloads%2Fresult.nii", f"%2e%2e/{name}",
                      f"../../{name}/downloads/result.nii"):  # fmt: skip
            answer = await a.ask(f"/download/{trick}")
            assert b"volume of b" not in answer.body
        async with a.socket() as socket:
            await socket.send_str("who")
            assert (await socket.receive()).data == f"{seen_a['pid']} who"


@scenario
async def test_the_page_process_answers_its_gateway_only(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        await browser.echo()
        (session,) = gateway.sessions.living
        async with aiohttp.ClientSession() as neighbour:
            for path in ("/", "/echo", "/status", "/ws"):
                url = f"http://127.0.0.1:{session.page.port}{path}"
                async with neighbour.get(url) as answer:
                    assert answer.status == 403
                wrong = {"X-CTRestore-Page-Key": "wrong"}
                async with neighbour.get(url, headers=wrong) as answer:
                    assert answer.status == 403


@scenario
async def test_the_page_learns_nothing_it_need_not_know(tmp_path, monkeypatch):
    monkeypatch.setenv("CTRESTORE_TOKEN", TOKEN)
    files, roots = [tmp_path / "scan.nii"], [tmp_path]
    async with running(tmp_path, files=files, roots=roots) as gateway, visitor(gateway) as browser:
        seen = await browser.echo("/echo?a=1")
        assert "Cookie" not in seen["headers"]
        assert "Origin" not in seen["headers"]
        assert not seen["key_in_environment"]
        assert not seen["token_in_environment"]
        assert seen["open"] == [str(files[0])]
        assert seen["roots"] == [str(tmp_path)]
        assert seen["jobs"] == f"{seen['folder']}/jobs"
        assert Path(seen["folder"]).stat().st_mode & 0o777 == 0o700


@scenario
async def test_a_path_cannot_lead_the_gateway_to_another_machine(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        assert (await browser.ask("//example.org/echo")).status == 404
        assert (await browser.ask("/@example.org/echo")).status == 404
        answer = await browser.ask("/foreign")
        assert "Location" not in answer.headers
        lines = [b"GET http://example.org/echo HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close",
                 b"Cookie: " + browser.cookies[0].encode(), b"", b""]  # fmt: skip
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"\r\n".join(lines))
        answer = await reader.read()
        assert b" 200 " in answer.split(b"\r\n")[0] or b" 30" in answer.split(b"\r\n")[0]
        assert b"example.org" not in answer
        writer.close()


@scenario
async def test_a_query_cannot_tell_the_page_where_to_connect(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        answer = await browser.ask("/index.html?sessionURL=ws://evil.example/ws")
        assert answer.status == 303
        assert answer.headers["Location"] == "/index.html"
        told = await browser.ask("/paraview/", "POST", json={"application": "trame"})
        assert told.json == {"sessionURL": "ws://USE_HOST/ws"}


@scenario
async def test_the_log_tells_neither_names_nor_keys(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        await browser.ask("/Mueller_Anna/scan.nii?patient=Mueller")
        await browser.ask("/download/Mueller_Anna.nii")
        await browser.send([("Mueller_Anna/scan.dcm", b"1")])
        await browser.send([("../Mueller", b"1")])
        await browser.ask("/?token=Mueller")
        async with browser.socket() as socket:
            await socket.send_str("Mueller")
            await socket.receive()
        cookie = browser.cookies[0].split("=")[1]
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("ctrestorelib")]
    assert {"GET download 404", "POST upload 200", "POST upload 422", "GET page 403"} <= set(lines)
    assert "GET socket 101" in lines
    for secret in ("Mueller", TOKEN, "user-", cookie):
        assert secret not in caplog.text


def test_kinds_of_paths_never_hold_a_name():
    kinds = {path_class(p) for p in ("/", "/ws", "/upload", "/download/Anna", "/Anna", "/a/b?c")}
    assert kinds == {"page", "socket", "upload", "download", "asset"}


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "umlaut-äöü-umlaut-äöü"])
def test_nobody_listens_without_a_good_key(token):
    for host in ("127.0.0.1", "0.0.0.0", "192.0.2.1"):
        with pytest.raises(UsageError, match="16 plain characters"):
            GatewaySettings(token=token, host=host)
    with pytest.raises(TypeError):
        GatewaySettings(host="0.0.0.0")


def test_the_key_is_made_new_each_time_or_taken_from_the_environment(monkeypatch):
    monkeypatch.delenv("CTRESTORE_TOKEN", raising=False)
    (first, made), (second, _) = guards.token_from_environment(), guards.token_from_environment()
    assert made
    assert first != second
    assert len(first) >= 40
    monkeypatch.setenv("CTRESTORE_TOKEN", TOKEN)
    assert guards.token_from_environment() == (TOKEN, False)
    assert TOKEN not in repr(GatewaySettings(token=TOKEN))


@scenario
async def test_a_network_address_needs_the_key_too(tmp_path):
    async with running(tmp_path, host="0.0.0.0") as gateway, aiohttp.ClientSession() as stranger:
        async with stranger.get(f"http://127.0.0.1:{gateway.port}/echo") as answer:
            assert answer.status == 401
        assert "0.0.0.0" not in gateway.access_link
