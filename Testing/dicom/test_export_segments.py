"""DICOM segmentations lie on the exported images, voxel by voxel."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, InputError, UsageError
from ctrestorelib.io.dicom_export import export_segmentation, export_series, export_with_segments

sys.path.insert(0, str(Path(__file__).parent))
from export_sources import (
    complaints,
    disagreements,
    needs_validators,
    restored,
    turned,
    write_source,
)

hd = pytest.importorskip("highdicom")

SOURCES = {
    "axial": {},
    "oblique": {"axes": turned(7.3, -11.7, 23.9)},
    "gantry-tilted": {"axes": turned(-18.5, 0, 0), "step": (0, 0, 1.25)},
    "utf-8": {"name": "山田^太郎", "charset": "ISO_IR 192"},
}


@pytest.fixture
def drawn(tmp_path):
    """Return a function that exports a series with two overlapping segments."""

    def draw(case="oblique", **more):
        source = write_source(tmp_path / "source", **SOURCES[case])
        volume, made = restored(source)
        high = volume.values > 800
        box = np.zeros(volume.shape, bool)
        box[1:4, 3:9, 2:8] = True
        masks = [("Bone ü", high), ("Box", box)]
        written = export_with_segments(volume, made, tmp_path / "out", masks, source=source, **more)
        return volume, masks, *written

    return draw


@pytest.mark.parametrize("case", SOURCES)
def test_each_frame_lies_on_its_image_and_holds_its_mask(drawn, case):
    volume, masks, series, report = drawn(case)
    segmentation = hd.seg.segread(report.file)
    assert report.segments == ("Bone ü", "Box")
    uids = {hd.imread(p).SOPInstanceUID: p for p in series.files}
    seen = np.zeros((2, *volume.shape), bool)
    frames = np.atleast_3d(segmentation.pixel_array)
    for values, group in zip(frames, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        own = volume.geometry.to_ijk(place)
        k = round(float(own[2]))
        assert np.abs(volume.geometry.to_world((0, 0, k)) - place).max() <= 1e-4
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        seen[number - 1, k] = values.astype(bool)
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedSOPInstanceUID in uids
    for n, (_name, mask) in enumerate(masks):
        assert np.array_equal(seen[n], mask)


def test_it_belongs_to_the_patient_study_and_space_of_the_images(drawn):
    _volume, _masks, series, report = drawn()
    segmentation, image = hd.seg.segread(report.file), hd.imread(series.files[0])
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDate"):
        assert segmentation[keyword].value == image[keyword].value
    assert segmentation.SeriesInstanceUID != image.SeriesInstanceUID
    referred = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
    assert referred == series.series_uid


def test_who_drew_it_is_said(drawn):
    *_, report = drawn(algorithm="Threshold above 800 HU")
    for segment in hd.seg.segread(report.file).SegmentSequence:
        assert segment.SegmentAlgorithmType == "SEMIAUTOMATIC"
        assert segment.SegmentAlgorithmName == "Threshold above 800 HU"


@needs_validators
@pytest.mark.parametrize("case", SOURCES)
@pytest.mark.parametrize("algorithm", ["", "Threshold"])
def test_the_validators_have_nothing_to_say(drawn, case, algorithm):
    *_, series, report = drawn(case, algorithm=algorithm)
    assert complaints(report.file) == []
    assert disagreements([*series.files, report.file]) == ""


@pytest.mark.parametrize(
    ("masks", "error", "words"),
    [
        ([], InputError, "no segment"),
        ([("", np.ones((5, 14, 11), bool))], InputError, "no name"),
        ([("A", np.zeros((5, 14, 11), bool))], InputError, "empty"),
        ([("A", np.ones((5, 14, 12), bool))], GeometryError, "shape"),
    ],
)
def test_impossible_segments_leave_neither_series_nor_segments(tmp_path, masks, error, words):
    source = write_source(tmp_path / "source")
    volume, made = restored(source)
    with pytest.raises(error, match=words):
        export_with_segments(volume, made, tmp_path / "out", masks, source=source)
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_images_of_another_grid_are_refused(tmp_path):
    source = write_source(tmp_path / "source")
    volume, made = restored(source)
    report = export_series(volume, made, tmp_path / "out", source=source)
    part = volume.geometry.crop((slice(0, 5), slice(1, 14), slice(0, 11)))
    masks = [("A", np.ones(part.shape, bool))]
    with pytest.raises(GeometryError, match="do not lie on the grid"):
        export_segmentation(masks, part, report.files, tmp_path / "seg")
    assert not (tmp_path / "seg").exists()


def test_an_existing_segmentation_is_not_overwritten(tmp_path):
    source = write_source(tmp_path / "source")
    volume, made = restored(source)
    report = export_series(volume, made, tmp_path / "out", source=source)
    masks = [("A", volume.values > 0)]
    first = export_segmentation(masks, volume.geometry, report.files, tmp_path / "seg")
    before = first.file.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        export_segmentation(masks, volume.geometry, report.files, tmp_path / "seg")
    assert first.file.read_bytes() == before


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    source = write_source(tmp_path / "source")
    volume, made = restored(source)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match="highdicom"):
        export_with_segments(
            volume, made, tmp_path / "out", [("A", volume.values > 0)], source=source
        )
    assert not (tmp_path / "out").exists()
