"""Doubts about a scan: what training covered, and what it did not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.inference.input_checks import TRAINED_PIXEL_MM, TRAINED_SIGMA_HU, doubts
from ctrestorelib.quality.noise import NoiseEstimate
from ctrestorelib.quality.sigma_map import sigma_map


def codes(pixel_mm=0.7, slice_mm=1.0, sigma=20.0, unit=Unit.HU, rho=(0.0,), grain=(0.3,)):
    grid = VolumeGeometry.from_spacing((2, 4, 4), (pixel_mm, pixel_mm, slice_mm))
    noise = NoiseEstimate(sigma, (sigma, sigma), unit, {}, rho, grain)
    return dict(doubts(Volume(np.zeros(grid.shape), grid, unit), noise))


def test_the_limits_are_those_of_the_training():
    pytest.importorskip("torch")
    from ctrestorelib.training.denoiser_batches import BatchSettings
    from ctrestorelib.training.denoiser_items import ANATOMY_PIXEL_MM

    assert BatchSettings().sigma_range == TRAINED_SIGMA_HU
    assert ANATOMY_PIXEL_MM == TRAINED_PIXEL_MM


@pytest.mark.parametrize("pixel_mm", [0.35, 0.7, 2.0])
@pytest.mark.parametrize("sigma", [3.0, 150.0])
def test_what_training_covered_is_not_doubted(pixel_mm, sigma):
    assert codes(pixel_mm, sigma=sigma) == {}
    inside = np.clip(sigma, 3.01, 149.0) * MU_WATER_PER_MM / 1000.0
    assert codes(pixel_mm, sigma=inside, unit=Unit.PER_MM) == {}


@pytest.mark.parametrize("sigma", [2.9, 151.0])
def test_other_noise_is_doubted_in_any_unit_with_a_meaning(sigma):
    assert "trained on 3 to 150 HU" in codes(sigma=sigma)["out-of-domain-noise"]
    per_mm = sigma * MU_WATER_PER_MM / 1000.0
    assert set(codes(sigma=per_mm, unit=Unit.PER_MM)) == {"out-of-domain-noise"}
    assert codes(sigma=sigma, unit=Unit.GREY) == {}


@pytest.mark.parametrize("pixel_mm", [0.3, 2.1])
def test_other_pixels_are_doubted_unless_their_size_means_nothing(pixel_mm):
    text = codes(pixel_mm)["out-of-domain-pixel"]
    assert f"pixels of {pixel_mm:g} mm" in text
    assert "0.35 to 2 mm" in text
    assert codes(pixel_mm, unit=Unit.GREY) == {}


def test_thick_and_shared_slices_and_coarse_grain():
    assert set(codes(slice_mm=3.0)) == set()
    assert set(codes(slice_mm=3.1)) == {"thick-slices"}
    assert set(codes(rho=(0.31,))) == {"overlapping-slices"}
    assert set(codes(grain=(0.87,))) == {"coarse-grain"}


def test_a_doubt_about_the_noise_map_is_passed_on():
    grid = VolumeGeometry.from_spacing((2, 4, 4), (0.7, 0.7, 1.0))
    scan = Volume(np.zeros(grid.shape), grid, Unit.HU)
    noise = NoiseEstimate(20.0, (20.0, 20.0), Unit.HU, {}, (0.0,), (0.3,))
    found = sigma_map(scan)
    assert dict(doubts(scan, noise, found)) == {}
    told = dict(doubts(scan, noise, dataclasses.replace(found, doubt="Something is odd.")))
    assert told == {"noise-map": "Something is odd."}
