"""Noise power spectrum, slice correlation, regions and contrast on noise of known properties."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.units import Unit
from ctrestorelib.quality.contrast import cnr, cnr_measure
from ctrestorelib.quality.correlation import slice_correlation, slice_correlation_measure
from ctrestorelib.quality.nps import noise_power_spectrum, nps_measures, roi_spectra
from ctrestorelib.quality.result import Verdict
from ctrestorelib.quality.rois import find_rois

sys.path.insert(0, str(Path(__file__).parent))
from quality_phantoms import ct_noise, leg, volume


def test_integral_of_the_spectrum_is_the_variance():
    squares = np.random.default_rng(0).normal(0, 12, (60, 32, 32))
    power = roi_spectra(squares, 0.7, 0.9)
    integral = power.sum(axis=(1, 2)).mean() / (32 * 0.7) / (32 * 0.9)
    assert integral == pytest.approx(144, rel=0.02)


def test_white_noise_has_a_flat_spectrum_of_the_right_height():
    noise = np.random.default_rng(1).normal(40, 15, (8, 128, 128))
    found = noise_power_spectrum(volume(noise, (0.5, 0.5, 1.0)))
    assert found is not None
    assert found.sigma == pytest.approx(15, rel=0.02)
    # Flat at sigma^2 dx dy; the lowest rings lose power to the fitted surface.
    assert np.allclose(found.power[3:], 225 * 0.25, rtol=0.1)
    low, high = found.variance_interval
    assert low < 225 < high


def test_mean_frequency_follows_the_noise():
    fine = ct_noise((8, 128, 128), 0, cutoff=0.4) + 40
    coarse = ct_noise((8, 128, 128), 0, cutoff=0.15) + 40
    f_fine, f_coarse = (noise_power_spectrum(volume(v, (1, 1, 1))) for v in (fine, coarse))
    # Radial NPS f exp(-2 (f / fc)^2) has its peak at fc / 2.
    assert f_coarse.f_peak_per_mm == pytest.approx(0.075, abs=0.03)
    assert f_fine.f_peak_per_mm == pytest.approx(0.2, abs=0.04)
    assert f_coarse.f_av_per_mm < 0.6 * f_fine.f_av_per_mm


def test_strong_smoothing_is_called_plastic():
    noisy = volume(ct_noise((8, 128, 128), 2) + 40)
    smooth = noisy.with_values(gaussian_filter(noisy.values, (0, 1.2, 1.2)))
    halved = noisy.with_values(40 + (noisy.values - 40) / 2)
    rois = find_rois(noisy)
    assert nps_measures(smooth, rois=rois, original=noisy)[1].verdict is Verdict.RED
    level, texture = nps_measures(halved, rois=rois, original=noisy)
    assert texture.verdict is Verdict.GREEN
    assert "-50 %" in level.sentence


def test_regions_avoid_edges_and_prefer_soft_tissue():
    truth, _ = leg((8, 144, 144))
    rois = find_rois(volume(truth + ct_noise(truth.shape, 5)))
    assert rois.tissue == "soft tissue"
    means = rois.cut(truth).mean(axis=(1, 2))
    assert len(rois) >= 6
    assert np.all(np.abs(means - 50) < 10)


def test_slice_correlation_is_that_of_the_noise():
    rho = 0.5
    found = slice_correlation(volume(ct_noise((12, 96, 96), 3, next_slice=rho) + 40))
    assert found is not None
    assert found.rho[0] == pytest.approx(rho / (1 + rho**2), abs=0.03)
    assert found.rho[1] == pytest.approx(0, abs=0.03)
    assert found.intervals[0][0] < rho / (1 + rho**2) < found.intervals[0][1]


@pytest.mark.parametrize(("rho", "verdict"), [(0.0, "green"), (0.4, "amber")])
def test_slice_correlation_verdict(rho, verdict):
    noisy = volume(ct_noise((8, 96, 96), 4, next_slice=rho) + 40)
    assert slice_correlation_measure(noisy, rois=find_rois(noisy)).verdict.value == verdict


def test_cnr_of_known_regions():
    values = np.random.default_rng(0).normal(0, 10, (6, 40, 40))
    first = np.zeros(values.shape, bool)
    first[:, :, :20] = True
    values[first] += 50
    found = cnr(volume(values), first, ~first)
    assert found.value == pytest.approx(5, rel=0.03)
    assert found.interval[0] < 5 < found.interval[1]


def test_cnr_finds_soft_tissue_and_fat_by_itself():
    truth, _ = leg((8, 144, 144))
    noisy = volume(truth + ct_noise(truth.shape, 6, sigma=15))
    assert cnr_measure(noisy, guide=noisy).value == pytest.approx(10, rel=0.15)


def test_what_cannot_be_measured_says_why():
    one = volume(ct_noise((1, 64, 64), 0) + 40)
    assert "one slice" in slice_correlation_measure(one, rois=find_rois(one)).not_measurable
    tiny = volume(ct_noise((4, 12, 12), 0) + 40)
    assert "smaller than 16" in nps_measures(tiny, rois=find_rois(tiny))[0].not_measurable
    padding = volume(np.full((4, 64, 64), -3024.0))
    assert "padding" in find_rois(padding).why_none
    constant = volume(np.full((4, 64, 64), 40.0))
    assert "real measurement" in find_rois(constant).why_none
    grey = volume(ct_noise((4, 64, 64), 0) + 40, unit=Unit.GREY)
    assert "HU" in cnr_measure(grey, guide=grey).not_measurable


def test_grey_volumes_have_a_spectrum_too():
    grey = volume(ct_noise((6, 96, 96), 0, sigma=4) + 120, (0.02, 0.02, 0.02), Unit.GREY)
    found = noise_power_spectrum(grey)
    assert found.sigma == pytest.approx(4, rel=0.05)
    assert found.unit == "grey value"
    json.dumps(found.to_json(), allow_nan=False)
