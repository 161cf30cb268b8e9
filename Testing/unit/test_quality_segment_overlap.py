"""Segment overlap against shapes whose answers are known exactly, on tilted and thick grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from ctrestorelib.core.errors import GeometryError, InputError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.quality.segment_overlap import GridMask, count_islands, lookup, segment_overlap
from ctrestorelib.quality.surface_elements import bounding_box, surface_elements


def rotation(seed: int) -> np.ndarray:
    """Return a random rotation matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else -q


def grid(shape=(30, 40, 50), spacing=(1.0, 1.0, 1.0), *, turn: int | None = None, shear=0.0):
    """Return a grid, optionally turned by a random rotation or sheared like a tilted gantry."""
    straight = VolumeGeometry.from_spacing(shape, spacing)
    matrix = np.array(straight.ijk_to_lps)
    matrix[1, 2] += shear * spacing[2]
    if turn is not None:
        matrix[:3] = rotation(turn) @ matrix[:3]
    return VolumeGeometry(shape, matrix)


def ball(geometry: VolumeGeometry, radius_mm: float, centre_mm=(0.0, 0.0, 0.0)) -> GridMask:
    """Return the voxels whose centre lies in a ball around a world position."""
    k, j, i = np.indices(geometry.shape)
    world = geometry.to_world(np.stack([i, j, k], axis=-1))
    return GridMask(np.linalg.norm(world - centre_mm, axis=-1) <= radius_mm, geometry)


