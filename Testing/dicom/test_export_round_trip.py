"""An exported series comes back with its geometry and HU through every reader at hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.dicom_export import ExportOptions, export_series
from ctrestorelib.io.dicom_series import read_series

sys.path.insert(0, str(Path(__file__).parent))
from export_sources import datasets, record, restored, turned, write_source

PLACE_MM, VALUE_HU = 1e-4, 0.5 + 1e-6
OBLIQUE = turned(7.3, -11.7, 23.9)
TILT = np.radians(18.5)
TILTED = turned(-18.5, 0, 0)

SOURCES = {
    "axial": {},
    "oblique": {"axes": OBLIQUE},
    "sagittal": {"axes": np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])},
    "feet-first": {
        "axes": np.diag([-1.0, 1.0, -1.0]),
        "edit": lambda ds, _k: setattr(ds, "PatientPosition", "FFS"),
    },
    "gantry-tilted": {"axes": TILTED, "step": (0, 0, 1.25)},
    "sub-millimetre": {"spacing": (0.0123, 0.0123), "gap": 0.015, "axes": OBLIQUE},
    "far-away": {"origin": (1234.567891, -2345.678912, 3456.789123), "axes": OBLIQUE},
    "padded": {"padding": True},
    "latin-1": {"name": "Käfer^Jörg", "charset": "ISO_IR 100"},
    "utf-8": {"name": "山田^太郎", "charset": "ISO_IR 192"},
    "iso-2022": {
        "name": "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "charset": ["", "ISO 2022 IR 87"],
    },
}


@pytest.fixture(params=SOURCES)
def exported(request, tmp_path):
    """Return (volume, exported files) of a denoised series of each kind."""
    source = write_source(tmp_path / "source", **SOURCES[request.param])
    volume, made = restored(source)
    report = export_series(volume, made, tmp_path / "out", source=source)
    assert report.same_grid
    return volume, report.files


@pytest.fixture(params=range(6))
def computed(request, tmp_path):
    """Return (volume, exported files) of a grid without source, of any handedness."""
    rng = np.random.default_rng(request.param)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if request.param % 3 == 0:
        axes[:, 2] += 0.3 * axes[:, 0]  # sheared along the rows, as under a tilted gantry
    matrix = np.eye(4)
    matrix[:3, :3] = axes * rng.uniform(0.01, 2.0, 3)
    matrix[:3, 3] = rng.normal(0, 800, 3)
    values = rng.uniform(-1024, 3071, (5, 9, 7)).astype(np.float32)
    volume = Volume(values, VolumeGeometry(values.shape, matrix), Unit.HU)
    made = record(role="projections", method="fdk")
    return volume, export_series(volume, made, tmp_path / "out").files


def assert_same(volume: Volume, places, values) -> None:
    """Compare a reader's (place of voxel, value) with the volume, voxel by voxel.

    ``places(ijk)`` maps the reader's indices to LPS mm; ``values`` is ``[k, j, i]``. A reader may
    count the slices from the other end.
    """
    k, j, i = np.indices(values.shape).reshape(3, -1)
    own = volume.geometry.to_ijk(places(np.column_stack([i, j, k]).astype(float)))
    nearest = np.rint(own).astype(int)
    misses = volume.geometry.to_world(own) - volume.geometry.to_world(nearest)
    assert np.abs(misses).max() <= PLACE_MM
    assert len(np.unique(nearest, axis=0)) == volume.values.size
    expected = volume.values[nearest[:, 2], nearest[:, 1], nearest[:, 0]]
    assert np.abs(expected - values.ravel()).max() <= VALUE_HU


def check_own_reader(volume, files):
    read = read_series(files[0].parent)
    assert read.volume.unit == Unit.HU
    assert_same(volume, read.volume.geometry.to_world, read.volume.values)


def test_own_reader(exported):
    check_own_reader(*exported)


def test_own_reader_on_computed_grids(computed):
    check_own_reader(*computed)


def check_pydicom(volume, files):
    headers = datasets(files)
    assert len(headers) == volume.shape[0]
    for ds in headers:
        row, column = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        origin, size = np.array(ds.ImagePositionPatient, float), np.array(ds.PixelSpacing, float)
        i, j = (v.ravel() for v in np.meshgrid(range(ds.Columns), range(ds.Rows)))
        places = origin + np.outer(i, row) * size[1] + np.outer(j, column) * size[0]
        own = np.rint(volume.geometry.to_ijk(places)).astype(int)
        assert np.abs(volume.geometry.to_world(own) - places).max() <= PLACE_MM
        values = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        expected = volume.values[own[:, 2], own[:, 1], own[:, 0]]
        assert np.abs(expected - values.ravel()).max() <= VALUE_HU


def test_pydicom(exported):
    check_pydicom(*exported)


def test_pydicom_on_computed_grids(computed):
    check_pydicom(*computed)


def test_simpleitk(exported):
    volume, files = exported
    reader = SimpleITK.ImageSeriesReader()
    (uid,) = reader.GetGDCMSeriesIDs(str(files[0].parent))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(files[0].parent), uid))
    image = reader.Execute()
    assert image.GetPixelID() == SimpleITK.sitkInt16
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    origin = np.array(image.GetOrigin())
    values = SimpleITK.GetArrayFromImage(image)
    if not volume.geometry.is_orthogonal:  # ITK cannot hold a sheared grid, only its slices
        assert np.abs(values - volume.values).max() <= VALUE_HU
        assert np.abs(origin - volume.geometry.origin_lps_mm).max() <= PLACE_MM
        assert np.abs(axes[:, :2] - volume.geometry.ijk_to_lps[:3, :2]).max() <= PLACE_MM
        return
    assert_same(volume, lambda ijk: ijk @ axes.T + origin, values)


def test_highdicom(exported):
    hd = pytest.importorskip("highdicom")
    volume, files = exported
    if not volume.geometry.is_orthogonal:
        with pytest.raises(ValueError, match="regularly"):
            hd.get_volume_from_series(datasets(files))
        return
    found = hd.get_volume_from_series(datasets(files))
    affine = found.affine  # of indices (slice, row, column)
    swap = lambda ijk: np.column_stack([ijk[:, 2], ijk[:, 1], ijk[:, 0]])  # noqa: E731
    assert_same(
        volume, lambda ijk: swap(ijk) @ affine[:3, :3].T + affine[:3, 3], np.asarray(found.array)
    )


@pytest.fixture(scope="module")
def slicer_scene():
    """Return a scene of Slicer's core without a window."""
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkOSOpenGLRenderWindow")
    slicer = pytest.importorskip("slicer")
    pytest.importorskip("trame_slicer")
    from trame_slicer.core.slicer_app import SlicerApp

    if getattr(slicer, "mrmlScene", None) is None:
        slicer.mrmlScene = SlicerApp().scene
    return slicer.mrmlScene


