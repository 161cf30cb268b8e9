"""The page process as the gateway starts it: one line, its routes, its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("slicer", exc_type=ImportError)
pytest.importorskip("trame_slicer", exc_type=ImportError)

from ctrestorelib.apps.web.gateway.attach import KEY_HEADER, KEY_VARIABLE
from ctrestorelib.io.volumes import write_volume

KEY = "a key of at least some length"


class Running:
    """A page process with the key of a gateway."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ctrestorelib.apps.web.session", "--folder", str(folder),
             "--port", "0", *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(folder / "page.log").open("wb"),
            env=os.environ | {KEY_VARIABLE: KEY, "CTRESTORE_JOBS": str(folder / "jobs")},
        )  # fmt: skip
        self.line = self.process.stdout.readline()
        self.port = json.loads(self.line)["port"]

    def get(self, path: str, body: dict | None = None, key: str = KEY) -> tuple[int, str]:
        """Return status and text of an answer."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, {KEY_HEADER: key})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def until_idle(self) -> None:
        """Wait until nothing is read any more."""
        end = time.monotonic() + 30
        while json.loads(self.get("/status")[1])["busy"]:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("person")


@pytest.fixture(scope="module")
def running(folder):
    page = Running(folder)
    yield page
    page.process.send_signal(signal.SIGTERM)
    rest = page.process.stdout.read()
    assert page.process.wait(20) == 0, (folder / "page.log").read_text()[-2000:]
    assert rest == b"", "only one line belongs on standard output"
    assert list((folder / "jobs").iterdir()) == []


def test_it_listens_where_it_says_and_says_only_that(running):
    assert running.line == b'{"port": %d}\n' % running.port
    assert running.get("/index.html")[0] == 200


def test_only_the_gateway_gets_an_answer(running):
    assert running.get("/status", key="wrong")[0] == 403
    assert running.get("/index.html", key="")[0] == 403


@pytest.mark.parametrize("path", ["/status", "/ctrestore/status"])
def test_an_idle_page_says_so(running, path):
    running.until_idle()
    assert running.get(path) == (200, '{"busy": false}')


def test_scripts_and_styles_come_from_the_process_itself(running):
    _, page = running.get("/index.html")
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert named
    assert [address for address in named if "//" in address] == []
    for address in named:
        assert running.get("/" + address.lstrip("./"))[0] == 200, address
    for own in ("page.js", "page.css", "icon.svg"):
        assert running.get(f"/__ctrestore/{own}")[0] == 200


def test_the_socket_is_asked_for_without_an_error(running):
    status, text = running.get("/paraview/", {})
    assert (status, json.loads(text)) == (200, {"sessionURL": "ws://USE_HOST/ws"})


def test_an_upload_is_opened(running, folder, small_ct):
    upload = folder / "uploads" / "0123456789abcdef"
    upload.mkdir()
    write_volume(small_ct, upload / "knee.nrrd")
    assert running.get("/ctrestore/uploaded", {"id": upload.name}) == (200, '{"opening": 1}')
    assert running.get("/ctrestore/uploaded", {"paths": [f"{upload.name}/knee.nrrd"]})[0] == 200
    assert running.get("/ctrestore/uploaded", {"paths": [str(upload / "knee.nrrd")]})[0] == 200
    running.until_idle()
    log = (folder / "page.log").read_text()
    assert "Traceback" not in log
    assert "knee" not in log, "names of files and nodes do not belong in a log"


@pytest.mark.parametrize(
    "body",
    [
        {"paths": ["/etc/passwd"]},
        {"paths": ["../page.log"]},
        {"paths": ["missing.nrrd"]},
        {"paths": []},
        {"paths": "knee.nrrd"},
        {"paths": [7]},
        {"id": "../../etc"},
        {"id": "ffffffffffffffff"},
        {},
        [],
    ],
)
def test_paths_outside_the_uploads_are_refused_with_a_sentence(running, body):
    status, text = running.get("/ctrestore/uploaded", body)
    error = json.loads(text)["error"]
    assert status == 422
    assert error["message"].endswith(".") or error["message"].endswith("?")
    assert "passwd" not in text


def test_it_ends_with_the_gateway_and_stops_what_runs(tmp_path):
    page = Running(tmp_path)
    page.process.stdin.close()
    assert page.process.wait(20) == 0
    page.process.stdout.close()


def test_files_named_by_the_operator_are_opened_at_the_start(tmp_path, small_ct):
    write_volume(small_ct, tmp_path / "first.nii.gz")
    page = Running(tmp_path, "--open", str(tmp_path / "first.nii.gz"))
    try:
        page.until_idle()
        assert page.get("/index.html")[0] == 200
        assert "Traceback" not in (tmp_path / "page.log").read_text()
    finally:
        page.process.terminate()
        assert page.process.wait(20) == 0
        page.process.stdout.close()
