"""One multi-frame file holds what the single images hold."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.dicom_export import export_multi_frame, export_series
from ctrestorelib.io.dicom_series import read_series

sys.path.insert(0, str(Path(__file__).parent))
from export_sources import (
    complaints,
    datasets,
    disagreements,
    needs_validators,
    record,
    restored,
    turned,
    write_source,
)

pytest.importorskip("highdicom")

CASES = {
    "oblique": {"axes": turned(7.3, -11.7, 23.9)},
    "gantry-tilted": {"axes": turned(-18.5, 0, 0), "step": (0, 0, 1.25)},
    "utf-8": {"name": "山田^太郎", "charset": "ISO_IR 192"},
    "one-word-name": {"name": "Mononym"},
}


@pytest.fixture(params=CASES)
def gathered(request, tmp_path):
    """Return (source, volume, exported series, multi-frame file) of each kind."""
    source = write_source(tmp_path / "source", **CASES[request.param])
    volume, made = restored(source)
    series = export_series(volume, made, tmp_path / "single", source=source)
    return source, volume, series, export_multi_frame(series.files, tmp_path / "out")


def test_it_reads_back_as_the_volume(gathered):
    _source, volume, _series, path = gathered
    again = read_series(path.parent).volume
    assert again.geometry.matches(volume.geometry, tolerance_mm=1e-4)
    assert again.unit == Unit.HU
    assert np.abs(again.values - volume.values).max() <= 0.5


def test_it_is_one_file_and_nothing_else_is_left(gathered, tmp_path):
    *_, path = gathered
    assert path == tmp_path / "out" / "MF00001.dcm"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "single", "source"]


def test_it_is_derived_for_research_and_names_what_it_was_converted_from(gathered):
    *_, series, path = gathered
    (ds,) = datasets([path])
    assert list(ds.ImageType) == ["DERIVED", "PRIMARY", "VOLUME", "FILTERED"]
    assert (ds.NumberOfFrames, ds.ContentQualification) == (5, "RESEARCH")
    images = {d.SOPInstanceUID: d for d in datasets(series.files)}
    for frame in ds.PerFrameFunctionalGroupsSequence:
        from_image = frame.ConversionSourceAttributesSequence[0].ReferencedSOPInstanceUID
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        assert list(place) == list(images.pop(from_image).ImagePositionPatient)
    assert not images
    assert ds.SeriesInstanceUID != series.series_uid
    assert ds.SeriesDescription.endswith("[denoised, research]")


@needs_validators
def test_the_validators_find_no_error(gathered):
    source, _volume, series, path = gathered
    lines = [n for n in complaints(path) if "Retired Person Name form" not in n]
    assert lines == []
    assert "Error" not in disagreements([path, *series.files, *source.iterdir()])


def test_simpleitk_reads_the_frames(gathered):
    _source, volume, _series, path = gathered
    values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    order = 1 if np.abs(values - volume.values).max() <= 0.5 else -1
    assert np.abs(values[::order] - volume.values).max() <= 0.5


def test_failing_leaves_nothing(tmp_path, monkeypatch):
    volume = Volume(np.zeros((2, 3, 4)), VolumeGeometry.from_spacing((2, 3, 4), (1, 1, 1)), Unit.HU)
    series = export_series(volume, record(), tmp_path / "single")
    with pytest.raises(UsageError):
        export_multi_frame(series.files, tmp_path / "single")
    with pytest.raises(InputError, match="cannot be gathered"):
        export_multi_frame([*series.files, tmp_path / "absent"], tmp_path / "out")
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match="highdicom"):
        export_multi_frame(series.files, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["single"]
