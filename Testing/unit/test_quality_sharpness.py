"""Edge widths: a blurred disc gives back the width of its blur."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.units import Unit
from ctrestorelib.quality.result import Verdict
from ctrestorelib.quality.sharpness import (
    FAT_MUSCLE,
    SKIN_AIR,
    edge_kinds,
    edge_sharpness,
    find_edges,
    sharpness_measures,
)

sys.path.insert(0, str(Path(__file__).parent))
from quality_phantoms import ct_noise, volume


def disc(sigma_px, low=-1000.0, high=40.0, shape=(4, 160, 160)):
    """A finely sampled disc, blurred by ``sigma_px``; the pixel itself adds 1/12 px^2."""
    j, i = np.mgrid[: shape[1] * 4, : shape[2] * 4] / 4.0 - 0.375
    fine = np.where(np.hypot(j - 79.3, i - 80.1) < 55, high, low)
    blurred = gaussian_filter(fine, sigma_px * 4)
    pixels = blurred.reshape(shape[1], 4, shape[2], 4).mean(axis=(1, 3))
    return np.repeat(pixels[None], shape[0], axis=0).astype(np.float32)


@pytest.mark.parametrize("sigma_px", [0.7, 1.0, 1.5])
def test_width_of_a_blurred_edge_is_found(sigma_px):
    image = volume(disc(sigma_px), (0.5, 0.5, 1.0))
    found = edge_sharpness(image, SKIN_AIR, find_edges(image, SKIN_AIR))
    expected = 0.5 * np.sqrt(sigma_px**2 + 1 / 12)
    assert found.sigma_mm == pytest.approx(expected, rel=0.05)
    assert found.mtf50_per_mm == pytest.approx(0.18739 / expected, rel=0.05)
    assert found.width_10_90_mm == pytest.approx(2.5631 * expected, rel=0.05)
    assert found.contrast == pytest.approx(1040, rel=0.03)


def test_weak_edges_are_measured_in_noise():
    noise = ct_noise((4, 160, 160), 0, sigma=12)
    image = volume(disc(1.0, -100, 50) + noise, (0.5, 0.5, 1.0))
    found = edge_sharpness(image, FAT_MUSCLE, find_edges(image, FAT_MUSCLE))
    assert found.sigma_mm == pytest.approx(0.5 * np.sqrt(1 + 1 / 12), rel=0.12)
    assert found.interval_mm[0] < found.sigma_mm < found.interval_mm[1]


def test_blurring_is_red_and_keeping_is_green():
    sharp = disc(0.8)
    noisy = volume(sharp + ct_noise(sharp.shape, 1))
    kept, skipped = sharpness_measures(noisy.with_values(sharp), original=noisy)
    assert kept.verdict is Verdict.GREEN
    assert "fat" in skipped.not_measurable
    blurred = noisy.with_values(gaussian_filter(noisy.values, (0, 1, 1)))
    assert sharpness_measures(blurred, original=noisy)[0].verdict is Verdict.RED


def test_grey_volumes_find_their_own_boundary():
    grey = volume(disc(1.0, 20, 200) + ct_noise((4, 160, 160), 2, sigma=4), unit=Unit.GREY)
    (kind,) = edge_kinds(grey)
    assert kind.level == pytest.approx(110, abs=8)
    assert sharpness_measures(grey)[0].value == pytest.approx(0.18739 / (0.8 * 1.041), rel=0.1)


def test_volumes_without_edges_say_so():
    flat = volume(np.full((2, 64, 64), 40.0))
    assert all("no clean boundary" in m.not_measurable for m in sharpness_measures(flat))
    constant = volume(np.zeros((2, 64, 64)), unit=Unit.GREY)
    assert "constant" in sharpness_measures(constant)[0].not_measurable
    small = volume(disc(1.0)[:, 20:30, 20:30])
    assert sharpness_measures(small)[0].value is None
