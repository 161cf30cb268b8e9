"""Volumes through the released network: tiles, threads, units, padding, masks, runtimes."""

from __future__ import annotations

import numpy as np
import pytest

from ctrestorelib.core.errors import ResourceError
from ctrestorelib.core.slices import mirrored
from ctrestorelib.core.units import MU_WATER_PER_MM, Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.inference import runtimes
from ctrestorelib.inference.network_input import NetworkInput, _tiles, predict
from ctrestorelib.inference.residual_volume import Guards, ResidualDenoiser
from ctrestorelib.inference.runtimes import RuntimeChoice, choose_runtime, load_runtime
from ctrestorelib.quality.sigma_map import sigma_map

pytest.importorskip("onnxruntime")
SHAPE = (6, 72, 90)
ONNX = RuntimeChoice("onnxruntime", "float32")


@pytest.fixture(scope="module")
def runtime():
    return load_runtime("ctd-fast", ONNX, 1)


@pytest.fixture(scope="module")
def volume():
    _, j, i = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    values = np.where(np.hypot(j - 36, i - 45) < 32, 40.0, -1000.0)
    values[np.hypot(j - 36, i - 55) < 6] = 700.0
    values += np.random.default_rng(1).normal(0, 30, SHAPE)
    return Volume(values, VolumeGeometry.from_spacing(SHAPE, (0.8, 0.8, 1.0)), Unit.HU)


@pytest.fixture(scope="module")
def sigma(volume):
    return sigma_map(volume)


def restore(volume, sigma, runtime, guards=None, **more):
    return ResidualDenoiser(runtime, guards or Guards()).restore(volume, sigma, **more).values


@pytest.fixture(scope="module")
def usual(volume, sigma, runtime):
    return restore(volume, sigma, runtime)


def test_the_ends_are_mirrored_without_repeating_them():
    assert [mirrored(k, 4) for k in range(-2, 6)] == [2, 1, 0, 1, 2, 3, 2, 1]
    assert [mirrored(k, 1) for k in (-2, 0, 2)] == [0, 0, 0]


@pytest.mark.parametrize("size", [16, 320, 1216, 1232, 4096])
@pytest.mark.parametrize("tile", [240, 400, 1216])
def test_tiles_fill_everything_once_and_stay_on_the_grid(size, tile):
    tiles = _tiles(size, tile)
    filled = np.zeros(size, int)
    for one in tiles:
        filled[one.filled] += 1
        seen = np.arange(size)[one.seen]
        assert len(seen) <= max(tile, 16 + 2 * 112)
        assert seen[0] % 16 == len(seen) % 16 == 0
        np.testing.assert_array_equal(seen[one.inner], np.arange(size)[one.filled])
    assert (filled == 1).all()


def test_tiles_and_threads_change_nothing(runtime):
    rng = np.random.default_rng(2)
    stack = rng.normal(0, 1, (5, 48, 400)).astype(np.float32)
    stack[:, :, 150:230] += 40.0
    context = np.zeros((2, 48, 400), np.float32)
    whole, scale = predict(stack, context, runtime)
    cut, cut_scale = predict(stack, context, runtime, tile=256)
    other, _ = predict(stack, context, load_runtime("ctd-fast", ONNX, 2))
    # In noise units: 0.1 HU is 0.001 at a noise level of 100 HU.
    for found in (cut, other):
        np.testing.assert_allclose(found, whole, atol=1e-4)
    np.testing.assert_allclose(cut_scale, scale, atol=1e-4)
    assert whole.std() > 0.3


def test_torch_gives_the_same(volume, sigma, usual):
    pytest.importorskip("torch")
    exact = load_runtime("ctd-fast", RuntimeChoice("torch", "float32"), 1)
    np.testing.assert_allclose(restore(volume, sigma, exact), usual, atol=0.1)
    rough = load_runtime("ctd-fast", RuntimeChoice("torch", "bfloat16"), 1)
    difference = restore(volume, sigma, rough) - usual
    assert 0 < np.sqrt((difference**2).mean()) < 0.03 * sigma.typical  # measured: 0.011


def test_attenuation_and_hu_agree(volume, runtime, usual):
    other = volume.to_unit(Unit.PER_MM)
    found = restore(other, sigma_map(other), runtime) * 1000 / MU_WATER_PER_MM - 1000
    np.testing.assert_allclose(found, usual, atol=0.1)


