"""dciodvfy and dcentvfy on every exported file, of made-up series and of real scans."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.dicom_export import ExportOptions, Identity, export_series
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

pytestmark = needs_validators
PHANTOM = "dicom_headphantom_philips_tilt-18p5.zip"
ODD = "dicom_odd_derived_from_lidc0314.zip"
SYNTAXES = "dicom_ct_transfer_syntaxes.zip"
READABLE = ("00_", "04_", "05_", "06_", "07_", "09_", "10_", "13_", "14_")

UNKNOWN_PART = "</Laterality(0020,0060)> - is only permitted to be empty when actually unknown"
"""True of an image whose body part nobody states; dciodvfy wants it absent or filled."""
GREY = "</RescaleType(0028,1054)[1]> - Unrecognized defined term = <US>"
"""The standard's word for values that are not HU; this dciodvfy knows only HU."""
DEPRECATED = "CodingSchemeDesignator is deprecated"
DICOMDIR = "needed to build DICOMDIR"


def unexplained(path: Path, inherited: set[str], *, allowed: tuple[str, ...] = ()) -> list[str]:
    """Return every error, and each warning that neither the source has nor we expect."""
    found = complaints(path)
    return [
        line
        for line in found
        if line.startswith("Error")
        or not (line in inherited or any(words in line for words in allowed))
    ]


def inherited_from(source: Path) -> set[str]:
    """Return what dciodvfy warns of in the source's own files."""
    files = [p for p in source.rglob("*") if p.is_file()] if source.is_dir() else [source]
    return {line for p in files for line in complaints(p) if line.startswith("Warning")}


def edit_contrast(ds, _k):
    ds.ContrastBolusAgent, ds.ContrastBolusVolume = "Agent", "80"


def edit_identity_removed(ds, _k):
    ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", "by hand"
    ds.PatientName, ds.TimezoneOffsetFromUTC = "Sub^Ject", "+0100"


def edit_empty(ds, _k):
    """Leave away what many writers leave away, Type 2 or not."""
    for keyword in ("KVP", "AcquisitionNumber", "SliceThickness", "PositionReferenceIndicator",
                    "StudyID", "PatientPosition", "AccessionNumber", "Manufacturer",
                    "ReferringPhysicianName"):  # fmt: skip
        del ds[keyword]


def edit_lossy(ds, _k):
    ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", "12.5"
    ds.LossyImageCompressionMethod = "ISO_15444_1"


