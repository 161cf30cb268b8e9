"""Procedural bodies: parts lie where anatomy says, in slices of any direction; metal is metal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.training.scans import scanned
from ctrestorelib.training.scans.bodies import implants
from ctrestorelib.training.scans.bodies.hips import HIP, draw_hips
from ctrestorelib.training.scans.bodies.limbs import draw_limb
from ctrestorelib.training.scans.bodies.sketch import Sketch, chain, curve, profile, rotation
from ctrestorelib.training.scans.bodies.skull import draw_head
from ctrestorelib.training.scans.bodies.spine import LEVELS, draw_spine, spine_y
from ctrestorelib.training.scans.bodies.trunk import draw_trunk
from ctrestorelib.training.scans.posing import Pose, draw_pose, posed
from ctrestorelib.training.scans.procedural import BODIES, KINDS, OBJECTS


def _sketch(cells=48, edge=200.0, centre=(0.0, 0.0, 0.0), seed=0):
    return Sketch(np.random.default_rng(seed), cells, edge, centre)


def _at(canvas, x, y, z):
    """HU of the voxel nearest to a place of the body."""
    axes = (canvas.x, canvas.y, canvas.z)
    i, j, k = (int(np.abs(a - v).argmin()) for a, v in zip(axes, (x, y, z), strict=True))
    return float(canvas.hu[k, j, i])


@pytest.fixture(scope="module")
def a_trunk():
    canvas = _sketch(64, 400.0, (0.0, 0.0, 300.0), seed=2)
    draw_trunk(canvas)
    return canvas


def test_lungs_hold_air_beside_a_heart(a_trunk):
    for side in (-1, 1):
        assert _at(a_trunk, side * 75, 0, 340) < -500
    assert _at(a_trunk, 20, -26, 252) > 0
    assert _at(a_trunk, 0, -7, 450) < -700  # windpipe
    assert _at(a_trunk, -62, 0, 160) > 0  # liver below the right lung


def test_the_spine_is_made_of_separate_vertebrae():
    canvas = _sketch(96, 180.0, (0.0, 45.0, 90.0))
    draw_spine(canvas)
    path = [_at(canvas, 0.0, spine_y(z), z) for z in np.arange(10, 165, 1.0)]
    bony = np.asarray(path) > 300  # end plates of each body
    assert np.count_nonzero(np.diff(bony.astype(int)) == 1) >= 4
    for v in LEVELS[:4]:
        core = [_at(canvas, x, spine_y(v.z), v.z + z) for x in (-8, 0, 8) for z in (-6, 0, 6)]
        assert np.mean(core) > 90
        below = v.z - v.half_height - v.disc / 2
        assert 40 < _at(canvas, 0, spine_y(below), below) < 140


def test_a_hip_is_a_ball_in_a_socket_and_can_be_replaced():
    canvas = _sketch(64, 160.0, HIP)
    canvas.hu[:] = 50
    draw_hips(canvas)
    assert _at(canvas, *HIP) > 100
    assert canvas.hu.max() < 2500
    implants.add_hip_joint(canvas)
    assert _at(canvas, *HIP) > 2900
    assert (canvas.hu > 2900).mean() > 0.002


@pytest.mark.parametrize("add", [implants.add_spine_screws, implants.add_sternal_wires,
                                 implants.add_knee_joint])  # fmt: skip
def test_implants_are_metal_in_a_small_part_of_the_body(add):
    centre = (0.0, 0.0, 330.0) if add is implants.add_sternal_wires else (0.0, 0.0, 60.0)
    if add is implants.add_knee_joint:
        centre = (0.0, 0.0, 0.0)
    canvas = _sketch(96, 200.0, centre)
    canvas.hu[:] = 40
    add(canvas)
    assert canvas.hu.max() > 500
    assert 0 < (canvas.hu > 500).mean() < 0.05


def test_a_limb_takes_a_plate_or_a_nail():
    for add in (lambda c, e: implants.add_plate(c, e, 15.0), implants.add_nail):
        canvas = _sketch(64, 200.0)
        axes = draw_limb(canvas)
        before = (canvas.hu > 2500).sum()
        add(canvas, axes[0])
        assert (canvas.hu > 2500).sum() > before


def test_a_head_has_brain_bone_air_and_teeth():
    canvas = _sketch(96, 240.0, (0.0, 0.0, -10.0), seed=1)
    draw_head(canvas, fillings=True)
    assert 0 < _at(canvas, 25, 20, 60) < 80
    assert canvas.hu[:, :, np.abs(canvas.x).argmin()].max() > 700
    assert _at(canvas, 8.0, -20.0, -120.0) < -400 or _at(canvas, 0.0, -15.0, -120.0) < -400
    assert (canvas.hu > 2000).sum() > 20


def test_kinds_hold_bodies_mostly_and_objects_some():
    share = sum(KINDS[name] for name in OBJECTS) / sum(KINDS.values())
    assert set(KINDS) == set(BODIES) | set(OBJECTS)
    assert 0.08 < share < 0.25


def test_a_turned_ellipsoid_has_its_volume_and_its_axes():
    canvas = _sketch(80, 80.0)
    turn = (0.4, -0.7, 1.1)
    region = canvas.ellipsoid((3.0, -2.0, 5.0), (20.0, 10.0, 6.0), turn)
    volume = canvas.mask(region).sum() * canvas.pixel**3
    assert volume == pytest.approx(4 / 3 * np.pi * 1200, rel=0.03)
    tip = np.array([3.0, -2.0, 5.0]) + 19 * rotation(*turn)[:, 0]
    canvas.fill(region, 500.0)
    assert _at(canvas, *tip) > 0


def test_rods_drums_and_plates_have_their_volume():
    canvas = _sketch(80, 80.0)
    rod = canvas.rods(chain(np.array([(-20.0, 0, 0), (20.0, 0, 0)]), 5.0))
    expected = np.pi * 25 * 40 + 4 / 3 * np.pi * 125
    assert canvas.mask(rod).sum() == pytest.approx(expected, rel=0.04)
    drum = canvas.drum((0, 0, 0), (15.0, 10.0, 8.0), 0.3)
    assert canvas.mask(drum).sum() == pytest.approx(np.pi * 150 * 16, rel=0.05)
    plate = canvas.plate((0, 0, 0), (15.0, 4.0, 8.0), (0.2, 0.1, 0.5))
    assert canvas.mask(plate).sum() == pytest.approx(8 * 15 * 4 * 8, rel=0.05)


def test_curves_and_profiles_pass_through_their_points():
    points = [(0, 0, 0), (1, 2, 0), (3, 1, 5)]
    assert np.allclose(curve(points, 5)[[0, 2, 4]], points)
    assert np.allclose(profile(np.array([-9, 0, 10, 99], np.float32), {0: 3, 10: 7}), [3, 3, 7, 7])


def test_what_lies_outside_the_cube_draws_nothing():
    canvas = _sketch(16, 50.0, (5000.0, 0.0, 0.0))
    draw_hips(canvas)
    assert (canvas.hu == -1000).all()


def test_the_pose_that_changes_nothing_gives_the_volume_back():
    rng = np.random.default_rng(0)
    values = ndimage.gaussian_filter(rng.normal(0, 500, (24, 24, 24)), 2).astype(np.float32)
    grid = VolumeGeometry.from_spacing((24,) * 3, (2.0,) * 3)
    still = Pose(np.eye(4)[:3], np.zeros((3, 8, 8, 8), np.float32))
    volume = Volume(values, grid, Unit.HU)
    assert np.abs(posed(volume, grid, still) - values).max() < 0.05
    moved = posed(volume, grid, draw_pose(rng, np.full(3, 48.0), 48.0))
    assert np.abs(moved - values).max() > 10


def test_noise_goes_and_edges_stay():
    rng = np.random.default_rng(0)
    step = np.where(np.arange(32) < 16, 40.0, 900.0)[None, None, :] * np.ones((16, 32, 1))
    noisy = (step + rng.normal(0, 20, step.shape)).astype(np.float32)
    clean = scanned._guided(noisy, 40.0)
    flat = (slice(None), slice(4, -4), slice(3, 11))
    assert (clean - step)[flat].std() < 0.45 * 20
    across = clean[:, 4:-4].mean(axis=(0, 1))
    assert across[16] - across[15] > 0.95 * 860


def test_the_sides_of_a_crop_fade_to_air():
    grid = VolumeGeometry.from_spacing((20, 40, 40), (1.0, 1.0, 3.0))
    fade = scanned._fade(grid)
    assert fade[0].max() == fade[:, 0].max() == fade[..., -1].max() == 0
    assert fade[10, 20, 20] == 1
    assert np.abs(np.diff(fade, axis=2)).max() < 0.5
