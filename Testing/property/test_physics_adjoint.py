"""Properties that every projector must have: exact transpose, linearity, freedom of frames."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles, patient_to_gantry
from ctrestorelib.physics.backend import available
from ctrestorelib.physics.backproject import backproject
from ctrestorelib.physics.operators import XrayOperator

BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(not available(name), reason=f"{name} is not installed"),
    )
    for name in ("numpy", "torch", "numba")
]
BASE = {
    "sod_mm": 100.0,
    "sdd_mm": 150.0,
    "angles_rad": equal_angles(6, 360, 10),
    "detector_shape": (23, 29),
    "pixel_mm": (1.7, 1.6),
}
SCANS = {
    "cone": {},
    "short_scan": {"angles_rad": equal_angles(5, 210)},
    "offset": {"offset_mm": (3.0, 8.0)},
    "tilted": {"tilt_rad": (0.05, 0.1, 0.08)},
    "fan": {"detector_shape": (1, 29)},
    "parallel": {"beam": Beam.PARALLEL},
    "parallel_tilted": {"beam": Beam.PARALLEL, "tilt_rad": (0.1, 0.0, 0.05)},
    "patient": {"world_to_gantry": patient_to_gantry((1.0, 2.0, 3.0))},
    "source_in_grid": {"sod_mm": 9.0, "sdd_mm": 14.0},
    "steep": {"sod_mm": 20.0, "sdd_mm": 30.0, "pixel_mm": (4.0, 1.6)},
}
OBLIQUE = [[0.9, 0.3, 0.1, -10], [-0.3, 1.0, 0.2, -12], [0.2, -0.1, -1.1, 9], [0, 0, 0, 1]]
GRIDS = {
    "upright": VolumeGeometry.from_spacing((16, 20, 24), (1.0, 1.2, 0.9)),
    "oblique_left_handed": VolumeGeometry((16, 20, 24), np.array(OBLIQUE)),
    "one_slice": VolumeGeometry.from_spacing((16, 1, 24), (1.0, 3.0, 1.0)),
}


def operator(scan: str, grid: str, backend: str, **options) -> XrayOperator:
    geometry = ConeBeamGeometry.circular(**{**BASE, **SCANS[scan]})
    return XrayOperator(geometry, GRIDS[grid], backend=backend, **options)


def noise(shape, seed):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def both(A, seed=0):
    x, y = A.asarray(noise(A.domain, seed)), A.asarray(noise(A.range, seed + 1))
    return x, y, A.to_numpy(A(x)), A.to_numpy(A.T(y))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_transpose_is_exact(backend, scan, grid):
    A = operator(scan, grid, backend)
    x, y, ax, aty = both(A)
    left = np.vdot(ax.astype(float), A.to_numpy(y).astype(float))
    right = np.vdot(A.to_numpy(x).astype(float), aty.astype(float))
    assert left > 0
    size = np.linalg.norm(ax) * np.linalg.norm(A.to_numpy(y))
    assert abs(left - right) < 1e-5 * size
    # Single rays and single voxels too: sums could hide errors that cancel.
    assert_entries_agree(A, ax, aty)


def assert_entries_agree(A, ax, aty):
    view, row, col = np.unravel_index(int(ax.argmax()), ax.shape)
    voxel = np.unravel_index(int(aty.argmax()), aty.shape)
    ray, point = np.zeros(A.range, np.float32), np.zeros(A.domain, np.float32)
    ray[view, row, col] = 1.0
    point[voxel] = 1.0
    footprint = A.to_numpy(A(A.asarray(point)))
    path = A.to_numpy(A.T(A.asarray(ray)))
    assert footprint[view, row, col] == pytest.approx(path[voxel], abs=1e-5)
    hit = np.unravel_index(int(path.argmax()), path.shape)
    point[voxel], point[hit] = 0.0, 1.0
    assert A.to_numpy(A(A.asarray(point)))[view, row, col] == pytest.approx(path[hit], rel=1e-3)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_backends_agree_with_numpy(backend, scan, grid):
    _, _, ax, aty = both(operator(scan, grid, backend))
    _, _, ax0, aty0 = both(operator(scan, grid, "numpy"))
    assert np.linalg.norm(ax - ax0) < 3e-6 * np.linalg.norm(ax0)
    assert np.linalg.norm(aty - aty0) < 5e-6 * np.linalg.norm(aty0)


@pytest.mark.parametrize("scan", ["cone", "tilted"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_results_do_not_depend_on_threads_or_run(backend, scan):
    _, _, ax, aty = both(operator(scan, "upright", backend, threads=1))
    for _ in range(2):
        _, _, again, back = both(operator(scan, "upright", backend, threads=3))
        np.testing.assert_array_equal(again, ax)
        np.testing.assert_array_equal(back, aty)


@pytest.mark.parametrize("backend", BACKENDS)
def test_projection_is_linear(backend):
    A = operator("offset", "oblique_left_handed", backend)
    a, b = noise(A.domain, 1), noise(A.domain, 2)
    together = A.to_numpy(A(A.asarray(2.0 * a - 0.5 * b)))
    apart = 2.0 * A.to_numpy(A(A.asarray(a))) - 0.5 * A.to_numpy(A(A.asarray(b)))
    np.testing.assert_allclose(together, apart, atol=2e-5 * np.abs(apart).max())


def rigid(seed):
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    move = np.eye(4)
    move[:3, :3] = rotation * np.linalg.det(rotation)
    move[:3, 3] = (12.0, -5.0, 30.0)
    return move


@pytest.mark.parametrize("scan", ["cone", "tilted", "parallel", "offset"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_moving_volume_and_scan_together_changes_nothing(backend, scan):
    A = operator(scan, "upright", backend)
    move = rigid(5)
    grid = VolumeGeometry(A.grid.shape, move @ A.grid.ijk_to_lps)
    B = XrayOperator(A.geometry.moved(move), grid, backend=backend)
    _, y, ax, aty = both(A)
    _, _, bx, bty = both(B)
    assert np.linalg.norm(ax - bx) < 1e-5 * np.linalg.norm(ax)
    assert np.linalg.norm(aty - bty) < 1e-5 * np.linalg.norm(aty)
    values = A.to_numpy(y)
    fixed = backproject(values, A.geometry, A.grid, backend=backend)
    moved = backproject(values, B.geometry, B.grid, backend=backend)
    assert np.linalg.norm(fixed - moved) < 1e-5 * np.linalg.norm(fixed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_scaling_all_lengths_scales_line_integrals(backend):
    A = operator("cone", "oblique_left_handed", backend)
    scaled = {**BASE, "sod_mm": 250.0, "sdd_mm": 375.0, "pixel_mm": (1.7 * 2.5, 1.6 * 2.5)}
    matrix = np.diag([2.5, 2.5, 2.5, 1.0]) @ A.grid.ijk_to_lps
    B = XrayOperator(
        ConeBeamGeometry.circular(**scaled), VolumeGeometry(A.grid.shape, matrix), backend=backend
    )
    _, _, ax, _ = both(A)
    _, _, bx, _ = both(B)
    np.testing.assert_allclose(bx, 2.5 * ax, rtol=2e-4, atol=1e-4)
