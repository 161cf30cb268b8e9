"""The default denoiser's training material and training, at toy size."""

import json

import numpy as np
import pytest
import torch

from ctrestorelib.core.errors import InputError
from ctrestorelib.core.units import Unit
from ctrestorelib.core.volume import Volume, VolumeGeometry
from ctrestorelib.io.volumes import write_volume
from ctrestorelib.networks.residual_unet import ResidualUNet
from ctrestorelib.physics.parallel2d import Kernel
from ctrestorelib.training.clean_volumes import as_trainable, binned, training_files
from ctrestorelib.training.denoiser import DenoiserSettings, train_denoiser
from ctrestorelib.training.denoiser_batches import BatchSettings, DenoiserBatches
from ctrestorelib.training.denoiser_items import ItemTask, blurred, make_items
from ctrestorelib.training.denoiser_loss import denoiser_loss
from ctrestorelib.training.loop import TrainingSettings
from ctrestorelib.training.noise_images import noise_images
from ctrestorelib.training.noise_recipe import NoiseRecipe, draw_recipe
from ctrestorelib.training.textures import share, texture


def recipe(**changes):
    base = {
        "kernel": Kernel(0.6, 2.0), "i0": 1e5, "electronic_sd": 3.0, "views": 120, "outside": 0.0,
        "flatness": 0.0, "direction_rad": 0.0, "bowtie": 0.0, "slice_correlation": (),
    }  # fmt: skip
    return NoiseRecipe(**{**base, **changes})


def water(slices=8, size=64):
    j, i = np.mgrid[:size, :size] - (size - 1) / 2
    disc = np.where(np.hypot(j, i) < 0.4 * size, 0.0, -1000.0)
    return np.repeat(disc[None], slices, axis=0).astype(np.float32)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    tasks = [ItemTask(n, None, 1, 1, 3) for n in range(9)]  # number 7 is held out
    assert make_items(tasks, folder) == 9
    return folder


def settings(**changes):
    return BatchSettings(**{"size": 2, "patch": 64, "textures": 2, **changes})


def test_noise_has_unit_level_and_the_wanted_slice_correlation():
    rng = np.random.default_rng(0)
    made = noise_images(water(24), 0.8, recipe(slice_correlation=(0.4,)), rng)
    inside = made.noise[:, 16:48, 16:48]
    assert np.median(made.level) == pytest.approx(1.0)
    rho = [np.mean(inside[k:] * inside[:-k]) / np.mean(inside**2) for k in (1, 2)]
    assert rho[0] == pytest.approx(0.4, abs=0.06)
    assert rho[1] == pytest.approx(0.0, abs=0.06)


def test_the_level_tells_where_noise_is_strong():
    long_way = recipe(outside=4.0, flatness=0.7, i0=2e4)
    made = noise_images(water(24), 0.8, long_way, np.random.default_rng(1))
    ratio = made.noise[:, 20:44, 20:44].std() / made.level[:, 20:44, 20:44].mean()
    assert ratio == pytest.approx(1.0, abs=0.1)


def test_the_same_seed_gives_the_same_noise():
    one, two = (
        noise_images(water(3), 0.8, recipe(), np.random.default_rng(5)).noise for _ in range(2)
    )
    assert np.array_equal(one, two)


def test_recipes_reach_from_soft_to_sharp_and_have_possible_correlations():
    drawn = [draw_recipe(np.random.default_rng(n), 0.7) for n in range(60)]
    cutoffs = [d.kernel.cutoff_lp_mm * 0.7 for d in drawn]
    assert min(cutoffs) < 0.2
    assert max(cutoffs) > 0.8
    for d in drawn:
        noise_images(water(2, 32), 0.7, d, np.random.default_rng(0))  # raises if impossible


def test_textures_are_scaled_and_go_on_from_slice_to_slice():
    along = []
    for seed in range(12):
        made = texture(np.random.default_rng(seed), (8, 48, 48))
        assert made.mean() == pytest.approx(0, abs=1e-4)
        assert made.std() == pytest.approx(1, abs=1e-3)
        along.append(np.corrcoef(made[:-1].ravel(), made[1:].ravel())[0, 1])
    assert np.mean(along) > 0.1  # independent noise has 0.00 here
    assert np.max(along) < 0.99  # and yet slices differ


def test_a_texture_keeps_to_its_tissue():
    shares = [share(np.random.default_rng(n), water(3), is_hu=True) for n in range(30)]
    assert any(s.max() < 1e-3 for s in shares)  # no bone here
    assert all(s.min() >= 0 and s.max() <= 1 + 1e-6 for s in shares)


def test_a_stack_is_blurred_as_its_noise_is():
    sharp = water(1)
    soft = blurred(sharp, Kernel(0.2, 2.0), 0.8)
    assert soft.mean() == pytest.approx(float(sharp.mean()), abs=2.0)
    assert np.abs(np.diff(soft[0, 32])).max() < 0.6 * np.abs(np.diff(sharp[0, 32])).max()


def test_making_goes_on_where_it_stopped(items):
    before = {p.name: p.stat().st_mtime_ns for p in items.iterdir()}
    assert make_items([ItemTask(n, None, 1, 1, 3) for n in range(9)], items) == 9
    assert before == {p.name: p.stat().st_mtime_ns for p in items.iterdir()}


