"""HorusEye's noise: filtered out of residuals, admitted to the bank, drawn again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ctrestorelib.core.errors import InputError, UsageError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.training.horuseye.bank import NoiseBank, bank_of
from ctrestorelib.training.horuseye.highpass import KINDS, highpass, response
from ctrestorelib.training.horuseye.purify import (
    Census,
    Patch,
    Residual,
    accepted_patches,
    band_shares,
    edge_correlation,
    purified,
    reference_shares,
)
from ctrestorelib.training.horuseye.scans import doubts, scan_from
from ctrestorelib.training.horuseye.settings import HorusEyeSettings
from ctrestorelib.training.horuseye.windows import WINDOWS, draw_window, through

SETTINGS = HorusEyeSettings(patch=48)


def ct_noise(shape, seed=0, grain=0.8) -> np.ndarray:
    """Band-passed noise of deviation 1, as filtered backprojection leaves it."""
    white = np.random.default_rng(seed).normal(size=shape)
    axes = (0,) * (len(shape) - 2)
    fine = gaussian_filter(white, (*axes, grain, grain), mode="wrap")
    fine -= gaussian_filter(fine, (*axes, 3.0, 3.0), mode="wrap")
    return (fine / fine.std()).astype(np.float32)


def wave(period_px: float, size: int = 160) -> np.ndarray:
    row = np.sin(2 * np.pi * np.arange(size) / period_px)
    return np.tile(row, (size, 1)).astype(np.float32)


def kept(period_mm: float, pixel_mm: float, kind="exponential", cutoff_mm=12.0) -> float:
    inside = (slice(40, 120), slice(40, 120))
    before = wave(period_mm / pixel_mm)
    return float(highpass(before, pixel_mm, kind, cutoff_mm)[inside].std() / before[inside].std())


@pytest.mark.parametrize("pixel_mm", [0.5, 1.0])
def test_the_cutoff_is_physical(pixel_mm):
    assert kept(12.0, pixel_mm) == pytest.approx(1 - np.exp(-1), abs=0.02)
    assert kept(3.0, pixel_mm) == pytest.approx(1.0, abs=0.01)
    assert kept(48.0, pixel_mm) < 0.09
    assert kept(12.0, pixel_mm, "butterworth") == pytest.approx(0.5, abs=0.02)
    assert kept(12.0, pixel_mm, "exponential-2024") == pytest.approx(1 - np.exp(-0.5), abs=0.02)


def test_without_a_scale_the_published_bins_count():
    cutoff_px = 512 / 30  # 11.9 mm at 0.7 mm a pixel
    for arguments in ({"pixel_mm": 0.0}, {"pixel_mm": 0.7, "cutoff_mm": None}):
        filtered = highpass(wave(cutoff_px), **arguments)[40:120, 40:120]
        assert filtered.std() / wave(cutoff_px)[40:120, 40:120].std() == pytest.approx(
            0.632, abs=0.02
        )


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_never_pass(kind):
    np.testing.assert_allclose(
        highpass(np.full((40, 50), 70.0, np.float32), 0.8, kind), 0, atol=1e-3
    )


def test_kernels_take_a_pixel_against_its_surroundings():
    point = np.zeros((9, 9), np.float32)
    point[4, 4] = 8.0
    out = highpass(point, 1.0, "kernel-3")
    assert out[4, 4] == pytest.approx(8.0, abs=1e-5)
    assert out[4, 5] == pytest.approx(-1.0, abs=1e-5)


def test_an_unknown_filter_is_named():
    with pytest.raises(UsageError, match="high-pass"):
        response("ideal", np.zeros(3), 0.1)


def residual_of(noise, predicted, missed=0.0, sigma=20.0) -> Residual:
    """A slice whose prediction is off by ``missed`` times its own gradient."""
    steep = np.hypot(*np.gradient(predicted))
    raw = predicted + sigma * noise + missed * steep * np.sign(noise)
    level = np.full(raw.shape, sigma, np.float32)
    return Residual(raw.astype(np.float32), predicted, level, 0.8, (-2000.0, 4000.0))


def test_purified_noise_has_no_mean_no_outliers_and_unit_level():
    noise = 20 * ct_noise((192, 192))
    noise[50, 50] = 5000.0
    clean = purified(noise + 300.0, np.full_like(noise, 20.0), 0.8, SETTINGS)
    assert abs(clean.mean()) < 0.02
    assert clean.max() <= 6.0
    assert clean.std() == pytest.approx(1.0, abs=0.1)


def test_only_noise_gets_into_the_bank():
    j, i = np.mgrid[:192, :192].astype(np.float32)
    discs = 300 * (np.sin(j / 5) * np.sin(i / 7) > 0.3)
    predicted = gaussian_filter(discs.astype(np.float32), 1.0)
    noise = ct_noise((192, 192), seed=1)
    reference = band_shares(np.stack([ct_noise((48, 48), seed=s) for s in range(200)]))

    def counted(found: Residual) -> tuple[list[Patch], Census]:
        census = Census()
        return list(accepted_patches(found, reference, SETTINGS, census)), census

    good, census = counted(residual_of(noise, predicted))
    assert census.accepted == len(good) > 0.4 * census.seen
    for patch in good:
        assert abs(patch.values.mean()) < 1e-4
        assert patch.values.std() == pytest.approx(1.0, abs=1e-4)
    _none, census = counted(residual_of(noise, predicted, missed=2.0))
    assert census.follows_edges > 0.9 * census.seen
    _none, census = counted(residual_of(ct_noise((192, 192), seed=2, grain=1.6), predicted))
    assert census.wrong_spectrum + census.follows_edges == census.seen
    assert census.wrong_spectrum > 0
    floor = residual_of(noise, predicted)
    cut = np.maximum(floor.raw, np.quantile(floor.raw, 0.2))
    limits = (float(cut.min()), 4000.0)
    _none, census = counted(Residual(cut, predicted, floor.sigma, 0.8, limits))
    assert census.saturated > 0.9 * census.seen


def test_edge_correlation_is_zero_for_noise_and_high_for_leaks():
    steep = np.abs(ct_noise((64, 64), seed=4)) * 3
    noise = ct_noise((64, 64), seed=5)
    assert edge_correlation(noise, steep) < 0.1
    assert edge_correlation(noise * (1 + steep), steep) > 0.3


def phantom(noise_hu=20.0, spacing_mm=(0.8, 0.8, 1.0), slices=6) -> Volume:
    j, i = np.mgrid[:144, :144] - 71.5
    truth = np.where(np.hypot(j, i) < 66, 40.0, -1000.0)
    values = truth + noise_hu * ct_noise((slices, 144, 144), seed=7)
    return Volume(values, VolumeGeometry.from_spacing(values.shape, spacing_mm), Unit.HU)


def test_the_reference_is_the_scans_own_spectrum():
    shares = reference_shares(scan_from(phantom(), "a"), SETTINGS)
    assert shares is not None
    expected = band_shares(np.stack([ct_noise((48, 48), seed=s) for s in range(200)]))
    assert shares.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(shares[1:], expected[1:], rtol=0.2, atol=0.02)


def test_scans_that_break_the_assumptions_are_named():
    good = scan_from(phantom(), "thin.nii.gz")
    assert doubts([good]) == []
    assert float(np.median(good.sigma)) == pytest.approx(20.0, rel=0.1)
    thick = scan_from(phantom(spacing_mm=(0.8, 0.8, 3.0)), "thick.nii.gz")
    repeated = np.repeat(phantom(slices=5).values, 2, axis=0)
    grid = VolumeGeometry.from_spacing(repeated.shape, (0.8, 0.8, 1.0))
    twice = Volume(repeated, grid, Unit.HU)
    alike = scan_from(twice, "alike.nii.gz")
    told = doubts([good, thick, alike])
    assert len(told) == 2
    assert "1 of 3 scans have slices more than 1 mm apart (thick.nii.gz)" in told[0]
    assert "alike.nii.gz" in told[1]


def test_scans_without_noise_or_neighbours_are_refused():
    with pytest.raises(InputError, match="No noise"):
        scan_from(phantom(noise_hu=0.0).with_values(np.zeros((6, 144, 144))), "empty")
    with pytest.raises(InputError, match="2 slices"):
        scan_from(phantom(slices=2), "short")


@pytest.fixture(scope="module")
def bank() -> NoiseBank:
    patches = [Patch(ct_noise((32, 32), seed=s), s % 2, 0) for s in range(60)]
    patches = [Patch((p.values - p.values.mean()) / p.values.std(), p.scan, 0) for p in patches]
    return bank_of(patches, 40, np.random.default_rng(0))


def test_the_bank_shares_its_places_between_scans(bank):
    assert len(bank) == 40
    assert np.bincount(bank.scans).tolist() == [20, 20]
    few = [Patch(np.ones((8, 8), np.float32), int(n > 2), 0) for n in range(30)]
    assert np.bincount(bank_of(few, 10, np.random.default_rng(0)).scans).tolist() == [3, 7]
    with pytest.raises(InputError, match="empty"):
        bank_of([], 10, np.random.default_rng(0))


@pytest.mark.parametrize("published", [False, True])
def test_the_same_seed_draws_the_same_noise(bank, published, tmp_path):
    bank.save(tmp_path / "bank.npz")
    again = NoiseBank.load(tmp_path / "bank.npz")
    for seed in range(5):
        one, two = (
            b.draw(np.random.default_rng(seed), 48, published=published) for b in (bank, again)
        )
        np.testing.assert_array_equal(one, two)
        assert one.shape == (48, 48)
    other = bank.draw(np.random.default_rng(9), 48, published=published)
    assert not np.array_equal(one, other)


def test_drawn_noise_keeps_strength_and_grain(bank):
    rng = np.random.default_rng(3)
    field = bank.fill(rng, (200, 150))
    assert field.shape == (200, 150)
    assert field.std() == pytest.approx(1.0, abs=0.05)
    tiles = field[:192, :144].reshape(4, 48, 3, 48).transpose(0, 2, 1, 3).reshape(-1, 48, 48)
    expected = band_shares(np.stack([ct_noise((48, 48), seed=s) for s in range(100)]))
    np.testing.assert_allclose(band_shares(tiles), expected, atol=0.05)
    levels = [bank.draw(rng, 48).std() for _ in range(40)]
    assert np.mean(levels) == pytest.approx(1.0, abs=0.05)
    zeros = [(bank.draw(rng, 48, published=True) == 0).mean() for _ in range(60)]
    assert 0.25 < np.mean(np.array(zeros) > 0) < 0.75  # half are moved, and leave nothing behind


def test_windows_come_in_their_published_shares():
    rng = np.random.default_rng(0)
    drawn = np.array([draw_window(rng, is_hu=True) for _ in range(3000)])
    assert np.mean(drawn[:, 1] <= 140) == pytest.approx(1 / 9, abs=0.02)  # brain
    assert np.mean(drawn[:, 0] <= -800) == pytest.approx(2 / 9, abs=0.025)  # lung
    for low, width in drawn:
        assert any(
            w.low[0] <= low <= w.low[1] and w.width[0] <= width <= w.width[1] for w in WINDOWS
        )
    assert sum(w.share for w in WINDOWS) == pytest.approx(1.0)
    np.testing.assert_allclose(
        through(np.float32([-200, 0, 200, 999]), -100, 400), [0, 0.25, 0.75, 1]
    )
