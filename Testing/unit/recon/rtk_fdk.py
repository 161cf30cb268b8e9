"""RTK's FDK on our geometries: the independent reference of tests and benchmarks."""

from __future__ import annotations

import itk
import numpy as np
from itk import RTK as rtk

from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.scan import ConeBeamGeometry

IMAGE = itk.Image[itk.F, 3]


def rtk_geometry(scan: ConeBeamGeometry, offset_mm: float = 0.0):
    """Return a circular scan of ours, detector shifted by ``offset_mm`` along u, as RTK's."""
    out = rtk.ThreeDCircularProjectionGeometry.New()
    for sod, sdd, angle in zip(scan.sod_mm, scan.sdd_mm, scan.angles_rad, strict=True):
        out.AddProjectionInRadians(float(sod), float(sdd), float(angle), offset_mm, 0.0)
    return out


def rtk_stack(values: np.ndarray, scan: ConeBeamGeometry):
    """Return line integrals ``[view, row, col]`` as an ITK image centred on the detector."""
    image = itk.image_from_array(np.ascontiguousarray(values, dtype=np.float32))
    rows, cols = scan.detector_shape
    row_mm, col_mm = scan.pixel_mm
    image.SetSpacing([col_mm, row_mm, 1.0])
    image.SetOrigin([-(cols - 1) / 2 * col_mm, -(rows - 1) / 2 * row_mm, 0.0])
    return image


def rtk_empty(grid: VolumeGeometry):
    """Return an empty ITK image on an axis-aligned grid."""
    image = itk.image_from_array(np.zeros(grid.shape, dtype=np.float32))
    image.SetSpacing([float(s) for s in grid.spacing_mm])
    image.SetOrigin([float(o) for o in grid.origin_lps_mm])
    return image


def rtk_fdk(
    values: np.ndarray,
    scan: ConeBeamGeometry,
    grid: VolumeGeometry,
    *,
    offset_mm: float = 0.0,
    short_scan: bool = False,
    displaced: bool = False,
) -> np.ndarray:
    """Return RTK's reconstruction with its Ram-Lak filter."""
    stack = rtk_stack(values.copy(), scan)  # its filters work in place
    geometry = rtk_geometry(scan, offset_mm)
    for wanted, kind in (
        (displaced, rtk.DisplacedDetectorImageFilter),
        (short_scan, rtk.ParkerShortScanImageFilter),
    ):
        if wanted:
            weighting = kind[IMAGE].New(Input=stack, Geometry=geometry)
            weighting.Update()
            stack = weighting.GetOutput()
    feldkamp = rtk.FDKConeBeamReconstructionFilter[IMAGE].New(Geometry=geometry)
    feldkamp.SetInput(0, rtk_empty(grid))
    feldkamp.SetInput(1, stack)
    feldkamp.Update()
    return itk.array_from_image(feldkamp.GetOutput())