def test_material_of_other_data_is_not_taken_for_this(items):
    with pytest.raises(InputError, match="other volumes"):
        make_items([ItemTask(0, None, 1, 1, seed=4)], items)


def test_a_batch_depends_on_the_random_state_alone(items):
    source = DenoiserBatches(items, settings())
    one, two = source(0, np.random.default_rng(4)), source(9, np.random.default_rng(4))
    other = source(0, np.random.default_rng(5))
    assert all(torch.equal(one[n], two[n]) for n in one)
    assert not torch.equal(one["stack"], other["stack"])


def test_the_target_is_the_noise_of_the_middle_slice(items):
    """Without it, the slice is as smooth as the phantom: much less is left at the pixel scale."""
    source = DenoiserBatches(items, settings(size=8, texture_share=0.0, sigma_range=(60.0, 60.0)))
    batch = source(0, np.random.default_rng(0))
    middle, noise = batch["stack"][:, 2], batch["target"][:, 0]

    def roughness(x):
        return float(x.diff(dim=-1).abs().median())

    assert roughness(middle - noise) < 0.3 * roughness(middle)
    assert 0.5 < float(noise.std()) < 2.0


def test_held_out_items_are_not_trained_on(items):
    trained, kept = (DenoiserBatches(items, settings(), held_out=h) for h in (False, True))
    assert len(trained.made) == 8
    assert len(kept.made) == 1
    held = kept.made[0].clean.filename
    assert held not in [i.clean.filename for i in trained.made]


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no training items"):
        DenoiserBatches(tmp_path, settings())


def test_binning_tells_the_noise_that_is_left():
    rng = np.random.default_rng(2)
    noisy = (water(12, 96) + rng.normal(0, 20, (12, 96, 96))).astype(np.float32)
    geometry = VolumeGeometry.from_spacing(noisy.shape, (0.8, 0.8, 1.0))
    made = binned(as_trainable(Volume(noisy, geometry, Unit.HU)), 2, "disc")
    assert made.values.shape == (12, 48, 48)
    assert made.sigma == pytest.approx(10, rel=0.2)  # white noise, mean of four


def test_padding_becomes_air_and_grey_values_are_scaled():
    values = water(4, 32)
    values[:, 0] = -3024.0
    geometry = VolumeGeometry.from_spacing(values.shape, (1, 1, 1))
    assert as_trainable(Volume(values, geometry, Unit.HU)).values.min() == -1000.0
    grey = as_trainable(Volume(values + 5000, geometry, Unit.GREY)).values
    assert np.ptp(grey) <= 1000.1


def test_files_follow_the_split_and_absent_ones_are_named(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["a.nii.gz"], "validation": ["c.nii.gz"]}))
    assert [p.name for p in training_files(tmp_path)] == ["a.nii.gz", "b.nii.gz"]
    assert [p.name for p in training_files(tmp_path, split)] == ["a.nii.gz"]
    with pytest.raises(InputError, match=r"c\.nii\.gz"):
        training_files(tmp_path, split, "validation")


def test_the_loss_is_least_for_the_true_noise(items):
    batch = DenoiserBatches(items, settings())(0, np.random.default_rng(1))

    class Fixed(torch.nn.Module):
        def __init__(self, guess):
            super().__init__()
            self.guess = guess

        def forward(self, stack, context):
            del context
            return self.guess, torch.zeros_like(self.guess)

    truth, none = batch["target"], torch.zeros_like(batch["target"])
    best, parts = denoiser_loss(Fixed(truth), batch)
    assert parts["rmse"] == pytest.approx(0)
    assert best < denoiser_loss(Fixed(truth + 0.1), batch)[0] < denoiser_loss(Fixed(none), batch)[0]


def test_a_network_learns_from_volumes_and_anatomy(tmp_path):
    geometry = VolumeGeometry.from_spacing((4, 64, 64), (0.8, 0.8, 1.0))
    (tmp_path / "data").mkdir()
    noisy = water(4) + np.random.default_rng(0).normal(0, 4, (4, 64, 64))
    write_volume(Volume(noisy, geometry, Unit.HU), tmp_path / "data" / "disc.nii.gz")
    loop = TrainingSettings(
        steps=100, learning_rate=1e-2, warmup_steps=2, validate_every=100, threads=1, ema_decay=0.5
    )
    wanted = DenoiserSettings(
        width=4, anatomies=6, processes=1, batches=settings(size=2), loop=loop
    )
    lines = []
    run = train_denoiser(tmp_path / "data", tmp_path / "out", wanted, report=lines.append)
    assert (tmp_path / "out" / "final.safetensors").exists()
    assert run.steps == 100
    figures = (tmp_path / "out" / "curves.csv").read_text().splitlines()
    assert "held_out_gain_db" in figures[0]
    assert float(figures[-1].split(",")[-1]) > 0.1  # dB over the noisy input


def test_a_fresh_network_removes_nothing():
    mean, _ = ResidualUNet(4)(torch.randn(1, 5, 32, 32), torch.zeros(1, 2, 32, 32))
    assert float(mean.detach().abs().max()) == 0.0
