"""FDK tells on request how well its volume explains the measurements."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.phantoms import water_ellipsoid
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import ConeBeamGeometry, equal_angles
from ctrestorelib.methods.registry import method
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs


def run(views: int, *, residual: bool) -> dict:
    scan = ConeBeamGeometry.circular(
        sod_mm=400,
        sdd_mm=600,
        angles_rad=equal_angles(views),
        detector_shape=(24, 64),
        pixel_mm=(2.0, 2.0),
    )
    values = water_ellipsoid((25.0, 9.0, 25.0)).project(scan)
    projections = ProjectionSet(values, scan, ProjectionKind.LINE_INTEGRAL, i0=1e5)
    grid = VolumeGeometry.from_spacing((48, 16, 48), (1.5, 1.5, 1.5))
    fdk = method("fdk")
    params = fdk.Params(report_residual=residual)
    inputs = Inputs(projections=projections, grid=grid)
    plan = fdk.plan(inputs.shapes(), params, Budget(2**33, threads=1))
    return dict(fdk.restore(inputs, params, plan, Job()).report)


def test_the_residual_is_only_there_when_asked_for():
    assert "residual" not in run(20, residual=False)
    found = run(20, residual=True)["residual"]
    assert len(found["chi_squared_per_view"]) == 20
    assert np.isfinite(found["rms_line_integral"])


def test_more_views_explain_the_measurements_better():
    few, many = (run(n, residual=True)["residual"]["rms_line_integral"] for n in (8, 120))
    assert many < 0.7 * few


def test_the_plan_counts_the_extra_projection():
    scan = ConeBeamGeometry.circular(
        sod_mm=400, sdd_mm=600, angles_rad=equal_angles(60), detector_shape=(64, 64),
        pixel_mm=(2.0, 2.0),
    )  # fmt: skip
    from ctrestorelib.restorer.plan import InputShapes

    fdk, budget = method("fdk"), Budget(2**33, threads=1)
    shapes = InputShapes(scan=scan, grid=VolumeGeometry.from_spacing((64, 64, 64), (1, 1, 1)))
    plain = fdk.plan(shapes, fdk.Params(), budget)
    checked = fdk.plan(shapes, fdk.Params(report_residual=True), budget)
    assert checked.seconds > plain.seconds
    assert checked.peak_host_bytes > plain.peak_host_bytes
    assert sum(s.share for s in checked.stages) == pytest.approx(1.0)
