"""Uploads and downloads over real sockets: what is stored, what is refused, and how early."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from gateway_bench import running, scenario, visitor

from ctrestorelib.apps.web.gateway import uploads
from ctrestorelib.apps.web.gateway.paths import find_upload

GB = 1_000_000_000


def zipped(members) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return memory.getvalue()


def stored(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in (folder / "uploads").rglob("*"))


async def folder_of(browser) -> Path:
    return Path((await browser.echo())["folder"])


@scenario
async def test_a_dropped_folder_keeps_its_shape_and_every_byte(tmp_path):
    rng = np.random.default_rng(5)
    files = {f"knee/series {n % 2}/IM{n}.dcm": rng.bytes(200_000 + n) for n in range(12)}
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        answer = await browser.send([*files.items(), ("geometry.json", b"{}")])
        assert answer.status == 200
        told = answer.json
        folder = await folder_of(browser)
        assert told["files"] == 13
        assert told["bytes"] == sum(map(len, files.values())) + 2
        assert [item["kind"] for item in told["items"]] == ["file", "folder"]
        assert "knee" not in answer.text  # ids, not names
        knee = find_upload(folder, told["items"][1]["id"])
        assert knee.name == "knee"
        base = find_upload(folder, told["id"])
        assert {n: (base / n).read_bytes() for n in files} == files
        assert (await browser.ask("/limits")).json["left_bytes"] <= 2 * GB - told["bytes"]


@scenario
async def test_a_zip_becomes_a_folder_and_the_archive_goes(tmp_path):
    content = zipped([("CT/1.dcm", b"one"), ("CT/2.dcm", b"two")])
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        told = (await browser.send([("knee.zip", content)])).json
        assert [(i["kind"], i["files"]) for i in told["items"]] == [("folder", 2)]
        knee = find_upload(await folder_of(browser), told["items"][0]["id"])
        assert (knee / "CT" / "2.dcm").read_bytes() == b"two"
        assert not list(knee.parent.glob("*.zip"))


REFUSED = {
    "bomb": ("a.zip", zipped([("bomb.dcm", bytes(80 << 20))]), "which no CT image does"),
    "bomb in a scene": ("a.mrb", zipped([("b.nrrd", bytes(80 << 20))]), "which no CT image does"),
    "bomb in a folder": ("f/a.zip", zipped([("b.dcm", bytes(80 << 20))]), "which no CT image does"),
    "archive in archive": ("a.zip", zipped([("b.zip", zipped([("c", b"1")]))]), "another archive"),
    "way out in a zip": ("a.zip", zipped([("../../../evil.dcm", b"1")]), "outside the upload"),
    "way out": ("../../evil.dcm", b"1", "outside the upload"),
    "absolute": ("/tmp/evil.dcm", b"1", "outside the upload"),
    "drive": ("C:\\evil.dcm", b"1", "outside the upload"),
    "damaged": ("a.zip", b"PK\x03\x04", "damaged"),
    "too deep": ("a/" * 40 + "b.dcm", b"1", "inside more than"),
}


@pytest.mark.parametrize("case", REFUSED)
@scenario
async def test_a_refused_upload_says_why_and_leaves_nothing(tmp_path, case):
    name, content, sentence = REFUSED[case]
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        answer = await browser.send([("good.dcm", b"good"), (name, content)])
        assert answer.status == 422, answer.text
        error = answer.json["error"]
        assert sentence in error["message"]
        assert error["hint"]
        assert stored(await folder_of(browser)) == []
        assert not list(tmp_path.rglob("evil*"))


@scenario
async def test_three_declared_gigabytes_are_refused_before_a_byte_is_sent(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        folder = await folder_of(browser)
        head = (
            f"POST /upload HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nOrigin: "
            f"{gateway.url.rstrip('/')}\r\nCookie: {browser.cookies[0]}\r\n"
            f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {3 * GB}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head.encode())
        status = await asyncio.wait_for(reader.readline(), 5)
        assert b" 413 " in status
        while (await reader.readline()).strip():
            pass
        error = json.loads(await reader.read(4096))["error"]
        assert "3.00 GB is larger than" in error["message"]
        assert "Nothing was stored" in error["message"]
        writer.close()
        assert stored(folder) == []


@scenario
async def test_three_gigabytes_of_unknown_length_are_cut_off_at_the_limit(tmp_path):
    limit, block, sent = 8 << 20, bytes(1 << 20), 0

    async def endless():
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.nii"\r\n\r\n'
        while sent < 3 * GB:
            sent += len(block)
            yield block

    async with running(tmp_path, max_upload_bytes=limit) as gateway, visitor(gateway) as browser:
        folder = await folder_of(browser)
        peak = 0

        async def watch():
            nonlocal peak
            while True:
                peak = max(peak, sum(p.stat().st_size for p in (folder / "uploads").rglob("*.nii")))
                await asyncio.sleep(0.005)

        watching = asyncio.create_task(watch())
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = await browser.ask("/upload", "POST", data=endless(), headers=kind)
        watching.cancel()
        assert answer.status == 413
        assert "larger than the 0.01 GB" in answer.json["error"]["message"]
        assert 0 < peak <= limit
        assert sent < 0.5 * GB
        assert stored(folder) == []


@scenario
async def test_the_limit_holds_for_all_uploads_of_a_person_together(tmp_path):
    limit = 1000
    async with (
        running(tmp_path, max_upload_bytes=limit) as gateway,
        visitor(gateway) as browser,
        visitor(gateway) as other,
    ):
        assert (await browser.send([("a.nii", bytes(700))])).status == 200
        assert (await browser.send([("b.nii", bytes(400))])).status == 413
        assert (await browser.ask("/limits")).json["left_bytes"] == 300
        assert (await browser.send([("b.nii", bytes(300))])).status == 200
        assert (await other.send([("b.nii", bytes(900))])).status == 200


@scenario
async def test_what_a_zip_unpacks_to_counts(tmp_path):
    async with running(tmp_path, max_upload_bytes=50_000) as gateway, visitor(gateway) as browser:
        answer = await browser.send([("a.zip", zipped([("a.nii", bytes(60_000))]))])
        assert answer.status == 413
        assert "unpacks to more" in answer.json["error"]["message"]
        assert stored(await folder_of(browser)) == []


@scenario
async def test_two_uploads_at_once_cannot_share_the_same_room(tmp_path):
    async def slowly():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(6):
            yield bytes(100)
            await asyncio.sleep(0.05)
        yield b"\r\n--x--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    async with running(tmp_path, max_upload_bytes=1000) as gateway, visitor(gateway) as browser:
        sending = [browser.ask("/upload", "POST", data=slowly(), headers=kind) for _ in range(3)]
        answers = await asyncio.gather(*sending)
        assert sorted(a.status for a in answers) == [200, 413, 413]


@scenario
async def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILES", 3)
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        answer = await browser.send([(f"{n}.dcm", b"1") for n in range(4)])
        assert answer.status == 422
        assert "more than 3 files" in answer.json["error"]["message"]
        assert stored(await folder_of(browser)) == []


@scenario
async def test_an_upload_that_breaks_off_leaves_nothing(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        folder = await folder_of(browser)
        part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.nii"\r\n\r\n'
        head = (
            f"POST /upload HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nOrigin: "
            f"{gateway.url.rstrip('/')}\r\nCookie: {browser.cookies[0]}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n"
        )
        _reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head.encode() + part + bytes(3_000_000))
        await writer.drain()
        for _ in range(100):
            if any(name.endswith("a.nii") for name in stored(folder)):
                break
            await asyncio.sleep(0.02)
        else:
            raise AssertionError("the upload never began")
        writer.transport.abort()
        for _ in range(200):
            if stored(folder) == []:
                break
            await asyncio.sleep(0.02)
        assert stored(folder) == []
        assert (await browser.send([("a.nii", b"again")])).status == 200


@pytest.mark.parametrize(("body", "kind"), [
    (b"plain", "text/plain"),
    (b"no form at all", "multipart/form-data; boundary=x"),
    (b"", "multipart/form-data"),
    (b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n--x--\r\n',
     "multipart/form-data; boundary=x"),
    (b"--x--\r\n", "multipart/form-data; boundary=x"),
    (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n1\r\n--x--\r\n',
     "multipart/form-data; boundary=x"),
    (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
     b"Content-Encoding: gzip\r\n\r\n1\r\n--x--\r\n", "multipart/form-data; boundary=x"),
])  # fmt: skip
@scenario
async def test_what_is_no_form_with_files_is_refused(tmp_path, body, kind):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        answer = await browser.ask("/upload", "POST", data=body, headers={"Content-Type": kind})
        assert answer.status == 422, answer.text
        assert answer.json["error"]["hint"]
        assert stored(await folder_of(browser)) == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # aiohttp's, about odd headers
@scenario
async def test_damaged_forms_are_refused_in_words_or_stored_whole(tmp_path):
    good = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % field
        for n in range(3)
        for field in ((b"path", b"", b"s/%d.dcm" % n),
                      (b"file", b'; filename="f"', bytes(range(256)) * 8))
    ) + b"--x--\r\n"  # fmt: skip
    rng = np.random.default_rng(11)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    statuses = set()
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        for _ in range(150):
            body = bytearray(good[: rng.integers(1, len(good) + 1)])
            for at in rng.integers(0, len(body), rng.integers(0, 6)):
                body[at] = rng.integers(0, 256)
            answer = await browser.ask("/upload", "POST", data=bytes(body), headers=kind)
            statuses.add(answer.status)
            assert answer.status in (200, 422), answer.text
            assert answer.status == 200 or answer.json["error"]["hint"]
        folder = await folder_of(browser)
        assert not list((folder / "uploads").glob(".new-*"))
        assert (await browser.ask("/upload", "POST", data=good, headers=kind)).json["files"] == 3
    assert 422 in statuses


@scenario
async def test_ending_the_session_ends_its_upload(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        folder = await folder_of(browser)
        begun = asyncio.Event()

        async def slow():
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.nii"\r\n\r\n'
            for _ in range(200):
                yield bytes(200_000)
                begun.set()
                await asyncio.sleep(0.02)

        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        sending = asyncio.create_task(
            browser.ask("/upload", "POST", data=slow(), headers=kind)
        )  # fmt: skip
        await begun.wait()
        await browser.ask("/session/end", "POST")
        answer = await sending
        assert answer.status in (422, 507)
        assert not folder.exists()


@scenario
async def test_downloads_are_saved_never_shown(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        downloads = await folder_of(browser) / "downloads"
        content = np.random.default_rng(2).bytes(3_000_001)
        (downloads / "Größe 1.nii").write_bytes(content)
        (downloads / "Größe 1.nii.gz").write_bytes(b"another file")
        (downloads / "report.html").write_text("<script>alert(1)</script>")
        gzip = {"Accept-Encoding": "gzip"}
        answer = await browser.ask("/download/Gr%C3%B6%C3%9Fe%201.nii", headers=gzip)
        assert answer.status == 200
        assert answer.body == content
        assert "Content-Encoding" not in answer.headers
        assert answer.headers["Content-Disposition"] == (
            "attachment; filename=\"Gr__e 1.nii\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%201.nii"
        )
        assert answer.headers["Cache-Control"] == "no-store"
        page = await browser.ask("/download/report.html")
        assert page.headers["Content-Type"] == "application/octet-stream"
        head = await browser.ask("/download/report.html", "HEAD")
        assert head.status == 200
        assert head.headers["Content-Length"] == "25"


@scenario
async def test_only_results_can_be_downloaded(tmp_path):
    async with running(tmp_path) as gateway, visitor(gateway) as browser:
        folder = await folder_of(browser)
        told = (await browser.send([("a.nii", b"upload")])).json
        (folder / "downloads" / "link.nii").symlink_to("/etc/passwd")
        (folder / "downloads" / "folder").mkdir()
        upload = f"..%2Fuploads%2F{told['id']}%2Fa.nii"
        for path in ("link.nii", "folder", "", "..%2Fuploads", upload, "%2Fetc%2Fpasswd", "..",
                     "%2e%2e%2fjobs", "a%00"):  # fmt: skip
            answer = await browser.ask(f"/download/{path}")
            assert answer.status == 404, path
            assert b"upload" not in answer.body.replace(b"uploads", b"")
            assert b"root:" not in answer.body
