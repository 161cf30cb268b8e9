"""The parts of ctrestorelib.pacs that need no network: credentials, journal, addresses, parsing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import pacs_bench as bench
import pydicom

from ctrestorelib.core.errors import (
    InputError,
    PacsError,
    ResourceError,
    UsageError,
    error_from_json,
)
from ctrestorelib.pacs.credentials import Credentials, find_credentials
from ctrestorelib.pacs.instances import find_instances, is_uid
from ctrestorelib.pacs.journal import Journal, journal_beside
from ctrestorelib.pacs.multipart import boundary_of, parts
from ctrestorelib.pacs.peers import DicomNode, DicomWebServer, Timeouts
from ctrestorelib.pacs.results import InstanceResult, Outcome
from ctrestorelib.pacs.sending import Retry
from ctrestorelib.pacs.stow import BATCH_COUNT, batches
from ctrestorelib.pacs.tls import Tls

SECRET = "MARKED-word"


@pytest.fixture
def netrc_file(tmp_path):
    path = tmp_path / "pacs.netrc"
    path.write_text(f"machine pacs.example.org login me password {SECRET}\n")
    path.chmod(0o600)
    return path


# Credentials --------------------------------------------------------------------------------------


def test_credentials_come_from_file_then_environment(netrc_file):
    environment = {"CTRESTORE_PACS_USER": "you", "CTRESTORE_PACS_PASSWORD": "other"}
    found = find_credentials("pacs.example.org", netrc_file, environment)
    assert found.header() == Credentials("me", SECRET).header()
    found = find_credentials("pacs.example.org", None, environment)
    assert found.header() == "Basic eW91Om90aGVy"
    found = find_credentials("x", None, environment | {"CTRESTORE_PACS_TOKEN": "abc"})
    assert found.header() == "Bearer abc"
    named = {"CTRESTORE_PACS_CREDENTIALS": str(netrc_file)}
    assert find_credentials("pacs.example.org", None, named) == Credentials("me", SECRET)
    assert find_credentials("pacs.example.org", None, {}) is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has permissions of another kind")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_can_read_is_refused(netrc_file, mode):
    netrc_file.chmod(mode)
    with pytest.raises(InputError, match="chmod 600"):
        find_credentials("pacs.example.org", netrc_file, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"machine pacs.example.org login me passwort {SECRET}\n", "cannot be understood"),
        (f"{SECRET}\n", "cannot be understood"),
        ("machine other login me password x\n", "no entry for pacs.example.org"),
        ("\xff\xfe", "cannot be understood"),
    ],
)
def test_a_wrong_file_is_explained_without_its_words(netrc_file, text, words):
    netrc_file.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=words) as caught:
        find_credentials("pacs.example.org", netrc_file, {})
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_missing_file_or_password_is_explained(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_credentials("x", tmp_path / "none", {})
    with pytest.raises(InputError, match="ordinary file"):
        find_credentials("x", tmp_path, {})
    with pytest.raises(UsageError, match="CTRESTORE_PACS_PASSWORD is not"):
        find_credentials("x", None, {"CTRESTORE_PACS_USER": "me"})


@pytest.mark.parametrize(
    "parts_", [{"user": "a:b"}, {"password": "a\r\nX-Evil: 1"}, {"token": "a\nb"}]
)
def test_credentials_cannot_smuggle_headers(parts_):
    with pytest.raises(UsageError, match="HTTP cannot carry"):
        Credentials(**parts_)


def test_credentials_do_not_show_themselves():
    server = DicomWebServer("https://pacs.example.org/dicom-web", Credentials("me", SECRET))
    assert SECRET not in f"{server!r}{server}{server.key}{server.label}"
    assert "me" not in repr(server.credentials)


# Addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "pacs.example.org", "ftp://pacs", "https://", "http://pacs:99999/x", "https://pa cs/x",
     "https://pacs/\r\nX", f"https://me:{SECRET}@pacs/x", f"https://{SECRET}@pacs/x",
     f"https://pacs/x?token={SECRET}", "https://pacs/x#y", "http://[::1"],
)  # fmt: skip
def test_unusable_addresses_are_refused_without_repeating_them(url):
    with pytest.raises(UsageError) as caught:
        DicomWebServer(url)
    assert SECRET not in str(caught.value)


def test_a_password_does_not_cross_the_network_in_plain():
    known = Credentials("me", SECRET)
    with pytest.raises(UsageError, match="unencrypted"):
        DicomWebServer("http://pacs.example.org/x", known)
    for url in ("https://pacs.example.org/x", "http://127.0.0.1:8042/x", "http://localhost/x"):
        DicomWebServer(url, known)
    DicomWebServer("http://pacs.example.org/x", known, allow_plain=True)
    with pytest.raises(UsageError, match="https://"):
        DicomWebServer("http://127.0.0.1/x", tls=Tls())


@pytest.mark.parametrize("title", ["", " ", "SEVENTEEN_LETTERS", "A\\B", "Ä", "A\nB"])
def test_ae_titles_are_checked(title):
    with pytest.raises(UsageError, match="1 to 16"):
        DicomNode("host", 104, title)
    with pytest.raises(UsageError, match="1 to 16"):
        DicomNode("host", 104, "PACS", title)


def test_ports_hosts_and_times_are_checked():
    for port in (0, -1, 65536):
        with pytest.raises(UsageError, match="65535"):
            DicomNode("host", port, "A")
    for host in ("", "http://host", "a b"):
        with pytest.raises(UsageError, match="host"):
            DicomNode(host, 104, "A")
    for seconds in (0.0, -1.0, 4000.0, float("nan")):
        with pytest.raises(UsageError, match="3600"):
            Timeouts(1.0, seconds)


# Journal ------------------------------------------------------------------------------------------


@pytest.fixture
def instances(tmp_path):
    return find_instances(bench.make_series(tmp_path / "series", count=3, size=4).folder)


def stored(instance):
    return InstanceResult(instance, Outcome.STORED, status=0)


def test_the_journal_remembers_by_archive(tmp_path, instances):
    path = journal_beside(tmp_path / "series")
    assert path == (tmp_path / "series.sent.jsonl").resolve()
    Journal(path).add("a", stored(instances[0]))
    Journal(path).add("b", stored(instances[1]))
    Journal(path).add("a", stored(instances[2]))
    assert Journal(path).acknowledged("a") == {instances[0].uid, instances[2].uid}
    assert Journal(path).acknowledged("c") == frozenset()
    if os.name != "nt":
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_half_a_last_line_is_no_acknowledgement(tmp_path, instances, cut):
    journal = Journal(tmp_path / "j")
    journal.add("a", stored(instances[0]))
    journal.add("a", stored(instances[1]))
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    known = {instances[0].uid} | ({instances[1].uid} if cut == 1 else set())
    assert journal.acknowledged("a") == known
    journal.add("a", stored(instances[2]))
    assert journal.acknowledged("a") == known | {instances[2].uid}


@pytest.mark.parametrize("content", [b"hello\nworld\n", b"\xff\xfe\n", b'{"format": "x"}\n'])
def test_a_foreign_file_is_no_journal(tmp_path, content):
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(InputError, match="no journal"):
        Journal(tmp_path / "j").acknowledged("a")


def test_a_journal_that_cannot_be_written_stops_the_transfer(tmp_path, instances):
    with pytest.raises(ResourceError, match="cannot be written"):
        Journal(tmp_path / "none" / "j").add("a", stored(instances[0]))


# Instances ----------------------------------------------------------------------------------------


def test_files_are_numbered_in_natural_order(tmp_path):
    series = bench.make_series(tmp_path / "s", count=3, size=4)
    for path, name in zip(series.files, ("10.dcm", "9.dcm", "notes.txt"), strict=True):
        path.rename(series.folder / name)
    (series.folder / "notes.txt").write_text("no DICOM")
    found = find_instances(series.folder)
    assert [(i.number, i.path.name) for i in found] == [(1, "9.dcm"), (2, "10.dcm")]
    assert all(i.whole and i.series == series.series for i in found)


def spoil(path, change):
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: setattr(d, "PatientID", ""), "no patient ID"),
        (lambda d: delattr(d, "PatientID"), "no patient ID"),
        (lambda d: delattr(d, "StudyInstanceUID"), "no valid class"),
    ],
)
def test_what_an_archive_could_not_file_is_refused(tmp_path, change, words):
    series = bench.make_series(tmp_path / "s", count=2, size=4)
    spoil(series.files[1], change)
    with pytest.raises(InputError, match=words) as caught:
        find_instances(series.folder)
    assert "File 2" in str(caught.value)


def test_copies_and_empty_folders_are_refused(tmp_path):
    series = bench.make_series(tmp_path / "s", count=2, size=4)
    (series.folder / "Z.dcm").write_bytes(series.files[0].read_bytes())
    with pytest.raises(InputError, match="Files 1 and 3 have the same"):
        find_instances(series.folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no DICOM file"):
        find_instances(tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist"):
        find_instances(tmp_path / "none")


@pytest.mark.parametrize("change", [{"Rows": 5}, {"NumberOfFrames": "2"}, {"BitsAllocated": 32}])
def test_a_header_that_promises_more_pixels_is_noticed(tmp_path, change):
    series = bench.make_series(tmp_path / "s", count=1, size=4)
    spoil(series.files[0], lambda d: [setattr(d, n, v) for n, v in change.items()])
    assert not find_instances(series.folder)[0].whole


@pytest.mark.parametrize(
    ("text", "valid"),
    [("1.2.3", True), ("2.25." + "1" * 59, True), ("2.25." + "1" * 60, False), ("", False),
     ("../../etc", False), ("1.2.", False), ("1..2", False), ("1.2\n", False), ("1.2/3", False)],
)  # fmt: skip
def test_uids_are_told_from_paths(text, valid):
    assert is_uid(text) is valid


def test_batches_are_bounded_and_complete(tmp_path, instances, monkeypatch):
    from ctrestorelib.pacs import stow

    size = instances[0].path.stat().st_size
    monkeypatch.setattr(stow, "BATCH_BYTES", int(size * 2.5))
    assert [len(b) for b in batches(instances)] == [2, 1]
    assert [len(b) for b in batches(instances, 1)] == [1, 1, 1]
    monkeypatch.setattr(stow, "BATCH_BYTES", 1)
    assert [i for b in batches(instances, BATCH_COUNT) for i in b] == list(instances)


# Multipart ----------------------------------------------------------------------------------------


@given(
    bodies=st.lists(st.binary(max_size=300), max_size=4),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    preamble=st.sampled_from([b"", b"ignore me", b"\r\n"]),
)
def test_parts_survive_any_fragmentation(bodies, sizes, preamble):
    mark = b"0123456789abcdef"
    data = bytearray(preamble)
    for body in bodies:
        data += b"\r\n--" + mark + b"\r\nContent-Type: application/dicom\r\n\r\n" + body
    data += b"\r\n--" + mark + b"--\r\n"
    turn = iter(range(10**6))

    def read(_size):
        count = sizes[next(turn) % len(sizes)]
        piece = bytes(data[:count])
        del data[:count]
        return piece

    assert [b"".join(part) for part in parts(read, mark)] == bodies


def test_a_header_without_end_is_refused():
    data = [b"--X\r\n" + b"a" * 20_000, b"b" * 20_000]
    with pytest.raises(PacsError, match="not built as multipart"):
        list(parts(lambda _n: data.pop(0) if data else b"", b"X"))


def test_boundaries_are_read_quoted_and_bare():
    assert boundary_of('multipart/related; type="a/b"; boundary="x y"') == b"x y"
    assert boundary_of("Multipart/Related; boundary=xy; type=a") == b"xy"
    assert boundary_of("application/dicom; boundary=x") is None
    assert boundary_of("multipart/related") is None


# The rest -----------------------------------------------------------------------------------------


def test_waits_grow_to_a_limit():
    assert Retry(6, 1, 2, 10).waits() == (1, 2, 4, 8, 10, 10)
    assert Retry(0).waits() == ()
    with pytest.raises(UsageError):
        Retry(-1)


def test_a_pacs_error_survives_json():
    error = error_from_json(PacsError("a", hint="b", transient=True).to_json())
    assert (type(error), str(error), error.exit_code) == (PacsError, "a b", 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Name one archive"),
        (["--aet", "A", "--host", "h"], "Name one archive"),
        (["--aet", "A", "--dicomweb", "https://h/x"], "Name one archive"),
        (["--dicomweb", f"https://me:{SECRET}@h/x"], "must not hold a user name"),
        (["--dicomweb", "https://h/x", "--commit-port", "1"], "Storage commitment needs"),
        (["--aet", "A", "--host", "h", "--port", "1", "--login"], "belong to --dicomweb"),
        (["--dicomweb", "http://h/x", "--tls"], "https://"),
        (["--dicomweb", "https://h/x", "--key", "none.pem"], "without its certificate"),
        (["--aet", "A", "--host", "h", "--port", "0"], "--port"),
    ],
)
def test_wrong_options_are_usage_errors(ctrestore, tmp_path, options, words):
    done = ctrestore("send", tmp_path, *options, check=2)
    assert words in done.stderr
    assert SECRET not in done.stderr + done.stdout


def test_there_is_no_option_for_a_password(ctrestore):
    for command in ("send", "fetch"):
        text = ctrestore(command, "--help", check=0).stdout
        assert "--password" not in text
        assert "--user" not in text


def test_a_wrong_uid_is_an_input_error(ctrestore, tmp_path):
    where = ("--dicomweb", "http://127.0.0.1:1/x", "--study", "../1", "--series", "1.2", "--json")
    done = ctrestore("fetch", tmp_path / "new", *where, check=3)
    assert json.loads(done.stdout)["error"]["type"] == "InputError"
