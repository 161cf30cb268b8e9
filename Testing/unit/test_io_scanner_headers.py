"""Nikon and Skyscan scans made here: a point of a turning object lands where the camera saw it.

The scans are simulated in the laboratory, by hand and apart from the library's geometry: the object
turns on its table, the camera's image has the upper edge first and its columns run to the left as
seen from the source.
"""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.geometry.projections import ProjectionKind
from ctrestorelib.io.projections import read_projections

ROWS, COLS, PIXEL = 24, 30, 0.2
SOD, SDD = 100.0, 250.0
POINTS = np.array([[0.0, 0.0, 0.0], [0.5, 0.2, 0.3], [-0.4, 0.6, -0.5]])


def camera_pixels(points, turned_rad, *, axis_x=0.0, beam_row=(ROWS - 1) / 2):
    """Return (row, col) in the camera's image of object points (x right, y beam, z up)."""
    c, s = np.cos(turned_rad), np.sin(turned_rad)
    x = c * points[:, 0] - s * points[:, 1] + axis_x
    y = s * points[:, 0] + c * points[:, 1] + SOD
    right, up = SDD * x / y / PIXEL, SDD * points[:, 2] / y / PIXEL
    return np.stack([beam_row - up, (COLS - 1) / 2 - right], axis=1)


def as_read(row_col):
    """Return (col, row) after both axes of the image were reversed."""
    return np.stack([COLS - 1 - row_col[:, 1], ROWS - 1 - row_col[:, 0]], axis=1)


def object_to_world(points):
    # The world of a scan has y along the axis and z towards the source at angle 0.
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=1)


def write_images(folder, prefix, views, separator="", digits=4):
    images = np.random.default_rng(0).integers(1, 50000, (views, ROWS, COLS)).astype(np.uint16)
    for n, image in enumerate(images):
        tifffile.imwrite(folder / f"{prefix}{separator}{n:0{digits}}.tif", image)
    return images


def nikon(folder, views=6, **changes):
    entries = {
        "Name": "tooth", "SrcToObject": SOD, "SrcToDetector": SDD, "DetectorPixelsX": COLS,
        "DetectorPixelsY": ROWS, "DetectorPixelSizeX": PIXEL, "DetectorPixelSizeY": PIXEL,
        "WhiteLevel": 60000.0, "Projections": views, "InitialAngle": 0.0, "AngularStep": 60.0,
        "Units": "mm", **changes,
    }  # fmt: skip
    lines = ["[XTekCT]", *(f"{k}={v}" for k, v in entries.items()), "[Xrays]", "XraykV=120"]
    (folder / "tooth.xtekct").write_text("\r\n".join(lines))
    return write_images(folder, "tooth", views, "_")


def skyscan(folder, views=6, **changes):
    entries = {
        "Filename Prefix": "knee", "Number Of Files": f"  {views}", "Number Of Rows": ROWS,
        "Number Of Columns": COLS, "Optical Axis (line)": (ROWS - 1) / 2,
        "Object to Source (mm)": SOD, "Camera to Source (mm)": SDD,
        "Image Pixel Size (um)": 1000 * PIXEL * SOD / SDD, "Depth (bits)": 16,
        "Rotation Step (deg)": 60.0, "Rotation Direction": "CC", **changes,
    }  # fmt: skip
    lines = ["[System]", "Scanner=SkyScan1275", "Camera Pixel Size (um)=200", "[Acquisition]",
             *(f"{k}={v}" for k, v in entries.items() if v is not None)]  # fmt: skip
    (folder / "knee.log").write_text("\n".join(lines), encoding="latin-1")
    return write_images(folder, "knee", views)


def check_points(geometry, turn_sense, **camera):
    seen = geometry.project(object_to_world(POINTS))
    for view in range(geometry.views):
        expected = camera_pixels(POINTS, turn_sense * np.deg2rad(60.0 * view), **camera)
        np.testing.assert_allclose(seen[view], as_read(expected), atol=1e-9)


def test_nikon_object_turns_clockwise(tmp_path):
    images = nikon(tmp_path)
    read = read_projections(tmp_path / "tooth.xtekct")
    scan = read.projections
    check_points(scan.geometry, -1)
    np.testing.assert_array_equal(scan.values, images[:, ::-1, ::-1])
    assert (scan.kind, scan.i0, read.format) == (ProjectionKind.COUNTS, 60000.0, "nikon")
    assert {n.code for n in read.notes} == {"dose-assumed"}
    folder = read_projections(tmp_path).projections
    np.testing.assert_array_equal(folder.values, scan.values)


