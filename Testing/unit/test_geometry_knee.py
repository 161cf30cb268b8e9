"""The procedural knee: anatomy where it belongs, one knee on every grid, same seed same knee."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.knee import Knee, knee_phantom
from ctrestorelib.geometry.resampling import block_mean, refined_grid
from ctrestorelib.geometry.shapes import ellipsoid, joined, loft, rod
from ctrestorelib.geometry.texture import RandomField

GRID = VolumeGeometry.from_spacing((64, 64, 64), (2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def knee():
    return Knee(0)


@pytest.fixture(scope="module")
def volume(knee):
    return knee.on(GRID)


def hu(knee, *point):
    return float(knee.at(np.array([point], np.float32))[0])


def fraction(volume, low, high):
    return float(((volume.values > low) & (volume.values < high)).mean())


def test_tissues_have_their_values_and_shares(volume):
    assert volume.unit is Unit.HU
    assert volume.values.min() == -1000
    assert 1500 < volume.values.max() < 1850
    assert 0.25 < fraction(volume, -1001, -950) < 0.55  # air around the leg
    assert 0.10 < fraction(volume, -140, -70) < 0.45  # fat
    assert 0.10 < fraction(volume, 20, 120) < 0.40  # muscle, tendon, cartilage
    assert 0.02 < fraction(volume, 900, 1900) < 0.15  # cortex


def test_bones_lie_where_anatomy_puts_them(volume):
    bone = volume.values > 700
    k, j, i = np.nonzero(bone)
    x, y, z = GRID.to_world(np.stack([i, j, k], axis=-1)).T
    front = y < -43
    assert front.any()
    assert z[front].min() > 0  # what lies in front is the kneecap, above the joint line
    assert z[front].max() < 60
    fibula = (z < -30) & (x < -22) & (y > 8)
    assert fibula.any()  # outer side of a right leg: the patient's right, -x
    assert not ((z < -45) & (x > 22)).any()  # nothing on the inner side


def test_left_knee_is_the_mirror_of_the_right(volume):
    left = knee_phantom(GRID, side="left")
    np.testing.assert_array_equal(left.values, volume.values[:, :, ::-1])


def test_shaft_is_a_shell_around_marrow(knee):
    x = np.arange(-40, 41, 0.25, dtype=np.float32)
    line = np.stack([x, np.full_like(x, -3), np.full_like(x, 78)], axis=-1)
    cortex = x[knee.at(line) > 900]
    width = np.diff(cortex)
    assert width.max() > 12  # the marrow cavity
    wall = [len(part) * 0.25 for part in np.split(cortex, np.flatnonzero(width > 1) + 1)]
    assert len(wall) == 2
    assert all(1.0 <= w <= 4.5 for w in wall)
    assert -120 < hu(knee, 0, -3, 78) < 0


def test_cancellous_bone_has_texture_and_muscle_does_not(knee):
    rng = np.random.default_rng(3)
    box = rng.uniform(-6, 6, (4000, 3)).astype(np.float32)
    condyle = knee.at(box + np.float32([24, 0, 24]))
    assert 80 < condyle.std() < 250
    assert 100 < condyle.mean() < 450


def test_same_point_same_value_on_any_grid(knee):
    fine = VolumeGeometry.from_spacing((20, 24, 28), (0.7, 0.9, 1.1), origin_lps_mm=(8, -20, 10))
    rotated = np.array(fine.ijk_to_lps)
    rotated[:3, :3] = rotated[:3, :3] @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, -1]], float)
    other = VolumeGeometry(fine.shape, rotated)
    at = np.stack(np.meshgrid(*(np.arange(n) for n in fine.shape), indexing="ij")[::-1], axis=-1)
    for grid in (fine, other):
        direct = knee.at(grid.to_world(at).astype(np.float32))
        # float32 world points differ in their last digit, which a texture's flank can amplify
        assert np.abs(knee.on(grid).values - direct).max() < 1.0


def test_same_seed_same_knee_other_seed_other_knee(volume):
    np.testing.assert_array_equal(knee_phantom(GRID, seed=0).values, volume.values)
    assert np.abs(knee_phantom(GRID, seed=1).values - volume.values).mean() > 20


def test_samples_average_the_finer_grid(knee):
    small = VolumeGeometry.from_spacing((6, 8, 10), (1.5, 1.2, 1.0), origin_lps_mm=(15, -10, 15))
    averaged = knee_phantom(small, samples=2)
    assert averaged.geometry.matches(small)
    fine = knee.on(refined_grid(small, 2))
    np.testing.assert_allclose(averaged.values[0, 0, 0], fine.values[:2, :2, :2].mean(), rtol=1e-5)
    assert block_mean(fine, 2).geometry.matches(small, tolerance_mm=1e-9)


def test_refined_grid_fills_the_same_space():
    fine = refined_grid(GRID, 3)
    np.testing.assert_allclose(fine.centre_lps_mm, GRID.centre_lps_mm, atol=1e-9)
    np.testing.assert_allclose(
        fine.to_world([-0.5] * 3), GRID.to_world([-0.5] * 3), atol=1e-9
    )  # the outer edge of the corner voxel


def test_implant_is_metal_in_the_shin_bone(volume):
    metal = knee_phantom(GRID, implant=True).values > 3071
    k, _, i = np.nonzero(metal)
    assert 20 < len(k) < 4000
    assert GRID.to_world(np.stack([i, i, k], axis=-1))[:, 2].max() < 0
    assert not (volume.values > 3071).any()


def test_unknown_side_is_refused():
    with pytest.raises(UsageError, match="'right' or 'left'"):
        Knee(side="middle")


@pytest.mark.parametrize(
    ("shape", "inside", "surface"),
    [
        (ellipsoid((1, 2, 3), (4, 5, 6)), (1, 2, 3), (5, 2, 3)),
        (rod((0, 0, 0), (0, 0, 10), 2), (0, 0, 5), (0, 2, 5)),
        (loft([(-20, 0, 0, 5, 7), (20, 0, 0, 5, 7)]), (0, 0, 0), (0, 7, 0)),
    ],
)
def test_distance_is_negative_inside_and_zero_on_the_surface(shape, inside, surface):
    points = tuple(np.array([a, b], np.float32) for a, b in zip(inside, surface, strict=True))
    distance = shape.distance(points)
    assert distance[0] <= 0
    assert abs(distance[1]) < 1e-4


def test_distance_is_in_millimetres_near_the_surface():
    shapes = (ellipsoid((0, 0, 0), (10, 20, 30)), rod((0, -5, 0), (0, 5, 0), 10))
    for shape in (*shapes, joined(*shapes, blend_mm=0.1)):
        x = np.array([10.5], np.float32)
        zero = np.zeros_like(x)
        assert shape.distance((x, zero, zero))[0] == pytest.approx(0.5, abs=0.06)


def test_random_field_is_normal_and_in_its_band():
    field = RandomField.band(np.random.default_rng(1), (0.3, 1.0), size=64)
    assert abs(field.lattice.mean()) < 1e-3
    assert field.lattice.std() == pytest.approx(1, abs=1e-3)
    power = np.abs(np.fft.fftn(field.lattice)) ** 2
    f = np.fft.fftfreq(64, field.pitch_mm)
    radius = np.sqrt(f[:, None, None] ** 2 + f[None, :, None] ** 2 + f**2)
    assert power[(radius < 0.29) | (radius > 1.01)].sum() < 1e-6 * power.sum()
