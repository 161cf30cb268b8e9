"""The X-ray operator: values, shapes, subsets, arrays, gradients and refusals."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, ResourceError, UsageError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.phantoms import shepp_logan_3d
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles, patient_to_gantry
from ctrestorelib.physics import backend as backend_module
from ctrestorelib.physics.backend import available, choose_arrays, choose_backend
from ctrestorelib.physics.operators import XrayOperator, project

BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(not available(name), reason=f"{name} is not installed"),
    )
    for name in ("numpy", "torch", "numba")
]
GRID = VolumeGeometry.from_spacing((12, 12, 12), (2.0, 2.0, 2.0))


def scan(**changes):
    settings = {
        "sod_mm": 300.0,
        "sdd_mm": 450.0,
        "angles_rad": equal_angles(4, 360),
        "detector_shape": (15, 17),
        "pixel_mm": (3.0, 3.0),
    }
    return ConeBeamGeometry.circular(**{**settings, **changes})


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_a_cube_is_as_thick_as_it_is(backend, tilt):
    geometry = scan(detector_shape=(15, 15), tilt_rad=(0.0, 0.0, tilt))
    A = XrayOperator(geometry, GRID, backend=backend)
    p = A.to_numpy(A(A.zeros_domain() + 0.02))
    # The central ray of views along an axis: 12 voxels of 2 mm.
    np.testing.assert_allclose(p[:, 7, 7], 0.02 * 24.0, rtol=1e-5)
    assert p[:, 0, 0].max() == 0.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_oblique_rays_through_anisotropic_voxels_have_their_length_in_mm(backend):
    grid = VolumeGeometry.from_spacing((30, 9, 40), (1.0, 7.0, 2.0))
    geometry = scan(beam=Beam.PARALLEL, angles_rad=np.deg2rad([0.0, 20.0, 45.0, 90.0]))
    A = XrayOperator(geometry, grid, backend=backend)
    p = A.to_numpy(A(A.zeros_domain() + 1.0))[:, 7, 8]
    # World x is 40 mm deep, z 60 mm: the central ray leaves through the nearer face.
    depth = [60.0, 60.0 / np.cos(np.deg2rad(20)), 40.0 * np.sqrt(2), 40.0]
    # At 45 degrees the edge is crossed at an angle: half a voxel of blur on each side.
    assert (np.abs(p / depth - 1.0) < [1e-5, 1e-5, 0.04, 1e-5]).all(), p


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("placed", ["world", "patient"])
def test_shepp_logan_projections_are_near_the_analytic_ones(backend, placed):
    grid = VolumeGeometry.from_spacing((64, 64, 64), (2.0, 2.0, 2.0))
    frame = patient_to_gantry() if placed == "patient" else np.eye(4)
    phantom = shepp_logan_3d(60.0, placed=np.linalg.inv(frame))
    geometry = scan(
        detector_shape=(48, 48),
        pixel_mm=(4.0, 4.0),
        angles_rad=equal_angles(5),
        world_to_gantry=frame,
    )
    A = XrayOperator(geometry, grid, backend=backend)
    volume = phantom.voxelise(grid, oversample=2)
    p, exact = A.to_numpy(A(A.asarray(volume.values))), phantom.project(geometry)
    assert np.linalg.norm(p - exact) < 0.04 * np.linalg.norm(exact)  # 2 % at 128: test_physics_rtk


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_ray_neither_starts_before_the_source_nor_passes_the_detector(backend):
    grid = VolumeGeometry.from_spacing((81, 3, 3), (1.0, 1.0, 1.0))
    geometry = scan(
        sod_mm=20.0, sdd_mm=30.0, angles_rad=[0.0], detector_shape=(1, 1), pixel_mm=(0.1, 0.1)
    )
    A = XrayOperator(geometry, grid, backend=backend)
    values = np.zeros(A.domain, np.float32)
    values[:30] = 1.0  # from z = -40 to -11: behind the detector at -10
    values[61:] = 1.0  # from z = 21: behind the source at 20
    assert A.to_numpy(A(A.asarray(values))).max() == 0.0
    assert A.to_numpy(A(A.zeros_domain() + 1.0)) == pytest.approx(31.0, abs=1.01)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_subset_holds_the_views_asked_for(backend):
    A = XrayOperator(scan(), GRID, backend=backend)
    x = A.asarray(np.random.default_rng(0).random(A.domain, dtype=np.float32))
    some = A.subset([2, 0])
    assert some.range == (2, 15, 17)
    assert some.backend == A.backend
    np.testing.assert_allclose(A.to_numpy(some(x)), A.to_numpy(A(x))[[2, 0]], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("arrays", ["numpy", "torch"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_takes_both_kinds_of_arrays_and_returns_the_one_asked_for(backend, arrays):
    torch = pytest.importorskip("torch")
    A = XrayOperator(scan(), GRID, backend=backend, arrays=arrays)
    kind = torch.Tensor if arrays == "torch" else np.ndarray
    x = np.random.default_rng(0).random(A.domain, dtype=np.float32)
    expected = A.to_numpy(A(x))
    for given in (x, torch.from_numpy(x).requires_grad_()):
        for operator in (A, A.subset([0, 1, 2, 3]), A.with_geometry(scan())):
            y = operator(given)
            assert isinstance(y, kind)
            assert isinstance(operator.T(y), kind)
            np.testing.assert_array_equal(A.to_numpy(y), expected)
    for made in (A.asarray(x), A.zeros_domain(), A.zeros_range(), A.subset([1]).zeros_range()):
        assert isinstance(made, kind)


def test_the_grid_alone_decides_on_the_kind_of_arrays(monkeypatch):
    sides = {n: choose_arrays("auto", "numba", n**3) for n in (16, 128, 129)}
    assert sides == {16: "numpy", 128: "numpy", 129: "torch" if available("torch") else "numpy"}
    for voxels in (1, 10**9):
        assert choose_arrays("auto", "numpy", voxels) == "numpy"
        assert choose_arrays("auto", "torch", voxels) == "torch"
    monkeypatch.setattr(backend_module, "available", lambda name: name != "torch")
    assert choose_arrays("auto", "numba", 10**9) == "numpy"
    with pytest.raises(ResourceError, match="torch"):
        choose_arrays("torch", "numba", 1)
    with pytest.raises(UsageError, match="arrays"):
        choose_arrays("cupy", "numba", 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_domain_range_and_transpose_know_each_other(backend):
    A = XrayOperator(scan(), GRID, backend=backend)
    assert A.domain == A.T.range == (12, 12, 12)
    assert A.range == A.T.domain == (4, 15, 17)
    assert A.T.T is A
    assert tuple(A.zeros_domain().shape) == A.domain
    assert tuple(A(A.zeros_domain()).shape) == A.range
    assert tuple(A.T(A.zeros_range()).shape) == A.domain


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_of_any_layout_and_kind_are_taken_and_left_alone(backend):
    A = XrayOperator(scan(), GRID, backend=backend)
    x = np.random.default_rng(0).random(A.domain)
    expected = A.to_numpy(A(A.asarray(x)))
    x.setflags(write=False)
    for given in (x, np.asfortranarray(x), x.astype(np.float32)[:, ::-1][:, ::-1]):
        np.testing.assert_allclose(A.to_numpy(A(given)), expected, rtol=1e-6, atol=1e-6)
    back = A.to_numpy(A.T(expected[:, ::-1][:, ::-1]))
    assert back.flags.c_contiguous
    assert back.dtype == np.float32


@pytest.mark.parametrize("backend", BACKENDS)
def test_wrong_shapes_are_refused(backend):
    A = XrayOperator(scan(), GRID, backend=backend)
    with pytest.raises(GeometryError, match=r"\(12, 12, 12\)"):
        A(np.zeros((12, 12, 13), np.float32))
    with pytest.raises(GeometryError, match=r"\(4, 15, 17\)"):
        A.T(np.zeros((3, 15, 17), np.float32))


def test_backends_are_chosen_by_what_is_installed(monkeypatch):
    for installed, expected in [
        ({"torch", "numba"}, "numba"),
        ({"torch"}, "torch"),
        ({"numba"}, "numba"),
        (set(), "numpy"),
    ]:
        have = {"numpy", *installed}
        monkeypatch.setattr(backend_module, "available", lambda name, have=have: name in have)
        assert choose_backend() == expected
    with pytest.raises(ResourceError, match="torch"):
        choose_backend("torch")


def test_impossible_choices_are_refused():
    with pytest.raises(UsageError, match="backend"):
        choose_backend("cuda")
    with pytest.raises(UsageError, match="torch"):
        choose_backend("numpy", "cuda:0")
    with pytest.raises(UsageError, match="threads"):
        XrayOperator(scan(), GRID, threads=0)


def test_projecting_works_with_torch_and_numba_absent():
    code = """
