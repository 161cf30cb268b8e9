"""What a learned prior sees: coverage, gaps, residual and unit, for any scan."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.job import Job
from ctrestorelib.core.units import MU_WATER_PER_MM
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.recon.prior_channels import (
    CHANNELS,
    CONDITION,
    attenuation_unit,
    coverage_and_gap,
    fixed_channels,
    network_channels,
)
from ctrestorelib.recon.session import open_session
from ctrestorelib.restorer.plan import Plan, PlannedStage
from ctrestorelib.restorer.protocol import Inputs

PLAN = Plan("auto", "cpu", 1, 0, 1.0, (PlannedStage("All", 1.0),))


def circle(degrees, offset_mm=0.0, cols=64):
    return ConeBeamGeometry.circular(
        sod_mm=500.0, sdd_mm=1000.0, angles_rad=np.deg2rad(degrees), detector_shape=(64, cols),
        pixel_mm=(4.0, 4.0), offset_mm=(0.0, offset_mm),
    )  # fmt: skip


def gap_deg(geometry, point=(0.0, 0.0, 0.0)):
    coverage, gap = coverage_and_gap(geometry, np.array([point]))
    return float(coverage[0]), float(np.rad2deg(gap[0]))


def test_the_gap_at_the_isocentre_is_that_of_the_views():
    assert gap_deg(circle([0, 30, 90, 120])) == (1.0, pytest.approx(60.0))
    assert gap_deg(circle(np.arange(0, 180, 18))) == (1.0, pytest.approx(18.0))
    # The other way round is the same line: a full turn of an even number of views sees half.
    assert gap_deg(circle(np.arange(0, 360, 36)))[1] == pytest.approx(36.0)
    assert gap_deg(circle(np.arange(0, 360, 40)))[1] == pytest.approx(20.0)
    assert gap_deg(circle([10.0]))[1] == pytest.approx(180.0)
    assert gap_deg(circle([0, 60]))[1] == pytest.approx(120.0)


def test_the_gap_of_a_voxel_counts_the_views_that_see_it():
    geometry = circle(np.arange(0, 360, 40), offset_mm=60.0)  # sees 94 mm one way, 34 the other
    seen, gap = gap_deg(geometry, (50.0, 0.0, 0.0))
    assert 0.2 < seen < 0.9
    assert gap > gap_deg(geometry)[1] + 1.0
    assert gap_deg(geometry, (0.0, 200.0, 0.0)) == (0.0, pytest.approx(180.0))


def test_coverage_is_that_of_the_geometry():
    geometry = circle(np.arange(0, 200, 25), offset_mm=30.0, cols=40)
    grid = VolumeGeometry.from_spacing((3, 9, 9), (20.0, 20.0, 30.0))
    k, j, i = np.indices(grid.shape).reshape(3, -1)
    coverage, _ = coverage_and_gap(geometry, grid.to_world(np.stack([i, j, k], -1).astype(float)))
    np.testing.assert_allclose(
        coverage.reshape(grid.shape), geometry.seen_by(grid) / geometry.views
    )


def test_the_unit_is_water_unless_the_object_is_of_another_kind():
    body = np.zeros((8, 8, 8), np.float32)
    body[2:6, 2:6, 2:6] = 0.02
    assert attenuation_unit(body) == MU_WATER_PER_MM
    body[3, 3, 3] = 0.15  # metal does not decide
    assert attenuation_unit(body) == MU_WATER_PER_MM
    assert attenuation_unit(50 * body) == pytest.approx(1.0)
    assert attenuation_unit(0 * body) == MU_WATER_PER_MM


@pytest.fixture(scope="module")
def rods_session(rods, scan_of):
    scan = scan_of(rods, views=10)
    return open_session(Inputs(projections=scan, grid=rods.geometry), PLAN, Job())


def test_channels_of_the_truth_are_of_order_one_and_contradict_nothing(rods_session, rods):
    x = rods_session.operator.asarray(rods.values)
    fixed = fixed_channels(rods_session, x)
    assert fixed.condition.shape == (len(CONDITION),)
    assert np.abs(fixed.condition).max() < 3.0
    channels = network_channels(rods_session, fixed, x)
    assert channels.shape == (len(CHANNELS), *rods.shape)
    assert channels.dtype == np.float32
    np.testing.assert_allclose(channels[0], rods.values / MU_WATER_PER_MM, rtol=1e-5)
    inside = channels[0] > 0.5
    assert np.corrcoef(channels[1][inside], channels[0][inside])[0, 1] > 0.3
    assert np.abs(channels[2]).max() < 0.02
    assert channels[3][12, 12, 12] == pytest.approx(1.0)
    assert np.abs(channels).max() <= 6.0


def test_the_residual_shows_what_is_missing_and_where(rods_session, rods):
    x = rods_session.operator.asarray(rods.values)
    fixed = fixed_channels(rods_session, x)
    lacking = rods.values.copy()
    lacking[9:14, 8:11, 13:16] = 0.0
    seen = network_channels(rods_session, fixed, rods_session.operator.asarray(lacking))[2]
    assert seen[11, 9, 14] > 0.3
    assert seen[11, 9, 14] > 3 * seen[11, 17, 8]
    more = network_channels(rods_session, fixed, rods_session.operator.asarray(rods.values * 1.2))
    assert more[2][12, 12, 12] < -0.2
