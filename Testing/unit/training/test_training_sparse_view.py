"""Stages of the few-view default: items made once, batches in place, training that goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from ctrestorelib.core.errors import InputError  # noqa: E402
from ctrestorelib.networks.volume_unet import VolumeUNet  # noqa: E402
from ctrestorelib.recon import tv_pyramid  # noqa: E402
from ctrestorelib.restorer.protocol import Inputs  # noqa: E402
from ctrestorelib.training.loop import TrainingSettings  # noqa: E402
from ctrestorelib.training.scans.store import read_item  # noqa: E402
from ctrestorelib.training.sparse_view.batches import (  # noqa: E402
    PatchBatches,
    PatchSettings,
    load_items,
)
from ctrestorelib.training.sparse_view.items import (  # noqa: E402
    item_tasks,
    stage_input,
    stored_estimate,
)
from ctrestorelib.training.sparse_view.loss import stage_loss  # noqa: E402
from ctrestorelib.training.sparse_view.stages import (  # noqa: E402
    NetworkSize,
    TrainingStage,
    weights_before,
)
from ctrestorelib.training.sparse_view.train import (  # noqa: E402
    SparseViewSettings,
    chosen_subjects,
    make_material,
    train_stage,
)

SMALL = SparseViewSettings(
    scans=3, cells=(32,), pixels=32, scanned_share=0.0, network=NetworkSize(4, 2),
    patches=PatchSettings(size=2, patch=16, margin=3),
    loop=TrainingSettings(steps=4, threads=1, prefetch=0, learning_rate=1e-3),
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tv_pyramid, "COARSE_STEPS", 12)
        patch.setattr(tv_pyramid, "LAST_STEPS", 6)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the material of the first stage."""
    made = tmp_path_factory.mktemp("cts")
    make_material([], made, SMALL, {}, lambda _line: None)
    return made


@pytest.fixture
def items(folder):
    return folder / "prior" / "items", folder / "scans"


def test_an_item_holds_what_the_network_sees_of_its_scan(items):
    stored = load_items(*items)
    assert [item.number for item in stored] == [0, 1, 2]
    for item in stored:
        truth = read_item(items[1], item.number).truth
        assert item.channels.shape == (5, 32, 32, 32)
        assert item.channels.dtype == np.float16
        estimate = item.channels[0].astype(np.float32) * item.unit_in_water
        assert np.sqrt(np.mean((estimate - truth) ** 2)) < 0.5 * np.sqrt(np.mean(truth**2))
        assert item.condition.shape == (6,)


def test_items_are_made_once_and_only_from_the_same_scans(folder):
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.npy")}
    make_material([], folder, SMALL, {}, lambda _line: None)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.npy")} == before
    path = folder / "prior" / "items" / "000001.json"
    record = path.read_text()
    path.write_text(json.dumps({**json.loads(record), "task": {"recipe": -1}}))
    with pytest.raises(InputError, match="other scans"):
        make_material([], folder, SMALL, {}, lambda _line: None)
    path.write_text(record)


def test_a_batch_depends_on_its_step_alone_and_puts_truth_and_estimate_together(items):
    batches = PatchBatches(*items, SMALL.patches, steps=8)
    one, again = (batches(3, np.random.default_rng(5)) for _ in range(2))
    for name in one:
        torch.testing.assert_close(one[name], again[name])
    assert one["channels"].shape == (2, 5, 16, 16, 16)
    assert one["target"].shape == one["weight"].shape == (2, 1, 16, 16, 16)
    assert float(one["late"]) == 0.0
    assert float(batches(7, np.random.default_rng(5))["late"]) == 1.0
    # Whichever way a patch is turned, estimate plus target is a patch of the truth.
    item = batches.items[0]
    truth = np.sort(item.truth.astype(np.float32).ravel())
    rng = np.random.default_rng(1)
    whole = PatchBatches(*items, replace(SMALL.patches, patch=32, scaled=False), steps=8)
    whole.items = [item]
    sum_ = whole(0, rng)
    found = (sum_["channels"][0, 0] + sum_["target"][0, 0]).numpy() * item.unit_in_water
    np.testing.assert_allclose(np.sort(found.ravel()), truth, atol=2e-3)
    assert bool((sum_["weight"] > 0).all())  # nothing is cut, so all of it counts


def test_a_patch_is_made_denser_or_thinner_as_a_whole(items):
    made = {}
    for scaled in (False, True):
        whole = PatchBatches(*items, replace(SMALL.patches, patch=32, scaled=scaled), steps=8)
        whole.items = whole.items[:1]
        settled = whole(0, _Settled())
        made[scaled] = {n: settled[n][0].numpy() for n in ("channels", "target")}
    plain, dense = made[False], made[True]
    factor = 1.2**0.5
    np.testing.assert_allclose(dense["target"], factor * plain["target"], atol=1e-5)
    np.testing.assert_allclose(dense["channels"][:2], factor * plain["channels"][:2], atol=1e-5)
    np.testing.assert_array_equal(dense["channels"][3:], plain["channels"][3:])
    small = abs(plain["channels"][2]) < 0.1
    np.testing.assert_allclose(
        dense["channels"][2][small], factor * plain["channels"][2][small], atol=1e-3
    )


class _Settled:
    """Draws the same orientation whatever is drawn before it, and half of any range."""

    def integers(self, end):
        return 0

    def random(self, count=None):
        return 0.5 if count is None else np.full(count, 0.5)

    def uniform(self, low, high):
        return low + 0.75 * (high - low)

    def permutation(self, count):
        return np.arange(count)


