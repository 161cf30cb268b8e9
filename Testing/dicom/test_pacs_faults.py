"""Peers that refuse, abort, fall silent or answer oddly: made here, in this process."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs: pip install 'ctrestorelib[pacs]'")
sys.path.insert(0, str(Path(__file__).parent))

import pacs_bench as bench
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt

from ctrestorelib.core.errors import Cancelled, PacsError
from ctrestorelib.core.job import Job
from ctrestorelib.pacs.association import require_pynetdicom
from ctrestorelib.pacs.credentials import Credentials
from ctrestorelib.pacs.fetching import fetch_series
from ctrestorelib.pacs.instances import find_instances
from ctrestorelib.pacs.journal import Journal
from ctrestorelib.pacs.peers import DicomNode, DicomWebServer, Timeouts
from ctrestorelib.pacs.results import Outcome
from ctrestorelib.pacs.sending import Retry, send_series
from ctrestorelib.pacs.tls import Tls

SHORT = Timeouts(0.4, 0.4)
ONCE = Retry(0)
NO_WAIT = Retry(3, sleep=lambda _s: None)


@pytest.fixture
def series(tmp_path):
    return bench.make_series(tmp_path / "series")


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "sent.jsonl")


class Scp:
    """A storage provider whose answers come from a function of (instance UID, n-th try)."""

    def __init__(self, answer, syntaxes=("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")):
        self.seen, self.stored, self.forms = Counter(), {}, set()
        self._answer = answer
        ae = AE("ARCHIVE")
        ae.add_supported_context(CTImageStorage, list(syntaxes))
        self.server = ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        self.port = self.server.socket.getsockname()[1]

    def _store(self, event):
        uid = str(event.request.AffectedSOPInstanceUID)
        self.seen[uid] += 1
        self.forms.add(str(event.context.transfer_syntax))
        status = self._answer(uid, self.seen[uid])
        if status is None:
            event.assoc.abort()
            return 0xC000
        if status == 0:
            self.stored[uid] = event.encoded_dataset(include_meta=False)
        return status

    def node(self, timeouts=bench.QUICK):
        return DicomNode("127.0.0.1", self.port, "ARCHIVE", timeouts=timeouts)


@pytest.fixture
def scp():
    running = []

    def start(answer, **options):
        running.append(Scp(answer, **options))
        return running[-1]

    yield start
    for one in running:  # each polls for its end every 0.5 s
        threading.Thread(target=one.server.shutdown, daemon=True).start()


class Web:
    """A web server that answers every request from a list, the last one for ever."""

    def __init__(self, *answers):
        answers, self.requests, self.authorizations = list(answers), [], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _do(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.requests.append((self.path, body))
                outer.authorizations.append(self.headers.get("Authorization"))
                status, headers, data = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _do

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.peer = DicomWebServer(
            f"http://127.0.0.1:{self.server.server_port}/dicom-web", timeouts=bench.QUICK
        )


@pytest.fixture
def web():
    running = []

    def start(*answers):
        running.append(Web(*answers))
        return running[-1]

    yield start
    for one in running:
        one.server.shutdown()


def run(series, peer, journal, **options):
    instances = find_instances(series.folder)
    return send_series(instances, peer, journal, **({"retry": ONCE} | options))


def stored_answer(status, stored=(), failed=()):
    record = {
        "00081199": {"vr": "SQ", "Value": [{"00081155": {"Value": [u]}} for u in stored]},
        "00081198": {
            "vr": "SQ",
            "Value": [
                {"00081155": {"Value": [u]}, "00081197": {"Value": [code]}} for u, code in failed
            ],
        },
    }
    return status, {"Content-Type": "application/dicom+json"}, json.dumps(record).encode()


# DIMSE --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "outcome", "words"),
    [
        (0xB000, Outcome.WARNING, "changed some elements"),
        (0xB007, Outcome.WARNING, "do not fit"),
        (0x0111, Outcome.WARNING, "already"),
        (0xA900, Outcome.REFUSED, "does not match"),
        (0xA999, Outcome.REFUSED, "does not match"),
        (0xC123, Outcome.REFUSED, "identifier"),
        (0xC777, Outcome.REFUSED, "cannot understand"),
        (0x0124, Outcome.REFUSED, "does not permit"),
        (0x1234, Outcome.REFUSED, "does not define"),
    ],
)
def test_status_codes_become_words(scp, series, journal, status, outcome, words):
    archive = scp(lambda uid, _n: status if uid == series.uids[1] else 0)
    report = run(series, archive.node(), journal)
    assert report.results[1].outcome is outcome
    assert words in report.results[1].words
    assert f"0x{status:04X}" in report.results[1].words
    assert [r.outcome for r in report.results].count(Outcome.STORED) == 3
    assert report.complete == (outcome is Outcome.WARNING)


def test_a_full_archive_is_tried_again_later_with_growing_waits(scp, series, journal):
    archive = scp(lambda uid, n: 0xA700 if uid == series.uids[2] and n < 3 else 0)
    waited = []
    report = run(series, archive.node(), journal, retry=Retry(3, sleep=waited.append))
    assert report.complete
    assert archive.seen == Counter({u: 3 if u == series.uids[2] else 1 for u in series.uids})
    assert sum(waited) == pytest.approx(1 + 2)
    assert max(waited) <= 0.2 + 1e-9


def test_a_refusal_for_good_is_not_repeated(scp, series, journal):
    archive = scp(lambda _uid, _n: 0xC000)
    report = run(series, archive.node(), journal, retry=Retry(3, sleep=None))
    assert set(archive.seen.values()) == {1}
    assert report.count(Outcome.REFUSED) == 4


def test_after_an_abort_the_rest_goes_over_a_new_association(scp, series, journal):
    archive = scp(lambda uid, n: None if uid == series.uids[1] and n == 1 else 0)
    report = run(series, archive.node(), journal, retry=NO_WAIT)
    assert report.complete
    assert archive.seen == Counter({u: 2 if u == series.uids[1] else 1 for u in series.uids})
    sent = {u: bench.body_bytes(f) for u, f in zip(series.uids, series.files, strict=True)}
    assert archive.stored == sent


def test_an_instance_that_kills_the_archive_does_not_hold_up_the_others(scp, series, journal):
    archive = scp(lambda uid, _n: None if uid == series.uids[0] else 0)
    report = run(series, archive.node(), journal, retry=NO_WAIT)
    assert [r.outcome.acknowledged for r in report.results] == [False, True, True, True]
    assert archive.seen[series.uids[0]] == 4


def test_an_archive_that_never_confirms_is_left_in_time(scp, series, journal):
    archive = scp(lambda _uid, _n: time.sleep(1.5) or 0)
    start = time.monotonic()
    report = run(series, archive.node(SHORT), journal)
    assert time.monotonic() - start < 1.4
    assert "stopped answering after 0 of 4" in report.results[0].words


def test_an_archive_that_takes_implicit_vr_only_gets_it(scp, series, journal):
    archive = scp(lambda _uid, _n: 0, syntaxes=["1.2.840.10008.1.2"])
    assert run(series, archive.node(), journal).complete
    assert archive.forms == {"1.2.840.10008.1.2"}


def test_an_archive_without_ct_is_explained(scp, series, journal):
    archive = scp(lambda _uid, _n: 0, syntaxes=["1.2.840.10008.1.2.4.70"])
    report = run(series, archive.node(), journal)
    assert "accepts none of the kinds of object" in report.results[0].words


def test_the_person_can_stop_and_go_on(scp, series, journal):
    archive = scp(lambda _uid, _n: 0)
    job = Job(is_cancelled=lambda: len(archive.stored) >= 2)
    with pytest.raises(Cancelled, match="2 stored, 2 not sent"):
        run(series, archive.node(), journal, job=job)
    assert run(series, archive.node(), journal).count(Outcome.EARLIER) == 2
    assert set(archive.seen.values()) == {1}


def test_an_interrupt_says_what_was_acknowledged(scp, series, journal):
    archive = scp(lambda _uid, _n: 0)

    def emit(_event):
        raise KeyboardInterrupt

    with pytest.raises(Cancelled, match="1 stored, 3 not sent"):
        run(series, archive.node(), journal, job=Job(emit=emit))
    assert len(journal.acknowledged(archive.node().key)) == 1


# No peer at all -----------------------------------------------------------------------------------


def dead_peers():
    yield "closed", lambda port: DicomNode("127.0.0.1", port, "A", timeouts=SHORT)
    yield "closed web", lambda port: DicomWebServer(f"http://127.0.0.1:{port}/x", timeouts=SHORT)


@pytest.mark.parametrize(("name", "peer"), [*dead_peers()])
def test_a_closed_port_is_reported_per_instance(series, journal, tmp_path, name, peer):
    waited = []
    dead = peer(bench.free_port())
    report = run(series, dead, journal, retry=Retry(2, sleep=waited.append))
    assert all("connection was refused" in r.words for r in report.results)
    assert sum(waited) == pytest.approx(3)
    with pytest.raises(PacsError, match="connection was refused"):
        fetch_series(dead, series.study, series.series, tmp_path / "back", retry=ONCE)


@pytest.mark.parametrize("first", [b"", b"\x02\x00\x00\x00\x10\x00", b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize("kind", ["node", "tls node", "web", "tls web"])
def test_a_port_that_falls_silent_is_left_in_time(series, journal, first, kind):
    silent = bench.SilentPort(first)
    tls = Tls() if "tls" in kind else None
    peer = DicomNode("localhost", silent.port, "A", tls=tls, timeouts=SHORT)
    if "web" in kind:
        scheme = "https" if tls else "http"
        peer = DicomWebServer(f"{scheme}://localhost:{silent.port}/x", tls=tls, timeouts=SHORT)
    start = time.monotonic()
    report = run(series, peer, journal)
    assert time.monotonic() - start < 3
    assert report.count(Outcome.UNSENT) == 4
    assert report.results[3].words
    silent.close()


def test_an_unknown_host_is_explained(series, journal):
    peer = DicomNode("no-such-host.invalid", 104, "A", timeouts=SHORT)
    report = run(series, peer, journal, retry=Retry(2, sleep=None))
    assert "is not known" in report.results[0].words


# DICOMweb -----------------------------------------------------------------------------------------


def test_failure_reasons_of_stow_become_words(web, series, journal):
    a, b, c, d = series.uids
    answer = stored_answer(202, stored=[a], failed=[(b, 0xA900), (c, 0xA700), (d, 0xC122)])
    archive = web(answer, stored_answer(200, stored=[c]))
    report = run(series, archive.peer, journal, retry=NO_WAIT)
    stored, refused = Outcome.STORED, Outcome.REFUSED
    assert [r.outcome for r in report.results] == [stored, refused, stored, refused]
    assert "transfer syntax" in report.results[3].words
    assert len(archive.requests) == 2
    assert c.encode() in archive.requests[1][1]
    assert b.encode() not in archive.requests[1][1]


@pytest.mark.parametrize("status", [202, 400, 409, 500])
def test_instances_that_a_batch_answer_does_not_name_are_sent_alone(web, series, journal, status):
    rest = [stored_answer(200, stored=[u]) for u in series.uids[1:]]
    archive = web(stored_answer(status, stored=series.uids[:1]), *rest)
    assert run(series, archive.peer, journal).complete
    assert len(archive.requests) == 4


def test_silence_about_an_instance_is_no_success(web, series, journal):
    archive = web((202, {}, b"{}"))
    report = run(series, archive.peer, journal)
    assert report.count(Outcome.UNSENT) == 4
    assert not journal.path.exists()


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 100_000, b'{"00081199": 7}', b'[{"a": [1]}]'])
def test_odd_bodies_do_not_break_the_reader(web, series, journal, body):
    assert run(series, web((200, {}, body)).peer, journal).complete
    report = run(series, web((409, {}, body)).peer, journal)
    assert report.count(Outcome.REFUSED) == 4


def test_a_busy_server_is_tried_again(web, series, journal):
    archive = web((503, {}, b""), (503, {}, b""), stored_answer(200, stored=series.uids))
    assert run(series, archive.peer, journal, retry=NO_WAIT).complete


def test_a_redirect_is_not_followed(web, series, journal):
    other = web((200, {}, b""))
    archive = web((307, {"Location": other.peer.url + "/studies"}, b""))
    report = run(series, archive.peer, journal)
    assert "another address" in report.results[0].words
    assert other.requests == []


def multipart(*bodies, end=True):
    data = b"".join(
        b"\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n" + body for body in bodies
    )
    return data + (b"\r\n--XX--\r\n" if end else b"")


def fetch_from(web, series, tmp_path, answer, *, uids=()):
    listed = json.dumps([{"00080018": {"vr": "UI", "Value": [u]}} for u in uids]).encode()
    known = [(200, {}, listed), (200, {}, b"[]")] if uids else [(405, {}, b"")]
    return fetch_series(
        web(*known, answer).peer, series.study, series.series, tmp_path / "back", retry=ONCE
    )


MIXED = {"Content-Type": 'multipart/related; type="application/dicom"; boundary="XX"'}


def test_a_series_is_fetched_from_a_server_without_queries(web, series, tmp_path):
    body = multipart(*(f.read_bytes() for f in reversed(series.files)))
    fetched = fetch_from(web, series, tmp_path, (200, MIXED, body))
    assert [n.code for n in fetched.notes] == ["count-unchecked"]
    names = [p.read_bytes() for p in sorted(fetched.folder.iterdir())]
    assert names == [f.read_bytes() for f in series.files]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("cut", "ended in the middle"),
        ("few", "sent 3 of 4"),
        ("foreign", "another study or series"),
        ("junk", "not DICOM"),
        ("single", "did not send DICOM files"),
        ("refused", "does not permit"),
    ],
)
def test_a_bad_delivery_leaves_nothing(web, series, tmp_path, case, words):
    files = [f.read_bytes() for f in series.files]
    other = bench.make_series(tmp_path / "other", count=1).files[0].read_bytes()
    answer = {
        "cut": (200, MIXED, multipart(*files, end=False)),
        "few": (200, MIXED, multipart(*files[:3])),
        "foreign": (200, MIXED, multipart(*files, other)),
        "junk": (200, MIXED, multipart(*files, b"not DICOM at all")),
        "single": (200, {"Content-Type": "application/dicom"}, files[0]),
        "refused": (403, {}, b""),
    }[case]
    with pytest.raises(PacsError, match=words):
        fetch_from(web, series, tmp_path, answer, uids=series.uids)
    assert {p.name for p in tmp_path.iterdir()} == {"series", "other"}


def test_an_endless_delivery_is_stopped(web, series, tmp_path, monkeypatch):
    from ctrestorelib.pacs import retrieve

    monkeypatch.setattr(retrieve, "MAX_BYTES", 5000)
    body = multipart(*(f.read_bytes() for f in series.files))
    with pytest.raises(PacsError, match="more than one series can hold"):
        fetch_from(web, series, tmp_path, (200, MIXED, body))
    assert {p.name for p in tmp_path.iterdir()} == {"series"}


def test_dicomweb_needs_no_pynetdicom(web, series, journal, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    require_pynetdicom.cache_clear()
    with pytest.raises(PacsError, match="needs the Python package pynetdicom") as caught:
        fetch_series(
            DicomNode("127.0.0.1", 1, "A"), series.study, series.series, tmp_path / "b", retry=ONCE
        )
    assert "--dicomweb" in caught.value.hint
    assert run(series, web(stored_answer(200, stored=series.uids)).peer, journal).complete


def test_a_password_is_asked_for_and_not_shown(web, series, ctrestore):
    archive = web(stored_answer(200, stored=series.uids))
    command = ("send", series.folder, "--dicomweb", archive.peer.url, "--login")
    done = ctrestore(*command, check=0, input=f"{bench.USER}\n{bench.PASSWORD}\n")
    assert bench.PASSWORD not in done.stdout + done.stderr
    known = Credentials(bench.USER, bench.PASSWORD)
    assert archive.authorizations == [known.header()]