import sys
for name in ("torch", "numba"):
    sys.modules[name] = None
import importlib.util as u
find = u.find_spec
u.find_spec = lambda name, *a: None if name in ("torch", "numba") else find(name, *a)
import numpy as np
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry
from ctrestorelib.physics.backproject import backproject
from ctrestorelib.physics.operators import XrayOperator
grid = VolumeGeometry.from_spacing((5, 6, 7), (1, 1, 1))
scan = ConeBeamGeometry.circular(sod_mm=50, sdd_mm=80, angles_rad=[0, 1], detector_shape=(8, 9),
                                 pixel_mm=(2, 2))
A = XrayOperator(scan, grid)
y = A(A.zeros_domain() + 1)
assert A.backend == "numpy" and isinstance(y, np.ndarray) and y.max() > 4
assert A.T(y).shape == grid.shape and backproject(y, scan, grid).max() > 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_gradients_flow_through_projection_and_backprojection(backend):
    torch = pytest.importorskip("torch")
    pytest.importorskip(backend)
    A = XrayOperator(scan(), GRID, backend=backend, arrays="torch")
    x = A.asarray(np.random.default_rng(0).random(A.domain, dtype=np.float32)).requires_grad_()
    y = A.asarray(np.random.default_rng(1).random(A.range, dtype=np.float32))
    (project(A, x) * y).sum().backward()
    np.testing.assert_array_equal(A.to_numpy(x.grad), A.to_numpy(A.T(y)))
    z = y.clone().requires_grad_()
    (project(A.T, z) ** 2).sum().backward()
    expected = A.to_numpy(A(2.0 * A.T(y)))
    np.testing.assert_allclose(A.to_numpy(z.grad), expected, rtol=1e-5, atol=1e-3)
    assert not torch.is_tensor(x.grad) or x.grad.shape == x.shape


def test_gradients_need_torch_arrays():
    A = XrayOperator(scan(), GRID, backend="numpy")
    with pytest.raises(UsageError, match="torch"):
        project(A, A.zeros_domain())