def box(geometry: VolumeGeometry, start, stop) -> GridMask:
    """Return the voxels of an index box [start, stop) in k, j, i."""
    inside = np.zeros(geometry.shape, dtype=bool)
    inside[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return GridMask(inside, geometry)


def numbers(first: GridMask, second: GridMask) -> tuple[float, float, float, float]:
    """Return Dice, mean distance, HD95 and volume difference."""
    return tuple(float(m) for m in segment_overlap(first, second).measures)


GRIDS = [
    grid(),
    grid(spacing=(0.5, 0.7, 1.6)),
    grid(spacing=(0.5, 0.7, 1.6), turn=3),
    grid(spacing=(0.8, 0.8, 1.2), shear=0.3),
]


@pytest.mark.parametrize("geometry", GRIDS)
def test_a_segment_agrees_with_itself_fully(geometry):
    one = ball(geometry, 8)
    assert numbers(one, one) == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("geometry", GRIDS[:3])
def test_a_shifted_box_has_its_analytic_values(geometry, axis):
    start, stop = np.array([5, 6, 7]), np.array([25, 30, 33])
    shift = np.eye(3, dtype=int)[axis] * 2
    dice, mean, hd95, difference = numbers(
        box(geometry, start, stop), box(geometry, start + shift, stop + shift)
    )
    side = stop - start
    assert dice == pytest.approx(1 - 2 / side[axis])
    assert difference == 0
    moved_mm = 2 * geometry.spacing_mm[2 - axis]
    # The two moved faces are moved_mm apart; HD95 sees them, as they hold over 5 % of the area.
    assert hd95 == pytest.approx(moved_mm, rel=1e-6)
    edge = side * np.array(geometry.spacing_mm[::-1])
    faces = edge.prod() / edge
    # Of each surface one face moved out of the other and one into it. What the side walls add
    # around the first, the rim of the second (nearer to a wall than to the face) takes away.
    mean_of_two_faces = faces[axis] * moved_mm / faces.sum()
    assert mean == pytest.approx(mean_of_two_faces, rel=0.12)


@pytest.mark.parametrize("geometry", [
    grid((60, 60, 60), (0.5, 0.5, 0.5)),
    grid((60, 60, 60), (0.5, 0.5, 0.5), turn=1),
    grid((20, 72, 72), (0.4, 0.4, 1.5)),
    grid((20, 72, 72), (0.4, 0.4, 1.5), turn=2),
])  # fmt: skip
def test_concentric_balls_lie_their_radii_apart(geometry):
    dice, mean, hd95, difference = numbers(ball(geometry, 10), ball(geometry, 12))
    one, two = 10**3, 12**3
    assert dice == pytest.approx(2 * one / (one + two), abs=0.01)
    assert difference == pytest.approx(72.8, abs=1.5)
    half_voxel = max(geometry.spacing_mm) / 2
    assert mean == pytest.approx(2.0, abs=0.15 + 0.25 * half_voxel)
    assert 2.0 - half_voxel <= hd95 <= 2.0 + half_voxel


def test_a_shifted_ball_is_half_the_shift_away_on_average():
    geometry = grid((60, 60, 70), (0.5, 0.5, 0.5))
    _, mean, hd95, _ = numbers(ball(geometry, 11), ball(geometry, 11, (2.0, 0, 0)))
    # The distance at polar angle t is nearly 2 |cos t|, whose mean over a sphere is 1.
    assert mean == pytest.approx(1.0, abs=0.1)
    assert hd95 == pytest.approx(1.9, abs=0.25)


def test_thick_slices_do_not_outvote_the_side_walls():
    # A tall prism in slices of 4 mm, whose top moves by one slice: the walls hold most area.
    geometry = grid((30, 40, 50), (0.5, 0.5, 4.0))
    one, two = box(geometry, (4, 10, 10), (20, 30, 30)), box(geometry, (4, 10, 10), (21, 30, 30))
    _, mean, _, _ = numbers(one, two)
    top, wall, extra = 10 * 10, 4 * 10 * 64, 4 * 10 * 4
    # First to second: the old top lies up to 4 mm below the new, but walls are nearer at the rim.
    most = (top * 4 + top * 4 + extra * 2) / (2 * (2 * top + wall) + extra)
    assert 0.3 * most < mean <= most
    per_voxel = 0.5 * (400 / (2 * 400 + 76 * 16)) * 4 * 2
    assert mean < per_voxel / 2


def test_order_does_not_matter_but_for_the_sign_of_the_volume():
    one, two = ball(GRIDS[1], 7), ball(GRIDS[1], 8, (1, 0, 0))
    there, back = numbers(one, two), numbers(two, one)
    assert there[:3] == pytest.approx(back[:3])
    assert there[3] > 0 > back[3]


@pytest.mark.parametrize("axis", range(3))
def test_mirrored_segments_give_the_same_numbers(axis):
    rng = np.random.default_rng(5)
    geometry = grid((12, 12, 12))
    one, two = (GridMask(rng.random(geometry.shape) < p, geometry) for p in (0.2, 0.3))
    mirrored = [GridMask(np.flip(m.inside, axis).copy(), geometry) for m in (one, two)]
    assert_allclose(numbers(one, two), numbers(*mirrored), rtol=1e-9)


def test_numbers_follow_the_object_when_the_patient_is_turned():
    plain, turned = grid((20, 30, 30), (0.6, 0.6, 1.5)), grid((20, 30, 30), (0.6, 0.6, 1.5), turn=9)
    rng = np.random.default_rng(2)
    one = rng.random(plain.shape) < 0.3
    two = one ^ (rng.random(plain.shape) < 0.02)
    there = numbers(GridMask(one, plain), GridMask(two, plain))
    turned_numbers = numbers(GridMask(one, turned), GridMask(two, turned))
    assert_allclose(turned_numbers, there, rtol=1e-9)


@pytest.mark.parametrize(("first", "second", "says"), [
    (0, 5, "first is empty"), (5, 0, "second is empty"), (0, 0, "both segments are empty"),
])  # fmt: skip
def test_an_empty_segment_is_a_sentence(first, second, says):
    geometry = grid((12, 12, 12))
    masks = [ball(geometry, r) if r else box(geometry, (0,) * 3, (0,) * 3) for r in (first, second)]
    for measure in segment_overlap(*masks).measures:
        assert measure.value is None
        assert math.isnan(float(measure))
        assert says in measure.sentence


def test_a_segment_without_surface_keeps_dice_and_volume():
    geometry = grid((4, 5, 6))
    full = GridMask(np.ones(geometry.shape, dtype=bool), geometry)
    result = segment_overlap(full, full)
    assert float(result.dice) == 1
    assert result.hd95.value is None
    assert "no surface inside the image" in result.hd95.sentence


def test_the_cut_at_the_border_of_the_image_is_no_surface():
    geometry = grid((20, 20, 20))
    shaft = box(geometry, (0, 5, 5), (20, 15, 15))
    elements = surface_elements(shaft.inside, geometry)
    # Four walls of 10 mm between the outermost slice centres, rounded a little at the edges.
    assert elements.area_mm2.sum() == pytest.approx(4 * 10 * 19, rel=0.04)


@pytest.mark.parametrize("geometry", GRIDS)
def test_a_flat_wall_has_its_exact_area(geometry):
    inside = np.zeros(geometry.shape, dtype=bool)
    inside[:, :, :20] = True
    elements = surface_elements(inside, geometry)
    j, k = geometry.ijk_to_lps[:3, 1], geometry.ijk_to_lps[:3, 2]
    wall = np.linalg.norm(np.cross(j, k)) * (geometry.shape[0] - 1) * (geometry.shape[1] - 1)
    assert elements.area_mm2.sum() == pytest.approx(wall, rel=1e-9)
    assert_allclose(geometry.to_ijk(elements.points_lps_mm)[:, 0], 19.5, atol=1e-9)


def test_a_ball_has_its_area_but_for_the_stairs():
    elements = surface_elements(*vars(ball(grid((60, 60, 60), (0.5,) * 3), 12)).values())
    assert elements.area_mm2.sum() == pytest.approx(4 * math.pi * 144, rel=0.12)


def test_islands_are_joined_through_faces_only():
    mask = np.zeros((8, 8, 8), dtype=bool)
    assert count_islands(mask) == 0
    mask[1, 1, 1] = mask[2, 2, 1] = mask[5:7, 5, 5] = True
    assert count_islands(mask) == 3
    assert bounding_box(mask, margin=3) == (slice(0, 8), slice(0, 8), slice(0, 8))


def test_noise_leaves_thousands_of_islands_uncounted_by_no_eight_bit_limit():
    mask = np.zeros((20, 40, 40), dtype=bool)
    mask[::2, ::2, ::2] = True
    assert count_islands(mask) == 10 * 20 * 20


def test_a_finer_grid_of_the_same_object_agrees():
    coarse, fine = grid((30, 30, 30), (1.0,) * 3), grid((58, 58, 58), (0.5,) * 3, turn=None)
    dice, mean, hd95, difference = numbers(ball(fine, 11), ball(coarse, 11))
    assert dice > 0.95
    assert mean < 0.4
    assert hd95 < 0.9
    assert abs(difference) < 2


def test_only_the_common_field_is_compared():
    geometry = grid((40, 40, 40), (1.0,) * 3)
    shaft = box(geometry, (0, 10, 10), (40, 30, 30))
    part = (slice(8, 25), slice(None), slice(None))
    short = GridMask(shaft.inside[part].copy(), geometry.crop(part))
    assert numbers(shaft, short) == pytest.approx((1, 0, 0, 0), abs=1e-9)
    assert numbers(short, shaft) == pytest.approx((1, 0, 0, 0), abs=1e-9)


def test_distant_images_are_refused():
    here = ball(grid((10, 10, 10)), 3)
    matrix = np.array(here.geometry.ijk_to_lps)
    matrix[0, 3] += 500
    there = GridMask(here.inside, VolumeGeometry(here.geometry.shape, matrix))
    with pytest.raises(GeometryError, match="no place in common"):
        segment_overlap(here, there)


def test_a_labelmap_of_numbers_is_refused():
    with pytest.raises(InputError, match="true and false"):
        GridMask(np.zeros((3, 3, 3), np.uint8), grid((3, 3, 3)))
    with pytest.raises(GeometryError, match="shape"):
        GridMask(np.zeros((3, 3, 4), bool), grid((3, 3, 3)))


def test_sampling_a_large_surface_changes_little(monkeypatch):
    from ctrestorelib.quality import segment_overlap as module

    geometry = grid((60, 60, 60), (0.5,) * 3)
    one, two = ball(geometry, 9), ball(geometry, 11, (1, 0, 0))
    exact = numbers(one, two)
    monkeypatch.setattr(module, "MOST_ELEMENTS", 1000)
    assert_allclose(numbers(one, two), exact, rtol=0.04)


@pytest.mark.parametrize("geometry", GRIDS)
def test_looking_up_a_segment_gives_the_same_ball_on_another_grid(geometry):
    seen = lookup(ball(grid((80, 80, 80), (0.3,) * 3, turn=4), 8), geometry)
    drawn = ball(geometry, 8).inside
    assert seen.shape == geometry.shape
    assert np.count_nonzero(seen ^ drawn) < 0.06 * np.count_nonzero(drawn)
    inner = ball(geometry, 7.5).inside
    assert seen[inner].all()
    assert not seen[~ball(geometry, 8.5).inside].any()


def test_beyond_its_grid_there_is_no_segment():
    small = grid((4, 4, 4))
    full = GridMask(np.ones(small.shape, dtype=bool), small)
    seen = lookup(full, grid((10, 12, 14)))
    assert seen.sum() == 64
    assert bounding_box(seen) == (slice(3, 7), slice(4, 8), slice(5, 9))
