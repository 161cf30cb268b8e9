"""Voxel-driven backprojection against a direct evaluation of its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles, patient_to_gantry
from ctrestorelib.physics.backend import available
from ctrestorelib.physics.backproject import EDGE, backproject, index_matrices

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
    "offset": {"offset_mm": (3.0, 8.0)},
    "tilted": {"tilt_rad": (0.05, 0.1, 0.08)},
    "fan": {"detector_shape": (1, 29)},
    "one_column": {"detector_shape": (23, 1), "pixel_mm": (1.7, 9.0)},
    "parallel": {"beam": Beam.PARALLEL},
    "patient": {"world_to_gantry": patient_to_gantry((1.0, 2.0, 3.0))},
}
OBLIQUE = [[0.9, 0.3, 0.1, -10], [-0.3, 1.0, 0.2, -12], [0.2, -0.1, -1.1, 9], [0, 0, 0, 1]]
GRIDS = {
    "upright": VolumeGeometry.from_spacing((16, 21, 24), (1.0, 1.2, 0.9)),
    "oblique": VolumeGeometry((16, 20, 24), np.array(OBLIQUE)),
    "one_slice": VolumeGeometry.from_spacing((16, 1, 24), (1.0, 3.0, 1.0)),
}


def geometry(scan):
    return ConeBeamGeometry.circular(**{**BASE, **SCANS[scan]})


def readings(scan: ConeBeamGeometry):
    return np.random.default_rng(0).random((scan.views, *scan.detector_shape), dtype=np.float32)


def by_definition(values, scan, grid, *, distance_weight=True):
    k, j, i = np.mgrid[tuple(slice(0, n) for n in grid.shape)]
    points = grid.to_world(np.stack([i, j, k], axis=-1))
    # The isocentre is the world's origin moved as the gantry says; s is measured from there.
    isocentre = np.linalg.inv(scan.world_to_gantry)[:3, 3]
    rows, cols = scan.detector_shape
    out = np.zeros(grid.shape)
    for view, (u, v) in enumerate(np.moveaxis(scan.project(points), -1, 1)):
        inside = (np.abs(u - (cols - 1) / 2) <= (cols - 1) / 2 + EDGE) & (
            np.abs(v - (rows - 1) / 2) <= (rows - 1) / 2 + EDGE
        )
        factor = 1.0
        if scan.beam is Beam.CONE and distance_weight:
            depth = (scan.source[view] - points) @ scan.normals[view]
            factor = (((scan.source[view] - isocentre) @ scan.normals[view]) / depth) ** 2
        sampled = map_coordinates(values[view].astype(float), [v, u], order=1, mode="nearest")
        out += np.where(inside, factor * sampled, 0.0)
    return out


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_lies_in_fresh_memory_does_not_reach_the_result(backend):
    scan, grid = geometry("fan"), GRIDS["upright"]
    values = readings(scan)
    expected = by_definition(values, scan, grid)
    for _ in range(8):
        left = [np.full(n, np.nan, np.float32) for n in range(2, 64) for _ in range(12)]
        del left
        result = backproject(values, scan, grid, backend=backend)
        assert np.linalg.norm(result - expected) < 3e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backprojection_is_what_it_is_defined_to_be(backend, scan, grid):
    scan, grid = geometry(scan), GRIDS[grid]
    values = readings(scan)
    expected = by_definition(values, scan, grid)
    result = backproject(values, scan, grid, backend=backend)
    assert result.dtype == np.float32
    assert np.linalg.norm(expected) > 1.0
    assert np.linalg.norm(result - expected) < 3e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_distance_weight_is_that_of_fdk(backend):
    scan = geometry("cone")[[0]]  # 10 degrees
    ones = np.ones((1, 23, 29), np.float32)
    grid = GRIDS["one_slice"]
    result = backproject(ones, scan, grid, backend=backend)
    towards_source = np.array([np.sin(np.deg2rad(10)), 0.0, np.cos(np.deg2rad(10))])
    for kji in [(8, 0, 12), (3, 0, 9), (12, 0, 16)]:
        s = grid.to_world(kji[::-1]) @ towards_source
        assert result[kji] == pytest.approx((100.0 / (100.0 - s)) ** 2, rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scan", ["cone", "tilted", "parallel"])
def test_weights_of_views_and_blocks_of_views_add_up(backend, scan):
    scan, grid = geometry(scan), GRIDS["upright"]
    values, weights = readings(scan), np.array([1.0, 0.5, 0.0, 2.0, -1.0, 0.25])
    whole = backproject(
        values, scan, grid, view_weights=weights, distance_weight=False, backend=backend
    )
    expected = by_definition(values * weights[:, None, None], scan, grid, distance_weight=False)
    assert np.linalg.norm(whole - expected) < 5e-6 * np.linalg.norm(expected)
    out = np.zeros(grid.shape, np.float32)
    for views in (slice(0, 4), slice(4, 6)):
        returned = backproject(
            values[views], scan[views], grid, view_weights=weights[views],
            distance_weight=False, out=out, backend=backend,
        )  # fmt: skip
        assert returned is out
    np.testing.assert_allclose(out, whole, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tilt", [0.0, 0.02])
def test_voxels_behind_the_source_receive_nothing(backend, tilt):
    scan = ConeBeamGeometry.circular(
        sod_mm=10.0, sdd_mm=20.0, angles_rad=[0.0], detector_shape=(9, 9), pixel_mm=(9.0, 9.0),
        tilt_rad=(tilt, 0.0, 0.0),
    )  # fmt: skip
    grid = VolumeGeometry.from_spacing((41, 3, 3), (0.1, 0.1, 1.0))
    result = backproject(np.ones((1, 9, 9), np.float32), scan, grid, backend=backend)
    assert (result[:29, 1, 1] > 0).all()
    assert (result[31:] == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_results_do_not_depend_on_threads(backend):
    scan, grid = geometry("offset"), GRIDS["upright"]
    one = backproject(readings(scan), scan, grid, backend=backend, threads=1)
    three = backproject(readings(scan), scan, grid, backend=backend, threads=3)
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_tensors_in_tensors_out(backend):
    torch = pytest.importorskip("torch")
    pytest.importorskip(backend)
    scan, grid = geometry("cone"), GRIDS["upright"]
    values = readings(scan)
    result = backproject(torch.from_numpy(values), scan, grid, backend=backend)
    assert torch.is_tensor(result)
    np.testing.assert_allclose(result, backproject(values, scan, grid, backend="numpy"), atol=1e-4)


def test_wrong_arguments_are_refused():
    scan, grid = geometry("cone"), GRIDS["upright"]
    with pytest.raises(GeometryError, match=r"\(6, 23, 29\)"):
        backproject(np.zeros((5, 23, 29), np.float32), scan, grid)
    with pytest.raises(GeometryError, match="out"):
        backproject(readings(scan), scan, grid, out=np.zeros((1, 1, 1), np.float32))
    with pytest.raises(UsageError, match="view_weights"):
        backproject(readings(scan), scan, grid, view_weights=[1.0, np.nan, 1, 1, 1, 1])
    moved = np.eye(4)
    moved[2, 3] = 300.0
    away = scan.replace(world_to_gantry=moved)
    with pytest.raises(GeometryError, match="behind the source"):
        backproject(readings(scan), away, grid)


def test_columns_are_found_where_the_detector_runs_along_a_voxel_axis():
    def axis(scan, grid):
        return index_matrices(geometry(scan), GRIDS[grid]).column_axis(GRIDS[grid].shape)

    assert axis("cone", "upright") == 1
    assert axis("patient", "upright") == 0
    assert axis("tilted", "upright") is None
    assert axis("cone", "oblique") is None
