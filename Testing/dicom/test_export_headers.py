"""What the validators do not see: each header of a derived series says what is true."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.dicom_export import (
    ExportOptions,
    Identity,
    SourceSeries,
    export_series,
    preview_series,
)
from ctrestorelib.io.dicom_export import attributes as allowed

sys.path.insert(0, str(Path(__file__).parent))

from export_sources import (
    MARKS,
    NAME,
    datasets,
    fixed_stamp,
    record,
    restored,
    write_source,
)

OWN = {
    "SpecificCharacterSet", "ImageType", "InstanceCreationDate", "InstanceCreationTime",
    "SOPClassUID", "SOPInstanceUID", "SeriesDate", "SeriesTime", "ContentDate", "ContentTime",
    "Modality", "Manufacturer", "SeriesDescription", "ManufacturerModelName",
    "PrivateDataElementCharacteristicsSequence", "ReferencedSeriesSequence",
    "RelatedSeriesSequence", "DerivationDescription", "SourceImageSequence",
    "DerivationCodeSequence", "SpacingBetweenSlices", "DeviceSerialNumber", "SoftwareVersions",
    "ContentQualification", "ContributingEquipmentSequence", "SeriesInstanceUID", "SeriesNumber",
    "InstanceNumber", "FrameOfReferenceUID", "SamplesPerPixel", "PhotometricInterpretation",
    "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "PixelPaddingValue", "PixelData",
    "ConvolutionKernel", "KVP", "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation",
}  # fmt: skip


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "source")


@pytest.fixture
def exported(source, tmp_path):
    """Return (source data sets by SOP UID, exported data sets) of a denoised series."""
    volume, made = restored(source)
    report = export_series(volume, made, tmp_path / "out", source=source)
    before = {ds.SOPInstanceUID: ds for ds in datasets(sorted(source.iterdir()))}
    return before, datasets(report.files)


def pairs(exported):
    before, after = exported
    return [(before[ds.SourceImageSequence[0].ReferencedSOPInstanceUID], ds) for ds in after]


def new_grid(shape=(3, 6, 5)):
    return Volume(np.zeros(shape), VolumeGeometry.from_spacing(shape, (1, 1, 2)), Unit.HU)


def test_an_image_is_derived_for_research_and_never_original(exported):
    for ds in exported[1]:
        assert list(ds.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
        assert ds.ContentQualification == "RESEARCH"
        assert "not for primary diagnosis" in ds.DerivationDescription


def test_every_new_uid_is_new_and_every_kept_one_is_kept(exported):
    before, after = exported
    assert len({ds.SOPInstanceUID for ds in after}) == len(after)
    assert {ds.SOPInstanceUID for ds in after}.isdisjoint(before)
    assert {ds.SeriesInstanceUID for ds in after}.isdisjoint({"1.2.3.4"})
    assert len({ds.SeriesInstanceUID for ds in after}) == 1
    for ds in after:
        assert (ds.StudyInstanceUID, ds.FrameOfReferenceUID) == ("1.2.3", "1.2.9")
        assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID
        assert ds.SOPInstanceUID.startswith("2.25.")
        assert len(ds.SOPInstanceUID) <= 64


def test_nothing_travels_that_is_not_on_the_list(exported):
    groups = (
        allowed.PATIENT, allowed.STUDY, allowed.SERIES, allowed.CONTRAST, allowed.ACQUISITION,
        allowed.SCAN, allowed.GRID,
    )  # fmt: skip
    may = OWN.union(*groups)
    for ds in exported[1]:
        public = {e.keyword for e in ds if not e.tag.is_private}
        assert public <= may, public - may
        assert {e.tag.group for e in ds if e.tag.is_private} == {0x0077}


@pytest.mark.parametrize(
    "keyword",
    ["SmallestImagePixelValue", "LargestImagePixelValue", "CTDIvol", "OperatorsName",
     "PresentationIntentType", "ReferencedPerformedProcedureStepSequence", "TableSpeed"],
)  # fmt: skip
def test_what_is_no_longer_true_is_dropped(exported, keyword):
    assert not any(keyword in ds for ds in exported[1])


@pytest.mark.parametrize("group", [allowed.PATIENT, allowed.STUDY, allowed.ACQUISITION])
def test_patient_study_and_acquisition_are_the_sources(exported, group):
    for old, new in pairs(exported):
        for keyword in (k for k in group if k in old):
            assert new[keyword].value == old[keyword].value, keyword


def test_positions_are_the_sources_letter_by_letter(exported):
    for old, new in pairs(exported):
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            written = [v.original_string for v in new[keyword].value]
            assert written == [v.original_string for v in old[keyword].value]
        assert new.SliceLocation == old.SliceLocation
        assert new.InstanceNumber == old.InstanceNumber


def test_each_image_refers_to_its_own_source_and_lists_it(exported):
    used = set()
    for ds in exported[1]:
        (image,) = ds.SourceImageSequence
        uid = image.ReferencedSOPInstanceUID
        assert uid != ds.SOPInstanceUID
        assert image.SpatialLocationsPreserved == "YES"
        assert image.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        (listed,) = ds.ReferencedSeriesSequence
        assert listed.SeriesInstanceUID == "1.2.3.4"
        assert [r.ReferencedSOPInstanceUID for r in listed.ReferencedInstanceSequence] == [uid]
        assert ds.RelatedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4"
        used.add(uid)
    assert used == set(exported[0])


def test_every_code_has_its_meaning_from_the_standard(exported):
    from pydicom.sr._concepts_dict import concepts

    known = {code: text for entry in concepts["DCM"].values() for code, (text, _) in entry.items()}
    found = [e for ds in exported[1] for e in ds.iterall() if e.keyword == "CodeValue"]
    items = [i for ds in exported[1] for i in _items(ds) if "CodeValue" in i]
    assert len(items) == len(found) > 0
    for item in items:
        assert item.CodingSchemeDesignator == "DCM"
        assert known[item.CodeValue] == item.CodeMeaning


def _items(ds):
    for element in (e for e in ds if e.VR == "SQ"):
        for item in element.value:
            yield item
            yield from _items(item)


def test_the_maker_is_named_and_the_scanner_contributed(exported):
    for ds in exported[1]:
        assert ds.ManufacturerModelName == "CTRestore"
        scanner, own = ds.ContributingEquipmentSequence
        assert (scanner.Manufacturer, scanner.ManufacturerModelName) == ("Acme", "Scan 9000")
        assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
        assert own.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert "StationName" not in ds


def test_a_derived_source_contributed_by_processing(tmp_path):
    def derive(ds, _k):
        ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        del ds.Manufacturer

    source = write_source(tmp_path / "s", edit=derive)
    volume, made = restored(source)
    ds = datasets(export_series(volume, made, tmp_path / "o", source=source).files)[0]
    scanner = ds.ContributingEquipmentSequence[0]
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert scanner.Manufacturer == "UNKNOWN"


def test_the_scanner_can_stay_the_manufacturer(source, tmp_path):
    volume, made = restored(source)
    options = ExportOptions(scanner_as_manufacturer=True, keep_dose=True)
    ds = datasets(
        export_series(volume, made, tmp_path / "o", source=source, options=options).files
    )[0]
    assert (ds.Manufacturer, ds.CTDIvol) == ("Acme", 12.5)
    assert ds.ContributingEquipmentSequence[-1].ManufacturerModelName == "CTRestore"


@pytest.mark.parametrize(
    ("learned", "words"),
    [(False, "[denoised, research]"), (True, "[AI denoised, not for primary diagnosis]")],
)
@pytest.mark.parametrize("said", ["", "x" * 200, "Колено / 膝関節 " * 5, "back\\slash\nline"])
def test_the_description_always_ends_with_what_it_is(source, tmp_path, learned, words, said):
    volume, _ = restored(source)
    made = record(weights={"unet": "b" * 64} if learned else None)
    options = ExportOptions(description=said)
    rows = preview_series(volume, made, source=source, options=options)
    text = next(r.value for r in rows if r.keyword == "SeriesDescription")
    assert text.endswith(words)
    assert len(text.encode()) <= 64
    assert "\\" not in text
    assert "\n" not in text


def test_weights_and_method_are_recorded_in_standard_attributes(source, tmp_path):
    volume, _ = restored(source)
    made = record(weights={"unet": "b" * 64}, strength=0.5)
    ds = datasets(export_series(volume, made, tmp_path / "o", source=source).files)[0]
    assert list(ds.SoftwareVersions)[1:] == ["nlm 3", "b" * 64]
    for words in ("nlm, version 3", "strength 0.5", "h=0.5", "b" * 64):
        assert words in ds.DerivationDescription
    assert len(ds.DerivationDescription) <= 1024


def test_a_record_without_end_is_cut_before_its_warning(source, tmp_path):
    volume, _ = restored(source)
    made = record(params={f"p{n}": n for n in range(500)})
    ds = datasets(export_series(volume, made, tmp_path / "o", source=source).files)[0]
    assert len(ds.DerivationDescription) <= 1024
    assert ds.DerivationDescription.endswith("not for primary diagnosis.")


def test_the_private_block_holds_the_record_without_folders_or_names(source, tmp_path):
    volume, _ = restored(source)
    made = record(params={"model": "/home/kaefer/unet.pt", "h": 1.5}, report={"curve": [1.0] * 999})
    files = export_series(volume, made, tmp_path / "o", source=source).files
    ds = datasets(files)[0]
    block = ds.private_block(0x0077, "CTRESTORE RECORD 1")
    kept = json.loads(block[0x01].value)
    assert kept["params"] == {"model": "(a file)", "h": 1.5}
    assert "report" not in kept
    assert block[0x03].value == "a" * 64
    assert not any(mark in block[0x01].value for mark in (*MARKS, "kaefer", "/home"))
    (about,) = ds.PrivateDataElementCharacteristicsSequence
    assert about.PrivateCreatorReference == "CTRESTORE RECORD 1"
    without = ExportOptions(private_block=False)
    plain = datasets(
        export_series(volume, made, tmp_path / "p", source=source, options=without).files
    )
    assert not any(e.tag.is_private for e in plain[0])
    assert "PrivateDataElementCharacteristicsSequence" not in plain[0]


def test_the_sources_data_sets_are_not_touched(source, tmp_path):
    given = datasets(sorted(source.iterdir()))
    before = [ds.to_json() for ds in given]
    volume, made = restored(source)
    report = export_series(volume, made, tmp_path / "o", source=given)
    for ds in datasets(report.files):
        assert list(ds.SourceImageSequence)
    assert [ds.to_json() for ds in given] == before


def test_two_runs_differ_in_uids_only_and_fixed_ones_give_the_same_bytes(source, tmp_path):
    volume, made = restored(source)
    first = export_series(volume, made, tmp_path / "a", source=source, stamp=fixed_stamp())
    again = export_series(volume, made, tmp_path / "b", source=source, stamp=fixed_stamp())
    other = export_series(volume, made, tmp_path / "c", source=source)
    assert [p.read_bytes() for p in first.files] == [p.read_bytes() for p in again.files]
    assert first.series_uid != other.series_uid


def test_times_are_told_in_the_zone_of_the_copied_dates(tmp_path):
    source = write_source(
        tmp_path / "s", edit=lambda ds, _k: setattr(ds, "TimezoneOffsetFromUTC", "-0500")
    )
    volume, made = restored(source)
    report = export_series(volume, made, tmp_path / "o", source=source, stamp=fixed_stamp())
    ds = datasets(report.files)[0]
    assert (ds.SeriesDate, ds.SeriesTime) == ("20260503", "210201")  # 03:02:01+0100
    assert ds.TimezoneOffsetFromUTC == "-0500"


@pytest.mark.parametrize(
    ("centre", "width", "kept"),
    [(["40", "50"], ["400"], False), (["40"], ["0"], False), (["-600"], ["1500"], True)],
)
def test_windows_are_copied_only_if_they_make_sense(tmp_path, centre, width, kept):
    def edit(ds, _k):
        ds.WindowCenter, ds.WindowWidth = centre, width
        del ds.WindowCenterWidthExplanation

    source = write_source(tmp_path / "s", edit=edit)
    volume, made = restored(source)
    ds = datasets(export_series(volume, made, tmp_path / "o", source=source).files)[0]
    expected = (float(centre[0]), float(width[0])) if kept else (40, 400)
    assert (float(ds.WindowCenter), float(ds.WindowWidth)) == expected


def test_loss_stays_recorded(tmp_path):
    def edit(ds, _k):
        ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", "12.5"
        ds.LossyImageCompressionMethod = "ISO_15444_1"

    source = write_source(tmp_path / "s", edit=edit)
    volume, _made = restored(source)
    for grid, name in ((volume, "o"), (new_grid(), "p")):
        ds = datasets(export_series(grid, record(), tmp_path / name, source=source).files)[0]
        assert (ds.LossyImageCompression, ds.LossyImageCompressionRatio) == ("01", 12.5)


def test_synthetic_data_stay_synthetic_and_lose_the_scanners_settings(tmp_path):
    marked = write_source(tmp_path / "m", edit=lambda ds, _k: ds.add_new(0x0008001C, "CS", "YES"))
    plain = write_source(tmp_path / "s")
    volume, made = restored(plain)
    said = ExportOptions(synthetic=True)
    first = datasets(export_series(volume, made, tmp_path / "a", source=marked).files)[0]
    other = datasets(export_series(volume, made, tmp_path / "b", source=plain, options=said).files)[
        0
    ]
    assert first[0x0008001C].value == other[0x0008001C].value == "YES"
    assert "XRayTubeCurrent" in first
    assert "XRayTubeCurrent" not in other


def test_numbers_too_long_for_a_decimal_string_are_shortened(tmp_path):
    long = "0.12345678901234567890"

    def edit(ds, _k):
        pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
        ds.SliceThickness = pydicom.valuerep.DSfloat(long, validation_mode=pydicom.config.IGNORE)

    mode = pydicom.config.settings.writing_validation_mode
    try:
        source = write_source(tmp_path / "s", edit=edit)
    finally:
        pydicom.config.settings.writing_validation_mode = mode
    volume, made = restored(source)
    ds = datasets(export_series(volume, made, tmp_path / "o", source=source).files)[0]
    assert len(ds.SliceThickness.original_string) <= 16
    assert math.isclose(ds.SliceThickness, float(long), rel_tol=1e-12)


def test_reconstruction_refers_to_the_series_and_drops_the_scan(source, tmp_path):
    made = record(role="projections", method="fdk", params={})
    report = export_series(new_grid(), made, tmp_path / "o", source=source)
    ds = datasets(report.files)[0]
    assert not report.same_grid
    assert ds.FrameOfReferenceUID != "1.2.9"
    assert any(n.code == "new-frame" for n in report.notes)
    assert ds.SeriesDescription == "Recon 90 views fdk [reconstructed, research]"
    assert ds.DerivationCodeSequence[0].CodeValue == "113962"
    assert ds.ConvolutionKernel == "FDK"
    assert ds.PatientName == NAME
    assert ds.RelatedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4"
    for keyword in ("XRayTubeCurrent", "SourceImageSequence", "CTDIvol", "GantryDetectorTilt"):
        assert keyword not in ds
    assert ds["SliceThickness"].is_empty


def test_resampled_volume_refers_to_the_slices_it_can_depend_on(source, tmp_path):
    volume, made = restored(source)
    old = volume.geometry
    matrix = np.array(old.ijk_to_lps)
    matrix[:3, 0] *= 2
    grid = VolumeGeometry((old.shape[0], old.shape[1], old.shape[2] // 2), matrix)
    half = Volume(volume.values[:, :, ::2][:, :, : grid.shape[2]], grid, Unit.HU)
    report = export_series(half, made, tmp_path / "o", source=source)
    for k, ds in enumerate(datasets(report.files)):
        assert ds.FrameOfReferenceUID == "1.2.9"
        assert {i.SpatialLocationsPreserved for i in ds.SourceImageSequence} == {"NO"}
        used = {i.ReferencedSOPInstanceUID for i in ds.SourceImageSequence}
        assert f"1.2.3.4.{k + 1}" in used
        assert [c.CodeValue for c in ds.DerivationCodeSequence] == ["113085", "113087"]


def test_without_a_source_the_patient_is_new_every_time(tmp_path):
    first, other = (
        datasets(export_series(new_grid(), None, tmp_path / n).files) for n in ("a", "b")
    )
    assert str(first[0].PatientName) == "ANON^CTRestore"
    assert first[0].PatientID.startswith("CTRESTORE-")
    assert first[0].PatientID != other[0].PatientID
    assert len({ds.StudyInstanceUID for ds in first}) == 1
    assert first[0].StudyInstanceUID != other[0].StudyInstanceUID
    assert "no record of the method" in first[0].DerivationDescription


def test_a_given_identity_is_written_in_its_own_letters(tmp_path):
    who = Identity("山田^太郎", "77", "19700131", "F")
    ds = datasets(
        export_series(new_grid(), None, tmp_path / "o", options=ExportOptions(identity=who)).files
    )[0]
    assert str(ds.PatientName) == "山田^太郎"
    assert (ds.PatientID, ds.PatientBirthDate, ds.PatientSex) == ("77", "19700131", "F")
    assert ds.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize(
    "wrong",
    [{"sex": "X"}, {"birth_date": "1970-01-31"}, {"birth_date": "19701331"}, {"name": "a" * 65},
     {"patient_id": "1\\2"}, {"name": "two\nlines"}],
)  # fmt: skip
def test_an_impossible_identity_is_refused_without_repeating_it(wrong):
    with pytest.raises(UsageError) as caught:
        Identity(**wrong)
    assert next(iter(wrong.values())) not in str(caught.value).replace("M, F", "")


def test_preview_shows_what_is_written(source, tmp_path):
    volume, made = restored(source)
    rows = {r.keyword: r for r in preview_series(volume, made, source=source)}
    ds = datasets(export_series(volume, made, tmp_path / "o", source=source).files)[2]
    assert rows["PatientName"].origin == rows["ImagePositionPatient"].origin == "copied"
    assert rows["ImageType"].origin == rows["SOPInstanceUID"].origin == "changed"
    assert rows["ContentQualification"].origin == "new"
    assert rows["SeriesDescription"].value == ds.SeriesDescription
    assert {e.keyword for e in ds if not e.tag.is_private} - {"PixelData"} <= set(rows)
    assert not list(tmp_path.glob("preview*"))


def test_a_multi_frame_source_lends_each_frame(tmp_path):
    """One enhanced file: geometry comes from the frames, references name the frame."""
    shape, place = (4, 6, 5), (1.5, 2.5)
    ds = write_enhanced(tmp_path / "enhanced.dcm", shape, place)
    series = SourceSeries.from_files([ds])
    assert len(series.slices) == 4
    volume, _ = restored(tmp_path / "enhanced.dcm")
    report = export_series(volume, record(), tmp_path / "o", source=tmp_path / "enhanced.dcm")
    assert report.same_grid
    for n, new in enumerate(datasets(report.files)):
        assert list(new.ImagePositionPatient) == [1.5, 2.5, 3.0 * n]
        assert new.SourceImageSequence[0].ReferencedFrameNumber == n + 1
        assert "PerFrameFunctionalGroupsSequence" not in new
        assert new.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"


def write_enhanced(path, shape, place):
    from export_sources import source_slice
    from pydicom.dataset import Dataset

    ds = source_slice(0, charset=None, name="Frame^Many")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    ds.NumberOfFrames, (_, ds.Rows, ds.Columns) = shape[0], shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    shared, measures, plane, scale = (Dataset() for _ in range(4))
    measures.PixelSpacing, measures.SliceThickness = ["0.5", "0.6"], "3"
    plane.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = "1", "-1024", "HU"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    shared.PixelValueTransformationSequence = [scale]
    ds.SharedFunctionalGroupsSequence, frames = [shared], []
    for n in range(shape[0]):
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = [*map(str, place), str(3.0 * n)]
        group.PlanePositionSequence = [position]
        frames.append(group)
    ds.PerFrameFunctionalGroupsSequence = frames
    ds.PixelData = np.random.default_rng(0).integers(0, 2000, shape).astype("<i2").tobytes()
    ds.save_as(path, enforce_file_format=True)
    return pydicom.dcmread(path)