def test_slicers_own_reader(exported, slicer_scene):
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    volume, files = exported
    node = slicer_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    storage = slicer_scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetSingleFile(0)
    storage.SetFileName(str(files[0]))
    for path in files:
        storage.AddFileName(str(path))
    assert isinstance(storage, slicer.vtkMRMLVolumeArchetypeStorageNode)
    assert storage.ReadData(node) == 1
    image, matrix = node.GetImageData(), vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    affine = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    affine = np.diag([-1, -1, 1, 1]) @ affine
    scalars = image.GetPointData().GetScalars()
    assert scalars.GetDataType() == vtk.VTK_SHORT
    values = vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1])
    if not volume.geometry.is_orthogonal:  # Slicer adds the shear as a transform afterwards
        assert np.abs(np.sort(values, axis=None) - np.sort(volume.values, axis=None)).max() <= 0.5
        assert np.abs(affine[:3, 3] - volume.geometry.origin_lps_mm).max() <= PLACE_MM
        assert np.abs(affine[:3, :2] - volume.geometry.ijk_to_lps[:3, :2]).max() <= PLACE_MM
        return
    assert_same(volume, lambda ijk: ijk @ affine[:3, :3].T + affine[:3, 3], values)


@pytest.mark.parametrize("case", ["latin-1", "utf-8", "iso-2022"])
def test_names_keep_their_letters(tmp_path, case):
    source = write_source(tmp_path / "s", **SOURCES[case])
    volume, made = restored(source)
    files = export_series(volume, made, tmp_path / "o", source=source).files
    before, after = datasets(source.iterdir())[0], datasets(files)[0]
    assert after.SpecificCharacterSet == before.SpecificCharacterSet
    for keyword in ("PatientName", "ReferringPhysicianName", "PatientID"):
        assert str(after[keyword].value) == str(before[keyword].value) != ""
        assert "?" not in str(after[keyword].value)