def test_grey_values_have_no_scale(volume, runtime):
    grey = Volume(volume.values, volume.geometry, Unit.GREY)
    large = Volume(volume.values * 256.0, volume.geometry, Unit.GREY)
    found = restore(large, sigma_map(large), runtime) / 256.0
    np.testing.assert_allclose(found, restore(grey, sigma_map(grey), runtime), atol=0.02)


def test_padding_is_kept_and_not_seen(volume, sigma, runtime, usual):
    values = volume.values.copy()
    values[:, :, :4] = -3024.0
    found = restore(volume.with_values(values), sigma, runtime)
    np.testing.assert_array_equal(found[:, :, :4], -3024.0)
    far = (slice(None), slice(None), slice(30, 90))
    assert np.sqrt(np.mean((found[far] - usual[far]) ** 2)) < 1.0
    seen = NetworkInput(volume.with_values(values), sigma).slice(2)
    assert seen.values.min() > -1200
    assert seen.padding.sum() == 4 * SHAPE[1]


def test_slices_without_a_wish_are_not_computed(volume, sigma, runtime, usual):
    mask = np.zeros(SHAPE, bool)
    mask[2, 20:50, 20:70] = True
    visited = []

    def track(slices):
        for k in slices:
            visited.append(k)
            yield k

    found = restore(volume, sigma, runtime, mask=mask, track=track)
    np.testing.assert_array_equal(found[~mask], volume.values[~mask])
    np.testing.assert_array_equal(found[mask], usual[mask])
    assert visited == list(range(SHAPE[0]))


def test_bone_keeps_its_texture_on_request(volume, sigma, runtime, usual):
    found = restore(volume, sigma, runtime, Guards(bone_strength=0.0, veto_mm=0.0))
    bone, far = (slice(None), slice(33, 40), slice(52, 59)), (slice(None), slice(30, 42), slice(20))
    np.testing.assert_allclose(found[bone], volume.values[bone], atol=1e-3)
    assert np.abs(found[far] - volume.values[far]).mean() > 5


def test_the_mean_stays_without_help_of_the_network(volume, sigma, usual):
    class Biased:
        """A network that calls half a noise level everywhere noise."""

        name = "biased"

        def run(self, stack, context):
            flat = np.full((1, 1, *stack.shape[2:]), 0.5, np.float32)
            return flat, np.zeros_like(flat)

    tissue = (slice(None), slice(20, 50), slice(25, 45))
    off = restore(volume, sigma, Biased(), Guards(veto_mm=0.0, coherence=False))
    assert (volume.values - off)[tissue].mean() > 10
    held = restore(volume, sigma, Biased(), Guards(coherence=False))
    assert np.abs((volume.values - held)[tissue]).max() < 1.0


def test_the_uncertainty_is_positive_and_smaller_than_the_noise(volume, sigma, runtime):
    found = ResidualDenoiser(runtime, Guards()).restore(volume, sigma, uncertainty=True)
    tissue = found.uncertainty[:, 25:47, 25:45]
    assert found.uncertainty.min() > 0
    assert 0.05 * sigma.typical < tissue.mean() < sigma.typical
    doubled = ResidualDenoiser(runtime, Guards(), {"soft": 2.0}).restore(
        volume, sigma, uncertainty=True
    )
    assert doubled.uncertainty[:, 25:47, 25:45].mean() == pytest.approx(2 * tissue.mean(), rel=0.2)
    np.testing.assert_array_equal(doubled.values, found.values)


def test_the_choice_depends_on_what_is_there(monkeypatch):
    def with_only(*packages, bfloat16):
        monkeypatch.setattr(runtimes, "available", lambda name: name in packages)
        monkeypatch.setattr(runtimes, "has_bfloat16", lambda: bfloat16)

    with_only("onnxruntime", "torch", bfloat16=True)
    assert choose_runtime() == ONNX
    assert choose_runtime(fast=True) == RuntimeChoice("torch", "bfloat16")
    assert choose_runtime(device="cuda:0") == RuntimeChoice("torch", "float32", "cuda:0")
    with_only("onnxruntime", "torch", bfloat16=False)
    assert choose_runtime(fast=True) == ONNX
    with_only("torch", bfloat16=False)
    assert choose_runtime() == RuntimeChoice("torch", "float32")
    with_only("onnxruntime", bfloat16=True)
    with pytest.raises(ResourceError, match="needs the Python package torch"):
        choose_runtime(device="cuda:0")
    with_only(bfloat16=True)
    with pytest.raises(ResourceError, match="onnxruntime or torch"):
        choose_runtime()
