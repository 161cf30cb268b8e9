"""FDK beside RTK's FDK, on the analytic Shepp-Logan head, in one run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.phantoms import shepp_logan_3d
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.recon.fdk import fdk

pytestmark = pytest.mark.rtk
sys.path.insert(0, str(Path(__file__).parent))
rtk_fdk = pytest.importorskip("rtk_fdk", exc_type=ImportError).rtk_fdk

SIZE, HALF_MM = 64, 80.0
GRID = VolumeGeometry.from_spacing((SIZE,) * 3, (2 * HALF_MM / SIZE,) * 3)
HEAD = shepp_logan_3d(HALF_MM)


@pytest.fixture(scope="module")
def truth():
    return HEAD.voxelise(GRID, oversample=2).values


def scan(angles, **changes):
    fields = {"sod_mm": 500, "sdd_mm": 800, "detector_shape": (96, 96), "pixel_mm": (3.2, 3.2)}
    return ConeBeamGeometry.circular(angles_rad=angles, **{**fields, **changes})


def both(geometry, **rtk_options):
    values = HEAD.project(geometry)
    data = ProjectionSet(values, geometry, ProjectionKind.LINE_INTEGRAL)
    ours = fdk(data, GRID, window="ram-lak", truncation="none")
    return ours, rtk_fdk(values, geometry, GRID, **rtk_options)


def psnr(image, truth):
    return 10 * np.log10(float(truth.max()) ** 2 / float(np.square(image - truth).mean()))


@pytest.mark.parametrize("views", [6, 10, 60, 180])
def test_psnr_is_no_lower_than_rtks(views, truth):
    ours, theirs = both(scan(equal_angles(views)))
    assert psnr(ours, truth) >= psnr(theirs, truth) - 0.01
    error = np.sqrt(np.square(ours - theirs).mean()) / np.sqrt(np.square(truth).mean())
    assert error < 0.03


def test_short_scan_is_no_worse_than_rtks(truth):
    geometry = scan(equal_angles(130, 225, 30))
    ours, theirs = both(geometry, short_scan=True)
    assert psnr(ours, truth) >= psnr(theirs, truth) - 0.05


def test_shifted_detector_is_no_worse_than_rtks(truth):
    geometry = scan(equal_angles(180), offset_mm=(0, 60))
    ours, theirs = both(geometry, offset_mm=60.0, displaced=True)
    assert psnr(ours, truth) >= psnr(theirs, truth) - 0.05
