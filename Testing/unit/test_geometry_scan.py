"""Scan geometry: the conventions are facts that a test can check."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import (
    Beam,
    ConeBeamGeometry,
    equal_angles,
    patient_to_gantry,
)

SCAN = {"sod_mm": 500.0, "sdd_mm": 1000.0, "detector_shape": (20, 30), "pixel_mm": (1.5, 2.0)}


def scan(views=7, **changes):
    return ConeBeamGeometry.circular(angles_rad=equal_angles(views), **{**SCAN, **changes})


CASES = {
    "centred": {},
    "offset": {"offset_mm": (3.0, -5.0)},
    "tilted": {"tilt_rad": (0.02, 0.03, 0.04)},
    "patient": {"world_to_gantry": patient_to_gantry([1, 2, 3])},
    "parallel": {"beam": Beam.PARALLEL, "tilt_rad": (0.1, 0.0, 0.0), "offset_mm": (3, -5)},
}


@pytest.mark.parametrize("case", CASES)
def test_matrices_agree_with_intersecting_rays_and_detector(case):
    geometry = scan(**CASES[case])
    points = np.random.default_rng(1).normal(0, 20, (40, 3))
    uv = geometry.project(points)
    for view in range(geometry.views):
        normal, centre = geometry.normals[view], geometry.detector_centre_mm[view]
        source = geometry.source[view]
        ray = points - source if geometry.beam is Beam.CONE else np.broadcast_to(source, (40, 3))
        hit = points + (((centre - points) @ normal) / (ray @ normal))[:, None] * ray
        steps = np.stack([geometry.u_mm[view], geometry.v_mm[view]], axis=1)
        expected = np.linalg.lstsq(steps, (hit - centre).T, rcond=None)[0].T + [14.5, 9.5]
        np.testing.assert_allclose(uv[view], expected, atol=1e-8)


@pytest.mark.parametrize("case", ["centred", "offset", "tilted", "patient"])
def test_matrices_alone_rebuild_the_scan(case):
    geometry = scan(**CASES[case])
    again = ConeBeamGeometry.from_matrices(
        -3 * geometry.matrices,
        detector_shape=(20, 30),
        pixel_mm=geometry.pixel_mm,
        world_to_gantry=geometry.world_to_gantry,
    )
    for field in ("source", "detector_centre_mm", "u_mm", "v_mm"):
        np.testing.assert_allclose(getattr(again, field), getattr(geometry, field), atol=1e-8)


def test_the_gantry_turns_about_y_from_z_towards_x():
    geometry = scan(views=4)
    np.testing.assert_allclose(
        geometry.source, [[0, 0, 500], [500, 0, 0], [0, 0, -500], [-500, 0, 0]], atol=1e-9
    )
    np.testing.assert_allclose(geometry.detector_centre_mm[0], [0, 0, -500])
    np.testing.assert_allclose(geometry.u_mm[0], [2, 0, 0])
    np.testing.assert_allclose(geometry.v_mm[0], [0, 1.5, 0])
    np.testing.assert_allclose(geometry.angles_rad[:2], [0, np.pi / 2])


def test_a_patient_is_seen_from_the_front_then_from_the_left():
    centre = np.array([10.0, -20.0, 30.0])
    geometry = scan(views=4, world_to_gantry=patient_to_gantry(centre))
    front, left, head = np.array([0, -1, 0]), np.array([1, 0, 0]), np.array([0, 0, 1])  # LPS
    np.testing.assert_allclose(geometry.source[0], centre + 500 * front, atol=1e-9)
    np.testing.assert_allclose(geometry.source[1], centre + 500 * left, atol=1e-9)
    np.testing.assert_allclose(geometry.v_mm / 1.5, np.broadcast_to(head, (4, 3)), atol=1e-9)
    # The isocentre projects to the middle; the magnification there is SDD / SOD = 2.
    np.testing.assert_allclose(geometry.project(centre), np.full((4, 2), [14.5, 9.5]), atol=1e-9)
    higher = geometry.project(centre + 3 * head)
    np.testing.assert_allclose(higher[:, 1] - 9.5, 2 * 3 / 1.5, atol=1e-9)


def test_moving_world_and_points_together_changes_nothing():
    geometry = scan(offset_mm=(3, -5))
    move = np.linalg.inv(patient_to_gantry([4, 5, 6]))
    points = np.random.default_rng(2).normal(0, 20, (9, 3))
    moved = points @ move[:3, :3].T + move[:3, 3]
    np.testing.assert_allclose(
        geometry.moved(move).project(moved), geometry.project(points), atol=1e-8
    )
    np.testing.assert_allclose(geometry.moved(move).angles_rad, geometry.angles_rad, atol=1e-12)


def test_indexing_selects_views():
    geometry = scan(views=8)
    np.testing.assert_array_equal(geometry[::2].source, geometry.source[::2])
    np.testing.assert_array_equal(geometry[[3]].source, geometry.source[3:4])
    with pytest.raises(GeometryError, match="leaves none"):
        geometry[8:]


def test_json_round_trip_is_exact():
    geometry = scan(**CASES["tilted"])
    again = ConeBeamGeometry.from_json(geometry.to_json())
    np.testing.assert_array_equal(again.matrices, geometry.matrices)
    assert again.detector_shape == geometry.detector_shape


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sod_mm": 1000.0, "sdd_mm": 500.0}, "swapped"),
        ({"pixel_mm": (0.0, 1.0)}, "Pixel"),
        ({"detector_shape": (0, 3)}, "row"),
        ({"world_to_gantry": np.diag([2.0, 1, 1, 1])}, "rigid"),
    ],
)
def test_an_impossible_scan_is_refused(changes, words):
    with pytest.raises(GeometryError, match=words):
        scan(**changes)


def test_a_damaged_geometry_record_is_refused():
    record = scan().to_json()
    del record["views"][2]["u_mm"]
    with pytest.raises(GeometryError, match="incomplete"):
        ConeBeamGeometry.from_json(record)
    with pytest.raises(GeometryError, match="version"):
        ConeBeamGeometry.from_json({"format": "other"})


def test_every_view_sees_the_centre_and_none_the_far_corner():
    geometry = scan(views=5)
    grid = VolumeGeometry.from_spacing((41, 41, 41), (2.0, 2.0, 2.0))
    seen = geometry.seen_by(grid)
    assert seen[20, 20, 20] == 5
    assert seen[0, 0, 0] == 0


def test_counts_become_line_integrals():
    geometry = scan(views=2)
    counts = np.full((2, 20, 30), 1000 * np.exp(-1.5))
    counts[0, 0, 0] = 0
    projections = ProjectionSet(counts, geometry, ProjectionKind.COUNTS, i0=1000.0)
    lines = projections.to_line_integrals()
    assert lines.values[1].mean() == pytest.approx(1.5, abs=1e-5)
    assert lines.values[0, 0, 0] == pytest.approx(np.log(1000), abs=1e-5)
    assert lines.to_line_integrals() is lines


def test_projections_must_fit_their_geometry():
    with pytest.raises(GeometryError, match="2 views of 20 rows x 30 columns"):
        ProjectionSet(np.zeros((3, 20, 30)), scan(views=2), ProjectionKind.LINE_INTEGRAL)
    with pytest.raises(InputError, match="i0"):
        ProjectionSet(np.zeros((2, 20, 30)), scan(views=2), ProjectionKind.COUNTS)
