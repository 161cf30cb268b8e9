"""Rays that a scan measures from both ends count once; every scan is named for what it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.geometry.frames import patient_to_gantry
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.recon.arc import arc_of, scan_arc
from ctrestorelib.recon.obliquity import lateral
from ctrestorelib.recon.weights import Weighting, parker, redundancy, wang

FAN = 2 * np.arctan(48 * 2 / 2 / 450)  # of the scans below


def scan(angles, **changes):
    fields = {"sod_mm": 300, "sdd_mm": 450, "detector_shape": (4, 48), "pixel_mm": (2, 2)}
    return ConeBeamGeometry.circular(angles_rad=angles, **{**fields, **changes})


@settings(max_examples=60, deadline=None)
@given(
    half_fan=st.floats(0.02, 0.6),
    extra=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**16),
)
def test_parker_weights_of_both_ends_sum_to_one(half_fan, extra, seed):
    arc = np.pi + 2 * half_fan
    arc += extra * (2 * np.pi - arc)
    random = np.random.default_rng(seed)
    gamma = random.uniform(-half_fan, half_fan, 200)
    beta = random.uniform(0, arc, 200)
    # All views of the arc that measure the same line, on the circle of angles.
    other = np.mod(beta + np.pi + 2 * gamma, 2 * np.pi)
    weight = parker(beta, gamma, arc)
    conjugate = np.where(other <= arc, parker(np.minimum(other, arc), -gamma, arc), 0.0)
    np.testing.assert_allclose(weight + conjugate, 1.0, atol=1e-9)
    assert weight.min() >= 0
    assert weight.max() <= 1


def test_parker_is_smooth_in_angle():
    beta = np.linspace(0, np.pi + 0.5, 2000)
    steps = np.diff(parker(beta, 0.1, np.pi + 0.5))
    assert np.abs(steps).max() < 0.02


def test_parker_refuses_an_arc_that_misses_lines():
    with pytest.raises(GeometryError, match="at least 208"):
        parker(np.zeros(1), np.array([0.25]), np.deg2rad(200))


@settings(max_examples=40, deadline=None)
@given(overlap=st.floats(0.01, 0.5), transition=st.floats(0.05, 1.0), side=st.sampled_from([1, -1]))
def test_wang_weights_of_both_ends_sum_to_one(overlap, transition, side):
    position = np.linspace(-0.9, 0.9, 301)
    weight = wang(position, overlap, wide_side=side, transition=transition)
    mirrored = wang(-position, overlap, wide_side=side, transition=transition)
    np.testing.assert_allclose(weight + mirrored, 1.0, atol=1e-12)
    assert (weight[position * side >= overlap] == 1).all()
    assert (weight[position * side <= -overlap] == 0).all()


@pytest.mark.parametrize("sense", [1, -1])
@pytest.mark.parametrize("frame", [np.eye(4), patient_to_gantry((3, -4, 5))])
@pytest.mark.parametrize("offset", [0.0, 12.0])
def test_the_sign_of_the_conjugate_ray_comes_from_the_lines_themselves(sense, frame, offset):
    views = scan(sense * equal_angles(40, 360, 7), world_to_gantry=frame, offset_mm=(0, offset))
    gamma = lateral(views, [40.0])[:, 0]
    there = np.linalg.inv(frame)
    for view in (0, 11, 29):
        # The source of the conjugate ray lies on the very line of the first ray, beyond its pixel.
        beta = views.angles_rad[view] + np.pi + 2 * gamma[view]
        conjugate = (there @ [300 * np.sin(beta), 0, 300 * np.cos(beta), 1])[:3]
        pixel = views.detector_centre_mm[view] + 16.5 * views.u_mm[view]
        ray = pixel - views.source[view]
        to_conjugate = conjugate - views.source[view]
        cosine = ray @ to_conjugate / np.linalg.norm(ray) / np.linalg.norm(to_conjugate)
        assert cosine == pytest.approx(1.0, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(3, 60),
    arc=st.floats(20, 300),
    start=st.floats(-400, 400),
    seed=st.integers(0, 99),
)
def test_an_open_arc_is_found_wherever_it_starts(count, arc, start, seed):
    if 360 - arc + arc / count <= 2.2 * arc / count:
        return  # evenly spread enough to be a circle
    angles = np.random.default_rng(seed).permutation(equal_angles(count, arc, start))
    found = arc_of(angles)
    assert not found.closed
    assert found.arc_rad == pytest.approx(np.deg2rad(arc), abs=1e-6)
    np.testing.assert_allclose(found.share_rad, np.deg2rad(arc / count), atol=1e-6)
    assert found.position_rad.min() == pytest.approx(np.deg2rad(arc / count / 2), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 6.28), min_size=4, max_size=40, unique=True))
def test_shares_of_a_closed_circle_sum_to_a_full_turn(angles):
    found = arc_of(angles)
    assert found.share_rad.min() >= 0
    assert found.share_rad.sum() == pytest.approx(found.arc_rad)
    if found.closed:
        assert found.arc_rad == pytest.approx(2 * np.pi)


def test_parallel_half_turns_are_complete_with_and_without_the_last_view():
    for angles in (np.arange(180), np.arange(181), np.arange(0, 360, 3), np.arange(250)):
        found = redundancy(scan(np.deg2rad(angles), beam="parallel"))
        assert not found.limited_angle
        assert found.weights.sum() == pytest.approx(np.pi, rel=1e-6)
    twice = scan_arc(scan(np.deg2rad(np.arange(181)), beam="parallel")).share_rad
    assert twice[0] + twice[180] == pytest.approx(twice[90])


@pytest.mark.parametrize(
    ("arc", "expected", "limited"),
    [
        (360.0, Weighting.EQUAL, False),
        (181 + np.rad2deg(FAN), Weighting.PARKER, False),
        (270.0, Weighting.PARKER, False),
        (180.0, Weighting.EQUAL, True),
        (120.0, Weighting.EQUAL, True),
    ],
)
def test_the_arc_decides_the_weighting(arc, expected, limited):
    found = redundancy(scan(equal_angles(90, arc)))
    assert found.weighting is expected
    assert found.limited_angle is limited
    assert [code for code, _ in found.doubts] == (["limited-angle"] if limited else [])
    # The middle ray of a point on the axis is measured over pi in all.
    assert found.weights[:, found.weights.shape[1] // 2].sum() == pytest.approx(np.pi, rel=2e-3)


def test_a_shifted_detector_on_a_full_turn_gets_wang_weights():
    found = redundancy(scan(equal_angles(90), offset_mm=(0, -30)))
    assert found.weighting is Weighting.WANG
    narrow, wide = found.weights[0, [-1, 0]]
    assert narrow < 0.05 * wide
    assert found.weights[:, 0].sum() == pytest.approx(2 * np.pi, rel=1e-6)


def test_a_centring_correction_is_no_offset():
    assert redundancy(scan(equal_angles(90), offset_mm=(0, 1.0))).weighting is Weighting.EQUAL


def test_wang_is_never_used_on_a_short_scan():
    short = scan(equal_angles(90, 215), offset_mm=(0, 30))
    for weighting in (Weighting.AUTO, Weighting.WANG):
        with pytest.raises(GeometryError, match=r"shifted by 31 % .* full turn"):
            redundancy(short, weighting)
    assert redundancy(short, Weighting.EQUAL).weighting is Weighting.EQUAL


def test_a_thin_overlap_is_told():
    found = redundancy(scan(equal_angles(90), offset_mm=(0, 42)))
    assert [code for code, _ in found.doubts] == ["thin-overlap"]


def test_a_detector_beside_the_axis_is_refused():
    with pytest.raises(GeometryError, match="beside the detector"):
        redundancy(scan(equal_angles(90), offset_mm=(0, 60)))


def test_parker_on_a_full_turn_is_refused():
    with pytest.raises(GeometryError, match="all the way round"):
        redundancy(scan(equal_angles(90)), Weighting.PARKER)
