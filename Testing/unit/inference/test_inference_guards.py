"""What holds a denoiser back: low-frequency veto, coherence gate, bone, metal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.inference.coherence import excess, kept_share
from ctrestorelib.inference.low_frequency import veto_pixels, without_low_frequencies
from ctrestorelib.inference.protection import bone_share, untouchable

RNG = np.random.default_rng(5)


def noise(shape=(160, 160), grain=0.0):
    values = RNG.normal(size=shape)
    if grain:
        values = gaussian_filter(values, grain)
        values /= values.std()
    return values.astype(np.float32)


def test_the_veto_is_a_gaussian():
    values = noise((120, 130))
    expected = values - gaussian_filter(values, 9.0, mode="nearest", truncate=6)
    inner = (slice(30, -30), slice(30, -30))
    np.testing.assert_allclose(
        without_low_frequencies(values, 9.0)[inner], expected[inner], atol=0.02
    )


@pytest.mark.parametrize("sigma_px", [4.0, 8.6, 24.0])
def test_no_region_drifts_whatever_was_removed(sigma_px):
    ramp = np.linspace(-2, 6, 192, dtype=np.float32)
    removed = noise((192, 192)) + ramp + 3.0 * ramp[:, None]
    before = blocks(removed)
    # At the border a local mean is one-sided, of a ramp too.
    after = blocks(without_low_frequencies(removed, sigma_px))[1:-1, 1:-1]
    assert np.abs(before).max() > 10
    assert np.abs(after).max() < 0.6  # that of noise alone: 48 x 48 pixels of 1
    assert abs(after.mean()) < 0.05


def blocks(values, size=48):
    rows, cols = (n // size for n in values.shape)
    return values.reshape(rows, size, cols, size).mean(axis=(1, 3))


def test_a_constant_removal_is_none():
    constant = np.full((64, 80), 12.5, np.float32)
    np.testing.assert_allclose(without_low_frequencies(constant, 8.0), 0, atol=1e-4)
    np.testing.assert_array_equal(without_low_frequencies(constant, 0.0), constant)


def test_unmeasured_places_do_not_count():
    removed = np.full((64, 64), 2.0, np.float32)
    measured = np.ones((64, 64), bool)
    measured[:, :20] = False
    removed[~measured] = 999.0
    kept = without_low_frequencies(removed, 6.0, measured)
    np.testing.assert_allclose(kept[measured], 0, atol=1e-3)


def test_the_veto_is_wide_in_pixels_within_reason():
    assert veto_pixels(6.0, 0.7) == pytest.approx(8.57, abs=0.01)
    assert veto_pixels(6.0, 0.01) == 24.0
    assert veto_pixels(6.0, 5.0) == 4.0
    assert veto_pixels(0.0, 0.7) == 0.0


@pytest.mark.parametrize("grain", [0.0, 1.2])
@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_the_gate_lets_noise_pass(grain, shared):
    common = noise(grain=grain)
    here, there = (np.sqrt(1 - shared) * noise(grain=grain) + np.sqrt(shared) * common
                   for _ in range(2))  # fmt: skip
    share = kept_share([excess(here, there)])
    assert share.mean() > 0.97


def test_the_gate_gives_anatomy_back():
    here, there = noise(), noise()
    rod = np.zeros((160, 160), np.float32)
    rod[70:90, 70:90] = 3.0 * np.sin(np.arange(20))[:, None]
    share = kept_share([excess(here + rod, there + rod), excess(here, there)])
    assert share[74:86, 74:86].mean() < 0.2
    assert share[:50].mean() > 0.95


def test_the_gate_has_nothing_to_say_of_one_slice_or_of_nothing():
    assert kept_share([]) is None
    nothing = np.zeros((40, 40), np.float32)
    np.testing.assert_array_equal(kept_share([excess(nothing, nothing)]), 1.0)


def test_bone_is_a_structure_not_a_speck():
    values = np.zeros((80, 80), np.float32)
    values[40:50, 40:50] = 600.0
    values[10, 10] = 600.0
    share = bone_share(values, 1.0)
    assert share[42:48, 42:48].min() > 0.99
    assert share[45, 37] > 0.3  # bone ends softly
    assert share[:30].max() == 0.0
    assert share[45, 30] == 0.0


def test_metal_and_starved_places_are_left_alone():
    level = np.full((60, 60), 20.0, np.float32)
    values = np.zeros((60, 60), np.float32)
    assert untouchable(values, level, 20.0, 1.0) is None
    values[30, 30] = 3500.0
    level[50:, :] = 150.0
    kept = untouchable(values, level, 20.0, 1.0)
    assert kept[28:33, 28:33].all()
    assert kept[50:].all()
    assert not kept[:20].any()
    assert not untouchable(None, level, 20.0, 1.0)[:50].any()
