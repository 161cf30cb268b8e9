"""Which voxels a scan sees."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.recon.coverage import estimate_coverage, in_view, warn_about_coverage
from ctrestorelib.recon.detector import detector_part, missing_columns, rows_needed


def scan(**changes):
    fields = {"sod_mm": 300, "sdd_mm": 450, "detector_shape": (30, 60), "pixel_mm": (2, 2)}
    return ConeBeamGeometry.circular(angles_rad=equal_angles(24), **{**fields, **changes})


def test_the_estimate_agrees_with_counting_every_voxel():
    geometry = scan()
    grid = VolumeGeometry.from_spacing((50, 26, 61), (2, 2.5, 1.8), origin_lps_mm=(-50, -32, -49))
    counts = geometry.seen_by(grid)
    found = estimate_coverage(geometry, grid)
    assert found.by_all == pytest.approx((counts == 24).mean(), abs=0.03)
    assert found.by_none == pytest.approx((counts == 0).mean(), abs=0.03)
    assert found.by_all + found.by_some + found.by_none == pytest.approx(1.0)
    np.testing.assert_array_equal(in_view(geometry, grid), counts == 24)
    np.testing.assert_array_equal(in_view(geometry, grid, share=0.5), counts >= 12)


def test_what_is_not_seen_is_told():
    job = Job()
    wide = VolumeGeometry.from_spacing((60, 60, 60), (3, 3, 3))
    warn_about_coverage(estimate_coverage(scan(), wide), job)
    assert {w["code"] for w in job.warnings} == {"outside-field-of-view", "partly-seen"}
    quiet = Job()
    small = VolumeGeometry.from_spacing((20, 10, 20), (2, 2, 2))
    warn_about_coverage(estimate_coverage(scan(), small), quiet)
    assert quiet.warnings == []


def test_only_the_rows_behind_the_grid_are_needed():
    grid = VolumeGeometry.from_spacing((10, 4, 10), (2, 2, 2))
    rows = rows_needed(scan(), grid)
    assert 0 < rows.start < rows.stop < 30
    part = detector_part(scan(), rows)
    np.testing.assert_allclose(
        part.pixel_positions_mm(5), scan().pixel_positions_mm(5)[rows], atol=1e-9
    )


@pytest.mark.parametrize(("offset", "expected"), [(0.0, (0, 0)), (7.0, (7, 0)), (-7.0, (0, 7))])
def test_missing_columns_make_the_detector_symmetric(offset, expected):
    geometry = scan(offset_mm=(0, offset))
    assert missing_columns(geometry) == expected
    wide = detector_part(geometry, slice(0, 30), *expected)
    np.testing.assert_allclose(
        wide.pixel_positions_mm(3)[:, expected[0] : expected[0] + 60],
        geometry.pixel_positions_mm(3),
        atol=1e-9,
    )
