"""Transmission noise, noise insertion and kernel matching against theory and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import InputError, UnitError, UsageError
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit, hu_from_mu, mu_from_hu
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.physics import parallel2d
from ctrestorelib.physics.noise import (
    insert_noise,
    match_kernel,
    slice_profile_correlation,
    transmission_counts,
    transmission_noise,
)
from ctrestorelib.physics.parallel2d import (
    CROSSTALK,
    Kernel,
    ParallelScan,
    forward_project,
    reconstruct,
)

PIXELS = 128
SPACING = 0.8
I0 = 2e4
KERNEL = Kernel(0.5, 2.0)
RADIUS = np.hypot(*(np.mgrid[:PIXELS, :PIXELS] - 0.5 * (PIXELS - 1)))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def disc_hu() -> np.ndarray:
    return np.where(RADIUS < 54, 40.0, -1000.0)


def scan() -> ParallelScan:
    return ParallelScan((PIXELS, PIXELS), (SPACING, SPACING), 240, SPACING)


def simulated(dose: float, slices: int, seed: int, kernel: Kernel = KERNEL) -> np.ndarray:
    """Slices of a disc in HU from noisy line integrals with detector crosstalk."""
    p = forward_project(mu_from_hu(disc_hu()).clip(0), scan())
    out, generator = [], rng(seed)
    for _ in range(slices):
        noise = transmission_noise(p, I0, 3.3, generator, dose=dose) - p
        blurred = CROSSTALK[1] * noise
        blurred[:, 1:] += CROSSTALK[0] * noise[:, :-1]
        blurred[:, :-1] += CROSSTALK[2] * noise[:, 1:]
        out.append(hu_from_mu(reconstruct(p + blurred, scan(), kernel)))
    return np.stack(out)


def as_volume(values: np.ndarray) -> Volume:
    return Volume(values, VolumeGeometry.from_spacing(values.shape, (SPACING, SPACING, 1.0)), "hu")


@pytest.mark.parametrize("p", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("dose", [1.0, 0.25])
def test_variance_and_mean_of_measured_line_integrals(p, dose):
    i0, electronic = 1e5, 10.0
    lines = np.full((4, 50_000), p, dtype=np.float32)
    measured = transmission_noise(lines, i0, electronic, rng(1), dose=dose)
    counts = dose * i0 * np.exp(-p)
    theory = 1 / counts + electronic**2 / counts**2
    assert measured.dtype == np.float32
    assert measured.var() == pytest.approx(theory, rel=0.02)
    # The logarithm bends: its own bias is half the variance.
    assert measured.mean() == pytest.approx(p + theory / 2, abs=4 * np.sqrt(theory / 2e5))


def test_counts_follow_dose_and_bowtie():
    lines = np.zeros((200, 64), dtype=np.float32)
    bowtie = np.linspace(0.2, 1.0, 64)
    counts = transmission_counts(lines, 1e4, 0.0, rng(), dose=0.5, bowtie=bowtie)
    np.testing.assert_allclose(counts.mean(axis=0), 5e3 * bowtie, rtol=0.02)
    again = transmission_counts(lines, 1e4, 0.0, rng(), dose=0.5, bowtie=bowtie)
    np.testing.assert_array_equal(counts, again)


def test_a_starved_ray_stays_finite():
    measured = transmission_noise(np.full((3, 40), 60.0), 1e5, 3.3, rng())
    assert np.isfinite(measured).all()
    assert measured.max() <= np.log(1e5) + 1e-3


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"i0": 0.0}, "i0"), ({"dose": -1.0}, "dose"), ({"electronic_sd": -1.0}, "electronic_sd"),
     ({"bowtie": [0.0, 1.0]}, "bowtie"), ({"bowtie": [0.5, 1.5]}, "bowtie")],
)  # fmt: skip
def test_impossible_sources_are_refused(changes, word):
    arguments = {"i0": 1e5, "electronic_sd": 1.0} | changes
    with pytest.raises(UsageError, match=word):
        transmission_noise(np.zeros((2, 2)), rng=rng(), **arguments)


def test_reconstruction_returns_the_attenuation_of_a_disc():
    p = forward_project(mu_from_hu(disc_hu()).clip(0), scan())
    mu = reconstruct(p, scan())
    assert mu[RADIUS < 45].mean() == pytest.approx(1.04 * MU_WATER_PER_MM, rel=2e-3)
    assert abs(mu[RADIUS > 60].mean()) < 0.01 * MU_WATER_PER_MM


def test_compiled_and_plain_backprojection_agree(monkeypatch):
    small = ParallelScan((20, 30), (0.7, 0.9), 16, 0.7)
    views = rng().normal(size=(16, small.bins)).astype(np.float32)
    usual = parallel2d.backproject(views, small)
    monkeypatch.setattr(parallel2d.importlib.util, "find_spec", lambda _name: None)
    np.testing.assert_allclose(parallel2d.backproject(views, small), usual, atol=1e-5)


@pytest.mark.parametrize("dose", [0.5, 0.2])
def test_inserted_noise_equals_a_really_lower_dose(dose):
    clean = disc_hu()
    full, low = as_volume(simulated(1.0, 5, 2)), simulated(dose, 5, 3)
    inserted = insert_noise(full, dose, rng(4), i0=I0, kernel=KERNEL, views=240)
    for where in (RADIUS < 25, (RADIUS > 35) & (RADIUS < 48)):
        wanted = (low - low.mean(axis=0))[:, where].std()
        got = (inserted.values - inserted.values.mean(axis=0))[:, where].std()
        assert got == pytest.approx(wanted, rel=0.04)
    drift = (inserted.values - full.values)[:, RADIUS < 45].mean()
    assert abs(drift) < 1.0, "noise must not shift the level"
    assert clean.shape == inserted.shape[1:]


def test_automatic_dose_calibration_scales_the_measured_noise():
    full = as_volume(simulated(1.0, 5, 5))
    low = insert_noise(full, 0.25, rng(6))
    middle = RADIUS < 45
    before = (full.values - full.values.mean(axis=0))[:, middle].std()
    after = (low.values - low.values.mean(axis=0))[:, middle].std()
    assert after / before == pytest.approx(2.0, rel=0.1)


def test_inserted_noise_is_repeatable_and_spares_padding():
    values = simulated(1.0, 2, 7)
    values[:, RADIUS > 62] = -3024
    volume = as_volume(values)
    first = insert_noise(volume, 0.5, rng(8), i0=I0, kernel=KERNEL, views=60)
    second = insert_noise(volume, 0.5, rng(8), i0=I0, kernel=KERNEL, views=60)
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.values[:, RADIUS > 62], -3024)
    assert first.geometry is volume.geometry
    whole = insert_noise(volume, 1.0, rng(8), i0=I0, kernel=KERNEL)
    np.testing.assert_array_equal(whole.values, volume.values)


def test_slices_share_noise_as_their_profile_says():
    assert slice_profile_correlation(3.0, 1.5) == pytest.approx((0.5,))
    assert slice_profile_correlation(1.0, 1.0) == ()
    flat = as_volume(np.repeat(disc_hu()[None], 24, axis=0))
    wanted = slice_profile_correlation(3.0, 1.0)
    low = insert_noise(flat, 0.5, rng(9), i0=I0, kernel=KERNEL, views=60, slice_correlation=wanted)
    noise = (low.values - flat.values)[:, RADIUS < 45]
    for lag, rho in enumerate((*wanted, 0.0), start=1):
        got = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(noise, noise[lag:], strict=False)])
        assert got == pytest.approx(rho, abs=0.04)


@pytest.mark.parametrize("kernel", [Kernel(0.35, 2.0), Kernel(0.4, 4.0), Kernel(0.5, 1.5)])
def test_kernel_fit_recovers_the_kernel(kernel):
    found = match_kernel(as_volume(simulated(1.0, 8, 10, kernel)))
    assert found.cutoff_lp_mm == pytest.approx(kernel.cutoff_lp_mm, rel=0.15)
    f = np.linspace(0.1, 0.5, 20)
    assert np.abs(found.response(f) - kernel.response(f)).max() < 0.12


def test_refusals_say_what_is_missing():
    grey = Volume(np.ones((1, 32, 32)), VolumeGeometry.from_spacing((1, 32, 32), (1, 1, 1)), "grey")
    with pytest.raises(UnitError, match="HU"):
        insert_noise(grey, 0.5, rng())
    water = as_volume(np.zeros((1, 32, 32)))
    with pytest.raises(UsageError, match="dose fraction"):
        insert_noise(water, 1.5, rng())
    with pytest.raises(InputError, match="no flat region"):
        match_kernel(water)
    with pytest.raises(UsageError, match="soft tissue"):
        insert_noise(water, 0.5, rng(), kernel=KERNEL, views=16)
    with pytest.raises(UsageError, match="slice correlation"):
        insert_noise(water, 0.5, rng(), i0=I0, kernel=KERNEL, slice_correlation=(0.9,))
    with pytest.raises(UsageError, match="positive"):
        Kernel(0.0)
    with pytest.raises(UsageError, match="positive"):
        slice_profile_correlation(0.0, 1.0)
    assert grey.unit is Unit.GREY
