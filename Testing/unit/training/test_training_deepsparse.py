"""DeepSparse at toy size: views, noise, three stages, exact resuming."""

from __future__ import annotations

import signal
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.core.errors import (  # noqa: E402
    Cancelled,
    InputError,
    UsageError,
    WeightsError,
)
from ctrestorelib.networks.dice import COMPACT, FULL, DiceSettings  # noqa: E402
from ctrestorelib.training.curves import read_curves  # noqa: E402
from ctrestorelib.training.deepsparse import (  # noqa: E402
    DeepSparseSettings,
    TrainingStage,
    settings_for,
    train_deepsparse,
)
from ctrestorelib.training.deepsparse import run as run_module  # noqa: E402
from ctrestorelib.training.deepsparse.batches import (  # noqa: E402
    DeepSparseBatches,
    noisy,
    voxel_points,
)
from ctrestorelib.training.deepsparse.hyvip import hybrid_views, spread_views  # noqa: E402
from ctrestorelib.training.deepsparse.loss import psnr_db  # noqa: E402
from ctrestorelib.training.deepsparse.settings import NoiseSettings  # noqa: E402
from ctrestorelib.training.deepsparse.stored import StoredScans, mean_truth  # noqa: E402
from ctrestorelib.training.deepsparse.weights import NAME, network_for  # noqa: E402
from ctrestorelib.training.scans.store import make_items, read_item  # noqa: E402
from ctrestorelib.training.settings import TrainingSettings  # noqa: E402
from ctrestorelib.weights.tensors import read_tensors  # noqa: E402

PRETRAIN, ADAPT, VIEWS = TrainingStage
TINY = DiceSettings(widths=(4, 8), pixels=32, grid=8, codes=16, channels=12, hidden=(16, 8))


