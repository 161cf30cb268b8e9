"""Drawn noise is that of the scan: level, texture, slice correlation, and reproducible."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ctrestorelib.core.errors import GeometryError, InputError, UsageError
from ctrestorelib.core.volume import VolumeGeometry
from ctrestorelib.io.volumes import read_volume
from ctrestorelib.physics.matched_noise import MatchedNoise
from ctrestorelib.quality.scan_noise import ScanNoise, describe_noise

sys.path.insert(0, str(Path(__file__).parent))
from quality_phantoms import ct_noise, volume

SHAPE = (16, 160, 160)


@pytest.fixture(scope="module")
def scan():
    """Return a scan whose noise rises from left to right, with its own noise of level 1."""
    own = ct_noise(SHAPE, 0, 1.0, 0.3, 0.5)
    ramp = np.linspace(10, 30, SHAPE[2], dtype=np.float32)
    return volume(40 + ramp * own), own, ramp


@pytest.fixture(scope="module")
def source(scan):
    return MatchedNoise(describe_noise(scan[0]), scan[0].geometry)


def spectrum(noise):
    return (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)


def test_check_passes_on_what_was_measured(source):
    check = source.check()
    assert check.passed
    assert check.std_error <= 0.03
    assert check.nps_error <= 0.10


def test_drawn_noise_has_the_statistics_of_the_true_noise(scan, source):
    _, own, ramp = scan
    drawn = source.draw(np.random.default_rng(1))
    assert drawn.shape == SHAPE
    assert drawn.dtype == np.float32
    assert abs(drawn.mean()) < 0.5
    level = drawn.std(axis=(0, 1))
    np.testing.assert_allclose(level[10:-10], ramp[10:-10], rtol=0.15)
    unit = drawn / level
    rho = float((unit[1:] * unit[:-1]).mean() / (unit**2).mean())
    assert rho == pytest.approx(0.4, abs=0.05)
    f = np.hypot(np.fft.fftfreq(160)[:, None], np.fft.fftfreq(160))
    got, true = spectrum(unit), spectrum(own)
    for low in (0.05, 0.1, 0.15, 0.2, 0.25):
        band = (f >= low) & (f < low + 0.05)
        assert got[band].mean() == pytest.approx(true[band].mean(), rel=0.15)


def test_drawn_noise_is_independent_of_the_scan_and_of_other_draws(scan, source):
    own = scan[1]
    a, b = (source.draw(np.random.default_rng(s)) for s in (1, 2))
    for x, y in ((a, own), (a, b)):
        assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 0.01
    np.testing.assert_array_equal(a, source.draw(np.random.default_rng(1)))


def test_parts_have_the_level_of_their_place(source):
    part = source.draw(np.random.default_rng(0), (4, 9), (20, 140), (120, 160))
    assert part.shape == (5, 120, 40)
    assert part.std() == pytest.approx(27.5, rel=0.12)
    with pytest.raises(UsageError, match="slices 4 to 30"):
        source.draw(np.random.default_rng(0), (4, 30))


def test_negative_correlation_and_white_noise_can_be_matched():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(SHAPE[0] + 1, *SHAPE[1:]))
    alternating = (white[1:] - 0.3 * white[:-1]) / np.hypot(1, 0.3)
    noisy = volume((40 + 20 * alternating).astype(np.float32))
    source = MatchedNoise(describe_noise(noisy), noisy.geometry)
    assert source.check().passed
    drawn = source.draw_unit(rng, (24, 128, 128))
    assert float((drawn[1:] * drawn[:-1]).mean()) == pytest.approx(-0.3 / 1.09, abs=0.05)


def test_a_description_from_json_draws_at_the_typical_level(scan, source):
    record = json.loads(json.dumps(source.noise.to_json()))
    again = MatchedNoise(ScanNoise.from_json(record), scan[0].geometry)
    drawn = again.draw(np.random.default_rng(0), (0, 8))
    assert drawn.std() == pytest.approx(source.noise.sigma_range[1], rel=0.03)


def test_what_cannot_be_matched_is_refused(scan, source):
    still = volume(np.full((4, 64, 64), 40.0, dtype=np.float32))
    with pytest.raises(InputError, match="texture"):
        MatchedNoise(describe_noise(still), still.geometry)
    with pytest.raises(GeometryError, match="shape"):
        MatchedNoise(source.noise, still.geometry)
    other = VolumeGeometry.from_spacing(SHAPE, (0.5, 0.5, 1.0))
    with pytest.raises(GeometryError, match="voxel size"):
        MatchedNoise(source.noise, other)


def test_noise_of_a_real_phantom_scan_is_matched(data_file):
    whole = read_volume(data_file("headphantom_philips_YA_1mm.nii.gz")).volume
    scan = volume(whole.values[:12], whole.geometry.spacing_mm)
    assert MatchedNoise(describe_noise(scan), scan.geometry).check().passed
