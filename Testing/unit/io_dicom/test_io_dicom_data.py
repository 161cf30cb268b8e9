"""Every DICOM file among the real scans is read with known facts, or refused in known words."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.io.dicom_series import list_series, read_series

pytestmark = pytest.mark.data

ODD = "dicom_odd_derived_from_lidc0314"
SYNTAXES = "dicom_ct_transfer_syntaxes"
TILTS = "dicom_bad_geometry_dicom2nifti"
PHANTOM = "dicom_headphantom_philips_tilt-18p5"


@pytest.fixture(scope="module")
def unpacked(data_file, tmp_path_factory):
    """Return a function from archive name to the folder with its files."""
    done: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        if name not in done:
            packed = data_file(f"{name}.zip")
            done[name] = tmp_path_factory.mktemp("dicom")
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(done[name])
        return done[name]

    return unpack


def case_folder(root: Path, start: str) -> Path:
    return next(p for p in root.rglob("*") if p.is_dir() and p.name.startswith(start))


GOOD = [
    # case, shape, unit, lowest, highest, codes of the notes
    ("00_", (12, 96, 96), Unit.HU, -1000, 1576, set()),
    ("04_", (12, 96, 96), Unit.HU, -1000, 1576, {"order-reversed"}),
    ("05_", (12, 96, 96), Unit.HU, -1000, 1576, set()),
    ("06_", (12, 96, 96), Unit.GREY, 0, 2576, {"rescale-absent"}),
    ("07_", (12, 96, 96), Unit.HU, -1000.25, 1575.75, {"slope-fractional"}),
    ("09_", (1, 96, 96), Unit.HU, -1000, 1154, {"single-slice"}),
    ("10_", (12, 96, 96), Unit.HU, -1000, 1576, set()),
    ("13_", (12, 96, 96), Unit.HU, -2000, 1504, {"padding"}),
    ("14_", (12, 96, 96), Unit.HU, 519, 3095, {"monochrome1"}),
]


@pytest.mark.parametrize(("case", "shape", "unit", "low", "high", "codes"), GOOD)
def test_odd_but_readable_case(unpacked, case, shape, unit, low, high, codes):
    read = read_series(case_folder(unpacked(ODD), case))
    assert read.volume.shape == shape
    assert read.volume.unit == unit
    assert (read.volume.values.min(), read.volume.values.max()) == (low, high)
    assert {n.code for n in read.notes} == codes
    np.testing.assert_allclose(read.volume.geometry.spacing_mm, (0.78125, 0.78125, 1.0), atol=1e-6)
    assert len(read.sop_instance_uids) == shape[0]
    assert all(read.sop_instance_uids)


BAD = [
    (
        "01_",
        GeometryError,
        "3 slices are missing: the distance between slices is 1 mm, but 3 mm after slice 4",
    ),
    ("02_", GeometryError, "unevenly spaced: mostly 1 mm apart, but 1.6 mm after slice 7"),
    ("03_", GeometryError, "2 of 14 images lie at the position of another image"),
    ("08_", GeometryError, "12 of 12 images state no valid pixel spacing"),
    ("11_", InputError, "truncated in 2 of 3 files: the first of them holds 10588 of 18432 bytes"),
    ("12_", InputError, "holds 3 series - 1: localizer, 1 image of 96 x 96"),
]


@pytest.mark.parametrize(("case", "error", "words"), BAD)
def test_defect_is_named_in_one_sentence(unpacked, case, error, words):
    with pytest.raises(error) as caught:
        read_series(case_folder(unpacked(ODD), case))
    assert words in caught.value.message
    assert caught.value.message.count(". ") == 0
    assert caught.value.hint


def test_odd_cases_are_all_in_the_table(unpacked):
    folders = {p.name[:3] for p in unpacked(ODD).rglob("[01][0-9]_*") if p.is_dir()}
    assert folders == {row[0] for row in GOOD} | {row[0] for row in BAD}


def test_same_slices_in_any_disguise_give_the_same_volume(unpacked):
    root = unpacked(ODD)
    reference = read_series(case_folder(root, "00_"))
    for case in ("04_", "05_"):
        other = read_series(case_folder(root, case))
        np.testing.assert_array_equal(other.volume.values, reference.volume.values)
        assert other.volume.geometry == reference.volume.geometry
        assert other.sop_instance_uids == reference.sop_instance_uids


def test_mixed_folder_is_read_by_number_and_by_uid(unpacked):
    folder = case_folder(unpacked(ODD), "12_")
    infos = list_series(folder)
    assert [i.kind for i in infos] == ["localizer", "ct", "ct"]
    by_number = read_series(folder, series="3")
    assert by_number.volume.geometry.spacing_mm == pytest.approx((1.5, 1.5, 1.0))
    by_uid = read_series(folder, series=infos[2].uid)
    np.testing.assert_array_equal(by_uid.volume.values, by_number.volume.values)
    with pytest.raises(InputError, match="only localizer"):
        read_series(folder, series="1")
    with pytest.raises(InputError, match="not among the 3 found"):
        read_series(folder, series="4")


LOSSLESS = ["CTImage.dcm", "BigEndian", "Deflated", "JPEG2000LosslessOnly", "JPEGLSLossless",
            "JPEGProcess14SV1", "JPEGProcess14Transfer", "LittleEndianExplicit",
            "LittleEndianImplicit", "RLELossless"]  # fmt: skip
# Largest difference of a lossy file: near-lossless coders promise +-1 (2 with rounding), 12-bit
# JPEG a few steps of 2 HU, 8-bit JPEG two steps of 32 HU.
LOSSY = {"JPEG2000Transfer": 30, "JPEGLSLossy": 2, "JPEGProcess1Transfer": 65,
         "JPEGProcess2_4": 40, "JPEGProcess6_8": 40, "JPEGProcess10_12": 40}  # fmt: skip


def syntax_file(root: Path, word: str) -> Path:
    exact = [p for p in root.rglob("*") if p.name == word]
    return exact[0] if exact else next(p for p in root.rglob(f"*_{word}*"))


@pytest.mark.parametrize("word", LOSSLESS)
def test_lossless_transfer_syntaxes_agree(unpacked, word):
    root = unpacked(SYNTAXES)
    plain = read_series(syntax_file(root, "CTImage.dcm")).volume
    read = read_series(syntax_file(root, word))
    np.testing.assert_array_equal(read.volume.values, plain.values)
    assert (plain.values.min(), plain.values.max()) == (-3024, 1378)
    assert {n.code for n in read.notes} == {"single-slice"}
    assert read.volume.geometry == plain.geometry


@pytest.mark.parametrize("word", LOSSY)
def test_lossy_transfer_syntaxes_come_close(unpacked, word):
    root = unpacked(SYNTAXES)
    plain = read_series(syntax_file(root, "CTImage.dcm")).volume.values
    read = read_series(syntax_file(root, word))
    assert "lossy-compression" in {n.code for n in read.notes}
    inside = plain > -2000
    assert np.abs(read.volume.values - plain)[inside].max() <= LOSSY[word]


@pytest.mark.parametrize(
    ("name", "unit", "low", "high", "spacing"),
    [
        ("CT1_J2KR", Unit.HU, -3024, 1254, (0.661468, 0.661468, 5)),
        ("CT2_J2KR", Unit.HU, -2048, 1433, (0.468, 0.468, 10)),
        (
            "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm",
            Unit.GREY,
            -14,
            1199,
            (0.388672, 0.388672, 10),
        ),
        ("eCT_Supplemental.dcm", Unit.GREY, -1024, 172, (0.388672, 0.388672, 10)),
    ],
)
def test_jpeg2000_and_enhanced_files(unpacked, name, unit, low, high, spacing):
    volume = read_series(syntax_file(unpacked(SYNTAXES), name)).volume
    assert volume.unit == unit
    assert (volume.values.min(), volume.values.max()) == (low, high)
    assert volume.geometry.spacing_mm == pytest.approx(spacing)


def test_every_transfer_syntax_file_is_in_a_table(unpacked):
    files = [p for p in unpacked(SYNTAXES).rglob("*") if p.is_file()]
    assert len(files) == 20 == len(LOSSLESS) + len(LOSSY) + 4


def test_enhanced_frames_are_ordered_by_position(unpacked):
    read = read_series(syntax_file(unpacked(SYNTAXES), "eCT_Supplemental.dcm"))
    # Rows run from right to left here, so the slices' normal points to the feet.
    assert read.volume.geometry.origin_lps_mm[2] == -149
    assert read.volume.geometry.direction[:, 2].tolist() == [0, 0, -1]
    assert "rescale-type" in {n.code for n in read.notes}


def test_folder_of_the_same_slice_many_times_is_refused(unpacked):
    folder = syntax_file(unpacked(SYNTAXES), "CTImage.dcm").parent
    with pytest.raises(InputError, match=r"4 series.*--series 1"):
        read_series(folder)
    with pytest.raises(GeometryError, match="15 of 16 images lie at the position of another"):
        read_series(folder, series="3")


def test_published_bad_geometries(unpacked):
    root = unpacked(TILTS)
    read = read_series(case_folder(root, "gantrytilting"))
    assert [n.code for n in read.notes] == ["gantry-tilt"]
    assert "tilted by 14.0 degrees" in read.notes[0].text
    with pytest.raises(GeometryError, match=r"1 slice is missing: .*after slice 3"):
        read_series(case_folder(root, "sliceincrement"))


def test_tilted_phantom_keeps_its_true_grid_or_is_straightened(unpacked):
    folder = unpacked(PHANTOM)
    sheared = read_series(folder)
    grid = sheared.volume.geometry
    assert grid.shape == (54, 512, 512)
    assert not grid.is_orthogonal
    np.testing.assert_allclose(grid.ijk_to_lps[:3, 2], (0, 0, 2.5), atol=1e-6)
    upright = read_series(folder, resample_tilt=True).volume
    assert upright.geometry.is_orthogonal
    assert upright.geometry.spacing_mm[2] == pytest.approx(2.5 * np.cos(np.radians(18.5)), rel=1e-5)
    # The whole phantom is kept: as much attenuation as before (air, at -1000 HU, weighs nothing).
    before = np.clip(sheared.volume.values + 1000, 0, None).sum(dtype=float)
    after = np.clip(upright.values + 1000, 0, None).sum(dtype=float)
    assert after == pytest.approx(before, rel=0.01)


@pytest.mark.parametrize(("name", "series"), [(ODD, 17), (SYNTAXES, 4), (TILTS, 2), (PHANTOM, 1)])
def test_archives_are_listed_without_unpacking(data_file, name, series):
    infos = list_series(data_file(f"{name}.zip"))
    assert len(infos) == series
    assert [i.index for i in infos] == list(range(1, series + 1))


def test_archive_and_folder_give_the_same_volume(data_file, unpacked):
    folder = case_folder(unpacked(TILTS), "gantrytilting")
    archived = read_series(data_file(f"{TILTS}.zip"), series="2")
    np.testing.assert_array_equal(archived.volume.values, read_series(folder).volume.values)
