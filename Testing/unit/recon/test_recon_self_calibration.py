"""Known errors of the geometry are found, and a good geometry is left as it is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled, UsageError
from ctrestorelib.core.job import Job
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.geometry.knee import knee_phantom
from ctrestorelib.geometry.projections import ProjectionKind, ProjectionSet
from ctrestorelib.geometry.scan import Beam, ConeBeamGeometry, equal_angles, patient_to_gantry
from ctrestorelib.physics.scan_protocol import ScanProtocol
from ctrestorelib.physics.virtual_scan import virtual_scan
from ctrestorelib.quality.result import Verdict
from ctrestorelib.recon.geometry_correction import GeometryCorrection
from ctrestorelib.recon.self_calibration import self_calibrated, split_views
from ctrestorelib.restorer.plan import Plan
from ctrestorelib.restorer.protocol import Inputs

GRID = VolumeGeometry.from_spacing((24, 24, 24), (5.0, 5.0, 5.0), origin_lps_mm=(-57.5,) * 3)
PLAN = Plan("auto", "cpu", 1, 0, 0.0, ())


@pytest.fixture(scope="module")
def knee():
    return knee_phantom(GRID)


def scanned(knee, **changes):
    settings = {"views": 16, "arc_deg": 360.0, "i0": 1e5, "sod_mm": 500.0, "sdd_mm": 800.0}
    protocol = ScanProtocol(**{**settings, "oversample": 1, "refine": 1, **changes})
    return virtual_scan(knee, protocol)


def found_in(scan, job=None, levels=((24, 3),)):
    return self_calibrated(Inputs(projections=scan, grid=GRID), PLAN, job or Job(), levels=levels)


@pytest.mark.parametrize(
    "errors",
    [{"shift_u_mm": 6.0}, {"shift_u_mm": -3.0, "tilt_deg": 1.5}],
    ids=["shift", "shift-and-tilt"],
)
def test_hidden_errors_of_a_noisy_scan_are_found(knee, errors):
    scan = scanned(knee, **errors)
    result = found_in(scan)
    assert result.accepted
    assert result.drop > 0.05
    assert result.found.shift_u_mm == pytest.approx(errors["shift_u_mm"], abs=0.8)  # 0.1 pixel
    assert result.found.tilt_deg == pytest.approx(errors.get("tilt_deg", 0.0), abs=0.3)
    assert result.verdict is Verdict.AMBER
    expected = GeometryCorrection(**errors).applied(scan.geometry)
    miss = np.linalg.norm(result.geometry.detector_centre_mm - expected.detector_centre_mm, axis=1)
    assert miss.max() < 4.0  # less than half a pixel of 8 mm, whatever else was taken along


def test_views_closer_together_than_believed_are_found(knee):
    scan = scanned(knee, arc_deg=200.0, views=20)
    believed = GeometryCorrection(arc_scale=0.04).applied(scan.geometry)
    result = found_in(scan.replace(geometry=believed))
    assert result.accepted
    assert result.found.arc_scale == pytest.approx(-0.04, abs=0.015)


def test_a_good_geometry_is_left_as_it_is(knee):
    scan = scanned(knee)
    result = found_in(scan)
    assert not result.accepted
    assert result.geometry is scan.geometry
    assert result.verdict is Verdict.GREEN
    assert "confirm the given one" in result.sentence
    json.dumps(result.to_json())


def test_what_projections_cannot_tell_is_not_invented(knee):
    """All angles turned by the same amount: the same scan of a turned knee."""
    scan = scanned(knee)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    turned = scan.replace(geometry=scan.geometry.moved(turn))
    assert not found_in(turned, levels=((24, 2),)).accepted


def test_the_guard_views_are_never_fitted(knee):
    for views in (6, 10, 40):
        fit, guard = split_views(scanned(knee, views=views, rows=4, cols=4))
        assert len(guard) >= 2
        assert len(fit) >= 4
        assert not set(fit) & set(guard)


def test_too_few_views_are_refused_and_cancel_is_heard(knee):
    scan = scanned(knee, rows=8, cols=8)
    with pytest.raises(UsageError, match="at least 6"):
        found_in(scan[:5])
    with pytest.raises(UsageError, match=r"at least 120 degrees; these cover 9\d"):
        found_in(scanned(knee, rows=8, cols=8, arc_deg=95.0))
    answers = iter([False])
    with pytest.raises(Cancelled):
        found_in(scan, Job(is_cancelled=lambda: next(answers, True)))


def circle(**changes):
    settings = {"sod_mm": 500.0, "sdd_mm": 800.0, "angles_rad": equal_angles(7, 180, 20),
                "detector_shape": (5, 7), "pixel_mm": (2.0, 3.0),
                "world_to_gantry": patient_to_gantry((3.0, -2.0, 5.0))}  # fmt: skip
    return ConeBeamGeometry.circular(**{**settings, **changes})


def assert_same(first, second):
    np.testing.assert_allclose(first.matrices, second.matrices, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("beam", list(Beam))
def test_corrections_say_what_the_scan_geometry_means(beam):
    plain = circle(beam=beam)
    moved = GeometryCorrection(shift_u_mm=1.5, shift_v_mm=-2.5).applied(plain)
    assert_same(moved, circle(beam=beam, offset_mm=(-2.5, 1.5)))
    tilted = GeometryCorrection(tilt_deg=2.0).applied(plain)
    assert_same(tilted, circle(beam=beam, tilt_rad=(0.0, 0.0, np.deg2rad(2.0))))
    assert_same(GeometryCorrection().applied(plain), plain)


def test_the_arc_is_stretched_about_its_middle():
    angles = np.deg2rad(20 + 1.1 * (np.arange(7) * 180 / 7 - 540 / 7) + 540 / 7)
    stretched = GeometryCorrection(arc_scale=0.1).applied(circle())
    assert_same(stretched, circle(angles_rad=angles))


def test_the_detector_moves_away_from_the_source():
    assert_same(GeometryCorrection(sdd_scale=0.05).applied(circle()), circle(sdd_mm=840.0))


def test_a_fan_has_no_rows_to_shift(knee):
    scan = scanned(knee, beam="fan", views=12, cols=40)
    assert isinstance(scan, ProjectionSet)
    assert scan.kind is ProjectionKind.LINE_INTEGRAL
    layer = GRID.crop((slice(12, 13), slice(None), slice(None)))
    result = self_calibrated(Inputs(projections=scan, grid=layer), PLAN, Job(), levels=((24, 1),))
    assert result.found.shift_v_mm == 0.0
    assert result.found.tilt_deg == 0.0
