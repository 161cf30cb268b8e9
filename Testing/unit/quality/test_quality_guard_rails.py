"""Guard rails: what blurs, shifts or swallows must turn red; what does nothing must pass."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.units import Unit
from ctrestorelib.jobs.guarding import MethodUse, guard_report, sampled_pair
from ctrestorelib.quality.cautions import cautions
from ctrestorelib.quality.lights import details_html, lights, line_html, overall, summary
from ctrestorelib.quality.marks import draw_marks, find_places, recovery
from ctrestorelib.quality.result import Measure, Verdict
from ctrestorelib.quality.trabecular import cancellous, kept_share, trabecular_texture
from ctrestorelib.restorer.plan import Budget

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quality_phantoms import ct_noise, leg, volume


def _blur(image, sigma=1.5):
    return image.with_values(gaussian_filter(image.values, (0, sigma, sigma)))


@pytest.fixture(scope="module")
def water():
    """A large disc of soft tissue with CT noise of 15 HU."""
    shape = (26, 160, 160)
    _, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]]
    values = np.where(np.hypot(j - 80, i - 80) < 74, 45.0, -1000.0)
    return volume(values + ct_noise(shape, 1, sigma=15.0))


@pytest.fixture(scope="module")
def knee():
    """A leg with trabecular bone, without noise."""
    values, _ = leg()
    return values


# -- marks ----------------------------------------------------------------------------------------
def test_identity_keeps_every_mark(water):
    found = recovery(water, lambda v: v)
    assert found.at(3.0, 50.0).share == pytest.approx(1.0, abs=1e-5)
    assert {m.verdict for m in found.to_measures()} == {Verdict.GREEN, Verdict.NONE}


def test_a_blend_recovers_what_the_blend_lets_through(water):
    halved = recovery(water, lambda v: v.with_values(0.7 * v.values))
    assert halved.at(3.0, 20.0).share == pytest.approx(0.7, abs=1e-5)
    assert halved.at(3.0, 20.0).verdict is Verdict.RED


def test_what_blurs_or_swallows_marks_is_red(water):
    assert recovery(water, _blur).at(3.0, 50.0).verdict is Verdict.RED

    def swallow(image):  # everything faint is taken for noise
        flat = np.where(np.abs(image.values - 45.0) < 150.0, 45.0, image.values)
        return image.with_values(flat)

    found = recovery(water, swallow)
    assert abs(found.at(3.0, 50.0).share) < 0.02
    assert found.at(3.0, 20.0).verdict is Verdict.RED


def test_marks_do_not_touch_each_other_and_have_their_contrast(water):
    from ctrestorelib.quality.marks import MarkKind

    cut, places = find_places(water)
    assert len(places) >= 12
    part = water.crop(cut)
    drawn, boxes = draw_marks(part, places, [MarkKind("ball", 5.0, 50.0)] * len(places))
    covered = np.zeros(part.shape, int)
    for box in boxes:
        covered[box] += 1
        assert np.abs(drawn[box]).max() == pytest.approx(50.0, rel=0.05)
    assert covered.max() == 1


def test_marks_need_hu_and_flat_tissue(water):
    grey = water.with_values(water.values, Unit.GREY)
    assert "HU" in recovery(grey, lambda v: v).why_not
    air = water.with_values(np.full(water.shape, -1000.0, np.float32))
    measure = recovery(air, lambda v: v).to_measures()[0]
    assert measure.value is None
    assert "flat places" in measure.sentence


def test_strong_noise_hides_no_places_and_makes_none(water):
    noise = water.values - np.where(water.values < -500, -1000.0, 45.0)
    loud = water.with_values(water.values + 3 * noise)  # 60 HU: a low-dose knee
    _, places = find_places(loud)
    assert len(places) >= 0.7 * len(find_places(water)[1])
    slope = 12.0 * (np.arange(160) - 80) * 0.8  # soft tissue is never within 5 mm of a steep slope
    steep = water.with_values(45.0 + slope[None, None] + noise)
    assert len(find_places(steep)[1]) == 0


def test_a_small_limb_is_measured_with_a_wider_interval(water):
    _, j, i = np.mgrid[:1, :160, :160]
    limb = water.with_values(np.where(np.hypot(j - 80, i - 80) < 28, water.values, -1000.0))
    found = recovery(limb, _blur).at(3.0, 20.0)
    assert recovery(limb, lambda v: v).places < 12
    assert found.marks >= 6
    wide, narrow = found.interval, recovery(water, _blur).at(3.0, 20.0).interval
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


# -- trabecular bone ------------------------------------------------------------------------------
def test_kept_share_solves_the_model_exactly():
    s, n, g, h = 900.0, 400.0, 0.8, 0.3
    found = kept_share(s + n, g * g * s + h * h * n, g * s + h * n, n)
    assert found == pytest.approx(g * g)
    alike = kept_share(s + n, 0.49 * (s + n), 0.7 * (s + n), n)
    assert alike == pytest.approx(0.49)
    assert kept_share(100.0, 100.0, 100.0, 95.0) is None


def test_texture_that_stays_is_green_whatever_happens_to_the_noise(knee):
    noise = ct_noise(knee.shape, 2, sigma=25.0)
    original = volume(knee + noise)
    for left in (1.0, 0.4, 0.0):
        found = trabecular_texture(original, volume(knee + left * noise))
        assert found.kept == pytest.approx(1.0, abs=0.05)
        assert found.verdict is Verdict.GREEN


def test_texture_that_goes_is_red(knee):
    noise = ct_noise(knee.shape, 2, sigma=25.0)
    smooth = gaussian_filter(knee, (0, 1.2, 1.2))
    found = trabecular_texture(volume(knee + noise), volume(smooth + 0.3 * noise))
    assert found.kept < 0.4
    assert found.verdict is Verdict.RED
    assert trabecular_texture(volume(knee + noise), _blur(volume(knee + noise))).kept < 0.3


def test_cancellous_bone_is_told_from_contrast_medium(knee):
    inside = cancellous(knee[8], (0.8, 0.8))
    assert inside.sum() > 200
    _, j, i = np.mgrid[:1, :128, :128]
    vessel = np.where(np.hypot(j - 64, i - 64) < 30, 300.0, 40.0)[0]
    assert not cancellous(vessel, (0.8, 0.8)).any()


# -- cautions -------------------------------------------------------------------------------------
def _codes(image, facts=None):
    return {c.code for c in cautions(image, facts)}


def test_a_plain_scan_needs_no_caution(water):
    assert _codes(water) == set()


def test_cautions_name_what_is_there(water, knee):
    assert "trabecular-bone" in _codes(volume(knee + ct_noise(knee.shape, 3)))
    metal = water.values.copy()
    metal[:, 70:80, 70:80] = 3071.0
    assert "metal" in _codes(water.with_values(metal))
    assert "thick-slices" in _codes(volume(water.values, (0.8, 0.8, 5.0)))
    quiet = 45.0 + (water.values - 45.0) / 10
    assert "low-noise" in _codes(water.with_values(quiet))
    shared = gaussian_filter(water.values, (1.5, 0, 0))
    assert "overlapping-slices" in _codes(water.with_values(shared))
    coarse = gaussian_filter(water.values, (0, 2.5, 2.5))
    assert "iterative-reconstruction" in _codes(water.with_values(coarse))


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"ConvolutionKernel": "I30f\\3"}, True),
        ({"ReconstructionAlgorithm": "iDose (4)"}, True),
        ({"ConvolutionKernel": "B30f"}, False),
        ({"ConvolutionKernel": "STANDARD"}, False),
    ],
)
def test_the_header_tells_an_iterative_reconstruction(water, facts, named):
    assert ("iterative-reconstruction" in _codes(water, facts)) is named


# -- lights ---------------------------------------------------------------------------------------
def test_lights_take_the_most_serious_measure_of_their_group():
    measures = [
        Measure("hu_drift_fat", "", 0.1, verdict=Verdict.GREEN, sentence="fine"),
        Measure("hu_slope", "", 0.9, verdict=Verdict.RED, sentence="<scaled>"),
        Measure("trabecular_kept", "", None, sentence="Not measurable: no bone."),
        Measure("noise", "", 3.0),
    ]
    shown = lights(measures)
    assert [(s.name, s.verdict) for s in shown] == [
        ("values", Verdict.RED), ("bone", Verdict.NONE)]  # fmt: skip
    assert overall(shown) is Verdict.RED
    assert summary(shown) == "Not safe: HU values; not measured: Bone texture."
    assert "&lt;scaled&gt;" in details_html(shown)
    assert "HU&nbsp;values:&nbsp;not&nbsp;safe" in line_html(shown)


def test_the_report_is_red_for_a_shift_and_green_for_light_work(knee):
    knee = knee[:8]
    noise = ct_noise(knee.shape, 4, sigma=20.0)
    original = volume(knee + noise)
    shifted = guard_report(original, volume(knee + 0.7 * noise + 4.0))
    by_name = {s.name: s for s in lights(shifted.measures)}
    assert by_name["values"].verdict is Verdict.RED
    honest = lights(guard_report(original, volume(knee + 0.7 * noise)).measures)
    assert overall(honest) is Verdict.GREEN, summary(honest)


def test_the_method_is_asked_again_on_marks(water):
    use = MethodUse("anisotropic-diffusion", {}, strength=0.5)
    found = recovery(water, use.on(Budget.detect()), rounds=1)
    assert 0.5 <= found.at(3.0, 20.0).share < 0.9


def test_long_volumes_are_sampled_in_runs():
    long = volume(np.arange(200, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32))
    first, second, told = sampled_pair(long, long)
    assert first.shape == second.shape == (64, 4, 4)
    assert (np.diff(first.values[:, 0, 0]) == 1).sum() == 60
    assert "64 of 200 slices" in told[0]
