"""Slices form the right grid, agree with ITK, and every broken stack is refused in clear words."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import SimpleITK

from ctrestorelib.core.errors import Cancelled, GeometryError, InputError
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.io.dicom_series import list_series, read_series


def rotation(a: float, b: float, c: float) -> np.ndarray:
    def plane(angle, i, j):
        m = np.eye(3)
        m[i, i] = m[j, j] = np.cos(angle)
        m[i, j], m[j, i] = -np.sin(angle), np.sin(angle)
        return m

    return plane(a, 1, 2) @ plane(b, 0, 2) @ plane(c, 0, 1)


OBLIQUE = rotation(*np.radians((7.3, -11.7, 23.9)))
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "oblique": (*OBLIQUE[:, 0], *OBLIQUE[:, 1]),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "rows to the right": (-1, 0, 0, 0, 1, 0),
    "rotated in plane": (0.906308, 0.422618, 0, -0.422618, 0.906308, 0),
}


def read_by_itk(folder):
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
def test_good_series_agree_with_itk(make_series, orientation, backwards):
    step = None
    if backwards:  # files and instance numbers run against the slices' normal (left-handed order)
        step = -1.25 * np.cross(orientation[:3], orientation[3:])
    folder = make_series(orientation=orientation, step=step)
    read = read_series(folder)
    image = read_by_itk(folder)
    corners = [(i, j, k) for i in (0, 9) for j in (0, 11) for k in (0, 5)]
    ours = read.volume.geometry.to_world(corners)
    theirs = [image.TransformIndexToPhysicalPoint(c) for c in corners]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    itk_values = SimpleITK.GetArrayFromImage(image)
    np.testing.assert_allclose(read.volume.values, itk_values, atol=0.5)
    assert ({n.code for n in read.notes} == {"order-reversed"}) == backwards
    assert read.volume.unit == Unit.HU


def test_row_spacing_comes_before_column_spacing(make_series):
    grid = read_series(make_series(spacing=(0.7, 0.8))).volume.geometry
    assert grid.spacing_mm == pytest.approx((0.8, 0.7, 1.25))
    assert grid.shape == (6, 12, 10)


def test_uids_follow_the_slices(make_series):
    read = read_series(make_series(step=(0, 0, -2)))
    assert read.sop_instance_uids == tuple(f"1.2.3.4.5.{n}" for n in (6, 5, 4, 3, 2, 1))
    assert read.info.images == 6
    assert str(read.info) == "1: CT, 6 images of 10 x 12, 0.8 x 0.7 mm pixels"


def test_shuffled_instance_numbers_are_noted(make_series):
    def shuffle(ds, k):
        ds.InstanceNumber = (3, 1, 2, 6, 5, 4)[k]

    read = read_series(make_series(edit=shuffle))
    assert {n.code for n in read.notes} == {"order-irregular"}


def move(ds, k, k_moved, by):
    if k == k_moved:
        position = [float(x) for x in ds.ImagePositionPatient]
        ds.ImagePositionPatient = [str(round(a + b, 6)) for a, b in zip(position, by, strict=True)]


def set_values(ds, k, ks, **values):
    if k in ks:
        for name, value in values.items():
            setattr(ds, name, value)


def absent(keyword, ks=range(6)):
    return lambda ds, k: ds.pop(keyword) and None if k in ks else None


def changed(ks, **values):
    return lambda ds, k: set_values(ds, k, ks, **values)


SIDEWAYS, SKEW = ["1", "0", "0", "0", "0", "-1"], ["1", "0", "0", "1", "0", "0"]
DEFECTS = {
    "one missing": (
        lambda ds, k: k != 3,
        "1 slice is missing: the distance between slices is 1.25 mm, but 2.5 mm after slice 3",
    ),
    "two missing": (
        lambda ds, k: k not in (2, 3),
        "2 slices are missing: the distance between slices is 1.25 mm, but 3.75 mm",
    ),
    "spacing doubles": (
        lambda ds, k: move(ds, k, k, (0, 0, 1.25 * max(0, k - 3))),
        "unevenly spaced: mostly 1.25 mm apart, but 2.5 mm after slice 4",
    ),
    "uneven": (
        lambda ds, k: move(ds, k, 2, (0, 0, 0.4)),
        "unevenly spaced: mostly 1.25 mm apart, but 1.65 mm after slice 2",
    ),
    "duplicate position": (
        lambda ds, k: move(ds, k, 2, (0, 0, 1.25)),
        "1 of 6 images lie at the position of another image",
    ),
    "shifted in plane": (
        lambda ds, k: move(ds, k, 2, (3, 0, 0)),
        "slice 3 of 6 lies 3 mm beside the line",
    ),
    "no position": (absent("ImagePositionPatient", (1,)), "1 of 6 images state no valid position"),
    "no orientation": (absent("ImageOrientationPatient"), "6 of 6 images state no valid orient"),
    "no pixel spacing": (absent("PixelSpacing"), "6 of 6 images state no valid pixel spacing"),
    "zero spacing": (changed((0,), PixelSpacing=["0", "1"]), "pixel spacing of 0 mm"),
    "mixed orientation": (
        changed((0, 5), ImageOrientationPatient=SIDEWAYS),
        "2 of 6 images are oriented differently",
    ),
    "impossible orientation": (
        changed((4,), ImageOrientationPatient=SKEW),
        "1 of 6 images state an impossible orientation",
    ),
    "mixed spacing": (
        changed((1,), PixelSpacing=["1.5", "1.5"]),
        "1 of 6 images have another pixel spacing",
    ),
    "mixed frame of reference": (
        changed((3, 4, 5), FrameOfReferenceUID="1.2.8"),
        "2 different frames of reference (3 + 3 images)",
    ),
}


@pytest.mark.parametrize(("edit", "words"), DEFECTS.values(), ids=DEFECTS.keys())
def test_broken_stack_is_refused(make_series, edit, words):
    with pytest.raises(GeometryError) as caught:
        read_series(make_series(edit=edit))
    assert words in caught.value.message
    assert caught.value.hint


def test_drifting_spacing_is_refused(make_series):
    # Each distance is within rounding of its neighbours, yet the stack bends away from even.
    def drift(ds, k):
        bend = 0.012 * max(0, k - 20)
        ds.ImagePositionPatient = ["0", "0", f"{k * 1.25 + bend:.4f}"]

    stored = np.zeros((60, 4, 4), np.int16)
    with pytest.raises(GeometryError, match="drifts"):
        read_series(make_series(stored, edit=drift))


def test_mixed_sizes_are_counted(make_series):
    folder = make_series()
    other = make_series(np.zeros((2, 8, 8), np.uint16), folder="other", origin=(0, 0, 99))
    for n, path in enumerate(sorted(other.iterdir())):
        shutil.copy(path, folder / f"extra{n}.dcm")
    with pytest.raises(GeometryError, match="6 of 10 x 12, 2 of 8 x 8 pixels"):
        read_series(folder)


def test_positions_rounded_to_two_decimals_are_accepted_and_noted(make_series):
    def rounded(ds, k):
        ds.ImagePositionPatient = [f"{float(x):.2f}" for x in ds.ImagePositionPatient]

    read = read_series(make_series(gap=0.625, edit=rounded))
    assert "positions-rounded" in {n.code for n in read.notes}
    assert read.volume.geometry.spacing_mm[2] == pytest.approx(0.625, abs=0.002)


def test_repeated_acquisition_is_explained(make_series):
    folder = make_series()
    again = make_series(folder="again", edit=lambda ds, k: set_values(
        ds, k, range(6), AcquisitionNumber=2, SOPInstanceUID=f"1.2.9.{k}"))  # fmt: skip
    for n, path in enumerate(sorted(again.iterdir())):
        shutil.copy(path, folder / f"again{n}.dcm")
    with pytest.raises(GeometryError, match=r"6 of 12 images.*2 acquisitions"):
        read_series(folder)


def test_identical_copies_are_read_once_with_a_note(make_series):
    folder = make_series()
    for path in sorted(folder.iterdir())[:2]:
        shutil.copy(path, folder / f"copy of {path.name}")
    read = read_series(folder)
    assert read.volume.shape[0] == 6
    assert "2 images are identical copies" in read.notes[0].text


def test_localizer_inside_the_series_is_left_out_with_a_note(make_series):
    def scout(ds, k):
        if k == 5:
            ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            ds.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]

    read = read_series(make_series(edit=scout))
    assert read.volume.shape[0] == 5
    assert [n.code for n in read.notes] == ["localizer"]


def test_only_ct_series_is_taken_among_others(make_series):
    folder = make_series()
    for name, changes in {
        "scout": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesInstanceUID": "1.7"},
        "pet": {"Modality": "PT", "SeriesInstanceUID": "1.8"},
    }.items():
        extra = make_series(folder=name, edit=changed(range(6), **changes))
        shutil.copytree(extra, folder / name)
    read = read_series(folder)
    assert read.info.modality == "CT"
    assert "2 other series were left aside" in read.notes[0].text
    assert sorted(i.kind for i in list_series(folder)) == ["ct", "localizer", "other"]


def test_study_that_lies_in_two_folders_twice_is_two_series(make_series, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(make_series(), root / "a")
    shutil.copytree(make_series(), root / "b")
    assert [i.images for i in list_series(root)] == [6, 6]


def test_series_spread_over_folders_is_one(make_series, tmp_path):
    folder = make_series()
    (folder / "more").mkdir()
    for path in sorted(folder.glob("*.dcm"))[::2]:
        path.rename(folder / "more" / path.name)
    assert read_series(folder).volume.shape[0] == 6


@pytest.mark.parametrize("degrees", [0.5, 1, 2.5, 15, -18.5, 25])
def test_tilt_is_read_sheared_with_a_note(make_series, degrees):
    t = np.radians(degrees)
    orientation = (1, 0, 0, 0, np.cos(t), -np.sin(t))
    stored = np.zeros((20, 8, 8), np.int16)
    folder = make_series(stored, orientation=orientation, step=(0, 0, 1.25))
    read = read_series(folder)
    np.testing.assert_allclose(read.volume.geometry.ijk_to_lps[:3, 2], (0, 0, 1.25), atol=1e-9)
    assert [n.code for n in read.notes] == ["gantry-tilt"]
    assert f"tilted by {abs(degrees):.1f} degrees" in read.notes[0].text


def blob(world: np.ndarray) -> np.ndarray:
    """Return a smooth HU function of LPS mm: air with a soft ball."""
    return -1000 + 1200 * np.exp(-(((world - (0, 0, 25)) / (9, 8, 10)) ** 2).sum(axis=-1))


@pytest.mark.parametrize("degrees", [2.5, -18.5])
def test_straightened_tilt_shows_the_object_where_it_is(make_series, degrees):
    t = np.radians(degrees)
    orientation = np.array((1, 0, 0, 0, np.cos(t), -np.sin(t)))
    step, origin = np.array((0, 0, 1.25)), np.array((-16, -20.0, 0))
    k, j, i = np.meshgrid(range(40), range(48), range(32), indexing="ij")
    world = (origin + k[..., None] * step + j[..., None] * 0.9 * orientation[3:]
             + i[..., None] * orientation[:3])  # fmt: skip
    stored = np.rint(blob(world)).astype(np.int16)
    folder = make_series(stored, orientation=orientation, step=step, origin=origin,
                         spacing=(0.9, 1.0), rescale=(1, 0))  # fmt: skip
    read = read_series(folder, resample_tilt=True)
    grid = read.volume.geometry
    assert grid.is_orthogonal
    assert [n.code for n in read.notes] == ["tilt-resampled"]
    kk, jj, ii = np.indices(grid.shape)
    expected = blob(grid.to_world(np.stack([ii, jj, kk], axis=-1)))
    filled = read.volume.values == -1000
    # Outside every slice lies air, as the note says; inside, a quarter of a per cent of the range.
    assert np.abs(read.volume.values - expected)[~filled].max() < 3
    assert expected[filled].mean() < -900
    assert grid.shape[1] > 48


def test_padding_does_not_ring_when_a_tilt_is_straightened(make_series):
    t = np.radians(10)
    stored = np.full((12, 20, 16), 40, np.int16)
    stored[:, :5] = -2000

    def declare(ds, k):
        ds.add_new("PixelPaddingValue", "SS", -2000)

    folder = make_series(stored, orientation=(1, 0, 0, 0, np.cos(t), -np.sin(t)), step=(0, 0, 1.25),
                         rescale=(1, 0), edit=declare)  # fmt: skip
    values = read_series(folder, resample_tilt=True).volume.values
    assert values.min() == -2000
    measured = values[values > -1100]
    assert len(measured) == 12 * 15 * 16
    # Cubic interpolation may overshoot by a few per cent of the step from air to 40 HU, no more.
    assert measured.max() < 40 + 0.08 * 1040


def test_upright_stack_with_a_tilt_tag_is_believed(make_series):
    folder = make_series(edit=lambda ds, k: set_values(ds, k, range(6), GantryDetectorTilt="15"))
    read = read_series(folder, resample_tilt=True)
    assert [n.code for n in read.notes] == ["tilt-tag-disagrees"]
    assert read.volume.geometry.is_orthogonal


def test_enhanced_file_with_rescale_per_frame(make_enhanced):
    stored = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(np.uint16)
    heights, intercepts = (6, 0, 2, 4), (-1000, -1010, -1020, -1030)
    read = read_series(make_enhanced(stored, [(0, 0, z) for z in heights], intercepts))
    order = [1, 2, 3, 0]
    expected = [stored[n] * 2.0 + intercepts[n] for n in order]
    np.testing.assert_array_equal(read.volume.values, np.array(expected, np.float32))
    assert read.volume.geometry.spacing_mm == pytest.approx((0.6, 0.5, 2))
    assert len(read.sop_instance_uids) == 4


def test_enhanced_file_with_a_missing_frame_is_refused(make_enhanced):
    stored = np.zeros((4, 5, 6), np.uint16)
    with pytest.raises(GeometryError, match="1 slice is missing"):
        read_series(make_enhanced(stored, [(0, 0, z) for z in (0, 2, 4, 8)], (0,) * 4))


def test_single_slice_is_a_volume_of_one(make_series):
    path = next(iter(make_series().iterdir()))
    read = read_series(path)
    assert read.volume.shape == (1, 12, 10)
    assert "depth is taken as 1.25 mm" in read.notes[0].text


def test_folder_without_images_is_explained(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"No DICOM image was found among 1 file\."):
        read_series(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_series(tmp_path / "absent")


def test_cancel_stops_between_slices(make_series):
    with pytest.raises(Cancelled):
        read_series(make_series(), job=Job(is_cancelled=lambda: True))
