"""The scripts that release and calibrate weights, at toy size."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnxruntime")

from ctrestorelib.core.errors import InputError  # noqa: E402
from ctrestorelib.inference.residual_volume import Guards, ResidualDenoiser  # noqa: E402
from ctrestorelib.inference.runtimes import OnnxRuntime, TorchRuntime  # noqa: E402
from ctrestorelib.networks.residual_unet import ResidualUNet  # noqa: E402
from ctrestorelib.training.export import save_weights  # noqa: E402
from ctrestorelib.weights.store import released, weights_file  # noqa: E402

SCRIPTS = Path(__file__).resolve().parents[3] / "Scripts" / "training"


def script(name):
    spec = importlib.util.spec_from_file_location(f"toy_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))  # scripts find their neighbours as when they are run
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    network = ResidualUNet(4)
    torch.nn.init.normal_(network.head.weight, std=0.1)
    return network.eval()


@pytest.fixture
def training(tmp_path, network):
    """The folder of a finished training."""
    folder = tmp_path / "training"
    folder.mkdir()
    save_weights(network, folder / "final.safetensors")
    record = {"step": 70, "seconds": 1800.0, "settings": {"steps": 70, "seed": 4}}
    (folder / "checkpoint.json").write_text(json.dumps(record))
    with (folder / "curves.csv").open("w", newline="") as file:
        rows = [("step", "loss", "held_out_rmse"), (50, 0.5, 0.7), (70, 0.4, "")]
        csv.writer(file).writerows(rows)
    return folder


def test_a_training_is_released_over_an_older_one(training, tmp_path, network, monkeypatch):
    release = script("release_weights")
    into = tmp_path / "weights"
    into.mkdir()
    card = into / "toy.md"
    release.write_card(card, release.CARD, {"steps": 69}, release.MARKS)
    card.write_text(card.read_text().replace("Research use only.", "Written by hand."))
    (into / "toy.calibration.json").write_text("{}")
    command = ["release_weights.py", str(training), "toy", "--into", str(into)]
    monkeypatch.setattr("sys.argv", command)
    release.main()
    about = released(into)["toy"].about
    assert (about["width"], about["steps"], about["training_hours"]) == (4, 70, 0.5)
    assert about["curves"] == {"step": 70.0, "loss": 0.4, "held_out_rmse": 0.7}
    rng = np.random.default_rng(0)
    stack = rng.normal(0, 2, (1, 5, 32, 48)).astype(np.float32)
    context = np.zeros((1, 2, 32, 48), np.float32)
    usual = TorchRuntime(network, "float32", "cpu", 1).run(stack, context)
    shipped = OnnxRuntime(weights_file("toy", "onnx", into), 1).run(stack, context)
    for ours, theirs in zip(usual, shipped, strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-4)

    text = card.read_text()
    assert "Written by hand." in text
    assert "| steps | 70 |" in text
    assert "| steps | 69 |" not in text
    assert released(into)["toy"].calibration() == {}
    assert not (into / "toy.calibration.json").exists()


def test_stages_of_the_few_view_default_are_released_as_far_as_they_are_trained(tmp_path):
    from ctrestorelib.networks.volume_unet import VolumeUNet
    from ctrestorelib.recon.learned_prior import load_volume_unet

    release, folder, into = script("release_few_views"), tmp_path / "cts", tmp_path / "weights"
    into.mkdir()
    with pytest.raises(InputError, match="stage 'prior'"):
        release.release_cts(folder, into)
    for stage in ("prior", "correct"):
        torch.manual_seed(len(stage))
        save_weights(VolumeUNet(width=4, levels=2), folder / stage / "final.safetensors")
        items = folder / stage / "items"
        items.mkdir()
        for number, kind in enumerate(("scan", "knee", "knee")):
            record = {"task": {"scan": {"kind": kind, "cells": 64 + 32 * (number % 2)}}}
            (items / f"{number:06d}.json").write_text(json.dumps(record))
    (into / "cts-prior.calibration.json").write_text("{}")
    release.release_cts(folder, into)
    found = released(into)
    assert sorted(found) == ["cts-correct", "cts-prior"]
    assert found["cts-prior"].about["scans"] == {
        "number": 3, "of real subjects": 1, "cells": "64, 96",
    }  # fmt: skip
    assert not (into / "cts-prior.calibration.json").exists()
    network = load_volume_unet(weights_file("cts-correct", "safetensors", into))
    assert (network.width, network.levels) == (4, 2)
    card = (into / "cts-prior.md").read_text()
    assert "| scans: number | 3 |" in card
    assert "{" not in card


def test_the_running_mean_of_a_checkpoint_can_be_taken(tmp_path, network):
    from safetensors.torch import save_file

    release = script("release_weights")
    tensors = {f"ema.{n}": t.contiguous() for n, t in network.state_dict().items()}
    tensors |= {f"network.{n}": t.contiguous() + 1 for n, t in network.state_dict().items()}
    save_file(tensors, tmp_path / "checkpoint.safetensors")
    found = release._from_checkpoint(tmp_path)
    assert (found.width, found.slices) == (4, 5)
    for name, value in network.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
    save_file({"other": torch.zeros(2)}, tmp_path / "checkpoint.safetensors")
    with pytest.raises(InputError, match="no running mean"):
        release._from_checkpoint(tmp_path)


def test_the_whole_method_is_calibrated(monkeypatch):
    """A network that removes nothing states the noise itself, times the root of two."""
    calibrate = script("calibrate")
    monkeypatch.setattr(calibrate, "SLICES", 4)
    monkeypatch.setattr(calibrate, "SIDE", 64)
    runtime = TorchRuntime(ResidualUNet(4), "float32", "cpu", 1)
    stacks = list(calibrate.clean_stacks(None, 10))
    assert [v.shape for v, _left, _name in stacks] == [(4, 64, 64)] * 10
    found = calibrate.calibrated(ResidualDenoiser(runtime, Guards()), stacks)
    assert found["pairs"]
    assert set(found["pairs"]) == set(found["factors"])
    # Of ten pairs nearly no voxel may lie outside: 2.58 / 1.645 / 1.41 for Gaussian noise.
    for factor in found["factors"].values():
        assert 0.8 < factor < 4.0
