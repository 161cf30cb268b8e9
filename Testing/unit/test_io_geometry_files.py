"""Scan geometries in files: our JSON and RTK's XML, checked against RTK itself."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, InputError, UsageError
from ctrestorelib.geometry.frames import patient_to_gantry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles
from ctrestorelib.io.geometry_files import read_geometry, write_geometry
from ctrestorelib.io.rtk_xml import DetectorImage, euler_deg, rotations

SHAPE, PIXEL = (20, 30), (2.0, 1.5)
DETECTOR = DetectorImage.centred(SHAPE, PIXEL)
POINTS = np.random.default_rng(5).uniform(-40, 40, (30, 3))


def scan(**changes):
    given = {
        "sod_mm": 500.0, "sdd_mm": 900.0, "angles_rad": equal_angles(7, 360, 13.0),
        "detector_shape": SHAPE, "pixel_mm": PIXEL, **changes,
    }  # fmt: skip
    return ConeBeamGeometry.circular(**given)


def wobbling():
    rng = np.random.default_rng(8)
    geometry = scan(tilt_rad=(0.05, -0.1, 0.4), offset_mm=(3.0, -8.0))
    return geometry.replace(
        source=geometry.source + rng.normal(0, 4, geometry.source.shape),
        detector_centre_mm=geometry.detector_centre_mm + rng.normal(0, 4, geometry.source.shape),
    )


SCANS = {
    "circle": scan(),
    "offset and tilt": scan(offset_mm=(-4.0, 11.0), tilt_rad=(0.1, 0.2, -0.3)),
    "patient": scan(world_to_gantry=patient_to_gantry((10, 20, 30))),
    "upside down": scan(tilt_rad=(0, 0, np.pi)),
    "looking along y": scan(
        world_to_gantry=np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),
        angles_rad=[0.0, np.pi / 2, np.pi],
    ),
    "wobbling": wobbling(),
    "fan": scan(detector_shape=(1, 30)),
    "parallel": scan(beam=Beam.PARALLEL, offset_mm=(2.0, 5.0)),
}


def detector_of(geometry):
    return DetectorImage.centred(geometry.detector_shape, geometry.pixel_mm)


@pytest.mark.parametrize("name", SCANS)
def test_json_is_exact(tmp_path, name):
    write_geometry(SCANS[name], tmp_path / "g.json")
    back = read_geometry(tmp_path / "g.json")
    for field in ("source", "detector_centre_mm", "u_mm", "v_mm", "world_to_gantry"):
        np.testing.assert_array_equal(getattr(back, field), getattr(SCANS[name], field))
    assert back.detector_shape == SCANS[name].detector_shape
    assert back.beam is SCANS[name].beam


@pytest.mark.parametrize("name", SCANS)
def test_xml_maps_every_point_to_the_same_pixel(tmp_path, name):
    write_geometry(SCANS[name], tmp_path / "g.xml")
    back = read_geometry(tmp_path / "g.xml", detector_of(SCANS[name]))
    np.testing.assert_allclose(back.project(POINTS), SCANS[name].project(POINTS), atol=1e-8)
    if back.beam is Beam.CONE:
        np.testing.assert_allclose(back.source, SCANS[name].source, atol=1e-9)
        np.testing.assert_allclose(
            back.detector_centre_mm, SCANS[name].detector_centre_mm, atol=1e-9
        )


def test_stack_origin_moves_the_detector(tmp_path):
    write_geometry(scan(), tmp_path / "g.xml")
    y, x = DETECTOR.origin_mm
    moved = DetectorImage(SHAPE, PIXEL, (y + 4.0, x - 3.0))
    shift = read_geometry(tmp_path / "g.xml", moved).project(POINTS) - scan().project(POINTS)
    np.testing.assert_allclose(shift, np.broadcast_to([3.0 / 1.5, -4.0 / 2.0], shift.shape))


def test_axis_of_a_patient_scan_is_found(tmp_path):
    geometry = scan(world_to_gantry=patient_to_gantry())
    write_geometry(geometry, tmp_path / "g.xml")
    back = read_geometry(tmp_path / "g.xml", DETECTOR)
    np.testing.assert_allclose(back.sod_mm, 500.0, atol=1e-6)
    assert abs(back.world_to_gantry[1, 2]) > 0.999
    assert np.ptp(np.diff(np.unwrap(back.angles_rad))) < 1e-9


@pytest.mark.parametrize("angles", [(30, 10, 20), (200, -40, 170), (0, 90, 25), (100, -90, 0)])
def test_euler_angles_rebuild_the_rotation(angles):
    table = dict(zip(("GantryAngle", "OutOfPlaneAngle", "InPlaneAngle"), angles, strict=True))
    rotation = rotations(table)[0]
    found = dict(
        zip(("GantryAngle", "OutOfPlaneAngle", "InPlaneAngle"), euler_deg(rotation), strict=True)
    )
    np.testing.assert_allclose(rotations(found)[0], rotation, atol=1e-9)


VERSION_2 = """<?xml version="1.0"?><!DOCTYPE RTKGEOMETRY>
<RTKThreeDCircularGeometry version="{version}">
<SourceToIsocenterDistance>500</SourceToIsocenterDistance>
<SourceToDetectorDistance>900</SourceToDetectorDistance>{common}
<Projection><GantryAngle>0</GantryAngle></Projection>
<Projection><Angle>90</Angle><ProjectionOffsetX>6</ProjectionOffsetX>{view}</Projection>
</RTKThreeDCircularGeometry>"""


def read_text(tmp_path, **parts):
    text = VERSION_2.format(**{"version": "2", "common": "", "view": "", **parts})
    (tmp_path / "g.xml").write_text(text)
    return read_geometry(tmp_path / "g.xml", DETECTOR)


def test_common_and_single_values(tmp_path):
    geometry = read_text(tmp_path)
    np.testing.assert_allclose(np.rad2deg(geometry.angles_rad), [0, 90])
    np.testing.assert_allclose(geometry.source, [[0, 0, 500], [500, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(geometry.detector_centre_mm[1], [-400, 0, -6], atol=1e-9)
    read_text(tmp_path, version="3", common="<RadiusCylindricalDetector>0"
              "</RadiusCylindricalDetector>")  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"version": "1"}, "version 2 or 3"),
        ({"common": "<RadiusCylindricalDetector>900</RadiusCylindricalDetector>"}, "cylindrical"),
        ({"view": "<CollimationUInf>30</CollimationUInf>"}, "collimators"),
        ({"view": "<InPlaneAngle>many</InPlaneAngle>"}, "many"),
        ({"view": "<Matrix>1 0 0 0 0 1 0 0 0 0 1 0</Matrix>"}, "contradicts"),
        ({"view": "<Matrix>1 0</Matrix>"}, "12 number"),
        ({"view": "<SourceToDetectorDistance>0</SourceToDetectorDistance>"}, "mixes"),
        ({"common": "</Oops>"}, "not readable XML"),
    ],
)
def test_refusals_name_the_reason(tmp_path, parts, match):
    with pytest.raises(InputError, match=match):
        read_text(tmp_path, **parts)


def test_entities_are_not_expanded(tmp_path):
    text = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'
    (tmp_path / "g.xml").write_text(text)
    with pytest.raises(InputError, match="not readable XML"):
        read_geometry(tmp_path / "g.xml", DETECTOR)


def test_what_rtk_cannot_hold_is_said(tmp_path):
    skew = scan().replace(v_mm=scan().v_mm + 0.1 * scan().u_mm)
    zoom = scan().replace(u_mm=scan().u_mm * np.linspace(1, 2, 7)[:, None])
    slanted = scan(beam=Beam.PARALLEL, tilt_rad=(0.3, 0, 0))
    for geometry in (skew, zoom, slanted):
        with pytest.raises(GeometryError, match="RTK"):
            write_geometry(geometry, tmp_path / "g.xml")
        assert not (tmp_path / "g.xml").exists()
        write_geometry(geometry, tmp_path / "g.json")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UsageError):
        write_geometry(scan(), tmp_path / "g.yaml")
    (tmp_path / "g.yaml").write_text("a")
    with pytest.raises(InputError, match="not a geometry"):
        read_geometry(tmp_path / "g.yaml")
    for text in ("{", "[1]", json.dumps({"format": "other"})):
        (tmp_path / "g.json").write_text(text)
        with pytest.raises(InputError):
            read_geometry(tmp_path / "g.json")
    write_geometry(scan(), tmp_path / "g.xml")
    with pytest.raises(GeometryError, match="pixel size"):
        read_geometry(tmp_path / "g.xml")


@pytest.mark.rtk
@pytest.mark.skipif(importlib.util.find_spec("itk") is None, reason="needs itk-rtk")
def test_rtk_itself_maps_points_to_the_same_pixels(tmp_path):
    import itk
    from itk import RTK as rtk

    for name, geometry in SCANS.items():
        write_geometry(geometry, tmp_path / "g.xml")
        reader = rtk.ThreeDCircularProjectionGeometryXMLFileReader.New()
        reader.SetFilename(str(tmp_path / "g.xml"))
        reader.GenerateOutputInformation()  # compares our matrices with its own
        theirs = reader.GetOutputObject()
        detector = detector_of(geometry)
        for view in range(geometry.views):
            matrix = itk.array_from_matrix(theirs.GetMatrix(view))
            xyw = np.c_[POINTS, np.ones(len(POINTS))] @ matrix.T
            row, col = (
                (xyw[:, axis] / xyw[:, 2] - detector.origin_mm[1 - axis])
                / detector.pixel_mm[1 - axis]
                for axis in (1, 0)
            )
            np.testing.assert_allclose(
                np.stack([col, row], axis=1), geometry.project(POINTS)[view], atol=1e-6,
                err_msg=name,
            )  # fmt: skip


@pytest.mark.rtk
@pytest.mark.skipif(importlib.util.find_spec("itk") is None, reason="needs itk-rtk")
def test_a_file_that_rtk_wrote(tmp_path):
    import itk
    from itk import RTK as rtk

    theirs = rtk.ThreeDCircularProjectionGeometry.New()
    for angle in (10.0, 130.0, 250.0):
        theirs.AddProjection(500, 900, angle, 5, -3, 2, 4, 1.5, -2.5)
    writer = rtk.ThreeDCircularProjectionGeometryXMLFileWriter.New()
    writer.SetFilename(str(tmp_path / "g.xml"))
    writer.SetObject(theirs)
    writer.WriteFile()
    ours = read_geometry(tmp_path / "g.xml", DETECTOR)
    for view in range(3):
        xyw = np.c_[POINTS, np.ones(len(POINTS))] @ itk.array_from_matrix(theirs.GetMatrix(view)).T
        col = (xyw[:, 0] / xyw[:, 2] - DETECTOR.origin_mm[1]) / 1.5
        np.testing.assert_allclose(ours.project(POINTS)[view][:, 0], col, atol=1e-6)
