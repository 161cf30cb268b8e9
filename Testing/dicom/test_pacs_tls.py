"""Encrypted connections: to Orthanc's own TLS port, and to its web server behind TLS."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("pynetdicom", reason="needs: pip install 'ctrestorelib[pacs]'")
sys.path.insert(0, str(Path(__file__).parent))

import pacs_bench as bench

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.pacs.fetching import fetch_series
from ctrestorelib.pacs.instances import find_instances
from ctrestorelib.pacs.journal import Journal
from ctrestorelib.pacs.results import Outcome
from ctrestorelib.pacs.sending import Retry, send_series
from ctrestorelib.pacs.tls import Tls


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return bench.make_certificate(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return bench.make_certificate(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def peers(tmp_path_factory, certificate):
    """Return functions from TLS settings to a DIMSE and to a DICOMweb peer."""
    root = tmp_path_factory.mktemp("tls") / "root"
    with bench.running_orthanc(root, certificate=certificate) as orthanc:
        proxy = bench.CuttingProxy(orthanc.http_port, certificate=certificate)
        address = f"https://localhost:{proxy.port}/dicom-web"
        yield {
            "node": lambda tls, **more: orthanc.node(tls=tls, **more),
            "web": lambda tls, **more: orthanc.web(tls=tls, **({"url": address} | more)),
            "port": proxy.port,
        }
        proxy.close()


@pytest.fixture
def series(tmp_path):
    return bench.make_series(tmp_path / "series", count=2)


@pytest.fixture
def report_of(series, tmp_path):
    def send(peer):
        journal = Journal(tmp_path / "sent.jsonl")
        return send_series(find_instances(series.folder), peer, journal, retry=Retry(0))

    return send


@pytest.mark.parametrize("way", ["node", "web"])
def test_a_trusted_archive_gets_and_gives_everything(
    peers, certificate, series, report_of, tmp_path, way
):
    peer = peers[way](Tls(certificate[0]))
    assert report_of(peer).count(Outcome.STORED) == 2
    fetched = fetch_series(peer, series.study, series.series, tmp_path / "back")
    for before, after in zip(series.files, sorted(fetched.folder.iterdir()), strict=True):
        assert bench.body_bytes(after) == bench.body_bytes(before)


@pytest.mark.parametrize("way", ["node", "web"])
@pytest.mark.parametrize("trusted", ["stranger", "system"])
def test_an_archive_with_a_wrong_certificate_gets_nothing(
    peers, stranger, series, report_of, tmp_path, way, trusted
):
    peer = peers[way](Tls(stranger[0] if trusted == "stranger" else None))
    report = report_of(peer)
    assert report.count(Outcome.UNSENT) == 2
    assert all("certificate" in r.words and "trusted" in r.words for r in report.results)
    assert "--ca" in report.trouble.hint
    assert not report.trouble.transient


def test_the_name_in_the_certificate_counts(peers, certificate, report_of):
    report = report_of(peers["node"](Tls(certificate[0]), host="127.0.0.1"))
    assert "not valid for '127.0.0.1'" in report.results[0].words
    web = peers["web"](Tls(certificate[0]), url=f"https://127.0.0.1:{peers['port']}/dicom-web")
    assert "not valid for '127.0.0.1'" in report_of(web).results[0].words


def test_plain_words_at_an_encrypted_port_are_explained(peers, report_of):
    report = report_of(peers["node"](None))
    assert "--tls" in report.trouble.hint
    web = peers["web"](None, url=f"http://127.0.0.1:{peers['port']}/dicom-web", credentials=None)
    assert report_of(web).count(Outcome.UNSENT) == 2


def test_a_certificate_of_ours_that_the_archive_does_not_know_is_refused(
    peers, certificate, stranger, report_of
):
    report = report_of(peers["node"](Tls(certificate[0], *stranger)))
    assert report.count(Outcome.UNSENT) == 2
    assert "--cert" in report.trouble.hint


def test_files_that_are_no_certificates_are_said_so(certificate, tmp_path):
    text = tmp_path / "text.pem"
    text.write_text("hello")
    with pytest.raises(InputError, match="cannot be used"):
        Tls(text).context()
    with pytest.raises(InputError, match="cannot be used"):
        Tls(certificate[0], certificate[0], text).context()
    with pytest.raises(InputError, match="does not exist"):
        Tls(tmp_path / "none.pem")
    with pytest.raises(UsageError, match="without its certificate"):
        Tls(key=text)