def raw_names(path):
    """Return the bytes of every patient's name in a file, found without a DICOM library."""
    content = path.read_bytes()
    at = content.index(b"\x10\x00\x10\x00PN")
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    return content[at + 8 : at + 8 + length].rstrip(b" ")


def test_shift_jis_bytes_are_kept_one_by_one(tmp_path):
    letters = "ﾔﾏﾀﾞ^ﾀﾛｳ".encode("shift_jis")
    source = write_source(tmp_path / "s", charset="ISO_IR 13", name="ABCD^EFG")
    for path in source.iterdir():  # pydicom cannot write these names itself
        path.write_bytes(path.read_bytes().replace(b"ABCD^EFG", letters))
    volume, made = restored(source)
    files = export_series(volume, made, tmp_path / "o", source=source).files
    assert {raw_names(path) for path in files} == {letters}
    assert datasets(files)[0].SpecificCharacterSet == "ISO_IR 13"


def test_letters_without_a_declared_set_get_the_customary_one(tmp_path):
    source = write_source(tmp_path / "s", charset=None, name="plain")

    for path in source.iterdir():  # as old scanners do: Latin-1 bytes, nothing declared
        path.write_bytes(path.read_bytes().replace(b"plain", b"K\xe4fer"))
    volume, made = restored(source)
    ds = datasets(export_series(volume, made, tmp_path / "o", source=source).files)[0]
    assert ds.SpecificCharacterSet == "ISO_IR 100"
    assert str(ds.PatientName).startswith("Käfer")


def test_some_slices_in_reverse_order_still_match_their_sources(tmp_path):
    source = write_source(tmp_path / "s", axes=OBLIQUE)
    volume, made = restored(source)
    part = volume.crop((slice(1, 4), slice(None), slice(None)))
    matrix = np.array(part.geometry.ijk_to_lps)
    matrix[:3, 3] += 2 * matrix[:3, 2]
    matrix[:3, 2] *= -1
    turned_over = Volume(part.values[::-1], VolumeGeometry(part.shape, matrix), Unit.HU)
    report = export_series(turned_over, made, tmp_path / "o", source=source)
    assert report.same_grid
    used = [d.SourceImageSequence[0].ReferencedSOPInstanceUID for d in datasets(report.files)]
    assert used == ["1.2.3.4.2", "1.2.3.4.3", "1.2.3.4.4"]
    check_pydicom(turned_over, report.files)


def test_a_grid_that_is_off_by_a_pixel_is_not_the_sources(tmp_path):
    source = write_source(tmp_path / "s")
    volume, made = restored(source)
    matrix = np.array(volume.geometry.ijk_to_lps)
    matrix[0, 3] += 0.4
    moved = Volume(volume.values, VolumeGeometry(volume.shape, matrix), Unit.HU)
    report = export_series(moved, made, tmp_path / "o", source=source)
    assert not report.same_grid
    check_pydicom(moved, report.files)


def test_frames_can_be_said_to_agree_or_not(tmp_path):
    source = write_source(tmp_path / "s")
    volume, made = restored(source)
    crop = volume.crop((slice(None), slice(2, 9), slice(1, 8)))
    frames = {}
    for name, same in (("a", None), ("b", False)):
        options = ExportOptions(same_frame=same)
        report = export_series(crop, made, tmp_path / name, source=source, options=options)
        frames[same] = datasets(report.files)[0].FrameOfReferenceUID
    assert frames[None] == "1.2.9" != frames[False]
