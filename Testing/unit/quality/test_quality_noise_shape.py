"""The noise map has the shape that attenuation lets expect, whatever texture a body has."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.physics.noise import insert_noise
from ctrestorelib.physics.parallel2d import Kernel
from ctrestorelib.quality.noise_shape import UNEVEN, noise_shape
from ctrestorelib.quality.sigma_map import sigma_map

PIXEL_MM = 2.0
SHAPE = (12, 110, 150)


def expected_in_disc(radius_mm, at_mm):
    """Return the noise at distances ``at_mm`` from the middle of a disc of water: over all rays."""
    turned = np.linspace(0, np.pi, 2000)
    off = np.asarray(at_mm)[:, None] * np.abs(np.sin(turned))
    chord = 2 * np.sqrt(np.maximum(radius_mm**2 - off**2, 0))
    return np.sqrt(np.exp(UNEVEN * MU_WATER_PER_MM * chord).mean(axis=1))


@pytest.mark.parametrize("pixel_mm", [(2.0, 2.0), (3.0, 1.5)])
def test_shape_in_a_disc_is_that_of_the_sum_over_rays(pixel_mm):
    rows, cols = (round(360 / p) for p in pixel_mm)
    y = (np.arange(rows) - (rows - 1) / 2)[:, None] * pixel_mm[0]
    x = (np.arange(cols) - (cols - 1) / 2) * pixel_mm[1]
    disc = np.where(np.hypot(y, x) < 150, MU_WATER_PER_MM, 0).astype(np.float32)
    found = noise_shape([disc], pixel_mm, (2, 2))
    assert np.median(found.values) == pytest.approx(1)
    row = found.values[0, found.values.shape[1] // 2]
    at_mm = np.abs(found.positions[1] - (cols - 1) / 2) * pixel_mm[1]
    inside = at_mm < 130
    ratio = row[inside] / expected_in_disc(150, at_mm[inside])
    assert ratio.std() / ratio.mean() < 0.02
    assert row[inside].max() / row[0] > 1.4


def test_air_is_flat_and_slices_keep_their_ratio():
    thick = np.full((40, 40), MU_WATER_PER_MM, np.float32)
    found = noise_shape([np.zeros((40, 40), np.float32), thick], (4.0, 4.0))
    assert np.ptp(found.values[0]) < 1e-4
    assert found.values[1, 20, 20] > 1.5 * found.values[0, 20, 20]


def body(texture_hu=0.0):
    """Return HU of an abdomen: fat around muscle, lung, a spine; texture as fat planes make it."""
    rng = np.random.default_rng(4)
    _k, j, i = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]].astype(np.float32)
    r = np.hypot((j - 55) / 50, (i - 75) / 70)
    values = np.where(r < 1, -100.0, -1000.0)
    muscle = r < 0.82
    values[muscle] = 50.0
    fine = gaussian_filter(rng.standard_normal(SHAPE), (1.0, 0.7, 0.7))
    here = muscle & (i < 75)
    values[here] += (texture_hu * fine / fine.std())[here]
    values[np.hypot(j - 40, i - 105) < 14] = -860.0
    values[np.hypot(j - 80, i - 75) < 9] = 500.0
    return gaussian_filter(values, (0, 0.7, 0.7))


def scanned(clean, slice_mm, kernel, seed=1):
    """Return a low-dose scan of HU, and the local deviation of its noise."""
    grid = VolumeGeometry.from_spacing(SHAPE, (PIXEL_MM, PIXEL_MM, slice_mm))
    volume = Volume(clean.astype(np.float32), grid, Unit.HU)
    noisy = insert_noise(volume, 0.5, np.random.default_rng(seed), i0=3e5, kernel=kernel, views=180)
    noise = noisy.values - volume.values
    true = np.sqrt(gaussian_filter(noise**2, (3, 6, 6), mode="nearest"))
    return noisy, true


def errors(noisy, true, clean):
    found = sigma_map(noisy).slab(0, SHAPE[0])
    return np.log(found / true), clean > -980


@pytest.mark.parametrize("slice_mm", [1.0, 5.0])
@pytest.mark.parametrize("cutoff", [0.25, 0.45, 0.8])
def test_level_and_shape_are_found_in_every_tissue(slice_mm, cutoff):
    clean = body()
    noisy, true = scanned(clean, slice_mm, Kernel(cutoff / PIXEL_MM, 2.5))
    error, inside = errors(noisy, true, clean)
    assert abs(np.median(error[inside])) < 0.10
    assert np.sqrt((error[inside] ** 2).mean()) < 0.15
    for low, high in ((-900, -800), (-130, -70), (20, 80), (300, 700)):  # lung, fat, muscle, bone
        tissue = (clean > low) & (clean < high)
        assert abs(np.median(error[tissue])) < 0.17


@pytest.mark.parametrize("slice_mm", [1.0, 5.0])
def test_texture_of_one_half_does_not_raise_the_map_there(slice_mm):
    clean = body(texture_hu=25.0)
    noisy, true = scanned(clean, slice_mm, Kernel(0.45 / PIXEL_MM, 2.5))
    error, inside = errors(noisy, true, clean)
    left, right = (np.median(error[:, :, s][inside[:, :, s]]) for s in (np.s_[:70], np.s_[80:]))
    assert abs(left - right) < 0.12
    assert np.sqrt((error[inside] ** 2).mean()) < 0.20  # though it is three times the noise


def test_the_same_scan_gives_the_same_map():
    noisy, _ = scanned(body(), 5.0, Kernel(0.45 / PIXEL_MM, 2.5))
    np.testing.assert_array_equal(sigma_map(noisy).levels, sigma_map(noisy).levels)
    assert "attenuation" in sigma_map(noisy).method
    assert not sigma_map(noisy).doubt


def test_noise_that_attenuation_cannot_explain_is_followed_and_told():
    noise = np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)
    true = np.where(np.arange(SHAPE[2]) < 85, 8.0, 22.0).astype(np.float32)
    grid = VolumeGeometry.from_spacing(SHAPE, (1.0, 1.0, 5.0))
    found = sigma_map(Volume(40 + true * noise, grid, Unit.HU))
    assert "another way" in found.doubt
    assert found.scaled(0.5).doubt == found.doubt
    levels = found.slab(0, SHAPE[0])
    assert np.median(levels[:, :, :60]) == pytest.approx(8, rel=0.15)
    assert np.median(levels[:, :, 100:]) == pytest.approx(22, rel=0.15)
