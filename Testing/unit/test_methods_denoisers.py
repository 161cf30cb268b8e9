"""What holds for the classical denoisers beyond the contract of every method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctrestorelib.core.errors import DoesNotFit
from ctrestorelib.core.job import Job
from ctrestorelib.core.params import params_from
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.inference.itk import kernel_spacing
from ctrestorelib.inference.slabs import fill_padding, slabs
from ctrestorelib.methods import nlm, tv_denoise, wavelet
from ctrestorelib.methods.registry import method
from ctrestorelib.physics.noise import insert_noise
from ctrestorelib.physics.parallel2d import Kernel
from ctrestorelib.quality.noise import estimate_noise
from ctrestorelib.restorer.plan import Budget, InputShapes
from ctrestorelib.restorer.protocol import Inputs

IDS = ("nlm", "tv-denoise", "anisotropic-diffusion", "bilateral", "wavelet")
BUDGET = Budget(host_bytes=8 * 2**30, threads=2)
SLICES, PIXELS = 4, 112
J, I_ = np.mgrid[:PIXELS, :PIXELS] - 55.5
RADIUS = np.hypot(J, I_)
MUSCLE = (RADIUS < 36) & (np.hypot(J - 10, I_) > 14)
each = pytest.mark.parametrize("name", IDS)


def restore(name: str, volume: Volume, block: int = 0, threads: int = 2, mask=None, **params):
    restorer = method(name)
    inputs = Inputs(volume=volume, mask=mask)
    chosen = params_from(restorer.Params, params)
    plan = restorer.plan(inputs.shapes(), chosen, replace(BUDGET, threads=threads))
    plan = replace(plan, block_slices=block) if block else plan
    return restorer.restore(inputs, chosen, plan, Job()).volume


@pytest.fixture(scope="module")
def clean() -> Volume:
    values = np.where(RADIUS < 50, -100.0, -1000.0)
    values[RADIUS < 40] = 50.0
    values[np.hypot(J - 10, I_) < 9] = 900.0
    stack = np.repeat(values[None], SLICES, axis=0)
    return Volume(stack, VolumeGeometry.from_spacing(stack.shape, (0.8, 0.8, 1.0)), Unit.HU)


@pytest.fixture(scope="module", params=[Kernel(0.38, 2), Kernel(0.8, 3)], ids=["soft", "sharp"])
def noisy(request, clean) -> Volume:
    rng = np.random.default_rng(0)
    return insert_noise(clean, 0.5, rng, i0=1.5e4, kernel=request.param, views=180)


@pytest.fixture(scope="module")
def sharp(clean) -> Volume:
    rng = np.random.default_rng(1)
    return insert_noise(clean, 0.5, rng, i0=1.5e4, kernel=Kernel(0.8, 3), views=180)


def rmse(a: Volume, b: Volume, where: np.ndarray) -> float:
    return float(np.sqrt(((a.values - b.values)[:, where] ** 2).mean()))


@each
def test_defaults_halve_correlated_noise_without_shifting_or_blurring(name, noisy, clean):
    restored = restore(name, noisy)
    assert rmse(restored, clean, MUSCLE) < 0.62 * rmse(noisy, clean, MUSCLE)
    assert abs((restored.values - noisy.values)[:, MUSCLE].mean()) < 1.0
    # The bone's border: its steepest step must stay.
    rim = np.abs(np.hypot(J - 10, I_) - 9) < 2
    assert rmse(restored, clean, rim) < 1.1 * rmse(noisy, clean, rim)
    edge = restored.values.mean(axis=0)[65, 55:72]
    assert np.abs(np.diff(edge)).max() > 0.75 * 850


@each
def test_factor_and_presets_turn_the_amount(name, sharp):
    left = [restore(name, sharp, factor=f).values[:, MUSCLE].std() for f in (0.4, 1.0, 2.0)]
    assert left[0] > left[1] > left[2]
    assert set(method(name).spec.presets) == {"gentle", "standard", "strong"}


@each
def test_a_given_level_replaces_the_measured_one(name, sharp):
    measured = estimate_noise(sharp).sigma
    np.testing.assert_allclose(
        restore(name, sharp, sigma=measured).values, restore(name, sharp).values, atol=1e-3
    )
    np.testing.assert_array_equal(restore(name, sharp, sigma=0.0).values, sharp.values)


@each
def test_blocks_and_threads_leave_no_trace(name, clean):
    rng = np.random.default_rng(2)
    values = np.tile(clean.values[:1, 20:60, 20:60], (24, 1, 1))
    values = values + np.linspace(0, 60, 24)[:, None, None] + rng.normal(0, 20, values.shape)
    volume = Volume(values, VolumeGeometry.from_spacing(values.shape, (0.8, 0.8, 0.8)), Unit.HU)
    whole = restore(name, volume, block=24)
    parts = restore(name, volume, block=5, threads=1)
    np.testing.assert_allclose(parts.values, whole.values, atol=0.02)


@each
def test_the_unit_does_not_matter(name, sharp):
    in_hu = restore(name, sharp).values
    in_mu = restore(name, sharp.to_unit(Unit.PER_MM))
    assert in_mu.unit is Unit.PER_MM
    np.testing.assert_allclose(in_mu.to_unit(Unit.HU).values, in_hu, atol=0.5)
    grey = restore(name, Volume(sharp.values + 1000, sharp.geometry, Unit.GREY))
    assert grey.values[:, MUSCLE].std() < 0.8 * sharp.values[:, MUSCLE].std()


@each
def test_metal_stays_and_spoils_nothing(name, sharp):
    values = sharp.values.copy()
    values[:, 70:74, 40:44] = 30_000
    with_metal = restore(name, sharp.with_values(values)).values
    assert with_metal[:, 71:73, 41:43].min() > 29_000
    far = MUSCLE & (np.hypot(J - 16, I_ + 14) > 20)
    plain = restore(name, sharp).values
    assert np.sqrt(((with_metal - plain)[:, far] ** 2).mean()) < 1.5


@each
def test_padding_does_not_reach_its_neighbours(name, sharp):
    values = sharp.values.copy()
    values[:, :, :40] = -3024  # cuts through muscle
    cut = restore(name, sharp.with_values(values)).values
    np.testing.assert_array_equal(cut[:, :, :40], -3024)
    beside = MUSCLE & (np.abs(I_ + 13) < 2.6)
    assert abs(cut[:, beside].mean() - sharp.values[:, beside].mean()) < 6


@each
def test_thick_slices_do_not_mix(name, clean):
    values = clean.values[:, 20:92, 20:92].copy()
    values[2] += 120  # another anatomy
    values += np.random.default_rng(3).normal(0, 15, values.shape)
    thick = Volume(values, VolumeGeometry.from_spacing(values.shape, (0.8, 0.8, 5.0)), Unit.HU)
    restored = restore(name, thick).values
    muscle = MUSCLE[20:92, 20:92]
    step = restored[2][muscle].mean() - restored[1][muscle].mean()
    assert step == pytest.approx(120, abs=4)


@each
def test_a_mask_limits_the_work(name, sharp):
    mask = np.zeros(sharp.shape, dtype=bool)
    mask[1:3, 30:60, 30:60] = True
    masked = restore(name, sharp, mask=mask).values
    np.testing.assert_array_equal(masked[~mask], sharp.values[~mask])
    np.testing.assert_array_equal(masked[mask], restore(name, sharp).values[mask])


@each
def test_plan_shrinks_blocks_before_it_refuses(name):
    restorer = method(name)
    shapes = InputShapes(volume=(300, 512, 512))
    roomy = restorer.plan(shapes, restorer.Params(), BUDGET)
    assert roomy.peak_host_bytes < 4 * 300 * 512 * 512 * 4
    tight = Budget(host_bytes=roomy.peak_host_bytes - 1, threads=2)
    assert restorer.plan(shapes, restorer.Params(), tight).block_slices < roomy.block_slices
    with pytest.raises(DoesNotFit, match="GB"):
        restorer.plan(shapes, restorer.Params(), Budget(host_bytes=500 * 2**20))


@each
@pytest.mark.parametrize("scan", ["chest_lidc0314_1mm.nii.gz", "knee_sts010_petct.nii.gz"])
def test_real_scans_get_calmer_and_keep_their_level(name, scan, data_file):
    import SimpleITK

    image = SimpleITK.ReadImage(str(data_file(scan)))
    values = SimpleITK.GetArrayFromImage(image)
    grid = VolumeGeometry.from_spacing(values.shape, image.GetSpacing())
    rows, cols = (slice(n // 2 - 60, n // 2 + 60) for n in values.shape[1:])
    part = Volume(values, grid, Unit.HU).crop((slice(30, 33), rows, cols))
    restored = restore(name, part)
    assert restored.geometry is part.geometry
    before, after = estimate_noise(part), estimate_noise(restored)
    assert after.sigma < 0.75 * before.sigma
    from scipy.ndimage import uniform_filter

    soft = np.abs(uniform_filter(part.values, (1, 9, 9)) - 40) < 60
    assert abs((restored.values - part.values)[soft].mean()) < 2


def test_automatic_settings_know_the_grain():
    assert nlm.automatic_bandwidth(4.0, 5, 0.9) > nlm.automatic_bandwidth(1.0, 5, 0.9)
    assert tv_denoise.automatic_weight(4.0) == pytest.approx(2 * tv_denoise.automatic_weight(1.0))
    assert nlm.neighbour_weight(1.0) > nlm.neighbour_weight(3.0) > nlm.neighbour_weight(8.0) == 0


def test_wavelet_bands_of_white_noise_halve_from_level_to_level():
    values = 50 + np.random.default_rng(4).normal(0, 20, (6, 128, 128))
    volume = Volume(values, VolumeGeometry.from_spacing(values.shape, (0.8, 0.8, 1)), Unit.HU)
    bands = wavelet.band_noise(volume, 20.0)
    np.testing.assert_allclose(bands, np.repeat([0.125, 0.25, 0.5], 3), rtol=0.12)


def test_slabs_cover_every_slice_once_with_their_halo():
    cut = slabs(11, 4, 3)
    assert [(s.start, s.stop) for s in cut] == [(0, 4), (4, 8), (8, 11)]
    assert [(s.low, s.high) for s in cut] == [(0, 7), (1, 11), (5, 11)]


def test_padding_is_filled_from_the_nearest_measured_voxel():
    slab = np.full((2, 4, 4), 30.0, dtype=np.float32)
    slab[0, :, 2:] = -2000
    slab[1] = -2000
    hole = fill_padding(slab, Unit.HU)
    assert hole is not None
    assert hole.sum() == 24
    np.testing.assert_array_equal(slab[0], 30)
    np.testing.assert_array_equal(slab[1], -1000)
    assert fill_padding(np.full((1, 2, 2), -2000.0, dtype=np.float32), Unit.GREY) is None


def test_slices_never_count_as_closer_than_a_pixel():
    assert kernel_spacing((0.8, 0.8, 4.0)) == pytest.approx((1, 1, 5))
    assert kernel_spacing((0.8, 0.8, 0.4)) == pytest.approx((1, 1, 1))


def test_diffusion_leaves_no_spots_on_strong_edges(sharp):
    change = np.abs(restore("anisotropic-diffusion", sharp).values - sharp.values)
    assert change.max() < 5 * estimate_noise(sharp).sigma
