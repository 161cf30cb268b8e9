"""From the first visit to the wipe: reload, crash, idleness, the end, and what a crash leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gateway_bench import ECHO, TOKEN, Browser, running, scenario, until, visitor

from ctrestorelib.apps.web.gateway import downloads, uploads
from ctrestorelib.apps.web.gateway.folders import DataRoot, sweep
from ctrestorelib.core.errors import ResourceError
from ctrestorelib.core.system import process_exists


@scenario
async def test_a_reload_and_a_lost_connection_come_back_to_the_same_page(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        first = (await browser.echo())["pid"]
        async with browser.socket() as socket:
            await socket.send_str("one")
            assert (await socket.receive()).data == f"{first} one"
            await socket.send_bytes(bytes(range(256)) * 4096)
            assert (await socket.receive()).data == (bytes(range(256)) * 4096)[::-1]
        async with browser.socket() as socket:
            await socket.send_str("two")
            assert (await socket.receive()).data == f"{first} two"
        assert (await browser.echo())["pid"] == first


@scenario
async def test_the_first_page_is_started_before_anybody_came(tmp_path):
    async with running(tmp_path) as gateway:
        await until(lambda: gateway.sessions._spare.page is not None)
        ready = gateway.sessions._spare.page.process.pid
        async with visitor(gateway) as browser:
            assert (await browser.echo())["pid"] == ready


@scenario
async def test_a_crash_is_explained_and_a_click_starts_anew(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser, visitor(gateway) as other:
        before, neighbour = await browser.echo(), await other.echo()
        async with browser.socket() as socket:
            await browser.ask("/crash")
            end = await asyncio.wait_for(socket.receive(), 5)
            assert end.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        for path in ("/", "/index.html", "/assets/x.js"):
            answer = await browser.ask(path)
            assert answer.status == 503
            assert "stopped unexpectedly" in answer.text
        assert 'action="/session/new"' in answer.text
        assert "<script" not in answer.text
        new = await browser.ask("/session/new", "POST")
        assert new.status == 303
        after = await browser.echo()
        assert after["pid"] != before["pid"]
        assert not Path(before["folder"]).exists()
        assert (await other.echo())["pid"] == neighbour["pid"]


@pytest.mark.parametrize("mode", ["broken", "open"])
@scenario
async def test_a_page_that_does_not_start_or_answers_everybody_is_not_used(tmp_path, mode, caplog):
    async with running(tmp_path, mode=mode) as gateway, visitor(gateway) as browser:
        answer = await browser.ask("/")
        assert answer.status == 503
        assert "could not start" in answer.text
        (session,) = gateway.sessions.living
        assert session.page is None
    assert ("attach" in caplog.text) == (mode == "open")


@scenario
async def test_a_slow_start_keeps_the_browser_waiting_not_failing(tmp_path):
    async with running(tmp_path, mode="slow") as gateway, visitor(gateway) as browser:
        assert (await browser.ask("/", allow_redirects=True)).status == 200


@scenario
async def test_idle_data_are_wiped_and_the_person_is_told(tmp_path):
    async with running(tmp_path, idle_s=0.8) as gateway, visitor(gateway) as browser:
        seen = await browser.echo()
        await browser.send([("a.nii", b"voxels")])
        await until(lambda: not Path(seen["folder"]).exists())
        assert not process_exists(seen["pid"])
        answer = await browser.ask("/")
        assert answer.status == 410
        assert "Nobody used it" in answer.text
        assert (await browser.send([("a.nii", b"voxels")])).status == 401
        assert (await browser.ask("/session/new", "POST")).status == 303
        assert (await browser.echo())["pid"] != seen["pid"]


@scenario
async def test_a_running_restoration_keeps_a_session_alive(tmp_path):
    async with running(tmp_path, idle_s=1.5) as gateway, visitor(gateway) as browser:
        seen = await browser.echo()
        await browser.ask("/busy/yes")
        await asyncio.sleep(5.0)
        assert process_exists(seen["pid"])
        assert (await browser.echo())["pid"] == seen["pid"]
        await browser.ask("/busy/no")
        await until(lambda: not Path(seen["folder"]).exists())


@scenario
async def test_messages_of_the_browser_keep_a_session_alive_but_an_open_tab_does_not(tmp_path):
    async with running(tmp_path, idle_s=0.8) as gateway, visitor(gateway) as browser:
        seen = await browser.echo()
        async with browser.socket() as socket:
            for _ in range(10):
                await socket.send_str("scroll")
                await socket.receive()
                await asyncio.sleep(0.2)
            assert Path(seen["folder"]).exists()
            await until(lambda: not Path(seen["folder"]).exists())
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


@scenario
async def test_a_slow_download_keeps_a_session_alive(tmp_path):
    async with running(tmp_path, idle_s=1.5) as gateway, visitor(gateway) as browser:
        folder = Path((await browser.echo())["folder"])
        size = 40_000_000  # more than the connection holds on its way
        (folder / "downloads" / "a.nii").write_bytes(bytes(size))
        async with browser.client.get(f"{gateway.url}download/a.nii") as answer:
            got = len(await answer.content.read(1000))
            await asyncio.sleep(5.0)
            assert folder.exists()
            got += len(await answer.content.read())
        assert got == size
        await until(lambda: not folder.exists())


@scenario
async def test_a_connection_that_falls_asleep_does_not_keep_data(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "_STALL_S", 0.3)
    monkeypatch.setattr(downloads, "_STALL_S", 0.3)
    async with running(tmp_path, idle_s=0.8) as gateway, visitor(gateway) as browser:
        folder = Path((await browser.echo())["folder"])
        (folder / "downloads" / "a.nii").write_bytes(bytes(40_000_000))

        async def asleep():
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n1'
            await asyncio.sleep(30)

        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await browser.ask("/upload", "POST", data=asleep(), headers=kind)
        assert answer.status == 422
        assert "Nothing of the upload arrived" in answer.text
        async with browser.client.get(f"{gateway.url}download/a.nii"):
            await until(lambda: not folder.exists())  # the answer is never read


@scenario
async def test_a_page_that_crashed_before_anybody_came_is_replaced(tmp_path):
    async with running(tmp_path) as gateway:
        await until(lambda: gateway.sessions._spare.page is not None)
        spare = gateway.sessions._spare
        spare.page.process.kill()
        await until(lambda: not spare.page.alive)
        async with visitor(gateway) as browser:
            assert (await browser.ask("/", allow_redirects=True)).status == 200
        await until(lambda: not spare.folder.exists())


@scenario
async def test_ending_wipes_at_once_and_takes_the_workers_along(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        seen = await browser.echo()
        worker = json.loads((await browser.ask("/work")).text)["pid"]
        assert process_exists(worker)
        assert (await browser.ask("/session/end", "POST")).status == 303
        assert not Path(seen["folder"]).exists()
        assert not process_exists(seen["pid"])
        await until(lambda: not process_exists(worker))
        answer = await browser.ask("/")
        assert answer.status == 410
        assert "You ended" in answer.text


@scenario
async def test_a_page_that_will_not_end_is_killed(tmp_path):
    async with running(tmp_path, mode="stubborn") as gateway, visitor(gateway) as browser:
        seen = await browser.echo()
        await browser.ask("/session/end", "POST")
        assert not process_exists(seen["pid"])


@scenario
async def test_when_all_places_are_taken_the_next_is_told_and_a_free_one_is_given(tmp_path):
    async with running(tmp_path, max_users=1) as gateway, visitor(gateway) as first:
        seen = await first.echo()
        async with Browser(gateway) as second:
            answer = await second.ask(f"/?token={TOKEN}")
            assert answer.status == 503
            assert "All places are taken" in answer.text
            assert (await first.echo())["pid"] == seen["pid"]
            await first.ask("/session/end", "POST")
            assert (await second.ask(f"/?token={TOKEN}")).status == 303
            await second.echo()


@scenario
async def test_stopping_leaves_no_folder_and_no_process(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as a, visitor(gateway) as b:
        pids = [(await browser.echo())["pid"] for browser in (a, b)]
        sockets = [await browser.socket() for browser in (a, b)]
        assert gateway.root.path.exists()
        started = time.monotonic()
        await gateway.stop()
        assert time.monotonic() - started < 10
        assert list(tmp_path.iterdir()) == []
        assert not any(process_exists(pid) for pid in pids)
        for socket in sockets:
            await socket.close()


PROGRAM = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from gateway_bench import TOKEN, echo_command
from ctrestorelib.apps.web.gateway.children import PageSettings
from ctrestorelib.apps.web.gateway.server import Gateway, GatewaySettings, run_until_signal
gateway = Gateway(GatewaySettings(token=TOKEN, folder=Path(sys.argv[2]),
                                  page=PageSettings(command=echo_command())))
asyncio.run(run_until_signal(gateway, lambda g: print(g.port, flush=True)))
"""