CASES = {
    "axial": {},
    "oblique": {"axes": turned(7.3, -11.7, 23.9)},
    "gantry-tilted": {"axes": turned(-18.5, 0, 0), "step": (0, 0, 1.25)},
    "padded": {"padding": True},
    "contrast": {"edit": edit_contrast},
    "de-identified": {"edit": edit_identity_removed},
    "bare": {"edit": edit_empty},
    "lossy": {"edit": edit_lossy},
    "utf-8": {"name": "山田^太郎", "charset": "ISO_IR 192"},
    "iso-2022": {"name": "Yamada^Tarou=山田^太郎", "charset": ["", "ISO 2022 IR 87"]},
    "ascii": {"name": "Doe^Jane", "charset": None},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dose", [False, True])
def test_denoised_series_have_no_error_and_no_new_warning(tmp_path, case, dose):
    source = write_source(tmp_path / "source", **CASES[case])
    volume, made = restored(source)
    options = ExportOptions(keep_dose=dose)
    report = export_series(volume, made, tmp_path / "o", source=source, options=options)
    inherited = inherited_from(source) if dose else set()
    for path in report.files:
        assert unexplained(path, inherited, allowed=(DICOMDIR,) * (case == "bare")) == []
    said = disagreements([*report.files, *sorted(source.iterdir())]).splitlines()
    # What the standard asks for and the source lacks is there now, empty.
    assert [line for line in said if case != "bare" or "present in one instance" not in line] == []


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("who", [Identity(), Identity("山田^太郎", "7", "19700131", "F")])
def test_reconstructions_without_a_source(tmp_path, learned, unit, who):
    shape = (4, 9, 8)
    grid = VolumeGeometry(shape, np.diag([0.2, 0.2, -0.2, 1.0]))
    values = np.random.default_rng(1).uniform(0, 0.04, shape)
    weights = {"unrolled": "c" * 64} if learned else None
    made = record(role="projections", method="tv", weights=weights)
    options = ExportOptions(identity=who, body_part="KNEE", laterality="R")
    report = export_series(Volume(values, grid, unit), made, tmp_path / "o", options=options)
    allowed = (GREY,) if unit == Unit.GREY else ()
    for path in report.files:
        assert unexplained(path, set(), allowed=allowed) == []
    assert disagreements(report.files) == ""


def test_an_unknown_body_part_is_the_only_other_warning(tmp_path):
    volume = Volume(np.zeros((2, 4, 4)), VolumeGeometry.from_spacing((2, 4, 4), (1, 1, 1)), Unit.HU)
    report = export_series(volume, record(role="projections"), tmp_path / "o")
    for path in report.files:
        assert unexplained(path, set(), allowed=(UNKNOWN_PART,)) == []


@pytest.mark.parametrize("grid", ["reconstructed", "resampled"])
def test_new_grids_beside_a_source(tmp_path, grid):
    source = write_source(tmp_path / "source", axes=turned(3, 4, 5))
    volume, made = restored(source)
    crop = volume.crop((slice(0, 4), slice(1, 9), slice(2, 11)))
    if grid == "reconstructed":
        made = record(role="projections", method="fdk")
    report = export_series(crop, made, tmp_path / "o", source=source)
    for path in report.files:
        assert unexplained(path, set()) == []
    assert disagreements([*report.files, *sorted(source.iterdir())]) == ""


def test_the_check_itself_sees_a_defect(tmp_path):
    source = write_source(tmp_path / "source")
    volume, made = restored(source)
    path = export_series(volume, made, tmp_path / "o", source=source).files[0]
    ds = datasets([path])[0]
    del ds.KVP
    ds.save_as(path)
    assert any("KVP" in line for line in unexplained(path, set()))


def test_synthetic_data_is_only_unknown_to_this_dciodvfy(tmp_path):
    source = write_source(tmp_path / "source")
    volume, made = restored(source)
    options = ExportOptions(synthetic=True)
    report = export_series(volume, made, tmp_path / "o", source=source, options=options)
    lines = [line for path in report.files for line in complaints(path)]
    assert lines
    assert all("0008,001c" in line.lower() for line in lines)


@pytest.fixture(scope="module")
def unpacked(data_file, tmp_path_factory):
    """Return a function from the name of an archive to the folder of its files."""
    done: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        if name not in done:
            done[name] = tmp_path_factory.mktemp("scan")
            with zipfile.ZipFile(data_file(name)) as archive:
                archive.extractall(done[name])
        return done[name]

    return unpack


def export_again(source: Path, folder: Path, *, resample: bool = False):
    read = read_series(source, resample_tilt=resample)
    return read, export_series(read.volume, record(read.sop_instance_uids), folder, source=source)


@pytest.mark.data
@pytest.mark.parametrize("resample", [False, True], ids=["as-it-is", "straightened"])
def test_real_tilted_phantom(unpacked, tmp_path, resample):
    source = unpacked(PHANTOM)
    read, report = export_again(source, tmp_path / "o", resample=resample)
    assert report.same_grid is not resample
    originals = [p for p in source.rglob("*") if p.is_file()]
    inherited = inherited_from(originals[0])
    for path in report.files:
        assert unexplained(path, inherited) == []
    assert disagreements([*report.files, *originals]) == ""
    again = read_series(tmp_path / "o").volume
    assert again.geometry.matches(read.volume.geometry, tolerance_mm=1e-4)
    assert np.abs(again.values - read.volume.values).max() <= 0.5


@pytest.mark.data
@pytest.mark.parametrize("case", READABLE)
def test_readable_odd_cases(unpacked, tmp_path, case):
    source = next(p for p in unpacked(ODD).rglob("*") if p.is_dir() and p.name.startswith(case))
    read, report = export_again(source, tmp_path / "o")
    originals = [p for p in source.rglob("*") if p.is_file()]
    inherited, allowed = inherited_from(source), (GREY,) if read.volume.unit == Unit.GREY else ()
    for path in report.files:
        assert unexplained(path, inherited, allowed=allowed) == []
    assert disagreements([*report.files, *originals]) == ""
    again = read_series(tmp_path / "o").volume
    assert again.geometry.matches(read.volume.geometry, tolerance_mm=1e-4)
    assert np.abs(again.values - read.volume.values).max() <= 0.5


@pytest.mark.data
def test_every_transfer_syntax_and_multi_frame_files(unpacked, tmp_path):
    """Headers are enough for the export; compressed and deflated sources lend theirs too."""
    exported = 0
    for number, source in enumerate(
        sorted(p for p in unpacked(SYNTAXES).rglob("*") if p.is_file())
    ):
        try:
            read, report = export_again(source, tmp_path / str(number))
        except InputError:
            continue  # no decoder for its pixels here
        exported += 1
        assert report.same_grid
        allowed = (UNKNOWN_PART, DEPRECATED, *((GREY,) if read.volume.unit == Unit.GREY else ()))
        for path in report.files:
            assert unexplained(path, inherited_from(source), allowed=allowed) == [], source.name
    assert exported >= 14
