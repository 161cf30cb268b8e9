"""The noise map finds a level that varies, and does not take anatomy for noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.errors import GeometryError, UsageError
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.quality.noise import noise_map
from ctrestorelib.quality.sigma_map import sigma_map

THIN, THICK = (0.8, 0.8, 1.0), (0.8, 0.8, 5.0)
SHAPE = (30, 150, 160)


def grain(shape, seed=0, along_k=0.5):
    """Return noise of deviation 1, coarse as that of a standard kernel."""
    white = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    fine = gaussian_filter(white, (along_k, 0.75, 0.75))
    fine -= gaussian_filter(fine, (0, 3, 3))
    return fine / fine.std()


def level(shape, sigma=20.0):
    """Return a noise level that halves from the middle to the rim and rises with k."""
    k, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(np.float32)
    r = np.hypot(j / shape[1] - 0.5, i / shape[2] - 0.5) / 0.5
    return sigma * (1.4 - 0.7 * np.clip(r, 0, 1)) * (0.8 + 0.4 * k / shape[0])


def leg(shape=SHAPE):
    """Return HU of fat, muscle and a bone full of trabeculae."""
    k, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(np.float32)
    r = np.hypot(j - shape[1] / 2, i - shape[2] / 2)
    values = np.where(r < 70, -100.0, -1000.0)
    values[r < 58] = 50
    bone = np.hypot(j - 70 - 0.1 * k, i - 72)
    texture = gaussian_filter(np.random.default_rng(3).normal(size=shape), 1.2)
    values[bone < 22] = (150 + 200 * np.clip(texture / texture.std(), -1, 1))[bone < 22]
    values[(bone >= 22) & (bone < 26)] = 1200
    return gaussian_filter(values, (0.5, 0.8, 0.8))


def chest(shape=SHAPE):
    """Return HU of two lungs full of vessels."""
    _k, j, i = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(np.float32)
    r = np.hypot(j / shape[1] - 0.5, i / shape[2] - 0.5) / 0.5
    values = np.where(r < 0.95, 45.0, -1000.0)
    lung = (r < 0.75) & (np.abs(i - shape[2] / 2) > 10)
    values[lung] = -860
    texture = gaussian_filter(np.random.default_rng(5).normal(size=shape), 1.6)
    values[lung & (texture > 1.3 * texture.std())] = 40
    return gaussian_filter(values, (0.5, 0.8, 0.8))


def volume(values, spacing=THIN, unit=Unit.HU):
    return Volume(values, VolumeGeometry.from_spacing(values.shape, spacing), unit)


@pytest.mark.parametrize("spacing", [THIN, THICK])
@pytest.mark.parametrize("anatomy", [leg, chest])
def test_a_varying_level_is_found_in_anatomy(anatomy, spacing):
    clean, true = anatomy(), level(SHAPE)
    found = sigma_map(volume(clean + true * grain(SHAPE), spacing)).slab(0, SHAPE[0])
    error = np.log(found / true)[clean > -980]
    assert abs(np.median(error)) < 0.10
    assert np.sqrt((error**2).mean()) < 0.18


def test_trabecular_bone_is_not_taken_for_noise():
    clean, true = leg(), level(SHAPE)
    noisy = clean + true * grain(SHAPE)
    bone = gaussian_filter((clean > 200).astype(float), 2) > 0.5
    plain = noisy[bone].std()
    found = sigma_map(volume(noisy)).slab(0, SHAPE[0])[bone].mean()
    assert plain > 6 * true[bone].mean()  # the structure is far louder than the noise
    assert found == pytest.approx(true[bone].mean(), rel=0.25)


def test_level_of_a_low_noise_scan_with_more_noise_put_in(data_file):
    phantom = read_volume(data_file("headphantom_philips_UB_1mm.nii.gz")).volume
    clean = phantom.values[:, ::2, ::2]
    true = level(clean.shape, 40)
    dx, dy, dz = phantom.geometry.spacing_mm
    noisy = volume(clean + true * grain(clean.shape), (2 * dx, 2 * dy, dz))
    found = sigma_map(noisy).slab(0, clean.shape[0])
    error = np.log(found / np.hypot(true, 3.6))[(clean > -150) & (clean < 200)]
    assert abs(np.median(error)) < 0.10
    assert np.sqrt((error**2).mean()) < 0.15


@pytest.mark.parametrize("factor", [0.1, 7.0])
def test_map_scales_with_the_noise_and_the_unit(factor):
    values = 40 + level(SHAPE) * grain(SHAPE)
    one = sigma_map(volume(values))
    scaled = 40 + factor * (values - 40)
    np.testing.assert_allclose(sigma_map(volume(scaled)).levels, factor * one.levels, rtol=0.15)
    mu = sigma_map(volume(values).to_unit(Unit.PER_MM))
    assert mu.unit is Unit.PER_MM
    np.testing.assert_allclose(mu.levels, one.levels * MU_WATER_PER_MM / 1000, rtol=1e-3)


def test_slabs_are_pieces_of_one_map():
    found = sigma_map(volume(leg() + level(SHAPE) * grain(SHAPE)))
    whole = found.slab(0, SHAPE[0])
    assert whole.dtype == np.float32
    assert whole.min() > 0
    np.testing.assert_array_equal(found.slab(7, 11), whole[7:11])
    np.testing.assert_array_equal(found.slice(29), whole[29])
    assert found.levels.size < whole.size / 100
    assert found.typical == pytest.approx(np.median(whole), rel=0.15)
    np.testing.assert_allclose(found.scaled(2.0).slice(3), 2 * whole[3], rtol=1e-6)


def test_levels_reach_where_nothing_can_be_measured():
    values = 40 + 15 * grain(SHAPE)
    values[:, :, 100:] = -3024  # scanner padding
    values[:, 60:70, 40:50] = np.nan
    found = sigma_map(volume(values)).slab(0, SHAPE[0])
    assert found.min() > 0
    np.testing.assert_allclose(found, 15, rtol=0.2)


def test_grey_volumes_single_slices_and_constant_ones():
    grey = volume(100 + 4 * grain(SHAPE), (1, 1, 1), Unit.GREY)
    assert sigma_map(grey).typical == pytest.approx(4, rel=0.1)
    single = sigma_map(volume(40 + 15 * grain((1, 150, 160))))
    assert "single slices" in single.method
    assert single.typical == pytest.approx(15, rel=0.15)
    still = sigma_map(volume(np.full((4, 40, 40), 57.0)))
    assert still.typical == 0
    assert still.slab(0, 4).shape == (4, 40, 40)


def test_a_mask_and_wrong_requests():
    values = 40 + 15 * grain(SHAPE)
    values[:, 75:] += 45 * grain(SHAPE, 1)[:, 75:]
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, :75] = True
    found = sigma_map(volume(values), mask)
    assert found.typical == pytest.approx(15, rel=0.1)
    with pytest.raises(GeometryError, match="mask"):
        sigma_map(volume(values), mask[:2])
    with pytest.raises(UsageError, match="there are 30"):
        found.slab(20, 31)
    with pytest.raises(UsageError, match="positive"):
        found.scaled(0)
    np.testing.assert_array_equal(
        noise_map(volume(values)).values, sigma_map(volume(values)).slab(0, 30)
    )
    with pytest.raises(GeometryError, match="shape"):
        found.whole(volume(values[:3]))
