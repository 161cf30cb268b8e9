"""The whole report: what it holds, what it assumes, what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.errors import GeometryError, InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.quality.measure import measure
from ctrestorelib.quality.result import Verdict
from ctrestorelib.quality.window import Window

sys.path.insert(0, str(Path(__file__).parent))
from quality_phantoms import ct_noise, leg, volume

TRUTH, _ = leg((8, 144, 144))
ORIGINAL = volume(TRUTH + ct_noise(TRUTH.shape, 0))


def test_report_of_a_perfect_restoration_is_green():
    report = measure(ORIGINAL.with_values(TRUTH), ORIGINAL.with_values(TRUTH), original=ORIGINAL)
    assert report["psnr"].value == np.inf
    assert report["ssim"].value == pytest.approx(1)
    assert report["residual_structure"].verdict is Verdict.GREEN
    assert report["hu_drift_fat"].verdict is Verdict.GREEN
    assert any("[-1000, 1000] HU" in n for n in report.notes)
    json.dumps(report.to_json(), allow_nan=False)


def test_report_of_a_blurred_volume_is_red():
    blurred = ORIGINAL.with_values(gaussian_filter(ORIGINAL.values, (0, 1.5, 1.5)))
    report = measure(blurred, original=ORIGINAL)
    assert report.verdict is Verdict.RED
    assert report["nps_f_av"].verdict is Verdict.RED
    assert report.nps is not None


def test_mask_and_padding_narrow_what_is_measured():
    values = ORIGINAL.values.copy()
    values[:, :10] = -3024
    report = measure(volume(values), volume(values), mask=np.ones(values.shape))
    assert report["rmse"].value == 0
    assert any("padding" in n for n in report.notes)
    assert "mask" in report["rmse"].protocol


def test_ranges_are_never_guessed():
    grey = volume(np.abs(TRUTH), unit=Unit.GREY)
    with pytest.raises(UsageError, match="window or a data range"):
        measure(grey, grey)
    with pytest.raises(UsageError, match="not both"):
        measure(grey, grey, window=Window(0, 255), data_range=255)
    assert measure(grey, grey, data_range=255)["psnr"].value == np.inf


def test_attenuation_is_read_in_hu_and_said():
    report = measure(ORIGINAL.to_unit(Unit.PER_MM))
    assert any("0.0192" in n for n in report.notes)
    assert report["noise"].value == pytest.approx(measure(ORIGINAL)["noise"].value, rel=1e-2)


def test_bad_input_is_refused():
    broken = TRUTH.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        measure(volume(broken))
    with pytest.raises(GeometryError, match="the original"):
        measure(ORIGINAL, original=ORIGINAL.crop((slice(1), slice(None), slice(None))))


@pytest.mark.parametrize("shape", [(1, 40, 40), (3, 8, 9), (1, 1, 1)])
def test_small_volumes_are_answered_in_words(shape):
    small = volume(np.random.default_rng(0).normal(40, 10, shape))
    report = measure(small, small, original=small)
    assert all(m.value is not None or m.not_measurable for m in report.measures)
    assert report["slice_correlation"].value is None
    json.dumps(report.to_json(), allow_nan=False)