def start_program(folder: Path) -> tuple[subprocess.Popen, int]:
    command = [sys.executable, "-c", PROGRAM, str(ECHO.parent), str(folder)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE)
    return program, int(program.stdout.readline())


async def visit(port: int) -> dict:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        url = f"http://127.0.0.1:{port}"
        async with client.get(f"{url}/?token={TOKEN}", allow_redirects=False) as answer:
            assert answer.status == 303
        async with client.get(f"{url}/echo") as answer:
            return await answer.json()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_program_and_wipes_everything(tmp_path, sign):
    program, port = start_program(tmp_path)
    seen = asyncio.run(visit(port))
    (Path(seen["folder"]) / "uploads" / "patient.nii").write_bytes(b"voxels")
    program.send_signal(sign)
    assert program.wait(15) == 0
    assert list(tmp_path.iterdir()) == []
    assert not process_exists(seen["pid"])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_after_a_hard_kill_the_pages_end_and_the_next_start_wipes(tmp_path):
    program, port = start_program(tmp_path)
    seen = asyncio.run(visit(port))
    left_by = tmp_path / Path(seen["folder"]).parent.name
    assert sweep(tmp_path) == []  # in use: left alone
    program.kill()
    program.wait(10)
    asyncio.run(until(lambda: not process_exists(seen["pid"])))
    assert left_by.exists()
    assert sweep(tmp_path) == [left_by]
    assert not left_by.exists()


def test_sweeping_leaves_others_and_young_folders_alone(tmp_path):
    young = tmp_path / "ctrestore-app-young"
    young.mkdir()
    old = tmp_path / "ctrestore-app-old"
    old.mkdir()
    os.utime(old, (1, 1))
    outside = tmp_path / "mine"
    outside.mkdir()
    (tmp_path / "ctrestore-app-link").symlink_to(outside)
    (tmp_path / "ctrestore-app-file").touch()
    used = DataRoot(tmp_path)
    assert not old.exists()  # the start sweeps
    assert young.exists()
    assert outside.exists()
    assert used.path.exists()
    assert used.path.stat().st_mode & 0o777 == 0o700
    assert sweep(tmp_path) == []
    used.close()
    assert not used.path.exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    with pytest.raises(ResourceError, match="No folder for the data"):
        DataRoot(tmp_path / "missing")


@scenario
async def test_an_address_in_use_is_said_and_leaves_nothing(tmp_path):
    async with running(tmp_path) as gateway:
        with pytest.raises(ResourceError, match="Cannot listen"):
            async with running(tmp_path, port=gateway.port):
                pass
        assert len(list(tmp_path.iterdir())) == 1
