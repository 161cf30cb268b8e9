"""Reading and writing volumes: formats, odd types, refusals, nothing half-written."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from ctrestorelib.core.errors import GeometryError, InputError, ResourceError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume, write_volume

SHAPE = (3, 4, 5)


def codes(notes):
    return {note.code for note in notes}


def oblique(left_handed=False):
    a, b = 0.4, -0.7
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    lean = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ lean * [0.5, 0.75, -1.25 if left_handed else 1.25]
    matrix[:3, 3] = -11.0, 22.5, 300.0
    return matrix


def a_volume(matrix=None, unit=Unit.HU, shape=SHAPE):
    values = np.random.default_rng(3).normal(-200, 500, shape).astype(np.float32)
    values.flat[0] = -1000
    return Volume(values, VolumeGeometry(shape, np.eye(4) if matrix is None else matrix), unit)


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".npz"])
@pytest.mark.parametrize("unit", list(Unit))
def test_orientation_values_and_unit_come_back(tmp_path, suffix, left_handed, unit):
    volume = a_volume(oblique(left_handed), unit)
    report = write_volume(volume, tmp_path / f"v{suffix}")
    read = read_volume(tmp_path / f"v{suffix}")
    assert (report.clipped, report.notes, read.notes) == (0, (), ())
    np.testing.assert_array_equal(read.volume.values, volume.values)
    assert read.volume.geometry.matches(volume.geometry, tolerance_mm=2e-5)
    assert read.volume.unit is unit
    assert [p.name for p in tmp_path.iterdir()] == [f"v{suffix}"]


@pytest.mark.parametrize("left_handed", [False, True])
def test_itk_reads_our_nifti_as_we_do(tmp_path, left_handed):
    volume = a_volume(oblique(left_handed))
    write_volume(volume, tmp_path / "v.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "v.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), volume.values)
    for ijk in ((0, 0, 0), (4, 3, 2), (1, 0, 2)):
        place = image.TransformIndexToPhysicalPoint(ijk)
        np.testing.assert_allclose(place, volume.geometry.to_world(ijk), atol=1e-4)


def test_qform_and_sform_of_our_nifti_agree(tmp_path):
    # Readers of the nibabel kind take the sform, others the qform.
    from ctrestorelib.io.nifti import read_nifti_header
    from ctrestorelib.io.nifti_header import qform_to_lps, sform_to_lps

    for left_handed in (False, True):
        volume = a_volume(oblique(left_handed))
        write_volume(volume, tmp_path / "v.nii")
        header = read_nifti_header(tmp_path / "v.nii")
        np.testing.assert_allclose(sform_to_lps(header), volume.geometry.ijk_to_lps, atol=1e-5)
        np.testing.assert_allclose(qform_to_lps(header), volume.geometry.ijk_to_lps, atol=1e-4)


def test_tiff_keeps_values_and_voxel_size(tmp_path):
    matrix = np.diag([0.05, 0.06, 0.2, 1.0])
    for dtype in ("float32", "int16"):  # ImageJ's and OME's tags
        volume = a_volume(matrix)
        rounded = volume.with_values(np.rint(volume.values))
        assert write_volume(rounded, tmp_path / "v.tif", dtype=dtype).notes == ()
        read = read_volume(tmp_path / "v.tif")
        np.testing.assert_array_equal(read.volume.values, rounded.values)
        np.testing.assert_allclose(read.volume.geometry.spacing_mm, (0.05, 0.06, 0.2), rtol=1e-5)
    assert "orientation-dropped" in codes(
        write_volume(a_volume(oblique()), tmp_path / "o.tif").notes
    )


def test_npy_says_what_it_loses(tmp_path):
    volume = a_volume(np.diag([2.0, 2, 2, 1]))
    assert codes(write_volume(volume, tmp_path / "v.npy").notes) == {"geometry-dropped"}
    read = read_volume(tmp_path / "v.npy")
    assert "spacing-assumed" in codes(read.notes)
    given = read_volume(tmp_path / "v.npy", spacing_mm=(2, 3, 4), unit=Unit.GREY)
    assert given.volume.geometry.spacing_mm == (2, 3, 4)
    assert given.notes == ()


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "float32", "float64", "int64"]
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".tif", ".npy"])
def test_odd_types_are_read(tmp_path, dtype, suffix):
    values = np.arange(60).reshape(SHAPE).astype(dtype)
    path = tmp_path / f"v{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".tif":
        tifffile.imwrite(path, values, photometric="minisblack")
    else:
        sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    read = read_volume(path)
    assert read.volume.values.dtype == np.float32
    np.testing.assert_array_equal(read.volume.values, values)
    assert read.volume.unit is Unit.GREY


def test_one_slice_and_nan_are_read(tmp_path):
    volume = a_volume(shape=(1, 4, 5))
    volume.values[0, 1, 1] = np.nan
    for suffix in (".nii.gz", ".nrrd", ".mha", ".tif", ".npy"):
        write_volume(volume, tmp_path / f"v{suffix}")
        read = read_volume(tmp_path / f"v{suffix}").volume
        assert read.shape == (1, 4, 5)
        assert np.isnan(read.values[0, 1, 1])
        with pytest.raises(InputError, match="NaN"):
            read.require_finite()


def test_unit_rules(tmp_path):
    def unit_of(values, **given):
        np.save(tmp_path / "u.npy", values)
        return read_volume(tmp_path / "u.npy", **given).volume.unit

    ct = np.full(SHAPE, 40.0)
    ct[0] = -1000
    assert unit_of(ct) is Unit.HU
    assert unit_of(ct.astype(np.int16)) is Unit.HU
    assert unit_of(ct + 2000) is Unit.GREY
    assert unit_of(np.full(SHAPE, -100, np.int8)) is Unit.GREY
    assert unit_of(ct, unit=Unit.GREY) is Unit.GREY
    assert unit_of(np.full(SHAPE, 0.02), unit=Unit.PER_MM) is Unit.PER_MM


def test_notes_on_labels_and_large_integers(tmp_path):
    labels = np.arange(60).reshape(SHAPE) % 4
    np.save(tmp_path / "l.npy", labels.astype(np.uint8))
    assert "label-map" in codes(read_volume(tmp_path / "l.npy").notes)
    np.save(tmp_path / "b.npy", np.full(SHAPE, 2**24 + 1))
    assert "rounded" in codes(read_volume(tmp_path / "b.npy").notes)


# -- NIfTI headers that other programs write -----------------------------------------------------
def nifti_bytes(values, *, q=0, s=0, srow=None, units=2, dim=None, pix=(0.5, 0.6, 0.7), code=16):
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    shape = values.shape[::-1]
    struct.pack_into("<8h", head, 40, *(dim or (3, *shape[:3], 1, 1, 1, 1)))
    struct.pack_into("<2h", head, 70, code, values.itemsize * 8)
    struct.pack_into("<8f", head, 76, 1, *pix, 0, 0, 0, 0)
    struct.pack_into("<3f", head, 108, 352, 1, 0)
    head[123] = units
    struct.pack_into("<2h", head, 252, q, s)
    if srow is not None:
        struct.pack_into("<12f", head, 280, *np.ravel(srow))
    head[344:348] = b"n+1\0"
    return bytes(head) + values.tobytes()


VALUES = np.arange(60, dtype=np.float32).reshape(SHAPE)
RAS = [[0.5, 0, 0, 1], [0, 0.6, 0, 2], [0, 0, 0.7, 3]]


def read_bytes(tmp_path, data, name="v.nii"):
    (tmp_path / name).write_bytes(data)
    return read_volume(tmp_path / name)


def test_nifti_without_orientation_is_noted(tmp_path):
    read = read_bytes(tmp_path, nifti_bytes(VALUES))
    assert "orientation-assumed" in codes(read.notes)
    np.testing.assert_allclose(read.volume.geometry.spacing_mm, (0.5, 0.6, 0.7), rtol=1e-6)
    empty = read_bytes(tmp_path, nifti_bytes(VALUES, pix=(0, 0, 0)))
    assert {"spacing-assumed", "orientation-assumed"} <= codes(empty.notes)


def test_nifti_ras_becomes_lps_and_metres_millimetres(tmp_path):
    read = read_bytes(tmp_path, nifti_bytes(VALUES, s=1, srow=RAS))
    assert not codes(read.notes) & {"orientation-assumed", "two-orientations"}
    np.testing.assert_allclose(read.volume.geometry.origin_lps_mm, (-1, -2, 3), rtol=1e-6)
    small = np.array(RAS) / 1000
    data = nifti_bytes(VALUES, s=1, srow=small, units=1, pix=(0.0005, 0.0006, 0.0007))
    metres = read_bytes(tmp_path, data).volume.geometry
    assert metres.matches(read.volume.geometry, tolerance_mm=1e-4)


def test_sheared_nifti_keeps_its_axes_with_a_note(tmp_path):
    shear = [[0.5, 0, 0, 1], [0, 0.6, 0.2, 2], [0, 0, 0.7, 3]]
    read = read_bytes(tmp_path, nifti_bytes(VALUES, s=1, srow=shear))
    assert "sheared" in codes(read.notes)
    expected = np.diag([-1, -1, 1]) @ np.array(shear)
    np.testing.assert_allclose(read.volume.geometry.ijk_to_lps[:3], expected, rtol=1e-6)
    np.testing.assert_array_equal(read.volume.values, VALUES)


def test_two_orientations_are_noted(tmp_path):
    read = read_bytes(tmp_path, nifti_bytes(VALUES, q=1, s=1, srow=RAS))
    assert "two-orientations" in codes(read.notes)


def test_nifti_slope_is_applied(tmp_path):
    data = bytearray(nifti_bytes(VALUES.astype(np.int16), s=1, srow=RAS, code=4))
    struct.pack_into("<2f", data, 112, 2.0, -1024.0)
    read = read_bytes(tmp_path, bytes(data))
    np.testing.assert_array_equal(read.volume.values, VALUES * 2 - 1024)
    assert read.volume.unit is Unit.HU


def test_big_endian_nifti(tmp_path):
    image = sitk.GetImageFromArray(VALUES)
    image.SetSpacing((0.5, 0.6, 0.7))
    sitk.WriteImage(image, str(tmp_path / "l.nii"))
    little = (tmp_path / "l.nii").read_bytes()
    head = bytearray(little[:352])
    fields = [("i", 0, 1), ("i", 32, 1), ("h", 36, 1), ("h", 40, 8), ("f", 56, 3), ("h", 68, 4),
              ("f", 76, 8), ("f", 108, 3), ("h", 120, 1), ("f", 124, 4), ("i", 140, 2),
              ("h", 252, 2), ("f", 256, 18)]  # fmt: skip
    for kind, at, count in fields:
        numbers = struct.unpack_from(f"<{count}{kind}", little, at)
        struct.pack_into(f">{count}{kind}", head, at, *numbers)
    read = read_bytes(tmp_path, bytes(head) + VALUES.astype(">f4").tobytes(), "b.nii")
    np.testing.assert_array_equal(read.volume.values, VALUES)
    assert read.volume.geometry.matches(read_volume(tmp_path / "l.nii").volume.geometry)


# -- refusals ------------------------------------------------------------------------------------
def test_time_series_says_which_dimension(tmp_path):
    data = nifti_bytes(VALUES, s=1, srow=RAS, dim=(4, 5, 4, 1, 3, 1, 1, 1))
    with pytest.raises(InputError, match="dimension 4 holds 3 time points"):
        read_bytes(tmp_path, data)
    image = sitk.GetImageFromArray(np.zeros((2, 3, 4, 5), np.float32), isVector=False)
    for suffix in (".nrrd", ".mha"):
        sitk.WriteImage(image, str(tmp_path / f"t{suffix}"))
        with pytest.raises(InputError, match="dimension 4 holds 2 time points"):
            read_volume(tmp_path / f"t{suffix}")
    tifffile.imwrite(
        tmp_path / "t.tif",
        np.zeros((2, 3, 4, 5), np.uint16),
        imagej=True,
        metadata={"axes": "TZYX"},
    )
    with pytest.raises(InputError, match="2 time points"):
        read_volume(tmp_path / "t.tif")
    np.save(tmp_path / "t.npy", np.zeros((2, 3, 4, 5)))
    with pytest.raises(InputError, match="three-dimensional"):
        read_volume(tmp_path / "t.npy")


def test_colours_vectors_and_complex_are_refused(tmp_path):
    colours = np.zeros((3, 4, 5, 3), np.uint8)
    for suffix in (".nii", ".nrrd", ".mha"):
        sitk.WriteImage(
            sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / f"c{suffix}")
        )
        with pytest.raises(InputError, match=r"colours|3 values per voxel|dimension 5"):
            read_volume(tmp_path / f"c{suffix}")
    sitk.WriteImage(sitk.GetImageFromArray(VALUES.astype(np.complex64)), str(tmp_path / "z.nrrd"))
    with pytest.raises(InputError, match=r"complex|2 values"):
        read_volume(tmp_path / "z.nrrd")
    tifffile.imwrite(tmp_path / "c.tif", colours, photometric="rgb")
    with pytest.raises(InputError, match="colour"):
        read_volume(tmp_path / "c.tif")
    np.save(tmp_path / "z.npy", VALUES.astype(np.complex64))
    with pytest.raises(InputError, match="complex64"):
        read_volume(tmp_path / "z.npy")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".tif", ".npy", ".npz"])
@pytest.mark.parametrize("part", [0, 0.3, 0.8])
def test_cut_off_files_are_refused_in_a_sentence(tmp_path, suffix, part):
    write_volume(a_volume(shape=(9, 20, 20)), tmp_path / f"v{suffix}")
    data = (tmp_path / f"v{suffix}").read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path / f"cut{suffix}")
    assert f"cut{suffix}" in caught.value.message
    assert str(tmp_path) not in str(caught.value)


def test_flipped_bits_in_gzip_are_noticed(tmp_path):
    write_volume(a_volume(shape=(9, 20, 20)), tmp_path / "v.nii.gz")
    data = bytearray((tmp_path / "v.nii.gz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "v.nii.gz").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_volume(tmp_path / "v.nii.gz")


def test_absurd_size_is_refused_before_memory_is_taken(tmp_path):
    data = nifti_bytes(VALUES, s=1, srow=RAS, dim=(3, 30000, 30000, 30000, 1, 1, 1, 1))
    with pytest.raises(InputError, match="promises 30000 x 30000 x 30000"):
        read_bytes(tmp_path, data)
    lines = ["NRRD0004", "type: float", "dimension: 3", "sizes: 20000 20000 20000",
             "encoding: gzip", "endian: little", "", ""]  # fmt: skip
    (tmp_path / "v.nrrd").write_bytes("\n".join(lines).encode() + gzip.compress(b"0" * 99))
    with pytest.raises(ResourceError, match="GiB"):
        read_volume(tmp_path / "v.nrrd")


def test_memory_is_asked_first(tmp_path, monkeypatch):
    import psutil

    write_volume(a_volume(), tmp_path / "v.mha")
    little = type("Memory", (), {"available": 100})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    with pytest.raises(ResourceError, match="free"):
        read_volume(tmp_path / "v.mha")


def test_missing_file_offers_a_close_name(tmp_path):
    write_volume(a_volume(), tmp_path / "knee_left.nii.gz")
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path / "knee_lefft.nii.gz")
    assert "Did you mean knee_left.nii.gz?" in str(caught.value)
    with pytest.raises(InputError, match="no file or folder"):
        read_volume(tmp_path / "nowhere" / "x.mha")


def test_unknown_suffix_lists_the_formats(tmp_path):
    (tmp_path / "v.stl").write_text("x")
    with pytest.raises(InputError) as caught:
        read_volume(tmp_path / "v.stl")
    assert "NIfTI" in caught.value.hint
    with pytest.raises(UsageError):
        write_volume(a_volume(), tmp_path / "v.stl")


def test_pickles_are_never_opened(tmp_path):
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        read_volume(tmp_path / "p.npy")


def test_spacing_argument_is_checked_and_wins(tmp_path):
    write_volume(a_volume(oblique()), tmp_path / "v.mha")
    read = read_volume(tmp_path / "v.mha", spacing_mm=0.1)
    np.testing.assert_allclose(read.volume.geometry.spacing_mm, (0.1, 0.1, 0.1))
    assert "spacing-replaced" in codes(read.notes)
    for wrong in (0, -1, (1, 2), float("nan")):
        with pytest.raises(UsageError):
            read_volume(tmp_path / "v.mha", spacing_mm=wrong)


# -- TIFF stacks ---------------------------------------------------------------------------------
def test_tiff_stack_is_read_in_counting_order(tmp_path):
    for n in range(12):
        tifffile.imwrite(tmp_path / f"s{n}.tif", np.full((4, 5), n, np.uint16))
    (tmp_path / "notes.txt").write_text("x")
    read = read_volume(tmp_path, spacing_mm=0.02)
    np.testing.assert_array_equal(read.volume.values[:, 0, 0], np.arange(12))
    assert read.format == "tiff"
    tifffile.imwrite(tmp_path / "s5.tif", np.zeros((4, 6), np.uint16))
    with pytest.raises(InputError, match=r"s5\.tif is 6 x 4 uint16, but s0\.tif is 5 x 4 uint16"):
        read_volume(tmp_path)


def test_resolution_tags_and_print_resolutions(tmp_path):
    pages = np.zeros((3, 4, 5), np.uint16) + 7
    tifffile.imwrite(
        tmp_path / "cm.tif",
        pages,
        photometric="minisblack",
        resolution=(500, 250),
        resolutionunit=3,
    )
    read = read_volume(tmp_path / "cm.tif")
    np.testing.assert_allclose(read.volume.geometry.spacing_mm, (0.02, 0.04, 0.02))
    assert "slice-spacing-assumed" in codes(read.notes)
    tifffile.imwrite(
        tmp_path / "dpi.tif", pages, photometric="minisblack", resolution=(72, 72), resolutionunit=2
    )
    assert "spacing-assumed" in codes(read_volume(tmp_path / "dpi.tif").notes)
    tifffile.imwrite(
        tmp_path / "um.tif", pages, imagej=True, resolution=(1 / 12.5, 1 / 12.5),
        metadata={"spacing": 30.0, "unit": "um", "axes": "ZYX"},
    )  # fmt: skip
    spacing = read_volume(tmp_path / "um.tif").volume.geometry.spacing_mm
    np.testing.assert_allclose(spacing, (0.0125, 0.0125, 0.03), rtol=1e-5)


# -- writing -------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".tif", ".npz"])
def test_integers_are_rounded_and_clipping_is_counted(tmp_path, suffix):
    values = np.zeros(SHAPE, np.float32)
    values.flat[:4] = 40000, -40000, 2.5, -1000.6
    volume = Volume(values, VolumeGeometry(SHAPE, np.eye(4)), Unit.HU)
    report = write_volume(volume, tmp_path / f"v{suffix}", dtype="int16")
    assert report.clipped == 2
    assert codes(report.notes) == {"clipped"}
    read = read_volume(tmp_path / f"v{suffix}").volume
    assert read.values.flat[:4].tolist() == [32767, -32768, 2, -1001]


def test_all_integer_types(tmp_path):
    volume = a_volume().with_values(np.full(SHAPE, 3e9, np.float32))
    for dtype in ("uint8", "uint16", "int32"):
        assert write_volume(volume, tmp_path / "v.mha", dtype=dtype).clipped == 60
        assert read_volume(tmp_path / "v.mha").volume.values.max() > 0
    with pytest.raises(UsageError, match="float64"):
        write_volume(volume, tmp_path / "v.mha", dtype="float64")
    volume.values[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="whole numbers"):
        write_volume(volume, tmp_path / "n.mha", dtype="int16")
    assert not (tmp_path / "n.mha").exists()


def test_sheared_grids(tmp_path):
    matrix = np.eye(4)
    matrix[1, 2] = 0.4
    volume = a_volume(matrix)
    with pytest.raises(GeometryError, match="right angles"):
        write_volume(volume, tmp_path / "v.nii.gz")
    for suffix in (".nrrd", ".mha", ".npz"):
        write_volume(volume, tmp_path / f"v{suffix}")
        assert read_volume(tmp_path / f"v{suffix}").volume.geometry.matches(volume.geometry)


def test_two_part_formats_are_read_but_not_written(tmp_path):
    image = sitk.GetImageFromArray(VALUES)
    for suffix in (".mhd", ".nhdr"):
        sitk.WriteImage(image, str(tmp_path / f"v{suffix}"))
        np.testing.assert_array_equal(read_volume(tmp_path / f"v{suffix}").volume.values, VALUES)
        with pytest.raises(UsageError, match="two parts"):
            write_volume(a_volume(), tmp_path / f"w{suffix}")


FULL_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from ctrestorelib.core.errors import ResourceError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import write_volume
values = np.random.default_rng(0).normal(size=(20, 100, 100)).astype(np.float32)
volume = Volume(values, VolumeGeometry.from_spacing(values.shape, (1, 1, 1)), Unit.HU)
import SimpleITK, tifffile
folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
for suffix in (".nii", ".nii.gz", ".nrrd", ".mha", ".tif", ".npy", ".npz"):
    path = folder / f"v{suffix}"
    path.write_bytes(b"old")
    try:
        write_volume(volume, path)
    except ResourceError as error:
        assert path.read_bytes() == b"old", suffix
        assert str(folder) not in str(error), str(error)
    else:
        raise SystemExit(f"{suffix}: no error")
assert len(list(folder.iterdir())) == 7, list(folder.iterdir())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_full_disk_leaves_the_old_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
