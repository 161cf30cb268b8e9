"""Sending to, asking and fetching from a real Orthanc, by DIMSE and by DICOMweb."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import socket
import struct
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs: pip install 'ctrestorelib[pacs]'")
sys.path.insert(0, str(Path(__file__).parent))

import pacs_bench as bench
import pydicom

from ctrestorelib.core.errors import PacsError, UsageError
from ctrestorelib.pacs.commitment import commit
from ctrestorelib.pacs.credentials import Credentials
from ctrestorelib.pacs.fetching import fetch_series
from ctrestorelib.pacs.instances import find_instances
from ctrestorelib.pacs.journal import Journal
from ctrestorelib.pacs.query import instances_at
from ctrestorelib.pacs.results import Outcome
from ctrestorelib.pacs.sending import Retry, send_series, verify_sent

ONCE = Retry(0)
WAYS = ("node", "web")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with bench.running_orthanc(tmp_path_factory.mktemp("orthanc") / "root") as found:
        yield found


@pytest.fixture
def series(tmp_path):
    return bench.make_series(tmp_path / "series")


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "sent.jsonl")


def peer_of(orthanc, way, **changes):
    return getattr(orthanc, way)(**changes)


def send(folder, peer, journal, **options):
    return send_series(find_instances(folder), peer, journal, **({"retry": ONCE} | options))


def junk_in_sequence(path):
    """Spoil a sequence so that a header scan passes it by, but an archive cannot parse it."""
    raw = path.read_bytes()
    at = raw.index(b"\x08\x00\x12\x21SQ") + 12
    length = struct.unpack("<L", raw[at - 4 : at])[0]
    assert length < 1000
    path.write_bytes(raw[:at] + b"\x77" * length + raw[at + length :])


@pytest.mark.parametrize(("out", "back"), [*itertools.product(WAYS, WAYS)])
def test_what_comes_back_is_what_went_out_byte_for_byte(
    orthanc, series, journal, tmp_path, out, back
):
    report = send(series.folder, peer_of(orthanc, out), journal)
    assert report.complete
    assert report.count(Outcome.STORED) == 4
    assert verify_sent(report, peer_of(orthanc, back)).checked == ("listed",)
    fetched = fetch_series(peer_of(orthanc, back), series.study, series.series, tmp_path / "back")
    assert (fetched.count, fetched.notes) == (4, ())
    for before, after in zip(series.files, sorted(fetched.folder.iterdir()), strict=True):
        assert bench.body_bytes(after) == bench.body_bytes(before)
        assert pydicom.dcmread(after) == pydicom.dcmread(before)


@pytest.mark.parametrize("way", WAYS)
def test_a_real_series_survives_the_round_trip(orthanc, data_file, journal, tmp_path, way):
    folder = tmp_path / "real"
    folder.mkdir()
    with zipfile.ZipFile(data_file("dicom_headphantom_philips_tilt-18p5.zip")) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        for number, member in enumerate(members[:6], start=1):
            (folder / f"{number}.dcm").write_bytes(archive.read(member))
    assert send(folder, peer_of(orthanc, way), journal).complete
    instances = find_instances(folder)
    first = instances[0]
    sent = {i.uid: i.path for i in instances if i.series == first.series}
    fetched = fetch_series(peer_of(orthanc, way), first.study, first.series, tmp_path / "back")
    assert fetched.count == len(sent)
    for path in fetched.folder.iterdir():
        after = pydicom.dcmread(path)
        before = pydicom.dcmread(sent[after.SOPInstanceUID])
        assert after == before
        assert after.PixelData == before.PixelData


def test_both_queries_list_the_instances(orthanc, series, journal):
    send(series.folder, orthanc.web(), journal)
    for peer in (orthanc.node(), orthanc.web()):
        assert instances_at(peer, series.study, series.series) == set(series.uids)
        assert instances_at(peer, series.study, bench.new_uid()) == frozenset()


def test_an_independent_client_finds_what_stow_stored(orthanc, series, journal):
    client = pytest.importorskip("dicomweb_client.api")
    requests = pytest.importorskip("requests")
    send(series.folder, orthanc.web(), journal)
    session = requests.Session()
    session.auth = (bench.USER, bench.PASSWORD)
    found = client.DICOMwebClient(orthanc.web().url, session=session).retrieve_series(
        series.study, series.series
    )
    assert {d.SOPInstanceUID for d in found} == set(series.uids)
    assert {d.PixelData for d in found} == {pydicom.dcmread(f).PixelData for f in series.files}


@pytest.mark.parametrize("way", WAYS)
def test_verifying_notices_what_the_archive_lost(orthanc, series, journal, way):
    report = send(series.folder, peer_of(orthanc, way), journal)
    found = orthanc.rest(
        "/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": series.uids[2]}}
    )
    orthanc.rest("/tools/bulk-delete", {"Resources": found})
    with pytest.raises(PacsError, match="acknowledged 1 instances that it does not list"):
        verify_sent(report, peer_of(orthanc, way))


def test_commitment_tells_kept_from_unknown(orthanc, series, journal, tmp_path):
    send(series.folder, orthanc.node(), journal)
    unknown = bench.make_series(tmp_path / "never_sent", count=1)
    both = (*find_instances(series.folder), *find_instances(unknown.folder))
    refused = commit(orthanc.node(), both, orthanc.commit_port, 5.0)
    assert list(refused) == unknown.uids
    assert "does not have this instance" in refused[unknown.uids[0]]


def test_a_commitment_that_cannot_reach_us_ends_in_words(orthanc, series, journal):
    send(series.folder, orthanc.node(), journal)
    with pytest.raises(PacsError, match="did not confirm within"):
        commit(orthanc.node(), find_instances(series.folder), bench.free_port(), 0.5)


@pytest.mark.parametrize("first", [b"", b"\x01\x00\x00\x00\x10\x00half"])
def test_a_silent_caller_does_not_hold_up_a_commitment(orthanc, series, journal, first):
    send(series.folder, orthanc.node(), journal)
    instances = find_instances(series.folder)
    calls, stop = [], threading.Event()

    def pester():
        while not stop.is_set():
            with contextlib.suppress(OSError):
                calls.append(socket.create_connection(("127.0.0.1", orthanc.commit_port), 0.2))
                calls[-1].sendall(first)
                return
            time.sleep(0.002)

    caller = threading.Thread(target=pester)
    caller.start()
    start = time.monotonic()
    with contextlib.suppress(PacsError):  # it may take the place of the archive's own call
        assert commit(orthanc.node(), instances, orthanc.commit_port, 2.0) == {}
    stop.set()
    caller.join()
    assert time.monotonic() - start < 5
    assert calls
    assert commit(orthanc.node(), instances, orthanc.commit_port, 5.0) == {}
    calls[0].close()


@pytest.mark.parametrize(
    ("changes", "words", "hint"),
    [
        ({"calling": "STRANGER"}, "does not know our AE title 'STRANGER'", "--calling-aet"),
        ({"called": "WRONG"}, "its AE title is not 'WRONG'", "--aet"),
    ],
)
def test_a_rejected_association_is_reported_per_instance(
    orthanc, series, journal, changes, words, hint
):
    report = send(
        series.folder, orthanc.node(**changes), journal, retry=Retry(3, sleep=lambda _s: None)
    )
    assert [r.outcome for r in report.results] == [Outcome.UNSENT] * 4
    assert all(words in r.words for r in report.results)
    with pytest.raises(PacsError, match="4 of 4 instances are not in the archive") as caught:
        report.require_complete()
    assert hint in caught.value.hint
    assert caught.value.exit_code == 4
    assert not journal.path.exists()
    with pytest.raises(PacsError, match=words):
        instances_at(orthanc.node(**changes), series.study, series.series)


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (None, "asks for a user name"),
        (Credentials(bench.USER, "MARKED-wrong"), "did not accept the user name and password"),
        (Credentials(token="MARKED-token"), "did not accept"),
    ],
)
def test_a_wrong_password_is_said_without_it(orthanc, series, journal, credentials, words):
    peer = orthanc.web(credentials=credentials)
    report = send(series.folder, peer, journal, retry=Retry(3, sleep=lambda _s: None))
    assert all(words in r.words for r in report.results)
    assert not orthanc.holds(series.uids[0])
    with pytest.raises(PacsError, match=words) as caught:
        fetch_series(peer, series.study, series.series, series.folder.parent / "back")
    assert "MARKED" not in f"{caught.value!r}{caught.value}{peer!r}{report}"


def test_a_wrong_path_on_the_server_is_explained(orthanc, series, journal):
    peer = orthanc.web(url=f"http://127.0.0.1:{orthanc.http_port}/nowhere")
    report = send(series.folder, peer, journal)
    assert "no such service under this address" in report.results[0].words


def test_one_bad_instance_does_not_stop_a_stow(orthanc, series, journal):
    junk_in_sequence(series.files[1])
    report = send(series.folder, orthanc.web(), journal)
    assert [r.outcome is Outcome.STORED for r in report.results] == [True, False, True, True]
    assert report.results[1].outcome is Outcome.REFUSED
    assert report.results[1].status == 400
    kept = [orthanc.holds(i.uid) for i in find_instances(series.folder)]
    assert kept == [True, False, True, True]
    assert len(journal.acknowledged(orthanc.web().key)) == 3


def test_one_bad_instance_does_not_stop_a_c_store(orthanc, series, journal):
    # Orthanc breaks the association at this instance; the others must get through all the same.
    junk_in_sequence(series.files[1])
    report = send(series.folder, orthanc.node(), journal, retry=Retry(1, sleep=lambda _s: None))
    assert [r.outcome.acknowledged for r in report.results] == [True, False, True, True]
    assert "stopped answering" in report.results[1].words


def test_a_truncated_file_is_never_sent(orthanc, series, journal):
    path = series.files[3]
    path.write_bytes(path.read_bytes()[:-100])
    for peer in (orthanc.node(), orthanc.web()):
        report = send(series.folder, peer, journal)
        assert report.results[3].outcome is Outcome.REFUSED
        assert "lacks a part of its pixels" in report.results[3].words
    assert [orthanc.holds(u) for u in series.uids[:3]] == [True] * 3
    assert not orthanc.holds(find_instances(series.folder)[3].uid)


@pytest.mark.parametrize(("way", "limit"), [("node", 30_000), ("web", 20_000)])
def test_an_interrupted_transfer_resumes(orthanc, journal, tmp_path, way, limit):
    series = bench.make_series(tmp_path / "larger", count=6, size=64)
    target = orthanc.dicom_port if way == "node" else orthanc.http_port
    proxy = bench.CuttingProxy(target, limit)
    changes = {"port": proxy.port}
    if way == "web":
        changes = {"url": f"http://127.0.0.1:{proxy.port}/dicom-web"}
    peer = peer_of(orthanc, way, **changes)
    first = send(series.folder, peer, journal)
    assert not first.complete
    acknowledged = {i.uid for i in first.sent}
    assert acknowledged == journal.acknowledged(peer.key)
    assert all(orthanc.holds(uid) for uid in acknowledged)
    proxy.limit = None
    second = send(series.folder, peer, journal)
    proxy.close()
    assert second.complete
    assert second.count(Outcome.EARLIER) == len(acknowledged)
    assert second.count(Outcome.STORED) == 6 - len(acknowledged)
    assert instances_at(orthanc.node(), series.study, series.series) == set(series.uids)
    assert (way == "web") == (not acknowledged)  # one STOW batch: nothing was acknowledged


@pytest.mark.parametrize("way", WAYS)
def test_what_was_acknowledged_is_not_sent_twice_unless_asked(orthanc, series, journal, way):
    proxy = bench.CuttingProxy(orthanc.dicom_port if way == "node" else orthanc.http_port)
    changes = {"port": proxy.port}
    if way == "web":
        changes = {"url": f"http://127.0.0.1:{proxy.port}/dicom-web"}
    peer = peer_of(orthanc, way, **changes)
    send(series.folder, peer, journal)
    passed = proxy.passed
    assert passed > 4 * 2048
    assert send(series.folder, peer, journal).count(Outcome.EARLIER) == 4
    assert proxy.passed == passed  # not even a connection
    assert send(series.folder, peer, journal, again=True).count(Outcome.STORED) == 4
    assert proxy.passed >= 2 * passed - 100
    other = peer_of(orthanc, way)  # another address is another archive
    assert send(series.folder, other, journal).count(Outcome.STORED) == 4
    proxy.close()


@pytest.mark.parametrize("way", WAYS)
def test_an_unknown_series_leaves_nothing_behind(orthanc, series, journal, tmp_path, way):
    send(series.folder, orthanc.node(), journal)
    for study, wanted in ((series.study, bench.new_uid()), (bench.new_uid(), series.series)):
        with pytest.raises(PacsError, match="has no such series"):
            fetch_series(peer_of(orthanc, way), study, wanted, tmp_path / "none")
    assert {p.name for p in tmp_path.iterdir()} == {"series", "sent.jsonl"}


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_fetch_leaves_nothing_and_starts_again(
    orthanc, series, journal, tmp_path, way, monkeypatch
):
    from ctrestorelib.pacs import fetching

    send(series.folder, orthanc.node(), journal)
    name = "get" if way == "node" else "wado"
    real, rounds = getattr(fetching, name), []

    def cut_once(peer, study, wanted, basket):
        real(peer, study, wanted, basket)
        rounds.append(len(basket.files))
        if len(rounds) == 1:
            basket.files.pop()

    monkeypatch.setattr(fetching, name, cut_once)
    peer = peer_of(orthanc, way)
    with pytest.raises(PacsError, match="sent 3 of 4 instances"):
        fetch_series(peer, series.study, series.series, tmp_path / "a", retry=ONCE)
    assert {p.name for p in tmp_path.iterdir()} == {"series", "sent.jsonl"}
    rounds.clear()
    again = Retry(1, sleep=lambda _s: None)
    assert fetch_series(peer, series.study, series.series, tmp_path / "a", retry=again).count == 4
    assert rounds == [4, 4]


def test_fetch_overwrites_nothing(orthanc, series):
    with pytest.raises(UsageError, match="not an empty folder"):
        fetch_series(orthanc.web(), series.study, series.series, series.folder)


# The command line ---------------------------------------------------------------------------------


@pytest.fixture
def login():
    known = {"CTRESTORE_PACS_USER": bench.USER, "CTRESTORE_PACS_PASSWORD": bench.PASSWORD}
    return {**os.environ, **known}


def test_commands_send_verify_commit_and_fetch(ctrestore, orthanc, series, tmp_path, login):
    node = ["--aet", "ORTHANC", "--host", "127.0.0.1", "--port", orthanc.dicom_port]
    web = ["--dicomweb", orthanc.web().url]
    done = ctrestore(
        "send", series.folder, *node, "--verify", "--commit-port", orthanc.commit_port, check=0
    )
    assert "4 instances: 4 stored." in done.stdout
    assert "Confirmed by the archive: listed, committed." in done.stdout
    assert (tmp_path / "series.sent.jsonl").stat().st_mode & 0o077 == 0
    again = ctrestore("send", series.folder, *node, "--json", check=0)
    assert json.loads(again.stdout)["counts"]["acknowledged earlier"] == 4
    ctrestore("send", series.folder, *web, "--quiet", check=0, env=login)
    wanted = ["--study", series.study, "--series", series.series]
    ctrestore("fetch", tmp_path / "a", *wanted, *node, check=0)
    done = ctrestore("fetch", tmp_path / "b", *wanted, *web, "--json", check=0, env=login)
    assert json.loads(done.stdout)["instances"] == 4
    for before, *after in zip(
        series.files, *(sorted((tmp_path / n).iterdir()) for n in "ab"), strict=True
    ):
        assert {bench.body_bytes(p) for p in after} == {bench.body_bytes(before)}


def test_a_half_failed_send_lists_instances_and_exits_with_4(ctrestore, orthanc, series, login):
    junk_in_sequence(series.files[1])
    command = ("send", series.folder, "--dicomweb", orthanc.web().url)
    done = ctrestore(*command, check=4, env=login)
    assert "Instance 2: refused." in done.stdout
    assert "1 of 4 instances are not in the archive" in done.stderr
    assert "send the same folder again" in done.stderr
    record = json.loads(ctrestore(*command, "--json", check=4, env=login).stdout)
    assert record["error"]["type"] == "PacsError"
    assert [i["outcome"] for i in record["instances"]].count("acknowledged earlier") == 3


def test_no_output_names_the_patient_or_the_password(ctrestore, orthanc, series, tmp_path):
    secret = tmp_path / "MARKED.netrc"
    secret.write_text(f"machine 127.0.0.1 login {bench.USER} password {bench.PASSWORD}\n")
    secret.chmod(0o600)
    hidden = series.folder.rename(tmp_path / "MARKED-Zaphod")
    for path in hidden.iterdir():
        path.rename(path.with_name("MARKED-" + path.name))
    junk_in_sequence(sorted(hidden.iterdir())[1])
    command = ("send", hidden, "--dicomweb", orthanc.web().url, "--credentials", secret)
    texts = [ctrestore(*command, check=4)]
    texts.append(ctrestore(*command, "--json", check=4))
    node = ("--aet", "ORTHANC", "--host", "127.0.0.1", "--port", orthanc.dicom_port)
    texts.append(ctrestore("send", hidden, *node, "--retries", 0, check=4))
    texts.append(ctrestore("send", hidden, *node, "--calling-aet", "NOBODY", check=4))
    whole = "".join(t.stdout + t.stderr for t in texts)
    assert not [mark for mark in bench.MARKS if mark in whole]
    assert bench.PASSWORD not in whole
    lines = "".join(t.stderr for t in texts) + texts[0].stdout
    assert not [uid for uid in (series.study, series.series) if uid in lines]


@pytest.mark.parametrize("way", WAYS)
def test_the_log_names_nobody(orthanc, series, journal, tmp_path, caplog, way):
    caplog.set_level(logging.DEBUG)
    for name in ("pynetdicom", "pynetdicom.dul", "pydicom"):
        caplog.set_level(logging.DEBUG, logger=name)
    junk_in_sequence(series.files[3])
    send(series.folder, peer_of(orthanc, way), journal)
    instances_at(peer_of(orthanc, way), series.study, series.series)
    fetch_series(peer_of(orthanc, way), series.study, series.series, tmp_path / "back")
    with pytest.raises(PacsError):
        fetch_series(orthanc.node(calling="X"), series.study, series.series, tmp_path / "b")
    text = caplog.text
    assert not [
        m for m in (*bench.MARKS, series.study, series.uids[0], bench.PASSWORD) if m in text
    ]
    kept = journal.path.read_text()
    assert not [mark for mark in bench.MARKS if mark in kept]