@pytest.mark.parametrize("key", ["ObjectOffsetX", "CentreOfRotationTop"])
def test_nikon_axis_offset(tmp_path, key):
    # The new entry is measured at the object, the old ones at the detector.
    if key == "ObjectOffsetX":
        nikon(tmp_path, ObjectOffsetX=0.4)
    else:
        nikon(tmp_path, CentreOfRotationTop=1.0, CentreOfRotationBottom=1.0)
    geometry = read_projections(tmp_path).projections.geometry
    origin = geometry.project([[0.0, 0.0, 0.0]])[:, 0]
    np.testing.assert_allclose(origin[:, 0], (COLS - 1) / 2 - 0.4 * SDD / SOD / PIXEL, atol=1e-9)
    np.testing.assert_allclose(origin[:, 1], (ROWS - 1) / 2, atol=1e-9)


def test_nikon_rolled_axis_joins_its_ends(tmp_path):
    height = ROWS * PIXEL
    nikon(tmp_path, CentreOfRotationTop=0.3, CentreOfRotationBottom=-0.3)
    geometry = read_projections(tmp_path).projections.geometry
    length = height / 2 * SOD / SDD
    top, bottom = geometry.project([[0.0, length, 0.0], [0.0, -length, 0.0]])[0]
    # Within the laboratory's x axis the ends differ by 0.6 mm at the detector, over its height.
    assert abs(top[0] - bottom[0]) * PIXEL == pytest.approx(0.6, rel=0.02)
    assert top[1] > bottom[1]


def test_centre_argument_counts_columns_of_the_file(tmp_path):
    for make in (nikon, skyscan):
        folder = tmp_path / make.__name__
        folder.mkdir()
        make(folder)
        geometry = read_projections(folder, centre=10.0).projections.geometry
        origin = geometry.project([[0.0, 0.0, 0.0]])[:, 0, 0]
        np.testing.assert_allclose(origin, COLS - 1 - 10.0, atol=1e-9)


def test_skyscan_object_turns_counter_clockwise(tmp_path):
    images = skyscan(tmp_path)
    read = read_projections(tmp_path / "knee.log")
    check_points(read.projections.geometry, +1)
    np.testing.assert_array_equal(read.projections.values, images[:, ::-1, ::-1])
    assert read.projections.i0 == 65535
    assert {n.code for n in read.notes} == {"dose-assumed"}


def test_skyscan_clockwise_and_optical_axis(tmp_path):
    skyscan(tmp_path, **{"Rotation Direction": "CW", "Optical Axis (line)": 8})
    read = read_projections(tmp_path)
    check_points(read.projections.geometry, -1, beam_row=8)


def test_skyscan_assumptions_are_noted(tmp_path):
    skyscan(tmp_path, **{"Rotation Direction": None, "Image Pixel Size (um)": 70.0,
                         "Image Rotation": -0.04, "Reference Intensity": 58000})  # fmt: skip
    read = read_projections(tmp_path)
    codes = {n.code for n in read.notes}
    assert {"sense-assumed", "pixel-size-differs", "alignment-ignored"} <= codes
    assert read.projections.i0 == 58000
    np.testing.assert_allclose(read.projections.geometry.pixel_mm, 0.07 * SDD / SOD)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"Projections": 9}, "announces 9 projections; 6 images"),
        ({"DetectorPixelsX": 31}, "describes images of 31 x 24 pixels; they have 30 x 24"),
        ({"SrcToObject": "near"}, "'SrcToObject' should be a number"),
        ({"AngularStep": ""}, "lacks the entry 'AngularStep'"),
        ({"Name": "other"}, "no images other"),
    ],
)
def test_nikon_refusals(tmp_path, change, match):
    nikon(tmp_path, **change)
    with pytest.raises((InputError, GeometryError), match=match):
        read_projections(tmp_path)


def test_other_text_files_are_refused(tmp_path):
    (tmp_path / "a.xtekct").write_text("[Other]\nx=1")
    (tmp_path / "b.log").write_text("12:00 started")
    with pytest.raises(InputError, match="not a Nikon"):
        read_projections(tmp_path / "a.xtekct")
    with pytest.raises(InputError, match="not a Skyscan"):
        read_projections(tmp_path / "b.log")
