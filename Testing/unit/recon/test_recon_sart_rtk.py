"""SART and OS-SART beside RTK's SART, on the analytic Shepp-Logan head, in one run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.phantoms import shepp_logan_3d
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.methods.registry import method
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

pytestmark = pytest.mark.rtk
sys.path.insert(0, str(Path(__file__).parent))
reference = pytest.importorskip("rtk_fdk", exc_type=ImportError)

SIZE, HALF_MM = 64, 80.0
GRID = VolumeGeometry.from_spacing((SIZE,) * 3, (2 * HALF_MM / SIZE,) * 3)
HEAD = shepp_logan_3d(HALF_MM)
SWEEPS = {6: 20, 10: 20, 60: 3, 180: 1}  # where RTK's own PSNR is about highest


def rtk_sart(values, scan, sweeps):
    from itk import RTK as rtk

    image = reference.IMAGE
    sart = rtk.SARTConeBeamReconstructionFilter[image, image].New()
    sart.SetGeometry(reference.rtk_geometry(scan))
    sart.SetForwardProjectionFilter(sart.ForwardProjectionType_FP_JOSEPH)
    sart.SetBackProjectionFilter(sart.BackProjectionType_BP_VOXELBASED)
    sart.SetInput(0, reference.rtk_empty(GRID))
    sart.SetInput(1, reference.rtk_stack(values.copy(), scan))
    sart.SetNumberOfIterations(sweeps)
    sart.SetNumberOfProjectionsPerSubset(1)
    sart.SetLambda(0.3)
    sart.SetEnforcePositivity(True)
    sart.Update()
    return reference.itk.array_from_image(sart.GetOutput())


def psnr(image, truth):
    return 10 * np.log10(float(truth.max()) ** 2 / float(np.square(image - truth).mean()))


@pytest.mark.parametrize("views", SWEEPS)
def test_psnr_is_no_lower_than_rtks_sart(views):
    scan = ConeBeamGeometry.circular(
        sod_mm=500,
        sdd_mm=800,
        angles_rad=equal_angles(views),
        detector_shape=(96, 96),
        pixel_mm=(3.2, 3.2),
    )
    truth = HEAD.voxelise(GRID, oversample=2).values
    values = HEAD.project(scan)
    theirs = rtk_sart(values, scan, SWEEPS[views])
    restorer = method("os-sart")
    inputs = Inputs(
        projections=ProjectionSet(values, scan, ProjectionKind.LINE_INTEGRAL), grid=GRID
    )
    plan = restorer.plan(inputs.shapes(), restorer.Params(), Budget(4 * 2**30, threads=2))
    ours = restorer.restore(inputs, restorer.Params(), plan, Job()).volume.values
    assert psnr(ours, truth) >= psnr(theirs, truth) - 0.01
