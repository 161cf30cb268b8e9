"""ctrestore denoise --report: the guard rails of a result as a file."""

from __future__ import annotations

import json

import pytest

from ctrestorelib.apps.cli.guards import check_report
from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.provenance import Provenance
from ctrestorelib.io.volumes import write_volume


@pytest.fixture
def scan_file(small_ct, tmp_path):
    path = tmp_path / "scan.nrrd"
    write_volume(small_ct, path)
    return path


def test_report_as_json_says_what_the_lights_say(ctrestore, scan_file, tmp_path):
    report = tmp_path / "told.json"
    told = ctrestore("denoise", scan_file, tmp_path / "quiet.nrrd", "-m", "wavelet",
                     "--report", report, check=0).stdout  # fmt: skip
    record = json.loads(report.read_text(encoding="utf-8"))
    assert record["summary"] in told.replace("\n", " ")
    by_name = {light["name"]: light for light in record["lights"]}
    assert {"values", "structure", "marks"} <= set(by_name)
    assert record["verdict"] in {light["verdict"] for light in record["lights"]}
    drift = [m for m in record["measures"] if m["name"].startswith("hu_drift")]
    assert drift
    assert all(m["unit"] == "HU" for m in drift)
    assert Provenance.read(tmp_path / "quiet.json").method == "wavelet"


def test_report_as_a_page_shows_the_lights(ctrestore, scan_file, tmp_path):
    report = tmp_path / "quiet.html"
    ctrestore("denoise", scan_file, tmp_path / "quiet.nrrd", "-m", "wavelet",
              "--report", report, "--quiet", check=0)  # fmt: skip
    page = report.read_text(encoding="utf-8")
    for words in ("Guard rails", "HU values", "Removed noise", "Small marks", "denoised"):
        assert words in page
    assert 'src="http' not in page


def test_a_report_never_replaces_the_record_or_a_file(tmp_path):
    output = tmp_path / "quiet.nii.gz"
    check_report(None, output, overwrite=False)
    check_report(tmp_path / "told.json", output, overwrite=False)
    with pytest.raises(UsageError, match=r"\.json or an \.html"):
        check_report(tmp_path / "told.txt", output, overwrite=False)
    with pytest.raises(UsageError, match="will hold the record"):
        check_report(tmp_path / "quiet.json", output, overwrite=True)
    (tmp_path / "told.html").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists already"):
        check_report(tmp_path / "told.html", output, overwrite=False)
    check_report(tmp_path / "told.html", output, overwrite=True)
