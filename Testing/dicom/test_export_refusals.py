"""All or nothing: what goes wrong leaves no file, no name in a log, and a clear sentence."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, GeometryError, InputError, ResourceError, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.dicom_export import (
    ExportOptions,
    Identity,
    SourceSeries,
    export_series,
    export_with_segments,
    writing,
)

sys.path.insert(0, str(Path(__file__).parent))
from export_sources import MARKS, datasets, record, restored, write_source


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "source")


def left_over(tmp_path):
    return sorted(p.name for p in tmp_path.iterdir() if p.name != "source")


def test_a_full_folder_is_never_written_into(source, tmp_path):
    volume, made = restored(source)
    kept = tmp_path / "o" / "letter.txt"
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        export_series(volume, made, tmp_path / "o", source=source)
    assert [p.name for p in kept.parent.iterdir()] == ["letter.txt"]
    with pytest.raises(UsageError):
        export_series(volume, made, kept, source=source)


def test_an_empty_folder_is_filled(source, tmp_path):
    (tmp_path / "o").mkdir()
    volume, made = restored(source)
    report = export_series(volume, made, tmp_path / "o", source=source)
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == [
        f"IM{n:05d}.dcm" for n in range(1, 6)
    ]
    assert list(report.files) == sorted((tmp_path / "o").iterdir())


def test_cancelling_leaves_nothing(source, tmp_path):
    volume, made = restored(source)
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Cancelled):
        export_series(volume, made, tmp_path / "o", source=source, job=Job(is_cancelled=stop))
    assert left_over(tmp_path) == []


def test_progress_is_told(source, tmp_path):
    volume, made = restored(source)
    events = []
    export_series(volume, made, tmp_path / "o", source=source, job=Job(events.append))
    assert events[0] == {"kind": "stage", "title": "Write the images", "fraction": 0.0}
    done = [e["fraction"] for e in events if e["kind"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == 1.0


def test_a_full_disk_leaves_nothing_and_says_so(source, tmp_path, monkeypatch):
    volume, made = restored(source)
    true_write, written = writing.write_image, []

    def fail_later(header, stored, path):
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        true_write(header, stored, path)

    monkeypatch.setattr(writing, "write_image", fail_later)
    with pytest.raises(ResourceError, match="No space left"):
        export_series(volume, made, tmp_path / "o", source=source)
    assert len(written) == 3
    assert left_over(tmp_path) == []


def test_a_folder_that_appears_meanwhile_is_not_overwritten(source, tmp_path, monkeypatch):
    volume, made = restored(source)
    true_write = writing.write_image

    def somebody_else(header, stored, path):
        true_write(header, stored, path)
        (tmp_path / "o").mkdir(exist_ok=True)
        (tmp_path / "o" / "theirs").write_text("x")

    monkeypatch.setattr(writing, "write_image", somebody_else)
    with pytest.raises(UsageError):
        export_series(volume, made, tmp_path / "o", source=source)
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["theirs"]
    assert left_over(tmp_path) == ["o"]


def test_another_patients_series_is_refused(source, tmp_path):
    volume, _ = restored(source)
    with pytest.raises(GeometryError, match="made from 2 other images"):
        export_series(volume, record(("9.9.1", "9.9.2")), tmp_path / "o", source=source)
    assert left_over(tmp_path) == []


def test_two_series_are_not_one_source(source, tmp_path):
    other = write_source(
        tmp_path / "b", edit=lambda ds, _k: setattr(ds, "SeriesInstanceUID", "1.2.3.5")
    )
    with pytest.raises(InputError, match="2 series"):
        SourceSeries.from_files([*source.iterdir(), *other.iterdir()])


@pytest.mark.parametrize(
    "content", [b"", b"not dicom at all", bytes(128) + b"DICM" + b"\x08\x00junk"]
)
def test_a_source_that_is_no_image_is_refused(tmp_path, content):
    path = tmp_path / "Käfer.dcm"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        SourceSeries.from_files([path])
    assert "Käfer" not in str(caught.value)
    with pytest.raises(InputError):
        SourceSeries.from_files([tmp_path / "absent"])
    with pytest.raises(InputError):
        SourceSeries.from_files([])


def test_rows_and_columns_that_are_not_perpendicular_are_refused(tmp_path):
    matrix = np.eye(4)
    matrix[0, 1] = 0.1
    volume = Volume(np.zeros((2, 3, 4)), VolumeGeometry((2, 3, 4), matrix), Unit.HU)
    with pytest.raises(GeometryError, match="perpendicular"):
        export_series(volume, None, tmp_path / "o")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong", [{"series_number": -1}, {"series_number": 2**31}, {"body_part": "knee!"},
              {"laterality": "LEFT"}],
)  # fmt: skip
def test_impossible_options_are_refused(wrong):
    with pytest.raises(UsageError):
        ExportOptions(**wrong)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"name": 3}', '{"surname": "Käfer"}', '{"name": "Käfer", "x": "y"}']
)
def test_a_patient_file_is_checked_without_quoting_it(tmp_path, text):
    path = tmp_path / "patient.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Identity.read(path)
    assert not any(mark in str(caught.value).partition("Write {")[0] for mark in MARKS)
    with pytest.raises(InputError):
        Identity.read(tmp_path / "absent.json")


def test_a_patient_file_is_read(tmp_path):
    path = tmp_path / "patient.json"
    path.write_text(json.dumps({"name": "Ω^A", "sex": "O"}), encoding="utf-8")
    assert Identity.read(path) == Identity("Ω^A", "", "", "O")


def test_a_zip_archive_can_be_the_source(source, tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, f"scan/{path.name}")
    volume, made = restored(source)
    assert export_series(volume, made, tmp_path / "o", source=tmp_path / "s.zip").same_grid


def hostile(ds, _k):
    """Values that make pydicom warn, with the marks in them."""
    ds.add_new(0x00080020, "DA", "20240105")
    ds._dict[ds["PatientBirthDate"].tag] = ds["PatientBirthDate"]
    ds["PatientBirthDate"].validation_mode = 0
    ds["PatientBirthDate"]._value = "1960-02-29-Käfer"
    ds["PatientID"].validation_mode = 0
    ds["PatientID"]._value = "ID-4711" * 20


def one_word(ds, _k):
    """A name in the form that makes highdicom warn, quoting it."""
    ds.PatientName = ds.ReferringPhysicianName = "Käfer"


@pytest.mark.parametrize("edit", [lambda ds, _k: None, one_word, hostile])
def test_no_name_reaches_a_log_a_warning_or_the_screen(tmp_path, caplog, capfd, edit):
    import pydicom

    mode = pydicom.config.settings.writing_validation_mode
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = write_source(tmp_path / "source", edit=edit)
    finally:
        pydicom.config.settings.writing_validation_mode = mode
    volume, made = restored(source)
    capfd.readouterr()
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        report = export_series(volume, made, tmp_path / "o", source=source)
        if edit is not hostile:  # a segmentation needs a valid patient
            masks = [("All", volume.values > -5000)]
            export_with_segments(volume, made, tmp_path / "p", masks, source=source)
    screen = capfd.readouterr()
    said = " ".join([
        caplog.text, screen.out, screen.err, *(str(w.message) for w in warned),
        *(n.text for n in report.notes), *(str(p.relative_to(tmp_path)) for p in report.files),
    ])  # fmt: skip
    assert not any(mark in said for mark in (*MARKS, "1960-02-29"))


def test_an_attribute_that_cannot_be_copied_is_refused_without_quoting_it(source, tmp_path):
    given = datasets(sorted(source.iterdir()))
    for ds in given:
        ds["PatientWeight"]._value = object()
    volume, made = restored(source)
    with pytest.raises(InputError, match="cannot be copied"):
        export_series(volume, made, tmp_path / "o", source=given)
    assert left_over(tmp_path) == []


def test_file_names_tell_nothing(source, tmp_path):
    volume, made = restored(source)
    options = ExportOptions(description="../../etc/Käfer")
    report = export_series(volume, made, tmp_path / "o", source=source, options=options)
    assert all(p.parent == tmp_path / "o" for p in report.files)
    assert [p.name for p in report.files] == [f"IM{n:05d}.dcm" for n in range(1, 6)]
    shutil.rmtree(tmp_path / "o")
