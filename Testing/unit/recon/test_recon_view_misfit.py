"""Views that differ from the others are found and named, and good views are left in peace."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ctrestorelib.quality.result import Verdict
from ctrestorelib.recon.residual import residual_report
from ctrestorelib.recon.view_misfit import Cause, view_misfit

SD = 0.01


def blob(row=14.5, col=19.5):
    v, u = np.mgrid[:30, :40]
    return 3.0 * np.exp(-((v - row) ** 2 + (u - col) ** 2) / 60.0)


@pytest.fixture
def scan():
    """Eight predictions, and noisy readings of them."""
    predicted = np.stack([blob(col=19.5 + 3 * np.sin(n)) for n in range(8)])
    noise = np.random.default_rng(3).normal(0, SD, predicted.shape)
    return predicted, predicted + noise


def judged(predicted, data, weights=None):
    weights = np.full(data.shape, 1 / SD**2) if weights is None else weights
    arrays = (predicted - data, data, weights)
    return view_misfit(*(np.asarray(a, dtype=np.float32) for a in arrays))


def test_noise_alone_has_a_misfit_of_one_and_no_odd_view(scan):
    found = judged(*scan)
    np.testing.assert_allclose(found.chi_squared, 1.0, atol=0.15)
    assert found.verdict is Verdict.GREEN
    assert not found.odd
    np.testing.assert_allclose(found.shift_px, 0.0, atol=0.02)
    assert "as well as their noise allows" in found.sentence


@pytest.mark.parametrize(("dv", "du"), [(0.0, 0.4), (-0.3, 0.0), (0.25, -0.5)])
def test_a_shifted_view_is_found_with_its_shift(scan, dv, du):
    predicted, data = scan
    data[5] += blob(14.5 + dv, 19.5 + 3 * np.sin(5) + du) - predicted[5]
    found = judged(predicted, data)
    assert [o.view for o in found.odd] == [5]
    assert found.odd[0].cause is Cause.SHIFTED
    np.testing.assert_allclose(found.shift_px[5], (dv, du), atol=0.03)
    assert found.verdict is not Verdict.GREEN
    assert "View 6 stands out" in found.sentence


def test_a_view_of_another_brightness_is_named(scan):
    predicted, data = scan
    data[2] += 0.05
    odd = judged(predicted, data).odd
    assert [(o.view, o.cause) for o in odd] == [(2, Cause.BRIGHTNESS)]


@pytest.mark.parametrize("side", ["dark", "bright"])
def test_a_clipped_view_is_named(scan, side):
    predicted, data = scan
    data[:] += 0.3  # no view sees plain air
    predicted += 0.3
    data[1] = np.minimum(data[1], 2.0) if side == "dark" else np.maximum(data[1], 0.6)
    odd = judged(predicted, data).odd
    assert [(o.view, o.cause) for o in odd] == [(1, Cause.CLIPPED)]


def test_something_else_in_a_view_is_not_given_a_wrong_name(scan):
    predicted, data = scan
    data[4, 5:9, 5:9] += 1.0
    odd = judged(predicted, data).odd
    assert [(o.view, o.cause) for o in odd] == [(4, Cause.UNKNOWN)]


def test_air_that_was_set_to_zero_is_not_clipped(scan):
    predicted, data = scan
    data[data < 0.05] = 0.0
    data[3] += 0.3 * np.gradient(predicted[3], axis=1) * (data[3] > 0)
    assert [o.cause for o in judged(predicted, data).odd] == [Cause.SHIFTED]


def test_the_typical_view_of_a_bad_fit_does_not_stand_out(scan):
    predicted, data = scan
    found = judged(predicted + 0.05, data)
    assert not found.odd
    assert found.verdict is Verdict.RED
    assert "does not explain" in found.sentence


def test_fitted_noise_is_told(scan):
    predicted, data = scan
    found = judged(0.3 * predicted + 0.7 * data, data)
    assert found.verdict is Verdict.AMBER
    assert "noise of the views" in found.sentence


def test_readings_without_weight_and_dead_views_are_left_out(scan):
    predicted, data = scan
    weights = np.full(data.shape, 1 / SD**2)
    weights[0, :4] = 0.0
    data[0, :4] = 1e3
    weights[7] = 0.0
    found = judged(predicted, data, weights)
    assert np.isnan(found.chi_squared[7])
    assert found.overall == pytest.approx(1.0, abs=0.1)
    assert not found.odd


def test_a_detector_of_one_row_has_no_shift_along_rows(scan):
    predicted, data = scan
    found = judged(predicted[:, 14:15], data[:, 14:15])
    assert all(v == 0.0 for v, _ in found.shift_px)


def test_it_is_part_of_every_residual_report(scan):
    predicted, data = scan
    data[5] = np.roll(data[5], 1, axis=1)
    arrays = (predicted - data, data, np.full(data.shape, 1 / SD**2))
    report = residual_report(*(np.asarray(a, dtype=np.float32) for a in arrays))
    assert report["standing_out"][0]["view"] == 5
    assert report["verdict"] == "amber" if report["chi_squared_per_reading"] < 2 else "red"
    json.dumps(report)
    measure = judged(predicted, data).to_measure()
    assert measure.value == pytest.approx(report["chi_squared_per_reading"], rel=1e-4)
