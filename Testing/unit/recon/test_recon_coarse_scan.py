"""Larger voxels and pixels in the same place: what they hold and what rays through them see."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.physics.operators import XrayOperator
from ctrestorelib.recon.coarse_scan import (
    binned_scan,
    bins_for,
    coarse_shape,
    coarser,
    grid_of_shape,
    resized,
)
from ctrestorelib.restorer.protocol import Inputs

GRID = VolumeGeometry.from_spacing((20, 24, 28), (2.0, 2.0, 3.0))


def scan_of(views, shape):
    return ConeBeamGeometry.circular(
        sod_mm=400.0, sdd_mm=600.0, angles_rad=equal_angles(views), detector_shape=shape,
        pixel_mm=(2.0, 2.0), offset_mm=(0.0, 12.0),
    )  # fmt: skip


def box_corners(grid):
    k, j, i = grid.shape
    return grid.to_world([(-0.5, -0.5, -0.5), (i - 0.5, j - 0.5, k - 0.5)])


def test_a_grid_of_another_shape_fills_the_same_box():
    for shape in ((10, 12, 14), (7, 30, 28)):
        coarse = grid_of_shape(GRID, shape)
        assert coarse.shape == shape
        np.testing.assert_allclose(box_corners(coarse), box_corners(GRID))
    assert coarse_shape((256, 128, 256), 64) == (64, 32, 64)
    assert coarse_shape((20, 20, 20), 64) == (20, 20, 20)


@pytest.mark.parametrize("shape", [(10, 12, 14), (7, 24, 9), (40, 48, 56), (31, 24, 28)])
def test_values_keep_their_mean_and_a_slope_stays_a_slope(shape):
    k, j, i = np.indices(GRID.shape)
    slope = ((k + 0.5) / 20 + 2 * (j + 0.5) / 24 - (i + 0.5) / 28).astype(np.float32)
    out = resized(slope, shape)
    at = [(np.arange(n) + 0.5) / n for n in shape]
    wanted = at[0][:, None, None] + 2 * at[1][:, None] - at[2]
    inner = tuple(slice(2, n - 2) for n in shape)
    # Coarser voxels at broken edges hold means, which bend a slope by little.
    np.testing.assert_allclose(out[inner], wanted[inner], atol=1e-3)
    assert out.mean() == pytest.approx(slope.mean(), abs=1e-5)
    random = np.random.default_rng(0).random(GRID.shape).astype(np.float32)
    if all(a <= b for a, b in zip(shape, GRID.shape, strict=True)):
        assert resized(random, shape).mean() == pytest.approx(random.mean(), abs=1e-5)


def test_binned_projections_are_those_of_the_binned_detector():
    geometry = scan_of(5, (43, 50))
    values = np.zeros(GRID.shape, np.float32)
    values[4:16, 6:18, 8:20] = 0.02
    sharp = XrayOperator(geometry, GRID, threads=1)
    projections = ProjectionSet(
        sharp.to_numpy(sharp(sharp.asarray(values))), geometry, ProjectionKind.LINE_INTEGRAL,
        i0=1e4, electronic_sd=3.0,
    )  # fmt: skip
    binned = binned_scan(projections, 3, 4)
    assert binned.values.shape == (5, 14, 12)
    assert (binned.i0, binned.electronic_sd) == (12e4, pytest.approx(3.0 * 12**0.5))
    coarse = XrayOperator(binned.geometry, GRID, threads=1)
    direct = coarse.to_numpy(coarse(coarse.asarray(values)))
    # A ray through the middle of a large pixel and the mean over it differ only at edges.
    assert np.abs(binned.values - direct).mean() < 0.03 * direct.max()
    shift = [np.average(np.indices(a.shape)[2], weights=a) for a in (binned.values, direct)]
    assert shift[0] == pytest.approx(shift[1], abs=0.02)
    assert binned_scan(projections, 1, 1).values is projections.values


def test_pixels_follow_the_voxels():
    geometry = scan_of(4, (60, 60))
    assert bins_for(geometry, GRID) == (1, 1)
    assert bins_for(geometry, grid_of_shape(GRID, (5, 6, 7))) == (6, 6)


def test_a_coarser_problem_has_scan_grid_and_mask():
    geometry = scan_of(4, (60, 60))
    mask = np.zeros(GRID.shape, bool)
    mask[5:9, 5:9, 5:9] = True
    values = np.zeros((4, 60, 60), np.float32)
    scan = ProjectionSet(values, geometry, ProjectionKind.LINE_INTEGRAL)
    inputs = Inputs(projections=scan, grid=GRID, mask=mask)
    coarse = coarser(inputs, (5, 6, 7))
    assert coarse.grid.shape == coarse.mask.shape == (5, 6, 7)
    assert coarse.mask.any()
    assert not coarse.mask.all()
    assert coarse.projections.values.shape == (4, 10, 10)
    assert coarser(inputs, GRID.shape).mask is mask
