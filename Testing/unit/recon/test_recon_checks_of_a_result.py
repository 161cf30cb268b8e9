"""All checks of a finished reconstruction together, and a request with a better geometry."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ctrestorelib.core.errors import Cancelled
from ctrestorelib.core.job import Job
from ctrestorelib.core.units import Unit
from ctrestorelib.jobs.checking import calibrated_request, check_reconstruction
from ctrestorelib.jobs.request import JobRequest
from ctrestorelib.quality.result import Verdict
from ctrestorelib.recon.geometry_correction import GeometryCorrection
from ctrestorelib.restorer.plan import Budget
from ctrestorelib.restorer.protocol import Inputs

NAMES = ["fit", "left_out", "measured", "geometry"]


def asked(scan, grid, method="os-sart", **changes):
    inputs = Inputs(projections=scan, grid=grid)
    budget = Budget(4 * 2**30, threads=1)
    return JobRequest(method, inputs, output_unit=Unit.PER_MM, budget=budget, **changes)


@pytest.fixture(scope="module")
def true_check(rods, scan_of):
    request = asked(scan_of(rods, views=12, i0=1e5), rods.geometry)
    return check_reconstruction(request, rods)


def test_every_light_is_there_with_words(true_check):
    assert [light.name for light in true_check.lights] == NAMES
    for light in true_check.lights:
        assert light.verdict is not Verdict.NONE
        assert light.sentence.endswith(".")
    assert true_check.summary
    record = json.loads(json.dumps(true_check.to_json()))
    assert [m["name"] for m in record["measures"]] == [
        "view_fit", "left_out_view", "measured_share", "geometry",
    ]  # fmt: skip


def test_the_true_volume_fits_and_its_map_is_in_percent(true_check, rods):
    by_name = {light.name: light.verdict for light in true_check.lights}
    assert by_name["fit"] is Verdict.GREEN
    assert by_name["geometry"] is Verdict.GREEN
    percent = true_check.measured_percent
    assert percent.geometry.matches(rods.geometry)
    assert 20 < percent.values.max() <= 100


def test_the_methods_own_residual_is_used(rods, scan_of):
    request = asked(scan_of(rods, views=3), rods.geometry)
    told = {"chi_squared_per_reading": 7.5, "verdict": "red", "sentence": "It does not fit."}
    check = check_reconstruction(request, rods, report={"residual": told})
    assert check.lights[0].sentence == "It does not fit."
    # Three views are too few to leave one out or to calibrate: the lights say so.
    assert [light.verdict for light in check.lights[1::2]] == [Verdict.NONE] * 2
    assert "at least 4 views" in check.lights[1].sentence


def test_a_wrong_volume_is_found_out(rods, scan_of):
    request = asked(scan_of(rods, views=3, i0=1e5), rods.geometry)
    wrong = rods.with_values(np.roll(rods.values, 2, axis=2))
    assert check_reconstruction(request, wrong).lights[0].verdict is Verdict.RED


def test_cancel_is_heard_between_the_reconstructions(rods, scan_of):
    request = asked(scan_of(rods, views=6), rods.geometry)
    answers = iter([False] * 12)
    with pytest.raises(Cancelled):
        check_reconstruction(request, rods, job=Job(is_cancelled=lambda: next(answers, True)))


def test_a_better_geometry_is_used_and_kept_in_the_record(rods, scan_of):
    scan = scan_of(rods, views=16, i0=1e5)
    request = asked(scan, rods.geometry)
    unchanged, found = calibrated_request(request)
    assert unchanged is request
    assert not found.accepted
    wrong = GeometryCorrection(shift_u_mm=4.0).applied(scan.geometry)
    better, found = calibrated_request(asked(scan.replace(geometry=wrong), rods.geometry))
    assert found.accepted
    assert found.found.shift_u_mm == pytest.approx(-4.0, abs=0.7)
    assert better.inputs.projections.geometry is found.geometry
    assert better.notes[-1]["code"] == "self-calibrated-geometry"
