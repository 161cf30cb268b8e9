"""The default grid covers what the scan sees, and turntables are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.geometry.field_of_view import default_grid, field_of_view_mm
from ctrestorelib.geometry.frames import patient_to_gantry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles
from ctrestorelib.geometry.turntable import turntable_scan


def scan(**changes):
    given = {
        "sod_mm": 400.0, "sdd_mm": 800.0, "angles_rad": equal_angles(24),
        "detector_shape": (40, 60), "pixel_mm": (2.0, 2.0), **changes,
    }  # fmt: skip
    return ConeBeamGeometry.circular(**given)


def test_radius_and_height_of_a_cone():
    radius, (low, high) = field_of_view_mm(scan())
    assert radius == pytest.approx(400 * np.sin(np.arctan(60 / 800)))
    assert (low, high) == pytest.approx((-20.0, 20.0))


def test_grid_has_detector_resolution_at_the_axis_and_holds_the_field():
    grid = default_grid(scan())
    assert grid.spacing_mm == pytest.approx((1.0, 1.0, 1.0))
    assert grid.shape == (40, 60, 60)
    np.testing.assert_allclose(grid.centre_lps_mm, 0, atol=1e-9)
    seen = scan().seen_by(grid)
    assert seen[20, 30, 30] == 24
    assert seen[20, 0, 0] < 24


def test_offset_detector_widens_the_field():
    centred, shifted = default_grid(scan()), default_grid(scan(offset_mm=(0.0, 50.0)))
    assert shifted.shape[2] > 1.7 * centred.shape[2]
    # All that any view sees lies within the radius.
    radius, _ = field_of_view_mm(scan(offset_mm=(0.0, 50.0)))
    far = np.array([[0.0, 0.0, radius * 1.01], [radius * 1.01, 0, 0]])
    cols = scan(offset_mm=(0.0, 50.0)).project(far)[..., 0]
    assert not ((cols > -0.5) & (cols < 59.5)).all(axis=0).any()


def test_one_row_gives_one_slice_across_the_axis():
    grid = default_grid(scan(detector_shape=(1, 60), pixel_mm=(3.0, 2.0)))
    assert grid.shape == (1, 60, 60)
    assert grid.spacing_mm == pytest.approx((1.0, 1.0, 1.5))
    np.testing.assert_allclose(grid.direction[:, 2], [0, 1, 0], atol=1e-12)
    parallel = default_grid(scan(detector_shape=(1, 60), beam=Beam.PARALLEL))
    assert parallel.shape == (1, 60, 60)
    assert parallel.spacing_mm == pytest.approx((2.0, 2.0, 2.0))


def test_patient_gantry_gives_left_back_head():
    geometry = scan(world_to_gantry=patient_to_gantry((5, 6, 7)))
    grid = default_grid(geometry, spacing_mm=(2, 2, 4))
    np.testing.assert_allclose(grid.direction, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(grid.centre_lps_mm, (5, 6, 7))
    assert grid.shape == (10, 30, 30)


def test_wrong_spacing_is_refused():
    with pytest.raises(GeometryError, match="positive"):
        default_grid(scan(), spacing_mm=0.0)


def test_turntable_of_a_plain_set_up_is_a_circular_scan():
    # Laboratory: x right as seen from the source, y along the beam, z up.
    angles = equal_angles(9)
    built = turntable_scan(
        source_mm=(0, 0, 0), detector_centre_mm=(3, 800, -5), u_mm=(2, 0, 0), v_mm=(0, 0, 2),
        axis_point_mm=(0, 400, 0), axis_direction=(0, 0, 7), angles_rad=angles,
        detector_shape=(40, 60),
    )  # fmt: skip
    expected = scan(angles_rad=angles, offset_mm=(-5.0, 3.0))
    points = np.random.default_rng(2).uniform(-50, 50, (9, 3))
    np.testing.assert_allclose(built.project(points), expected.project(points), atol=1e-9)


def test_axis_through_the_source_is_refused():
    with pytest.raises(GeometryError, match="source"):
        turntable_scan(
            source_mm=(0, 0, 0), detector_centre_mm=(0, 800, 0), u_mm=(2, 0, 0), v_mm=(0, 0, 2),
            axis_point_mm=(0, 400, 0), axis_direction=(0, 1, 0), angles_rad=[0.0],
            detector_shape=(4, 6),
        )  # fmt: skip