def test_cut_faces_do_not_count(items):
    weight = PatchBatches(*items, SMALL.patches)(0, np.random.default_rng(0))["weight"]
    inner = slice(3, 13)
    assert bool((weight[:, :, inner, inner, inner] > 0).all())
    assert float((weight == 0).float().mean()) > 0.3


def test_an_item_is_kept_aside(items):
    trained = {item.number for item in PatchBatches(*items).items}
    kept = {item.number for item in PatchBatches(*items, held_out=True).items}
    assert len(kept) == 1
    assert trained | kept == {0, 1, 2}
    assert not trained & kept


def test_the_loss_falls_with_the_error_and_ignores_what_has_no_weight():
    torch.manual_seed(0)
    network = VolumeUNet(width=4, levels=1)
    batch = {
        "channels": torch.randn(1, 5, 8, 8, 8), "condition": torch.zeros(1, 6),
        "target": 0.1 * torch.randn(1, 1, 8, 8, 8), "weight": torch.ones(1, 1, 8, 8, 8),
        "late": torch.tensor(0.0),
    }  # fmt: skip
    loss, parts = stage_loss(network, batch)
    assert parts["gain_db"] == pytest.approx(0.0, abs=1e-4)  # untrained: as good as the estimate
    better = {**batch, "target": 0.5 * batch["target"]}
    assert stage_loss(network, better)[0] < loss
    late = stage_loss(network, {**batch, "late": torch.tensor(1.0)})[0]
    assert late != loss
    half = batch["weight"].clone()
    half[..., 4:] = 0
    wild = batch["target"].clone()
    wild[..., 4:] = 9.0
    some, other = ({**batch, "target": t, "weight": half} for t in (batch["target"], wild))
    torch.testing.assert_close(stage_loss(network, some)[0], stage_loss(network, other)[0])


def test_a_stage_is_trained_and_a_stopped_training_ends_the_same(folder, tmp_path):
    import shutil

    from ctrestorelib.recon.learned_prior import load_volume_unet

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    said = []
    run = train_stage_on(folder, SMALL, said)
    assert run.steps == 4
    assert "held_out_gain_db" in run.last
    network = load_volume_unet(run.weights)
    assert (network.width, network.levels) == (4, 2)
    assert any(bool(p.any()) for p in network.head.parameters())

    class Stop(Exception):
        pass

    steps = PatchBatches.__call__

    def stopping(self, step, rng):
        if step == 2 and self.steps == 4:  # not the batches held out
            raise Stop
        return steps(self, step, rng)

    often = replace(SMALL, loop=replace(SMALL.loop, checkpoint_seconds=0.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PatchBatches, "__call__", stopping)
        with pytest.raises(Stop):
            train_stage_on(copy, often, said)
    again = train_stage_on(copy, often, said)
    assert any("Going on from step 2" in line for line in said)
    assert again.weights.read_bytes() == run.weights.read_bytes()


def train_stage_on(folder, settings, said):
    with pytest.MonkeyPatch.context() as patch:
        from ctrestorelib.training.sparse_view import train as module

        patch.setattr(module, "training_files", lambda *_: [])
        return train_stage(folder, folder, settings, report=said.append)


def test_later_stages_need_the_earlier_and_see_what_these_left(folder):
    refine = replace(SMALL, stage=TrainingStage.REFINE, scans=2)
    with pytest.raises(InputError, match="needs the stage 'prior'"):
        train_stage_on(folder / "nothing", refine, [])
    train_stage_on(folder, SMALL, [])
    correct = replace(SMALL, stage=TrainingStage.CORRECT)
    train_stage_on(folder, correct, [])
    train_stage_on(folder, refine, [])
    first, second, third = (load_items(folder / s.value / "items", folder / "scans")[0]
                            for s in TrainingStage)  # fmt: skip
    assert second.channels.shape == third.channels.shape == (5, 32, 32, 32)
    assert (first.channels[1] == second.channels[1]).mean() > 0.99  # the same backprojection
    assert not np.array_equal(first.channels[0], second.channels[0])


def test_the_second_stage_takes_the_estimate_that_the_first_stored(folder):
    train_stage_on(folder, SMALL, [])
    weights = weights_before(folder, TrainingStage.CORRECT)
    (task,) = item_tasks([1], folder / "scans", TrainingStage.CORRECT, weights)
    scan = read_item(folder / "scans", 1)
    known = stored_estimate(task, scan.facts)
    inputs = Inputs(projections=scan.projection_set(), grid=scan.grid)
    level, _ = stage_input(inputs, TrainingStage.PRIOR, {})
    anew = level.session.operator.to_numpy(level.first)
    np.testing.assert_allclose(known, anew, rtol=2e-3, atol=1e-6 * float(anew.max()))
    assert stored_estimate(task, {**scan.facts, "seed": 4}) is None  # of another scan


def test_subjects_are_shared_out_and_more_of_them_keep_the_first():
    files = [Path("a.nii"), Path("b.nii")]
    few, many = (
        chosen_subjects(files, replace(SMALL, scans=n, scanned_share=0.4)) for n in (5, 10)
    )
    assert few == many[:5]
    assert [task.path for task in many if task.path is not None] == files * 2
    assert [task.number for task in many] == list(range(10))
    assert all(t.path is None for t in chosen_subjects([], replace(SMALL, scanned_share=0.4)))
