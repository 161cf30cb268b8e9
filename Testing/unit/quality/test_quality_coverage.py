"""Noise-copy coverage: honest uncertainties pass, wrong ones are found and measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.errors import GeometryError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.quality.coverage import coverage
from ctrestorelib.quality.result import Verdict

SIGMA = 20.0
SHAPE = (16, 128, 128)


def _volume(values: np.ndarray) -> Volume:
    geometry = VolumeGeometry.from_spacing(SHAPE, (0.8, 0.8, 1.5))
    return Volume(values.astype(np.float32), geometry, Unit.HU)


@pytest.fixture(scope="module")
def body() -> np.ndarray:
    """Soft tissue with an oblique fat rod and a bone: anatomy changes from slice to slice."""
    k, j, i = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    values = np.where(np.hypot(j - 64, i - 64) < 58, 50.0, -1000.0)
    values[np.hypot(j - 48, i - 56 - k) < 10] = -90.0
    values[np.hypot(j - 84, i - 64) < 7] = 700.0
    return values


def _grain(seed: int, size: float, sigma: float) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), (0, size, size))
    return noise * (sigma / noise.std())


def _restored(body: np.ndarray, error: float) -> tuple[Volume, Volume]:
    return _volume(body + _grain(1, 0.7, SIGMA)), _volume(body + _grain(2, 1.0, error))


def test_an_honest_uncertainty_covers_nine_in_ten(body):
    noisy, restored = _restored(body, 10.0)
    said = _volume(np.full(SHAPE, 10.0))
    for sigma in (None, _volume(np.full(SHAPE, SIGMA))):
        found = coverage(noisy, restored, said, sigma)
        assert found.value == pytest.approx(0.90, abs=0.012)
        assert found.inflation == 1.0
        assert found.verdict is Verdict.GREEN
    assert found.lag == 1
    assert found.to_measure().to_json()["verdict"] == "green"


def test_a_too_small_uncertainty_is_out_of_domain_and_its_factor_repairs_it(body):
    noisy, restored = _restored(body, 16.0)
    found = coverage(noisy, restored, _volume(np.full(SHAPE, 4.0)))
    assert found.value < 0.86
    assert found.out_of_domain
    assert found.verdict is Verdict.RED
    assert "out of domain" in found.sentence
    repaired = coverage(noisy, restored, _volume(np.full(SHAPE, 4.0 * found.inflation)))
    assert repaired.value == pytest.approx(0.88, abs=0.001)


def test_the_middle_ground_asks_for_a_wider_uncertainty(body):
    noisy, restored = _restored(body, 14.0)
    found = coverage(noisy, restored, _volume(np.full(SHAPE, 8.5)))
    assert 1.0 < found.inflation <= 1.5
    assert found.verdict is Verdict.AMBER


def test_no_uncertainty_at_all_cannot_be_repaired_by_a_factor(body):
    noisy, restored = _restored(body, 16.0)
    found = coverage(noisy, restored, _volume(np.zeros(SHAPE)))
    assert np.isinf(found.inflation)
    assert found.verdict is Verdict.RED


def test_a_farther_slice_is_taken_where_neighbours_share_noise(body):
    noise = gaussian_filter(np.random.default_rng(3).normal(size=SHAPE), (0.6, 0.7, 0.7))
    noisy = _volume(body + noise * (SIGMA / noise.std()))
    found = coverage(noisy, _volume(body), _volume(np.full(SHAPE, 1.0)))
    assert found.lag >= 2
    assert found.value == pytest.approx(0.90, abs=0.015)


def test_noise_that_repeats_everywhere_is_not_measurable(body):
    noise = np.broadcast_to(_grain(4, 0.7, SIGMA)[:1], SHAPE)
    found = coverage(_volume(body + noise), _volume(body), _volume(np.full(SHAPE, 5.0)))
    assert found.value is None
    assert found.inflation is None
    assert found.to_measure().not_measurable


def test_a_sigma_map_of_another_shape_is_refused(body):
    noisy, restored = _restored(body, 10.0)
    grid = VolumeGeometry.from_spacing((2, 3, 4), (1.0, 1.0, 1.0))
    small = Volume(np.ones((2, 3, 4), np.float32), grid, Unit.HU)
    with pytest.raises(GeometryError, match="sigma map"):
        coverage(noisy, restored, restored, small)
