"""``ctrestore export-dicom`` as a person types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.apps.cli.files import sidecar_of
from ctrestorelib.core.provenance import array_sha256
from ctrestorelib.io.dicom_series import read_series
from ctrestorelib.io.volumes import write_volume

sys.path.insert(0, str(Path(__file__).parent))
from export_sources import MARKS, datasets, record, restored, write_source


@pytest.fixture
def scan(tmp_path):
    """Return (source folder, result file) with a record beside the result."""
    source = write_source(tmp_path / "source")
    volume, _ = restored(source)
    result = tmp_path / "quiet.nrrd"
    write_volume(volume, result)
    uids = read_series(source).sop_instance_uids
    made = record(uids, environment={})
    object.__setattr__(made, "output_sha256", array_sha256(volume.values))
    made.write(sidecar_of(result))
    return source, result


def no_name(done):
    return not any(mark in done.stdout + done.stderr for mark in MARKS)


def test_a_result_with_its_source(ctrestore, scan, tmp_path):
    source, result = scan
    done = ctrestore("export-dicom", result, tmp_path / "o", "--source", source, "--json", check=0)
    told = json.loads(done.stdout)
    headers = datasets(sorted((tmp_path / "o").iterdir()))
    assert (told["images"], told["same_grid"], told["clipped_voxels"]) == (5, True, 0)
    assert told["notes"] == []
    assert {ds.SeriesInstanceUID for ds in headers} == {told["series_uid"]}
    assert headers[0].PatientID == "ID-4711"
    assert "non-local means" in headers[0].DerivationDescription
    assert no_name(done)


def test_an_edited_result_is_told_from_its_record(ctrestore, scan, tmp_path):
    source, result = scan
    volume = read_series(source).volume
    write_volume(volume.with_values(volume.values + 5), result)
    done = ctrestore("export-dicom", result, tmp_path / "o", "--source", source, check=0)
    assert "converted or edited" in done.stderr
    assert done.stdout.startswith("Wrote 5 images")


def test_preview_writes_nothing(ctrestore, scan, tmp_path):
    source, result = scan
    before = sorted(tmp_path.iterdir())
    done = ctrestore(
        "export-dicom", result, tmp_path / "o", "--source", source, "--preview", "--json", check=0
    )
    rows = {r["keyword"]: r for r in json.loads(done.stdout)}
    assert rows["ImageType"]["value"] == "DERIVED\\SECONDARY\\AXIAL"
    assert rows["StudyInstanceUID"]["origin"] == "copied"
    assert sorted(tmp_path.iterdir()) == before


def test_segments_go_with_the_series(ctrestore, scan, tmp_path):
    pytest.importorskip("highdicom")
    source, result = scan
    volume = read_series(source).volume
    write_volume(volume.with_values(volume.values > 800), tmp_path / "bone.nrrd")
    ctrestore(
        "export-dicom", result, tmp_path / "o", "--source", source,
        "--segment", f"Bone={tmp_path / 'bone.nrrd'}", "--algorithm", "Threshold", check=0,
    )  # fmt: skip
    names = sorted(p.name for p in (tmp_path / "o").iterdir())
    assert names[-1] == "SEG00001.dcm"
    assert len(names) == 6
    assert datasets([tmp_path / "o" / "SEG00001.dcm"])[0].Modality == "SEG"


def test_a_multi_frame_file_goes_into_a_folder_of_its_own(ctrestore, scan, tmp_path):
    pytest.importorskip("highdicom")
    source, result = scan
    paths = (result, tmp_path / "o", "--source", source, "--multi-frame")
    refused = ctrestore("export-dicom", *paths, tmp_path / "source")
    assert (refused.returncode, (tmp_path / "o").exists()) == (2, False)
    ctrestore("export-dicom", *paths, tmp_path / "m", check=0)
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["MF00001.dcm"]
    assert len(list((tmp_path / "o").iterdir())) == 5


def test_the_patient_comes_from_a_file_or_from_answers(ctrestore, scan, tmp_path):
    _source, result = scan
    patient = tmp_path / "patient.json"
    patient.write_text(json.dumps({"name": "Käfer^Jörg", "patient_id": "ID-4711"}), "utf-8")
    by_file = ctrestore("export-dicom", result, tmp_path / "a", "--patient", patient, check=0)
    answers = "Asked^Name\n12\n19700131\nF\n"
    ctrestore("export-dicom", result, tmp_path / "b", "--ask-patient", check=0, input=answers)
    first, second = (datasets(sorted((tmp_path / n).iterdir()))[0] for n in ("a", "b"))
    assert str(first.PatientName) == "Käfer^Jörg"
    assert (str(second.PatientName), second.PatientID, second.PatientSex) == (
        "Asked^Name",
        "12",
        "F",
    )
    assert no_name(by_file)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--segment", "Bone"), 2, "NAME=FILE"),
        (("--patient", "absent.json"), 2, "comes from --source"),
        (("--series-number", "-4"), 2, "series number"),
        (("--series", "9"), 3, "is not among"),
        (("--record", "absent.json"), 3, "cannot be read"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    ctrestore, scan, tmp_path, arguments, code, words
):
    source, result = scan
    before = sorted(tmp_path.iterdir())
    done = ctrestore("export-dicom", result, tmp_path / "o", "--source", source, *arguments)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert sorted(tmp_path.iterdir()) == before
    assert no_name(done)


def test_another_patients_source_is_refused(ctrestore, scan, tmp_path):
    _source, result = scan
    other = write_source(
        tmp_path / "other", edit=lambda ds, k: setattr(ds, "SOPInstanceUID", f"7.7.{k + 1}")
    )
    done = ctrestore("export-dicom", result, tmp_path / "o", "--source", other, check=3)
    assert "made from 5 other images" in done.stderr
    assert not (tmp_path / "o").exists()


def test_there_is_no_option_for_a_name(ctrestore):
    done = ctrestore("export-dicom", "--help", check=0)
    assert not any(f"--{word}" in done.stdout for word in ("name", "patient-name", "patient-id"))


def test_the_exported_series_is_what_the_result_was(ctrestore, scan, tmp_path):
    source, result = scan
    ctrestore("export-dicom", result, tmp_path / "o", "--source", source, "--quiet", check=0)
    volume, _ = restored(source)
    again = read_series(tmp_path / "o").volume
    assert again.geometry.matches(volume.geometry, tolerance_mm=1e-4)
    assert np.abs(again.values - volume.values).max() <= 0.5
