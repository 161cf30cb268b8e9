"""Projection stacks, DataExchange and MATLAB files, made here: what is read, assumed, refused."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from ctrestorelib.core.errors import GeometryError, InputError, ResourceError, UsageError
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles
from ctrestorelib.io.flat_field import line_integrals, replace_dead
from ctrestorelib.io.geometry_files import write_geometry
from ctrestorelib.io.projections import read_projections, write_projections
from ctrestorelib.io.rotation_centre import find_rotation_centre

FIELDS = ("source", "detector_centre_mm", "u_mm", "v_mm", "world_to_gantry")


def codes(notes):
    return {note.code for note in notes}


def scan(views=5, **changes):
    given = {
        "sod_mm": 500.0, "sdd_mm": 900.0, "angles_rad": equal_angles(views, 200),
        "detector_shape": (6, 8), "pixel_mm": (2.0, 1.5), "offset_mm": (1.0, -3.0), **changes,
    }  # fmt: skip
    return ConeBeamGeometry.circular(**given)


def projections(kind=ProjectionKind.LINE_INTEGRAL, i0=None, **changes):
    geometry = scan(**changes)
    shape = (geometry.views, *geometry.detector_shape)
    values = np.random.default_rng(1).uniform(0, 4, shape).astype(np.float32)
    if kind is ProjectionKind.COUNTS:
        values = np.float32(i0) * np.exp(-values)
    return ProjectionSet(values, geometry, kind, i0, 7.5)


# -- stacks --------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".tif", ".npy"])
@pytest.mark.parametrize("kind", list(ProjectionKind))
@pytest.mark.parametrize("beam", list(Beam))
def test_round_trip_is_exact(tmp_path, suffix, kind, beam):
    before = projections(kind, 3e4, beam=beam)
    assert write_projections(before, tmp_path / f"scan{suffix}") == ()
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {f"scan{suffix}", "scan.geometry.json", "scan.xml"}
    read = read_projections(tmp_path / f"scan{suffix}")
    after = read.projections
    np.testing.assert_array_equal(after.values, before.values)
    for field in FIELDS:
        np.testing.assert_array_equal(
            getattr(after.geometry, field), getattr(before.geometry, field)
        )
    assert (after.kind, after.i0, after.electronic_sd) == (kind, 3e4, 7.5)
    assert (read.notes, read.format) == ((), "stack")


@pytest.mark.parametrize("suffix", [".mha", ".nrrd", ".tif"])
def test_rtk_geometry_alone_is_enough(tmp_path, suffix):
    before = projections()
    write_projections(before, tmp_path / f"scan{suffix}")
    (tmp_path / "scan.geometry.json").unlink()
    read = read_projections(tmp_path / f"scan{suffix}")
    points = np.random.default_rng(0).uniform(-30, 30, (9, 3))
    np.testing.assert_allclose(
        read.projections.geometry.project(points), before.geometry.project(points), atol=1e-4
    )
    assert codes(read.notes) == {"kind-guessed"}
    assert read.projections.kind is ProjectionKind.LINE_INTEGRAL


def test_npy_with_rtk_geometry_needs_the_pixel_size(tmp_path):
    before = projections(pixel_mm=(1.5, 1.5))
    write_projections(before, tmp_path / "scan.npy")
    (tmp_path / "scan.geometry.json").unlink()
    with pytest.raises(GeometryError, match="pixel size"):
        read_projections(tmp_path / "scan.npy")
    after = read_projections(tmp_path / "scan.npy", pixel_mm=1.5).projections
    np.testing.assert_allclose(after.geometry.matrices, before.geometry.matrices, atol=1e-6)


def test_skewed_detector_is_written_without_xml(tmp_path):
    before = projections()
    skew = before.geometry.replace(v_mm=before.geometry.v_mm + 0.2 * before.geometry.u_mm)
    notes = write_projections(before.replace(geometry=skew), tmp_path / "scan.mha")
    assert codes(notes) == {"no-rtk-xml"}
    assert not (tmp_path / "scan.xml").exists()
    after = read_projections(tmp_path / "scan.mha").projections
    np.testing.assert_array_equal(after.geometry.v_mm, skew.v_mm)


def test_counts_need_i0(tmp_path):
    before = projections(ProjectionKind.COUNTS, 1e4)
    write_projections(before, tmp_path / "scan.mha")
    (tmp_path / "scan.geometry.json").unlink()
    with pytest.raises(InputError, match="Counts need i0"):
        read_projections(tmp_path / "scan.mha")
    after = read_projections(tmp_path / "scan.mha", i0=2e4).projections
    assert (after.kind, after.i0) == (ProjectionKind.COUNTS, 2e4)


def test_geometry_is_asked_for_by_name(tmp_path):
    np.save(tmp_path / "scan.npy", np.zeros((3, 4, 5)))
    with pytest.raises(GeometryError) as caught:
        read_projections(tmp_path / "scan.npy")
    assert "scan.geometry.json" in caught.value.hint
    write_projections(projections(), tmp_path / "other.mha")
    with pytest.raises(GeometryError, match="5 views of 6 rows x 8 columns"):
        read_projections(tmp_path / "scan.npy", geometry=tmp_path / "other.geometry.json")
    with pytest.raises(InputError, match="geometry file; expected the projections"):
        read_projections(tmp_path / "other.xml")


def test_folder_of_tiff_slices(tmp_path):
    before = projections(views=11)
    folder = tmp_path / "scan"
    folder.mkdir()
    for n, page in enumerate(before.values):
        tifffile.imwrite(folder / f"view{n}.tif", page)
    write_projections(before, tmp_path / "scan.mha")
    after = read_projections(folder).projections
    np.testing.assert_array_equal(after.values, before.values)


def test_differing_pixel_sizes_are_noted(tmp_path):
    write_projections(projections(), tmp_path / "a.mha")
    write_projections(projections(pixel_mm=(4.0, 3.0)), tmp_path / "b.mha")
    read = read_projections(tmp_path / "a.mha", geometry=tmp_path / "b.geometry.json")
    assert "pixel-size-differs" in codes(read.notes)


def test_options_are_checked(tmp_path):
    write_projections(projections(), tmp_path / "a.mha")
    for wrong in ({"i0": 0.0}, {"pixel_mm": -1.0}, {"centre": float("nan")}):
        with pytest.raises(UsageError):
            read_projections(tmp_path / "a.mha", **wrong)
    with pytest.raises(UsageError, match=r"\.mha"):
        write_projections(projections(), tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="not a projection format"):
        read_projections(tmp_path / "a.jpg")


FULL_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from ctrestorelib.core.errors import ResourceError
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.io.projections import write_projections
geometry = ConeBeamGeometry.circular(sod_mm=500, sdd_mm=900, angles_rad=np.arange(10),
    detector_shape=(100, 100), pixel_mm=(1, 1))
values = np.random.default_rng(0).normal(size=(10, 100, 100)).astype(np.float32)
scan = ProjectionSet(values, geometry, ProjectionKind.LINE_INTEGRAL)
import SimpleITK, tifffile
folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for suffix in (".mha", ".nrrd", ".tif", ".npy"):
    try:
        write_projections(scan, folder / f"scan{suffix}")
    except ResourceError:
        assert not list(folder.iterdir()), list(folder.iterdir())
    else:
        raise SystemExit(f"{suffix}: no error")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_full_disk_leaves_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# -- flat and dark fields ------------------------------------------------------------------------
def test_flat_and_dark_fields_give_line_integrals():
    rng = np.random.default_rng(4)
    truth = rng.uniform(0, 3, (6, 5, 40))
    gain = rng.uniform(0.5, 1.5, (5, 40))
    quanta = 1e5 * gain
    # One quantum makes four counts: the flat fields' noise reveals how many quanta there were.
    flats = 100 + 4.0 * rng.poisson(quanta, (30, 5, 40)) * rng.uniform(0.9, 1.1, (30, 1, 1))
    data = 100 + 4.0 * rng.poisson(quanta * np.exp(-truth))
    values, i0, notes = line_integrals(data, flats, np.full((3, 5, 40), 100.0))
    assert np.sqrt(np.mean((values - truth) ** 2)) < 0.015
    assert i0 == pytest.approx(1e5, rel=0.15)
    assert codes(notes) == {"dose-measured"}


def test_dead_pixels_and_starved_readings():
    truth = np.broadcast_to(np.linspace(0, 2, 12), (3, 4, 12))
    flat = np.full((1, 4, 12), 1000.0)
    data = 1000 * np.exp(-truth)
    flat[:, 1, 5:7] = 0  # inside a row
    flat[:, 2, 0] = 0  # at the edge
    flat[:, 3] = 0  # a whole row
    data[:, 0, 11] = -3  # darker than dark
    values, i0, notes = line_integrals(data, flat, np.zeros((0, 4, 12)))
    np.testing.assert_allclose(values[:, 1], truth[:, 1], atol=1e-5)
    np.testing.assert_allclose(values[:, 2, 0], truth[:, 2, 1], atol=1e-5)
    np.testing.assert_allclose(values[:, 3], values[:, 2], atol=1e-6)
    assert values[0, 0, 11] == pytest.approx(-np.log(1e-6), rel=1e-5)
    assert codes(notes) == {"dead-pixels", "starved", "dose-assumed"}
    assert i0 == 1000
    with pytest.raises(InputError, match="brighter"):
        line_integrals(data, np.zeros((1, 4, 12)), np.zeros((1, 4, 12)))
    with pytest.raises(InputError, match="No detector pixel"):
        replace_dead(values, np.ones((4, 12), bool))


# -- rotation axis -------------------------------------------------------------------------------
def sinogram(centre, angles, cols=160, radius=60.0):
    """Line integrals of a few discs about an axis at column ``centre``."""
    u = np.arange(cols) - centre
    out = np.zeros((len(angles), cols))
    for x, y, r, mu in ((0, 0, radius, 0.01), (25, 10, 12, 0.03), (-18, 30, 7, 0.05)):
        s = u[None] - (x * np.cos(angles) + y * np.sin(angles))[:, None]
        out += 2 * mu * np.sqrt(np.maximum(r**2 - s**2, 0))
    return out


@pytest.mark.parametrize("centre", [70.0, 79.5, 84.3, 95.75])
@pytest.mark.parametrize("truncated", [False, True])
def test_rotation_axis_is_found(centre, truncated):
    angles = np.linspace(0, np.pi, 180, endpoint=False)
    clean = sinogram(centre, angles, radius=130.0 if truncated else 60.0)
    rng = np.random.default_rng(0)
    noisy = clean + rng.normal(0, 0.02, clean.shape) + rng.normal(0, 0.03, clean.shape[1])
    assert find_rotation_centre(noisy, angles) == pytest.approx(centre, abs=0.35)


def test_rotation_axis_needs_half_a_turn():
    angles = np.linspace(0, 2.0, 60)
    with pytest.raises(InputError, match="covers 117 degrees"):
        find_rotation_centre(sinogram(80, angles), angles)


# -- DataExchange --------------------------------------------------------------------------------
ANGLES_DEG = np.linspace(0, 180, 60, endpoint=False)


def exchange_file(path, *, leave_out=(), **replaced):
    clean = np.stack([sinogram(75.0, np.deg2rad(ANGLES_DEG)) * f for f in (1.0, 0.5)], axis=1)
    arrays = {
        "data": (200 + 5e4 * np.exp(-clean)).astype(np.float32),
        "data_white": np.full((2, 2, 160), 200 + 5e4, np.float32),
        "data_dark": np.full((2, 2, 160), 200, np.float32),
        "theta": ANGLES_DEG, **replaced,
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if name not in leave_out:
                file[f"exchange/{name}"] = array
    return clean


def test_data_exchange(tmp_path):
    clean = exchange_file(tmp_path / "s.h5")
    read = read_projections(tmp_path / "s.h5", pixel_mm=0.01)
    scan = read.projections
    # The upper edge comes first in the file and last here.
    np.testing.assert_allclose(scan.values, clean[:, ::-1], atol=1e-4)
    assert scan.geometry.beam is Beam.PARALLEL
    np.testing.assert_allclose(np.rad2deg(scan.geometry.angles_rad), ANGLES_DEG, atol=1e-9)
    axis = scan.geometry.project([[0.0, 0.0, 0.0]])[:, 0, 0]
    np.testing.assert_allclose(axis, 75.0, atol=0.3)
    assert codes(read.notes) == {"dose-assumed", "centre-found", "sense-assumed"}
    assert "pixel-size-assumed" in codes(read_projections(tmp_path / "s.h5").notes)
    given = read_projections(tmp_path / "s.h5", centre=70.0).projections.geometry
    np.testing.assert_allclose(given.project([[0.0, 0.0, 0.0]])[:, 0, 0], 70.0)


def test_data_exchange_with_parts_missing(tmp_path):
    path = tmp_path / "s.h5"
    clean = exchange_file(path, leave_out=("data_white", "theta"))
    with pytest.raises(InputError, match="no flat fields"):
        read_projections(path)
    read = read_projections(path, i0=5.02e4)
    np.testing.assert_allclose(read.projections.values, clean[:, ::-1], atol=1e-3)
    assert "angles-assumed" in codes(read.notes)
    exchange_file(path, leave_out=("data_dark",))
    assert "dark-assumed" in codes(read_projections(path).notes)
    exchange_file(path, theta=np.arange(7.0))
    with pytest.raises(InputError, match="60 projections but 7 angles"):
        read_projections(path)
    exchange_file(path, data_white=np.ones((1, 2, 100)))
    with pytest.raises(InputError, match="differ in size"):
        read_projections(path)
    exchange_file(path, leave_out=("data",))
    with pytest.raises(InputError, match="not in the DataExchange layout"):
        read_projections(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 50)
    with pytest.raises(InputError, match="damaged"):
        read_projections(path)


def test_a_geometry_file_replaces_the_scans_own(tmp_path):
    exchange_file(tmp_path / "s.h5")
    other = scan(60, detector_shape=(2, 160))
    before = ProjectionSet(np.zeros((60, 2, 160)), other, ProjectionKind.LINE_INTEGRAL)
    write_projections(before, tmp_path / "o.npy")
    read = read_projections(tmp_path / "s.h5", geometry=tmp_path / "o.geometry.json")
    np.testing.assert_array_equal(read.projections.geometry.source, other.source)
    assert "geometry-replaced" in codes(read.notes)


# -- MATLAB --------------------------------------------------------------------------------------
def test_other_matlab_files_are_refused(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"sino": np.zeros((4, 5))})
    with pytest.raises(InputError, match="unknown layout"):
        read_projections(tmp_path / "x.mat")
    (tmp_path / "y.mat").write_bytes((tmp_path / "x.mat").read_bytes()[:150])
    with pytest.raises(InputError, match=r"damaged|unknown layout"):
        read_projections(tmp_path / "y.mat")
    scipy.io.savemat(
        tmp_path / "z.mat",
        {"CtDataFull": {"sinogram": np.zeros((4, 5)), "parameters": {"angles": np.arange(4.0)}}},
    )
    with pytest.raises(InputError, match="lacks distanceSourceOrigin"):
        read_projections(tmp_path / "z.mat")


# -- flat panels ---------------------------------------------------------------------------------
def test_panel_files_say_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "0001.hnd").write_bytes(b"x")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(ResourceError, match="needs RTK"):
            read_projections(tmp_path / "0001.hnd")


@pytest.mark.rtk
@pytest.mark.skipif(importlib.util.find_spec("itk") is None, reason="needs itk-rtk")
def test_panel_images_are_read_by_rtk_in_a_child_process(tmp_path):
    # The header of Elekta's .his: magic bytes, size of what follows, corners, frames, type 4.
    rows, cols = 16, 20
    images = np.random.default_rng(0).integers(1000, 60000, (3, rows, cols)).astype("<u2")
    for number, image in enumerate(images):
        head = bytearray(100)
        struct.pack_into("<4B", head, 0, 0, 112, 68, 0)
        struct.pack_into("<6H", head, 10, 32, 1, 1, cols, rows, 0)
        struct.pack_into("<H", head, 20, 1)
        struct.pack_into("<H", head, 32, 4)
        (tmp_path / f"p{number}.his").write_bytes(bytes(head) + image.tobytes())
    write_geometry(scan(3), tmp_path / "geometry.xml")
    read = read_projections(tmp_path)
    values = read.projections.values
    assert len(values) == 3
    assert np.isfinite(values).all()
    assert values.std() > 0
    assert codes(read.notes) == {"read-by-rtk"}
    assert read.projections.kind is ProjectionKind.LINE_INTEGRAL
    # The pixel size is the panel's, whatever detector the geometry was first made for.
    assert read.projections.geometry.pixel_mm != scan(3).pixel_mm
    assert read.format == "panel"
