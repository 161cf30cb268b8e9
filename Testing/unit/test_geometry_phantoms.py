"""Ellipsoid phantoms: values and line integrals against formulas and against sums."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.phantoms import (
    EllipsoidPhantom,
    shepp_logan_3d,
    water_cylinder,
    water_ellipsoid,
)
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles


def scan(**changes):
    settings = {
        "sod_mm": 200.0,
        "sdd_mm": 300.0,
        "angles_rad": equal_angles(5, 360, 17),
        "detector_shape": (21, 31),
        "pixel_mm": (5.0, 5.0),
    }
    return ConeBeamGeometry.circular(**{**settings, **changes})


def test_central_rays_of_an_ellipsoid_measure_its_diameters():
    phantom = water_ellipsoid((20.0, 30.0, 40.0))
    views = scan(angles_rad=[0.0, np.pi / 2])
    p = phantom.project(views)
    assert p[0, 10, 15] == pytest.approx(2 * 40 * MU_WATER_PER_MM, rel=1e-6)
    assert p[1, 10, 15] == pytest.approx(2 * 20 * MU_WATER_PER_MM, rel=1e-6)
    assert p[0, 0, 0] == 0


def test_parallel_chords_of_a_cylinder_follow_the_circle():
    views = scan(beam=Beam.PARALLEL)
    p = water_cylinder(30.0).project(views)
    u = 5.0 * (np.arange(31) - 15)
    chord = 2 * np.sqrt(np.maximum(0, 30.0**2 - u**2)) * MU_WATER_PER_MM
    np.testing.assert_allclose(p, np.broadcast_to(chord, p.shape), atol=1e-6)


def test_line_integrals_equal_sums_along_the_rays():
    phantom = shepp_logan_3d(60.0)
    views = scan(detector_shape=(5, 7), pixel_mm=(20.0, 15.0), offset_mm=(3.0, 4.0))
    p = phantom.project(views)
    t = (np.arange(20000) + 0.5) / 20000
    for view, row, col in [(0, 2, 3), (1, 1, 2), (3, 3, 5), (4, 2, 4)]:
        start, end = views.source[view], views.pixel_positions_mm(view)[row, col]
        values = phantom.values_at(start + t[:, None] * (end - start))
        assert p[view, row, col] == pytest.approx(
            values.mean() * np.linalg.norm(end - start), abs=5e-3
        )
        assert p[view, row, col] > 0.1


def test_a_ray_starts_at_the_source_and_ends_at_the_detector():
    inside = water_ellipsoid((500.0, 500.0, 500.0)).project(scan(detector_shape=(1, 1)))
    np.testing.assert_allclose(inside, 300.0 * MU_WATER_PER_MM, rtol=1e-6)


def test_moving_phantom_and_scan_together_changes_nothing():
    move = np.eye(4)
    move[:3, :3], _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    move[:3, :3] *= np.linalg.det(move[:3, :3])
    move[:3, 3] = (5.0, -7.0, 11.0)
    still = shepp_logan_3d(60.0).project(scan())
    moved = shepp_logan_3d(60.0, placed=move).project(scan().moved(move))
    np.testing.assert_allclose(moved, still, atol=1e-5)


def test_oversampled_voxels_hold_the_ellipsoids_mass():
    phantom = water_ellipsoid((9.0, 7.0, 5.0), centre_lps_mm=(0.3, 0.2, -0.4))
    grid = VolumeGeometry.from_spacing((12, 16, 20), (1.0, 1.0, 1.0))
    volume = phantom.voxelise(grid, oversample=3)
    assert volume.unit is Unit.PER_MM
    mass = 4 / 3 * np.pi * 9 * 7 * 5 * MU_WATER_PER_MM
    assert volume.values.sum() == pytest.approx(mass, rel=5e-3)
    assert volume.values.max() == pytest.approx(MU_WATER_PER_MM, rel=1e-6)


def test_voxels_lie_where_the_grid_says():
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * (1.0, 2.0, 3.0)
    matrix[:3, 3] = (-4.0, 5.0, 6.0)
    grid = VolumeGeometry((6, 7, 8), matrix)
    phantom = water_ellipsoid((2.5, 2.5, 2.5), centre_lps_mm=tuple(grid.to_world((5, 3, 2))))
    volume = phantom.voxelise(grid)
    assert volume.values[2, 3, 5] > 0
    assert volume.values[0, 0, 0] == 0


@pytest.mark.parametrize(
    ("contrast", "brain", "skull", "ventricle"),
    [("original", 1.02, 2.0, 1.0), ("raised", 1.0, 5.0, 0.0)],
)
def test_shepp_logan_has_its_published_values(contrast, brain, skull, ventricle):
    phantom = shepp_logan_3d(100.0, contrast=contrast)
    places = [(0.0, -50.0, 0.0), (0.0, -89.0, 0.0), (-22.0, 0.0, -25.0), (0.0, -95.0, 0.0)]
    expected = np.array([brain, skull, ventricle, 0.0]) * MU_WATER_PER_MM
    np.testing.assert_allclose(phantom.values_at(places), expected, atol=1e-12)


def test_unknown_contrast_is_refused():
    with pytest.raises(InputError, match="original, raised"):
        shepp_logan_3d(100.0, contrast="high")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("semi_axes_mm", [[1.0, 0.0, 1.0]]),
        ("centres_mm", [[1.0, 2.0]]),
        ("rotations", [np.diag([1.0, 1.0, 2.0])]),
        ("centres_mm", [[1.0, np.nan, 1.0]]),
    ],
)
def test_impossible_ellipsoids_are_refused(field, value):
    fields = {
        "centres_mm": [[0.0, 0.0, 0.0]],
        "semi_axes_mm": [[1.0, 1.0, 1.0]],
        "rotations": [np.eye(3)],
        "values_per_mm": [1.0],
    }
    fields[field] = value
    with pytest.raises(InputError):
        EllipsoidPhantom(**fields)


def test_oversample_below_one_is_refused():
    grid = VolumeGeometry.from_spacing((2, 2, 2), (1, 1, 1))
    with pytest.raises(InputError, match="oversample"):
        water_ellipsoid((1, 1, 1)).voxelise(grid, 0)