def settings(stage, steps=30, **changes):
    loop = TrainingSettings(
        steps=steps, learning_rate=5e-3, warmup_steps=5, log_every=10, validate_every=15, seed=4,
        weight_decay=1e-3, ema_decay=0.9, checkpoint_seconds=1000, threads=1,
    )  # fmt: skip
    base = {"stage": stage, "network": TINY, "views": 4, "fewest": 3, "dense": 8, "cells": 32,
            "candidates": 16, "procedural": 4, "points": 1500, "loop": loop}  # fmt: skip
    return DeepSparseSettings(**{**base, **changes})


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Return a folder with four procedural subjects of 32^3 voxels in 16 views of 32^2 pixels."""
    folder = tmp_path_factory.mktemp("items")
    make_items(run_module.item_tasks([], settings(PRETRAIN)), folder)
    return folder


@pytest.fixture(scope="module")
def pretrained(items, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain")
    done = train_deepsparse([], folder, settings(PRETRAIN, 60), items=items, report=str)
    return folder / NAME, done


# -- views --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("candidates", "sparse", "dense"), [(200, 6, 24), (72, 23, 24), (24, 5, 24)]
)
def test_hybrid_views_are_different_and_hold_an_evenly_spread_set(candidates, sparse, dense):
    rng = np.random.default_rng(1)
    for _ in range(50):
        views = hybrid_views(rng, candidates, sparse, dense)
        assert len(set(views.tolist())) == dense
        assert views.min() >= 0
        assert views.max() < candidates
        shift = views[0]
        assert np.array_equal(views[:sparse] - shift, spread_views(candidates, sparse))


def test_sparse_views_replace_their_neighbours_at_the_least_cost():
    """What is left of the dense set must be what the best assignment, by brute force, leaves."""
    from itertools import permutations

    class Fixed:
        """Draws given numbers and shuffles nothing."""

        def __init__(self, *numbers):
            self.numbers = list(numbers)

        def integers(self, _high):
            return self.numbers.pop(0)

        def permutation(self, values):
            return values

    few, many = spread_views(30, 3) + 4, spread_views(30, 5) + 1
    best = min(permutations(range(5), 3), key=lambda p: np.abs(few - many[list(p)]).sum())
    views = hybrid_views(Fixed(4, 1), 30, 3, 5)
    assert views.tolist() == [*few, *np.delete(many, best)]


def test_as_many_sparse_as_dense_views_are_one_even_set():
    views = hybrid_views(np.random.default_rng(0), 200, 24, 24)
    assert np.array_equal(views - views[0], spread_views(200, 24))
    assert spread_views(200, 6).tolist() == [0, 33, 66, 100, 133, 166]


def test_views_that_are_not_there_are_refused():
    with pytest.raises(UsageError, match="30 views"):
        spread_views(24, 30)
    with pytest.raises(UsageError, match="sparse"):
        hybrid_views(np.random.default_rng(0), 100, 12, 8)
    with pytest.raises(UsageError, match="candidates"):
        settings(PRETRAIN, dense=20)
    with pytest.raises(UsageError, match="1 to 8"):
        settings(ADAPT, views=9)


# -- examples -----------------------------------------------------------------------------------
def test_a_batch_fits_the_stage_and_depends_on_its_generator_only(items):
    scans = StoredScans(items)
    near = set()
    for seed in range(25):
        batch = DeepSparseBatches(scans, settings(PRETRAIN, batch=2))(
            0, np.random.default_rng(seed)
        )
        near.add(int(batch["near"]))
    assert near == set(range(3, 9))
    assert batch["projections"].shape == (2, 8, 32, 32)
    assert batch["matrices"].shape == (2, 8, 3, 4)
    assert batch["points"].shape == (2, 1500, 3)
    assert float(batch["target"].min()) >= 0
    assert float(batch["target"].max()) <= 3.0
    adapt = DeepSparseBatches(scans, settings(ADAPT))
    one, two = (adapt(step, np.random.default_rng(3)) for step in (0, 7))
    assert int(one["near"]) == 4
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_targets_are_the_truth_at_the_points(items):
    scans = StoredScans(items)
    item = read_item(items, scans.numbers[0])
    batch = DeepSparseBatches(StoredScans(items, scans.numbers[:1]), settings(ADAPT, points=50))(
        0, np.random.default_rng(0)
    )
    k, j, i = np.rint((batch["points"][0].numpy()[:, ::-1] + 1) * 16 - 0.5).astype(int).T
    expected = np.clip(item.truth[k, j, i], 0, 3)
    np.testing.assert_allclose(batch["target"][0].numpy(), expected, atol=1e-3)
    world = item.grid.to_world(np.stack([i, j, k], -1))
    np.testing.assert_allclose(
        batch["points"][0].numpy() * scans.get(item.facts["number"]).edge_mm / 2, world, atol=1e-3
    )
    assert voxel_points(np.array([0, 1]), 32)[:, 0] == pytest.approx([-31 / 32, -29 / 32])


def test_noise_is_that_of_the_photons_and_sometimes_absent(items):
    scan = StoredScans(items).get(0)
    views = spread_views(16, 8)
    rng = np.random.default_rng(0)
    clean = scan.projections[views]
    free = noisy(scan, views, NoiseSettings(free_share=1.0), rng)
    assert np.array_equal(free, clean)
    few = noisy(scan, views, NoiseSettings(i0=(1e4, 1e4), electronic_sd=(0, 0), free_share=0), rng)
    counts = 1e4 * np.exp(-clean * scan.mu_water_per_mm)
    deviation = (few - clean) * scan.mu_water_per_mm * np.sqrt(counts)
    assert (counts > 100).mean() > 0.1
    assert float(deviation[counts > 100].std()) == pytest.approx(1.0, rel=0.1)


def test_subjects_of_one_volume_stay_on_one_side(items, tmp_path):
    import json
    import shutil

    folder = tmp_path / "items"
    shutil.copytree(items, folder)
    for number in (0, 1, 2):
        path = folder / f"{number:06d}.json"
        record = json.loads(path.read_text())
        record["task"]["source"] = "knee.nii.gz"
        path.write_text(json.dumps(record))
    training, aside = StoredScans(folder).split()
    assert {frozenset(training.numbers), frozenset(aside.numbers)} == {
        frozenset({0, 1, 2}), frozenset({3})
    }  # fmt: skip
    path = folder / "000003.json"
    record["task"]["source"] = "knee.nii.gz"
    path.write_text(json.dumps(record))
    assert StoredScans(folder).split()[1] is None


# -- the three stages ---------------------------------------------------------------------------
def test_pretraining_learns_and_says_what_it_made(pretrained, items):
    path, done = pretrained
    rows = read_curves(path.parent / "curves.csv")
    assert rows[-1]["task"] < 0.5 * rows[0]["task"]
    about = read_tensors(path).about
    assert about["architecture"] == "dice"
    assert about["views"] == [3, 8]
    assert about["stage"] == "pretrain"
    assert not about["denoise"]
    assert DiceSettings.from_json(about["options"]) == TINY
    assert about["held_out_psnr_db"] == pytest.approx(done.last["held_out_psnr_db"], abs=1e-3)


def test_all_stages_follow_each_other_and_frozen_parts_stay(pretrained, items, tmp_path):
    path, _ = pretrained
    adapted = train_deepsparse(
        [], tmp_path / "adapt", settings(ADAPT), items=items, start=path, report=str
    )
    before = adapted.network.state_dict()
    start = tmp_path / "adapt" / NAME
    final = train_deepsparse(
        [], tmp_path / "views", settings(VIEWS), items=items, start=start, report=str
    )
    after = final.network.state_dict()
    frozen = [name for name in before if name.startswith(("encoder", "codebooks"))]
    assert len(frozen) > 20
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    moved = [n for n in before if n.startswith(("volume", "point")) and n.endswith("weight")]
    assert not any(torch.equal(before[name], after[name]) for name in moved)
    about = read_tensors(tmp_path / "views" / NAME).about
    assert (about["stage"], about["views"], about["denoise"]) == ("views", [4], True)
    rows = read_curves(tmp_path / "views" / "curves.csv")
    assert rows[-1]["denoising"] < rows[0]["denoising"]


@pytest.mark.parametrize("stage", [PRETRAIN, VIEWS])
def test_a_stopped_stage_ends_bit_for_bit_like_one_that_ran_through(
    pretrained, items, tmp_path, monkeypatch, stage
):
    start = pretrained[0] if stage is VIEWS else None
    chosen = settings(stage, 8)

    def call(folder):
        return train_deepsparse(
            [], folder, chosen, items=items, start=start, report=str
        )  # fmt: skip

    call(tmp_path / "through")
    calls = []
    true_loss = run_module.DeepSparseLoss.__call__

    def interrupted(self, network, batch):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return true_loss(self, network, batch)

    monkeypatch.setattr(run_module.DeepSparseLoss, "__call__", interrupted)
    with pytest.raises(Cancelled, match="step 3 of 8"):
        call(tmp_path / "stopped")
    call(tmp_path / "stopped")
    one, two = ((tmp_path / name / NAME).read_bytes() for name in ("through", "stopped"))
    assert one == two


def test_bfloat16_trains_too(items, tmp_path):
    chosen = settings(PRETRAIN, 10)
    chosen = replace(chosen, loop=replace(chosen.loop, precision="bfloat16"))
    done = train_deepsparse([], tmp_path, chosen, items=items, report=str)
    assert np.isfinite(done.last["loss"])


# -- refusals and defaults ----------------------------------------------------------------------
def test_the_last_stage_needs_weights_and_a_folder_keeps_its_settings(pretrained, items, tmp_path):
    with pytest.raises(WeightsError, match="goes on from"):
        network_for(settings(VIEWS), None)
    other = tmp_path / "other.safetensors"
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, other, metadata={"about": '{"network": "ResidualUNet"}'})
    with pytest.raises(WeightsError, match="does not hold"):
        network_for(settings(ADAPT), other)
    folder = pretrained[0].parent
    with pytest.raises(InputError, match="points"):
        train_deepsparse([], folder, settings(PRETRAIN, points=9), items=items, report=str)


def test_the_published_settings_are_the_defaults_of_the_full_network():
    full = settings_for("full", PRETRAIN)
    assert full.network == FULL
    assert (full.cells, full.candidates, full.points, full.batch) == (256, 200, 10000, 2)
    assert (full.loop.learning_rate, full.loop.weight_decay, full.loop.clip_norm) == (1e-4, 1e-3, 1)
    assert (full.fewest, full.dense, full.quantisation, full.denoising) == (6, 24, 0.1, 1.0)
    assert settings_for("compact", ADAPT, steps=7).loop.steps == 7
    assert settings_for("compact", ADAPT).network == COMPACT


def test_psnr_is_that_of_the_window_and_the_mean_image_is_a_mean(items):
    truth = torch.tensor([0.0, 1.0, 2.0])
    assert psnr_db(truth + torch.tensor([0.2, 0.2, 0.2]), truth) == pytest.approx(
        10 * np.log10(4 / (2 * 0.04 / 3)), abs=1e-4
    )  # nothing above the window counts
    scans = StoredScans(items)
    stack = np.stack([read_item(items, n).truth for n in scans.numbers])
    np.testing.assert_allclose(mean_truth(scans), stack.mean(0), atol=1e-5)
