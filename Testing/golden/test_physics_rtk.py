"""The projector beside RTK's Joseph, an independent reference (needs itk-rtk; slow to import)."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.phantoms import shepp_logan_3d
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles
from ctrestorelib.physics.operators import XrayOperator

pytestmark = pytest.mark.rtk
itk = pytest.importorskip("itk", reason="itk-rtk is not installed")
DEGREES = (0.0, 33.0, 100.0, 217.0)
SOD, SDD = 500.0, 800.0
"""Settings of both: RTK's gantry and ours follow the same convention."""


@pytest.fixture(scope="module")
def rtk():
    module = getattr(itk, "RTK", None)
    if module is None:
        pytest.skip("itk is installed without RTK")
    return module


def rtk_image(values, spacing_ijk, origin_ijk):
    image = itk.image_from_array(np.ascontiguousarray(values, dtype=np.float32))
    image.SetSpacing([float(x) for x in spacing_ijk])
    image.SetOrigin([float(x) for x in origin_ijk])
    return image


def rtk_forward(rtk, volume, grid, shape, pixel_mm, offsets=(0.0, 0.0)):
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    for angle in DEGREES:
        geometry.AddProjection(SOD, SDD, angle, offsets[1], offsets[0])
    rows, cols = shape
    origin = [-(cols - 1) / 2 * pixel_mm, -(rows - 1) / 2 * pixel_mm, 0.0]
    empty = rtk_image(np.zeros((len(DEGREES), rows, cols)), (pixel_mm, pixel_mm, 1.0), origin)
    kind = type(empty)
    joseph = rtk.JosephForwardProjectionImageFilter[kind, kind].New()
    joseph.SetGeometry(geometry)
    joseph.SetInput(0, empty)
    joseph.SetInput(1, rtk_image(volume, grid.spacing_mm, grid.ijk_to_lps[:3, 3]))
    joseph.Update()
    return itk.array_from_image(joseph.GetOutput())


@pytest.fixture(scope="module")
def head():
    grid = VolumeGeometry.from_spacing((128, 128, 128), (2.0, 2.0, 2.0))
    phantom = shepp_logan_3d(122.0)
    return grid, phantom, phantom.voxelise(grid).values


@pytest.mark.parametrize("backend", ["numba", "torch", "numpy"])
@pytest.mark.parametrize("offset_mm", [(0.0, 0.0), (6.0, 31.0)])
def test_projections_equal_those_of_rtk_and_nearly_the_analytic_ones(rtk, head, backend, offset_mm):
    pytest.importorskip(backend)
    grid, phantom, volume = head
    scan = ConeBeamGeometry.circular(
        sod_mm=SOD, sdd_mm=SDD, angles_rad=np.deg2rad(DEGREES), detector_shape=(96, 128),
        pixel_mm=(3.2, 3.2), offset_mm=offset_mm,
    )  # fmt: skip
    A = XrayOperator(scan, grid, backend=backend)
    ours = A.to_numpy(A(A.asarray(volume)))
    theirs = rtk_forward(rtk, volume, grid, (96, 128), 3.2, offset_mm)
    assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)
    exact = phantom.project(scan)
    assert np.linalg.norm(ours - exact) < 0.02 * np.linalg.norm(exact)


@pytest.mark.parametrize("backend", ["numba", "torch", "numpy"])
def test_parallel_projections_are_nearly_the_analytic_ones(head, backend):
    pytest.importorskip(backend)
    grid, phantom, volume = head
    scan = ConeBeamGeometry.circular(
        sod_mm=SOD, sdd_mm=SDD, angles_rad=equal_angles(3, 100.0, 7.0), detector_shape=(128, 128),
        pixel_mm=(2.0, 2.0), beam=Beam.PARALLEL,
    )  # fmt: skip
    A = XrayOperator(scan, grid, backend=backend)
    ours, exact = A.to_numpy(A(A.asarray(volume))), phantom.project(scan)
    assert np.linalg.norm(ours - exact) < 0.02 * np.linalg.norm(exact)
