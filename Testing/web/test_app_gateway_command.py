"""``ctrestore app`` as a person starts it: the link, the browser, refusals, the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from ctrestorelib.core.system import process_exists

ECHO = Path(__file__).with_name("echo_page.py")
TOKEN = "a-key-that-nobody-can-guess"
# The real command with another page process: the page itself has tests of its own.
PROGRAM = """
import functools, sys
from ctrestorelib.apps.cli.main import main
from ctrestorelib.apps.web.gateway import children
command = [sys.executable, sys.argv.pop(1)]
children.PageSettings = functools.partial(children.PageSettings, command=command)
main()
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and shell scripts")


@pytest.fixture
def start(tmp_path):
    """Return a function that starts ``ctrestore app`` and returns it with the printed link."""
    started = []

    def run(*args, **environment):
        kept = {k: v for k, v in os.environ.items() if k != "CTRESTORE_TOKEN"}
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(ECHO), "app", *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=kept | {"TMPDIR": str(tmp_path)} | environment,
        )
        started.append(program)
        line = program.stdout.readline()
        return program, line.removeprefix("Open ").strip()

    yield run
    for program in started:
        program.kill()
        program.wait(10)


async def visit(link: str) -> dict:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        async with client.get(link) as answer:
            assert answer.status == 200
            assert "token" not in str(answer.url)
        async with client.get(answer.url.with_path("/echo")) as answer:
            return await answer.json()


def end(program) -> tuple[str, str]:
    program.send_signal(signal.SIGTERM)
    output = program.communicate(timeout=15)
    assert program.returncode == 0, output
    return output


def test_the_printed_link_opens_the_page_with_the_named_files(start, tmp_path):
    scan = tmp_path / "scan.nii"
    scan.write_bytes(b"voxels")
    program, link = start(scan, "--root", tmp_path, "--no-browser", "--verbose")
    assert link.startswith("http://127.0.0.1:")
    seen = asyncio.run(visit(link))
    assert seen["open"] == [str(scan)]
    assert seen["roots"] == [str(tmp_path)]
    _out, log = end(program)
    assert "GET page 303" in log
    assert link.partition("token=")[2] not in log
    assert "scan.nii" not in log
    assert [p.name for p in tmp_path.iterdir()] == ["scan.nii"]
    assert not process_exists(seen["pid"])


def test_odd_requests_bring_no_names_into_the_terminal(start):
    program, link = start("--no-browser", "--verbose")

    async def send_oddities():
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as client:
            async with client.get(link) as answer:
                address = answer.url.origin()
            body = b'--x\r\nContent-Disposition: form-data; name="file"; =Mueller\r\n\r\n1\r\n--x--'
            headers = {"Content-Type": "multipart/form-data; boundary=x", "Origin": str(address)}
            async with client.post(address / "upload", data=body, headers=headers) as answer:
                assert answer.status == 422
        for line in (b"GET /Mueller HTTP/1.1\r\nMueller\r\n\r\n", b"Mueller\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
            writer.write(line)
            assert b" 400 " in await reader.readline()
            writer.close()

    asyncio.run(send_oddities())
    out, said = end(program)
    assert "POST upload 422" in said
    assert "Mueller" not in out + said


def test_the_browser_gets_a_private_file_not_the_key(start, tmp_path):
    script, told = tmp_path / "browser", tmp_path / "told"
    script.write_text(f'#!/bin/sh\necho "$@" > {told}.part\nmv {told}.part {told}\n')
    script.chmod(0o755)
    program, link = start(BROWSER=str(script))
    for _ in range(200):
        if told.exists():
            break
        asyncio.run(asyncio.sleep(0.05))
    address = told.read_text().strip()
    assert address.startswith("file://")
    assert "token" not in address
    page = Path(address.removeprefix("file://"))
    assert page.stat().st_mode & 0o777 == 0o600
    assert link in page.read_text()
    end(program)
    assert not page.exists()


def test_a_key_of_the_operator_is_used_and_not_printed(start):
    program, link = start("--no-browser", CTRESTORE_TOKEN=TOKEN)
    assert TOKEN not in link
    assert "CTRESTORE_TOKEN" in link
    asyncio.run(visit(link.partition("?")[0] + f"?token={TOKEN}"))
    assert TOKEN not in "".join(end(program))


def test_listening_on_the_network_warns_and_still_needs_the_key(start):
    program, link = start("--no-browser", "--host", "0.0.0.0", "--port", "0")
    assert "token=" in link
    port = link.partition("?")[0].rsplit(":", 1)[1].strip("/")

    async def knock():
        url = f"http://127.0.0.1:{port}/"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            return answer.status

    assert asyncio.run(knock()) == 401
    _out, said = end(program)
    assert "not encrypted" in said


@pytest.mark.parametrize(("args", "environment", "code", "sentence"), [
    (["missing.nii"], {}, 3, "There is no file or folder missing.nii"),
    (["--root", "missing"], {}, 3, "There is no folder missing"),
    (["--host", "0.0.0.0"], {"CTRESTORE_TOKEN": "short"}, 2, "at least 16 plain characters"),
    (["--host", "127.0.0.1"], {"CTRESTORE_TOKEN": ""}, 2, "at least 16 plain characters"),
    (["--host", "203.0.113.7"], {}, 4, "Cannot listen on 203.0.113.7"),
    (["--max-users", "0"], {}, 2, "max-users"),
    (["--max-upload-gb", "0"], {}, 2, "max-upload-gb"),
])  # fmt: skip
def test_what_cannot_work_is_said_at_once(start, tmp_path, args, environment, code, sentence):
    program, link = start("--no-browser", *args, **environment)
    _out, said = program.communicate(timeout=20)
    assert link == ""
    assert program.returncode == code
    assert sentence in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_never_an_option():
    from ctrestorelib.apps.cli.app import app

    names = {name for option in app.params for name in option.opts}
    assert not {name for name in names if "token" in name or "key" in name}
